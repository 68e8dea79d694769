"""The changed rows of a table, with weights: +1 inserted, -1 deleted; equal rows of an UPDATE cancel."""

from __future__ import annotations

from dataclasses import dataclass

from pg_stepping.frontend.dialect import quote_name
from pg_stepping.ir import Column, Type
from pg_stepping.ir.types import NO_EQUALITY, NO_ORDER

# Types whose equality means the same value in every respect; elsewhere (1.0 = 1.00, 0 = -0) the text must
# agree too.
_SAME_WHEN_EQUAL = (
    "smallint", "integer", "bigint", "oid", "uuid", "date", "boolean", "timestamp", "time without", "text",
    "character", "bytea", "numeric(", '"char"', "name", "money",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """What is read of the changed rows of a table.

    `columns` is the select list, `kept` the same after netting, `by` what must agree for two rows to cancel;
    `weight` names the weight, an integer.
    """

    fields: tuple[Column, ...]
    columns: str
    kept: str
    by: str
    weight: str

    def query(self, event: str) -> str:
        """The changed rows of an INSERT, DELETE or UPDATE, columns first, then the weight.

        The rows of an UPDATE are netted: a row that changed only in columns that are not read has no change.
        """
        comma = ", " if self.columns else ""
        inserted = f"SELECT {self.columns}{comma}1 AS {self.weight} FROM inserted"
        deleted = f"SELECT {self.columns}{comma}-1 AS {self.weight} FROM deleted"
        if event == "INSERT":
            return inserted
        if event == "DELETE":
            return deleted
        return self._net(f"({inserted} UNION ALL {deleted})")

    def logged(self, event: str) -> str:
        """The same as `query` whatever settings the session has: every name is qualified, and bytes stand for
        text."""
        if event != "UPDATE":
            return self.query(event)
        sum_ = f"pg_catalog.sum({self.weight})"
        both = f"({self.query('INSERT')} UNION ALL {self.query('DELETE')})"
        comma = ", " if self.columns else ""
        kept, by = _netting(self.fields, "pg_catalog.array_agg", "pg_catalog.record_send(ROW({}))")
        group = f"\nGROUP BY {by}" if by else ""
        return (
            f"SELECT {kept}{comma}{sum_}::integer AS {self.weight}\n"
            f"FROM {both} AS changed{group}\nHAVING {sum_} OPERATOR(pg_catalog.<>) 0"
        )

    def netted(self, rows: str) -> str:
        """What is left of changed rows when those that are equal have cancelled."""
        return self._net(rows)

    def net(self, aside: str) -> str:
        """Replace what several commands set aside in a table by what is left when rows have cancelled.

        They stay in the table: what joins with a table is looked up by index, what joins with a CTE is not.
        """
        several = f"EXISTS (SELECT FROM {aside} WHERE NOT cmin = (SELECT cmin FROM {aside} LIMIT 1))"
        gone = f"DELETE FROM {aside} WHERE {several} RETURNING *"
        return f"WITH gone AS (\n    {gone}\n)\nINSERT INTO {aside}\n{self._net('gone')}"

    def _net(self, rows: str) -> str:
        comma = ", " if self.columns else ""
        group = f"\nGROUP BY {self.by}" if self.by else ""
        return (
            f"SELECT {self.kept}{comma}sum({self.weight})::integer AS {self.weight}\n"
            f"FROM {rows} AS changed{group}\nHAVING sum({self.weight}) <> 0"
        )


EVENTS = ("INSERT", "DELETE", "UPDATE")


def change_of(fields: tuple[Column, ...], weight: str) -> Change:
    """How the changes of a table are read, for the columns that a stage uses."""
    columns = ", ".join(quote_name(f.name) for f in fields)
    return Change(fields, columns, *_netting(fields, "array_agg", "ROW({})::text"), quote_name(weight))


def _netting(fields: tuple[Column, ...], array_agg: str, image: str) -> tuple[str, str]:
    """What is kept of rows that cancel, and what must agree in them: the columns, and the `image` of those in
    which values can be equal and yet differ."""
    kept, by = [], []
    for field in fields:
        name = quote_name(field.name)
        comparable = field.type.base not in NO_EQUALITY | NO_ORDER
        kept.append(name if comparable else f"({array_agg}({name}))[1] AS {name}")
        by += [name] if comparable else []
        by += [] if _same_when_equal(field.type) else [image.replace("{}", name)]
    return ", ".join(kept), ", ".join(by)


def _same_when_equal(type_: Type) -> bool:
    simple = type_.base.startswith(_SAME_WHEN_EQUAL) and not type_.base.endswith("[]")
    return simple and type_.collation is None
