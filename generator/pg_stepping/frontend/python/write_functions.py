"""The statements by which actions write, and the functions that run them and tell what they changed.

A function is made for a view and a source table, takes texts of arrays and goes with the view: there each
statement is planned once a session.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pg_stepping.frontend.dialect import quote_name, quote_text
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.frontend.python import given
from pg_stepping.frontend.python.capture import function


@dataclass(frozen=True, slots=True)
class Statements:
    """What writes rows of a table, by its name in SQL, with these columns.

    `marks` are where the parameters stand, an array for each column; those of an old row stand behind.
    """

    table: str
    columns: given.Columns
    marks: Sequence[str]

    @property
    def insert(self) -> str:
        return f"INSERT INTO {self.table} ({self._names}) SELECT * FROM {self._given()} AS g"

    @property
    def update(self) -> str:
        """Change one copy of the second row into the first one."""
        old = self._given(self.marks[len(self.columns) :])
        return f"""UPDATE {self.table} AS d SET ({self._names}) = (SELECT * FROM {self._given()} AS n)
            FROM (SELECT t.tableoid AS part, t.ctid AS place FROM {self.table} AS t
                  JOIN {old} AS g ON {given.matches("t", "g", self.columns)} LIMIT 1) AS s
            WHERE d.ctid = s.place AND d.tableoid = s.part"""

    @property
    def delete(self) -> str:
        """Delete one copy for each row, and give the least number, from 1, of a row that is not there.

        The copies of equal rows, wanted and stored alike, are numbered, and those that pair up are deleted.
        """
        return f"""WITH wanted AS (
                SELECT *, min(stepping_place) OVER (PARTITION BY {self._names}) AS stepping_kind,
                       row_number() OVER (PARTITION BY {self._names} ORDER BY stepping_place) AS stepping_copy
                FROM {self._given(ordinality="stepping_place")} AS g
            ), stored AS (
                SELECT t.tableoid AS part, t.ctid AS place, g.stepping_kind,
                       row_number() OVER (PARTITION BY g.stepping_kind ORDER BY t.tableoid, t.ctid)
                           AS stepping_copy
                FROM {self.table} AS t
                JOIN (SELECT * FROM wanted WHERE stepping_copy = 1) AS g
                  ON {given.matches("t", "g", self.columns)}
            ), deleted AS (
                DELETE FROM {self.table} AS d
                USING stored AS s JOIN wanted AS g USING (stepping_kind, stepping_copy)
                WHERE d.ctid = s.place AND d.tableoid = s.part
                RETURNING g.stepping_place
            )
            SELECT min(stepping_place) AS missing FROM wanted
            WHERE stepping_place NOT IN (SELECT stepping_place FROM deleted)"""

    @property
    def _names(self) -> str:
        return ", ".join(quote_name(name) for name, _ in self.columns)

    def _given(self, marks: Sequence[str] = (), ordinality: str = "") -> str:
        placed = (marks or self.marks)[: len(self.columns)]
        return given.relation(self.columns, ordinality, placed)


def statements(table: str, columns: given.Columns) -> Statements:
    """With psycopg's parameters."""
    return Statements(table.replace("%", "%%"), columns, ["%s"] * (2 * len(columns)))


def bodies(table: str, columns: given.Columns, settings: Sequence[str]) -> dict[str, str]:
    """The bodies of the functions, by what they do: they return what these settings gather.

    A line each; or the number of a given row that is not there, and then they have changed nothing.
    """
    of = Statements(table, columns, [f"$1[{n}]" for n in range(1, 2 * len(columns) + 1)])
    begin, end = (
        "\n".join(f"told := pg_catalog.set_config({quote_text(name)}, '{text}', true);" for name in settings)
        for text in ("[", "")
    )
    read = ", ".join(f"pg_catalog.current_setting({quote_text(name)})" for name in settings)
    take = f"all_told := pg_catalog.concat_ws(E'\\n', {read});"
    removed = f"""BEGIN
{begin}
{of.delete.replace("SELECT min(stepping_place) AS missing", "SELECT min(stepping_place) INTO missing")};
IF missing IS NOT NULL THEN
    RAISE no_data_found;  -- undoes this block
END IF;
{take}
{end}
EXCEPTION WHEN no_data_found THEN
    IF missing IS NULL THEN
        RAISE;  -- that of a trigger
    END IF;
    all_told := missing;
END;"""
    replaced = f"""{begin}
{of.update};
IF FOUND THEN
    {take}
ELSE
    all_told := 1;
END IF;
{end}"""
    steps = {"insert": f"{begin}\n{of.insert};\n{take}\n{end}", "remove": removed, "replace": replaced}
    return {what: _body(step) for what, step in steps.items()}


def _body(steps: str) -> str:
    return f"""
#variable_conflict use_column
DECLARE
    told text;
    all_told text;
    missing bigint;
BEGIN
{steps}
RETURN all_told;
END
"""


def write_function(conn: Connection, state: str, what: str, body: str, *, create: bool) -> str | None:
    """The function of this body, by its name in SQL; None if it is not there.

    It takes an array of texts; its result is for `each_gathered`. It goes with the view of `state`.
    """
    name = f"{state}__{what}_{hashlib.sha256(body.encode()).hexdigest()[:8]}"
    signature = f"stepping.{quote_name(name)}(text[])"
    [(there,)] = execute(conn, "SELECT to_regprocedure(%s) IS NOT NULL", [signature]).fetchall()
    if not there:
        if not create:
            return None
        function(conn, name, "text[]", "text", body)
    return f"stepping.{quote_name(name)}"


def each_gathered(told: str) -> list[str] | int:
    """What each setting has gathered, in JSON, whose text has no line breaks; or the number of a row that is
    not there."""
    return told.split("\n") if told.startswith("[") else int(told)
