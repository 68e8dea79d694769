"""The changed rows of a table, with weights: +1 inserted, -1 deleted; equal rows of an UPDATE cancel."""

from __future__ import annotations

from dataclasses import dataclass

from pg_stepping.frontend.dialect import quote_name
from pg_stepping.ir import Column


@dataclass(frozen=True, slots=True)
class Change:
    """What is read of the changed rows of a table.

    `columns` is the select list, `by` what must agree for two rows to cancel; `weight` names the weight, an
    integer. `where` is the condition on rows that can matter, None if all can (selection.py).
    """

    fields: tuple[Column, ...]
    columns: str
    by: str
    weight: str
    where: str | None = None

    @property
    def sorts(self) -> bool:
        """Whether rows can be grouped by all that is read of them."""
        return all(f.type.sorts for f in self.fields)

    def query(self, event: str) -> str:
        """The changed rows of an INSERT, DELETE or UPDATE, columns first, then the weight.

        The rows of an UPDATE are netted: a row that changed only in columns that are not read has no change.
        """
        if event == "INSERT":
            return self.rows("1", "inserted")
        if event == "DELETE":
            return self.rows("-1", "deleted")
        return self._net(self._both, where=self._filter)

    def rows(self, weight: str, relation: str) -> str:
        """The rows of a relation that can matter, all with one weight."""
        return self._all(weight, relation) + self._filter

    def _all(self, weight: str, relation: str) -> str:
        comma = ", " if self.columns else ""
        return f"SELECT {self.columns}{comma}{weight} AS {self.weight} FROM {relation}"

    @property
    def _both(self) -> str:
        return f"({self._all('1', 'inserted')} UNION ALL {self._all('-1', 'deleted')})"

    @property
    def _filter(self) -> str:
        return f"\nWHERE {self.where}" if self.where else ""

    def logged(self, event: str) -> str:
        """The same as `query` whatever settings the session has: every name is qualified, and bytes stand for
        text."""
        if event != "UPDATE":
            return self.query(event)
        by = _agreeing(self.fields, "pg_catalog.record_send(ROW({}))")
        return self._net(self._both, by, "pg_catalog.sum", "OPERATOR(pg_catalog.<>)", self._filter)

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

    def _net(
        self, rows: str, by: str | None = None, sum_: str = "sum", differs: str = "<>", where: str = ""
    ) -> str:
        by = self.by if by is None else by
        total, weight = f"{sum_}({self.weight})", self.weight
        listed = f"{self.columns}, " if self.columns else ""
        if self.sorts:
            group = f"\nGROUP BY {by}" if by else ""
            return (
                f"SELECT {listed}{total}::integer AS {weight}\n"
                f"FROM {rows} AS changed{where}{group}\nHAVING {total} {differs} 0"
            )
        return (  # what has no order cannot be grouped by: any row stands for those that agree
            f"SELECT *\nFROM (\n    SELECT DISTINCT ON ({by}) {listed}"
            f"({total} OVER (PARTITION BY {by}))::integer AS {weight}\n"
            f"    FROM {rows} AS changed{where}\n) AS netted\nWHERE {weight} {differs} 0"
        )


EVENTS = ("INSERT", "DELETE", "UPDATE")


def change_of(fields: tuple[Column, ...], weight: str, where: str | None = None) -> Change:
    """How the changes of a table are read, for the columns that a stage uses."""
    columns = ", ".join(quote_name(f.name) for f in fields)
    return Change(fields, columns, _agreeing(fields, "ROW({})::text"), quote_name(weight), where)


def _agreeing(fields: tuple[Column, ...], image: str) -> str:
    """What must agree in rows that cancel: the columns, and the `image` of those in which values can be equal
    and yet differ."""
    by = []
    for field in fields:
        name = quote_name(field.name)
        by += [name] if field.type.sorts else []
        by += [] if field.type.exact else [image.replace("{}", name)]
    return ", ".join(by)
