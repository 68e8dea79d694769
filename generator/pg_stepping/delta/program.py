"""The delta program: for each table that a stage reads, the statements that carry its change to the state.

Both trigger languages run these same statements; a language only says how they are wrapped.
The fast path, for one changed table, is one statement:
    WITH change AS (the changed rows with their weights), delta AS (their effect on the state) INSERT ...
Where several changes meet (more than one table in a statement, a trigger within a trigger), each is set
aside in a table, and the last trigger runs the terms of all of them together. That holds for a stage over
one table too: a row trigger that changes the very row that was just inserted ends before the INSERT does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent

from sqlglot import exp

from pg_stepping.delta.change import Change, change_of
from pg_stepping.delta.keys import Held, Keys
from pg_stepping.delta.locks import Edge, Lock, locks, partition_lock
from pg_stepping.delta.partition import Anew, gather_bag, refilling
from pg_stepping.delta.recursion import Recursion, anew_of
from pg_stepping.delta.refresh import STATE, refresh
from pg_stepping.delta.selection import selection
from pg_stepping.delta.stage import SCHEMA, Stage
from pg_stepping.delta.state import Stored
from pg_stepping.delta.stripes import vanish_function
from pg_stepping.delta.terms import Changed, Term, grown, named, quote_table, terms, whole
from pg_stepping.frontend.dialect import null_of, quote_name, to_sql
from pg_stepping.ir import Column, Scan, Table
from pg_stepping.ir.nodes import Expression
from pg_stepping.ir.rewrite import substitute
from pg_stepping.ir.types import fresh, reference

INDENT = "    "


@dataclass(frozen=True, slots=True)
class SourceProgram:
    """What the change of one table does to one stage.

    `term` is the stage's join of the relation `change` with the other tables; `aside` is the table where
    changes wait.
    `grown` joins the rows of `inserted` with the other tables, if new rows can only add rows to the join;
    `joined` does so with those of `change`, and is the second part of `term`.
    `alone` is what the state has of one such row, as a select list, where a row joins with at most one of
    each other table.
    """

    key: str
    table: Table
    change: Change
    term: str
    aside: Table
    grown: str | None
    joined: str | None
    alone: str | None = None

    @property
    def selected(self) -> str:
        """The first part of `term`, where it has two."""
        assert self.joined is not None
        assert self.term.endswith(self.joined)
        return self.term.removesuffix(self.joined).rstrip()


@dataclass(frozen=True, slots=True)
class StageProgram:
    """The statements of one stage.

    `tree` is the join tree of its relations; `waiting` are the terms of all that was set aside, `apart` tells
    that they are no others than those of each source by itself.
    `net` comes before them, where such rows are joined with each other: a row that changed n times, joined
    with another one, would make n * n rows.
    `gather` (a head and a tail around terms) makes the relation `delta` of rows with weights, one row for
    each key; `added` (the same around what `grown` joins) makes it of rows of weight 1.
    For a partition `delta` is the touched keys, for a recursion the rows to begin with; `before` names what
    is computed between it and `apply`.
    `into`, `select` and `merge` add it to the state, and `outcome` sums up what that returns (`returning`):
    the least count, the rows whose count is zero, the rows whose sums are stale.
    `remove` and `refresh` take such rows as $1, a tid array (see recursion.py for those of a recursion).
    `empty` brings the state to what it is when one of its tables is empty. `one_table`: all that the stage
    reads comes from one table, so that nothing is left then. `keys` are held by who computes them anew.
    """

    stage: Stage
    tree: tuple[Edge, ...]
    sources: tuple[SourceProgram, ...]
    waiting: str
    apart: bool
    net: tuple[str, ...]
    added: tuple[str, str]
    gather: tuple[str, str]
    before: tuple[tuple[str, str], ...]
    into: str
    select: str
    merge: str
    returning: str
    outcome: str
    remove: str | None
    refresh: str | None
    fill: str
    empty: tuple[str, ...]
    one_table: bool = False
    keys: Keys | None = None

    @property
    def unseen(self) -> str | None:
        """What takes away the rows of the state that an old snapshot does not see, before `empty`; None where
        `empty` would fill the state from rows that it does not see either."""
        whole = self.keys is not None and not self.stage.by  # then its one row tells that there are none
        if not (self.one_table or whole or self.stage.empties):
            return None
        by_key = [self.keys.table] if self.keys is not None and self.stage.by else []
        tables = [self.stage.table, *by_key]
        return "" if self.stage.kind == "total" else f"TRUNCATE {', '.join(map(quote_table, tables))}"

    @property
    def apply(self) -> str:
        """Add the relation `delta` to the state, but for rows that change nothing."""
        return f"{self.into}\n{self.select}\n{self.merge}"

    def insert(self, grown: str) -> str:
        """Add what `grown` joins."""
        head, tail = self.added
        return f"{delta_of(head + grown + tail)}\n{self.apply}"

    def insert_one(self, source: SourceProgram) -> str:
        """The same where that is a single row at most."""
        assert source.alone is not None
        return f"{self.into}\n{source.alone}\n{source.grown}\n{self.merge}"

    @property
    def to_fill(self) -> tuple[str, str] | None:
        """For a state that is filled again when a table is empty: the statement that puts this off to the
        end of the writer's statement, and the query that has a row if that was done. Before, a match of
        an outer join may not be what its table says: its change, still to come, would count twice.
        """
        if self.stage.empties:
            return None
        aside, weight = quote_table(self.sources[0].aside), self.sources[0].change.weight
        domains = [f for f in self.sources[0].change.fields if f.type.name != f.type.base]
        columns = ", ".join([*(quote_name(f.name) for f in domains), weight])
        nothing = ", ".join([*(to_sql(null_of(f.type)) for f in domains), "NULL"])
        mark = f"INSERT INTO {aside} ({columns}) VALUES ({nothing})"
        return mark, f"SELECT FROM {aside} WHERE {weight} IS NULL"

    def delta(self, *of: str) -> str:
        """The query of the relation `delta` over some terms."""
        head, tail = self.gather
        return head + _united(of) + tail

    def locks(self, changed: Mapping[Table, str]) -> tuple[Lock | Held, ...]:
        """What to lock before the delta of some tables is computed, given the relations of their changes."""
        taken = locks(self.stage, self.tree, changed)
        if self.stage.kind != "partition":
            return taken
        head, tail = Anew(self.stage).touched
        touched = head + _united(_terms(self.stage, changed)) + tail
        if self.keys is not None:
            return (self.keys.held(touched),)
        return *taken, partition_lock(self.stage, self.tree, touched)


def programs_of(stages: Sequence[Stage], trees: Mapping[str, tuple[Edge, ...]]) -> tuple[StageProgram, ...]:
    """The delta programs of a view's stages; `trees` holds the join tree of each by its name."""
    roots: dict[Table, frozenset[Table]] = {}
    for stage in stages:
        of_scans = (roots.get(s.table, frozenset((s.table,))) for s in stage.scans)
        roots[stage.table] = frozenset().union(*of_scans)
    return tuple(_program(s, trees[s.name], one_table=len(roots[s.table]) == 1) for s in stages)


def _terms(stage: Stage, changed: Mapping[Table, str]) -> list[str]:
    """What the stage joins changes by, as queries."""
    return [*map(Shape(stage).term, terms(stage.core, Changed(changed), stage.weight))]


def delta_of(query: str) -> str:
    """The WITH clause of `delta`."""
    return f"WITH delta AS (\n{indent(query, INDENT)}\n)"


def _united(queries: Sequence[str]) -> str:
    return indent("\nUNION ALL\n".join(queries), INDENT)


def _program(stage: Stage, tree: tuple[Edge, ...], *, one_table: bool) -> StageProgram:
    anew = keys = None
    if stage.kind == "partition":
        anew = anew_of(stage)
        keys = Keys(stage) if not tree else None  # a stage that joins has locks on its edges anyway
    tables = list(dict.fromkeys(s.table for s in stage.scans))
    asides = {t: Table(SCHEMA, f"{stage.name}__aside_{i + 1}") for i, t in enumerate(tables)}

    def queries(changed: Mapping[Table, str]) -> str:
        found = anew.terms(Changed(changed)) if isinstance(anew, Recursion) else _terms(stage, changed)
        return "\nUNION ALL\n".join(found)

    waiting = queries({t: quote_table(a) for t, a in asides.items()})
    apart = waiting == "\nUNION ALL\n".join(queries({t: quote_table(a)}) for t, a in asides.items())
    sources = tuple(
        SourceProgram(
            key=source_key(t, tables),
            table=t,
            change=change_of(_columns(stage, t), stage.weight, _selection(stage, t)),
            term=queries({t: "change"}),
            aside=asides[t],
            grown=grown(stage.core, t, "inserted") if anew is None else None,
            joined=grown(stage.core, t, "change") if anew is None else None,
            alone=Shape(stage).alone if _joins_one(stage, tree, t) else None,
        )
        for t in tables
    )
    net = tuple(s.change.net(quote_table(s.aside)) for s in sources if len(stage.scans) > 1)
    if anew is not None:
        return StageProgram(
            stage=stage,
            tree=tree,
            sources=sources,
            waiting=waiting,
            apart=apart,
            net=net,
            added=("", ""),
            gather=anew.gather,
            before=(*anew.before, *(keys.released if keys is not None else ())),
            into=anew.into,
            select=anew.select,
            merge=anew.merge,
            returning=f"RETURNING {STATE}.ctid, {STATE}.{stage.count.sql_name} AS n",
            outcome=anew.outcome,
            remove=anew.remove if isinstance(anew, Recursion) else None,
            refresh=anew.refresh if isinstance(anew, Recursion) else None,
            fill=anew.fill,
            empty=anew.empty if keys is None else keys.emptied(anew.empty),
            one_table=one_table,
            keys=keys,
        )
    shape = Shape(stage)
    stale = [t for c in stage.state if (t := c.stale_test(STATE))]
    is_total = stage.kind == "total"
    return StageProgram(
        stage=stage,
        tree=tree,
        sources=sources,
        waiting=waiting,
        apart=apart,
        net=net,
        added=shape.added,
        gather=shape.gather,
        before=(),
        into=_into(stage),
        select=_select(stage),
        merge=_on_conflict(stage),
        returning=f"RETURNING {STATE}.ctid, {STATE}.{stage.count.sql_name} AS n"
        + (f", {' OR '.join(stale)} AS stale" if stale else ""),
        outcome=_outcome(stage, bool(stale)),
        remove=None if is_total else _remove(stage),
        refresh=refresh(stage) if stale else None,
        fill=shape.fill(),
        empty=_empty(stage, shape),
        one_table=one_table,
    )


def _selection(stage: Stage, table: Table) -> str | None:
    """The condition on changed rows that can matter; a recursion reads them all."""
    return None if stage.is_recursive else selection([stage.core], table)


def _joins_one(stage: Stage, tree: tuple[Edge, ...], table: Table) -> bool:
    """Whether a row of the table, the root of the tree, joins with at most one of each other table."""
    core = stage.core
    return (
        stage.kind == "groups"
        and stage.is_sorted
        and not core.outers
        and all(isinstance(p, Scan) for p in core.parts)
        and len({s.table for s in core.scans}) == len(core.scans) == len(tree) + 1 > 1
        and tree[-1].parent.table == table
        and all(e.one for e in tree)
    )


def source_key(table: Table, tables: list[Table]) -> str:
    """How a source is called within its stage: by its name, with its schema where two have the same."""
    same = [t for t in tables if t.name == table.name]
    return table.name if len(same) == 1 else str(table)


def _columns(stage: Stage, table: Table) -> tuple[Column, ...]:
    """The columns of a source that any of its occurrences reads."""
    by_name = {c.name: c for s in stage.scans if s.table == table for c in s.fields}
    return tuple(by_name.values())


class Shape:
    """How joined rows become rows of the state: the select list of every term, and what gathers them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.keys = [quote_name(k.name) for k in stage.keys]
        taken = {k.name for k in stage.keys} | {c.name for c in stage.state} | {stage.weight}
        self.inner: dict[Expression, str] = {}
        for column in stage.state:
            for expression, word in ((column.argument, "value"), (column.condition, "condition")):
                if expression is not None and expression not in self.inner:
                    plain = (
                        expression.name if word == "value" and isinstance(expression, exp.Column) else word
                    )
                    self.inner[expression] = fresh(plain, taken)

    def term(self, term: Term) -> str:
        """The joined rows of one term: keys, what is aggregated, weight."""
        stage = self.stage
        keys = stage.keys if not stage.by else tuple(k for k in stage.keys if k.name in stage.by)
        expressions = [(k.expression, k.name) for k in keys if stage.kind != "partition" or stage.by]
        expressions += list(self.inner.items())
        columns = [named(substitute(e, term.missing), name) for e, name in expressions]
        weight = quote_name(stage.weight)
        product = (
            " * " in term.weight or not term.weight.endswith(f".{weight}") or term.weight.startswith("-")
        )
        columns.append(term.weight if not product else f"{term.weight} AS {weight}")
        return f"SELECT {', '.join(columns)}\n" + "\n".join(term.lines)

    @property
    def gather(self) -> tuple[str, str]:
        return self.gathered()

    def gathered(self, *more: str) -> tuple[str, str]:
        """What is around terms to make one row for each key of them; `more` are further aggregates."""
        stage, weight = self.stage, quote_name(self.stage.weight)
        if stage.kind == "rows":
            return gather_bag(stage)
        sums = [f"{c.weighted(weight, self.inner)} AS {c.sql_name}" for c in stage.state] + [*more]
        keys = ["true AS " + self.keys[0]] if stage.kind == "total" else self.keys
        listed = f",\n{INDENT}".join([", ".join(keys), *sums])
        return f"SELECT\n{INDENT}{listed}\nFROM (\n", "\n) AS term" + self._group_by()

    def _group_by(self) -> str:
        return "" if self.stage.kind == "total" else f"\nGROUP BY {', '.join(self.keys)}"

    def fill(self) -> str:
        """The state of the tables as they are."""
        stage, rows = self.stage, "\n".join(whole(self.stage.core))
        if stage.kind == "rows":
            columns, (head, tail) = ", ".join(stored_names(stage)), self.added
            added = indent(head + rows + tail, INDENT)
            return f"{_into(stage)}\nSELECT {columns}\nFROM (\n{added}\n) AS added"
        totals = {c.name: c.filled() for c in stage.state}
        of_totals: dict[str, Expression] = {name: exp.Var(this=total) for name, total in totals.items()}
        results = {r.name: r.over(of_totals) for r in stage.results}
        return f"{_into(stage)}\n{self._listed(totals, results)}\n{rows}{self._group_by_numbers}"

    @property
    def added(self) -> tuple[str, str]:
        """What is around joined rows of weight 1 to make `delta` of them."""
        if self.stage.kind == "rows":
            head, tail = self.gather
            return head + indent(self.term(Term((), "1")), INDENT), tail
        return self._listed({c.name: c.total() for c in self.stage.state}) + "\n", self._group_by_numbers

    @property
    def _group_by_numbers(self) -> str:
        by = ", ".join(str(i + 1) for i in range(len(self.stage.keys)))
        return "" if self.stage.kind == "total" else f"\nGROUP BY {by}"

    @property
    def alone(self) -> str:
        """What the state has of one joined row."""
        totals = {c.name: c.of_one() for c in self.stage.state}
        of_totals: dict[str, Expression] = {name: exp.Var(this=total) for name, total in totals.items()}
        return self._listed(totals, {r.name: r.of_one or r.over(of_totals) for r in self.stage.results})

    def _listed(self, totals: Mapping[str, str], results: Mapping[str, str] = {}) -> str:
        """The select list of a row of the state, but for where it comes from."""
        listed = [", ".join(named(k.expression, k.name) for k in self.stage.keys)]
        listed += [f"{value} AS {quote_name(name)}" for name, value in {**totals, **results}.items()]
        return f"SELECT\n{INDENT}" + f",\n{INDENT}".join(listed)


def stored_names(stage: Stage) -> list[str]:
    """The columns of the state table but for the results, in its order."""
    keys = [quote_name(k.name) for k in stage.keys]
    first = [quote_name(stage.row_key)] if stage.is_bag else []
    return [*first, *keys, *(c.sql_name for c in stage.state)]


def _into(stage: Stage) -> str:
    columns = ", ".join([*stored_names(stage), *(r.sql_name for r in stage.results)])
    return f"INSERT INTO {quote_table(stage.table)} AS {STATE} ({columns})"


def _in_order(stage: Stage) -> str:
    """That of the keys, so that no two writers wait for each other in a circle."""
    return f"ORDER BY {', '.join(stage.ordered_by)}"


def _on_conflict(stage: Stage) -> str:
    keys = ", ".join(stage.unique_by)
    sums = _merged(stage)
    sets = [f"{c.sql_name} = {to_sql(sums[c.name])}" for c in stage.state]
    sets += [
        f"{r.sql_name} = {r.over({name: exp.Paren(this=s) for name, s in sums.items()})}"
        for r in stage.results
    ]
    return f"ON CONFLICT ({keys}) DO UPDATE SET\n{INDENT}" + f",\n{INDENT}".join(sets)


def _merged(stage: Stage) -> dict[str, Expression]:
    """The state columns after a row of the delta (`excluded`) is added to one of the state."""
    merged = {c.name: c.merged(reference(STATE, c.name), reference("excluded", c.name)) for c in stage.state
              if c.kind != "removed"}  # fmt: skip
    removed = {c.name: c.reaching(reference("excluded", c.name), merged[c.beside]) for c in stage.state
               if c.kind == "removed"}  # fmt: skip
    return merged | removed


def _select(stage: Stage) -> str:
    """The rows of `delta` that change something, as they are added to the state."""
    changes = " OR ".join(c.change_test() for c in stage.state)
    reaching = {
        c.sql_name: to_sql(c.reaching(reference("delta", c.name), reference("delta", c.beside)))
        for c in stage.state
        if c.kind == "removed"
    }
    stored = [reaching.get(name, name) for name in stored_names(stage)]
    read = ", ".join([*stored, *(r.over({}) for r in stage.results)])
    return f"SELECT {read}\nFROM delta\nWHERE {changes}\n{_in_order(stage)}"


def _remove(stage: Stage) -> str:
    if stage.stripes:
        return f"SELECT {vanish_function(stage)}($1)"
    return f"DELETE FROM {quote_table(stage.table)} WHERE ctid = ANY ($1)"


def _outcome(stage: Stage, stale: bool) -> str:
    """Rows may be taken from one stripe that another one has: its count tells nothing of the group's."""
    is_total = stage.kind == "total"
    parts = ["NULL::bigint AS least" if stage.stripes else "min(n) AS least"]
    if not is_total:
        empty = "" if stage.stripes else " FILTER (WHERE n = 0)"
        parts.append(f"array_agg(ctid){empty} AS emptied")
    if stale:
        kept = "stale" if is_total else "stale AND n > 0"
        parts.append(f"array_agg(ctid) FILTER (WHERE {kept}) AS stale")
    return f"SELECT {', '.join(parts)}\nFROM changed"


def _empty(stage: Stage, shape: Shape) -> tuple[str, ...]:
    """Bring the state to what it is when a table is empty: an inner join is, else it is filled again."""
    if stage.kind == "total":
        stored: tuple[Stored, ...] = (*stage.state, *stage.results)
        zero = [f"{c.sql_name} = DEFAULT" for c in stored]
        emptied = f"UPDATE {quote_table(stage.table)} SET {', '.join(zero)}"
    else:
        emptied = f"DELETE FROM {quote_table(stage.table)}"
    if stage.empties:
        return (emptied,)
    head, tail = shape.added
    filled = delta_of(head + "\n".join(whole(stage.core)) + tail)
    return *refilling(stage), emptied, f"{filled}\n{_into(stage)}\n{_select(stage)}\n{_on_conflict(stage)}"
