"""What of SELECT is maintained now: every other construct is refused here, by name and place."""

from __future__ import annotations

from sqlglot import exp

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.refuse import Source
from pg_stepping.frontend.tables import Relation


def check_select(select: exp.Expression, source: Source) -> exp.Select:
    """Refuse what `select`, without its subqueries, has that cannot be maintained; return it."""
    if not isinstance(select, exp.Select):
        name = type(select).__name__.upper()
        raise source.unsupported(name, name, hint="write a SELECT from tables")
    check_set_operation(select, source)
    return select


def check_set_operation(query: exp.Expression, source: Source) -> None:
    """Refuse FOR UPDATE and its like."""
    if query.args.get("locks"):
        words = ("for update", "for share", "for no key", "for key")
        raise source.unsupported("a locking clause", *words, hint="leave it out")


def check_clock_words(tree: exp.Expression, source: Source) -> None:
    """Refuse 'now' and its like where they are read at run time: `'now'::text::timestamptz`."""
    for literal in tree.find_all(exp.Literal):
        if literal.is_string and literal.name.strip().lower() in ("now", "today", "tomorrow", "yesterday"):
            casts = literal.find_ancestor(exp.Cast)
            outer = casts.find_ancestor(exp.Cast) if casts is not None else None
            if outer is not None and outer.to.is_type(*exp.DataType.TEMPORAL_TYPES):
                hint = "leave it out here and filter where you read the view"
                raise source.unsupported(f"the clock, by a cast of '{literal.name}'", "(", hint=hint)


def check_relation(relation: Relation, source: Source, *, only: bool = False) -> None:
    """Refuse relations that row changes cannot be followed on."""
    schema, name = relation.table.schema, relation.table.name

    def refuse(what: str, hint: str) -> UnsupportedQuery:
        places = (f"{before} →{name}" for before in (f"{schema} .", "from", "only", "join"))
        return source.unsupported(f"the {what} {schema}.{name}", *places, name, hint=hint)

    if schema in ("pg_catalog", "information_schema", "pg_toast"):
        raise refuse("system catalog", "read it where you read the view")
    if relation.persistence == "t":
        raise refuse("temporary table", "use an ordinary table: a view outlives the session")
    if relation.persistence == "u":
        raise refuse("unlogged table", "ALTER TABLE ... SET LOGGED: a crash would empty it behind the view")
    kinds = {
        "m": ("materialized view", "maintain its query as a view with create_view"),
        "f": ("foreign table", "copy it into an ordinary table"),
    }
    if relation.kind in kinds:
        raise refuse(*kinds[relation.kind])
    if relation.kind not in "rp":
        raise refuse("relation", "use an ordinary table")
    if relation.root is not None:
        hint = (
            f"read {relation.root}, with a condition, or take it out of there (DETACH PARTITION, NO INHERIT):"
            f" a write through {relation.root} does not fire its parts' triggers"
        )
        raise refuse("partition or child", hint)
    if relation.unfit is not None:
        hint = "writes to a part that is foreign, not logged, or has a parent elsewhere cannot be followed"
        raise refuse(f"part {relation.unfit} of the table", hint)
    if only and relation.has_parts:
        raise refuse(
            "ONLY of the table with parts", "leave ONLY out, or keep these rows in a table of their own"
        )
