"""The changed rows of a table, with weights: +1 inserted, -1 deleted; equal rows of an UPDATE cancel."""

from __future__ import annotations

from dataclasses import dataclass

from pg_stepping.frontend.dialect import quote_name
from pg_stepping.ir import Column


@dataclass(frozen=True, slots=True)
class Change:
    """What is read of the changed rows of a table.

    `columns` is the select list, `by` what must agree for two rows to cancel; `weight` names the weight, an
    integer.
    """

    fields: tuple[Column, ...]
    columns: str
    by: str
    weight: str

    @property
    def sorts(self) -> bool:
        """Whether rows can be grouped by all that is read of them."""
        return all(f.type.sorts for f in self.fields)

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
        both = f"({self.query('INSERT')} UNION ALL {self.query('DELETE')})"
        by = _agreeing(self.fields, "pg_catalog.record_send(ROW({}))")
        return self._net(both, by, "pg_catalog.sum", "OPERATOR(pg_catalog.<>)")

    def netted(self, rows: str) -> str:
        """What is left of changed rows when those that are equal have cancelled."""
        return self._net(rows)

    def net(self, aside: str) -> str:
        """Replace what several commands set aside in a table by what is left when rows have cancelled.

        They stay in the table: what joins with a table is looked up by index, what joins with a CTE is not.
        """
        several = f"EXISTS (SELECT FROM {aside} WHERE NOT cmin = (SELECT cmin FROM {aside} LIMIT 1))"
        gone = f"DELETE FROM {aside} WHERE {several} RETURNING *"
        return f"WITH gone AS ({gone})\nINSERT INTO {aside}\n{self._net('gone')}"

    def _net(self, rows: str, by: str | None = None, sum_: str = "sum", differs: str = "<>") -> str:
        by = self.by if by is None else by
        total, weight = f"{sum_}({self.weight})", self.weight
        listed = f"{self.columns}, " if self.columns else ""
        if self.sorts:
            group = f"\nGROUP BY {by}" if by else ""
            return (
                f"SELECT {listed}{total}::integer AS {weight}\n"
                f"FROM {rows} AS changed{group}\nHAVING {total} {differs} 0"
            )
        return (  # what has no order cannot be grouped by: any row stands for those that agree
            f"SELECT *\nFROM (\n    SELECT DISTINCT ON ({by}) {listed}"
            f"({total} OVER (PARTITION BY {by}))::integer AS {weight}\n"
            f"    FROM {rows} AS changed\n) AS netted\nWHERE {weight} {differs} 0"
        )


EVENTS = ("INSERT", "DELETE", "UPDATE")


def change_of(fields: tuple[Column, ...], weight: str) -> Change:
    """How the changes of a table are read, for the columns that a stage uses."""
    columns = ", ".join(quote_name(f.name) for f in fields)
    return Change(fields, columns, _agreeing(fields, "ROW({})::text"), quote_name(weight))


def _agreeing(fields: tuple[Column, ...], image: str) -> str:
    """What must agree in rows that cancel: the columns, and the `image` of those in which values can be equal
    and yet differ."""
    by = []
    for field in fields:
        name = quote_name(field.name)
        by += [name] if field.type.sorts else []
        by += [] if field.type.exact else [image.replace("{}", name)]
    return ", ".join(by)
