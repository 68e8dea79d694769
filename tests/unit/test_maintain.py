"""The PL/Python runtime with a plpy that only writes down what it is asked."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

VIEW = {
    "stage": "v",
    "weight": "weight",
    "source": {
        "t": {
            "aside": "s_aside",
            "columns": "x",
            "locks": [[(1, "SELECT x AS key, true AS exclusive FROM change")]],
            "term": ("SELECT x, weight", "FROM change"),
            "alone": "SELECT x, 1 AS n",
        },
        "u": {
            "aside": "u_aside",
            "columns": "x",
            "locks": [
                [(0, "SELECT y AS key, true AS exclusive FROM change")],
                [(1, "SELECT 7 AS key, false AS exclusive FROM change")],
            ],
            "term": ("SELECT x, weight", "FROM change"),
        },
        "w": {"aside": "w_aside", "columns": "x", "term": "SELECT x, weight FROM change"},
    },
    "gather": ("SELECT x, sum(weight) AS n FROM (", ") AS term GROUP BY x"),
    "into": "INSERT INTO s",
    "select": "SELECT x, n FROM delta WHERE n <> 0",
    "merge": "ON CONFLICT DO NOTHING",
    "returning": "RETURNING ctid, n",
    "outcome": "SELECT min(n) AS least, array_agg(ctid) AS emptied FROM changed",
    "remove": "DELETE FROM s WHERE ctid = ANY ($1)",
    "empty": ["DELETE FROM s"],
    "unseen": "TRUNCATE s",
    "waiting": "SELECT x, weight FROM s_aside",
}


class Corrupt(Exception):
    pass


class Result(list[dict[str, Any]]):
    def nrows(self) -> int:
        return len(self)


class Plpy:
    """Answers each statement by the first of `answers` whose key is in its text."""

    def __init__(self, **answers: list[dict[str, Any]]) -> None:
        self.answers = answers
        self.prepared: list[str] = []
        self.executed: list[tuple[str, Any]] = []

    def prepare(self, sql: str, types: Any = ()) -> Any:
        self.prepared.append(sql)
        plpy = self

        class Plan:
            def execute(self, given: Any = None) -> Result:
                plpy.executed.append((sql, given))
                found = (rows for key, rows in plpy.answers.items() if key in sql.lower())
                return Result(next(found, []))

        return Plan()

    def execute(self, sql: str) -> None:
        self.executed.append((sql, None))

    def error(self, message: str, **details: str) -> None:
        raise Corrupt(message, details)


@pytest.fixture(scope="module")
def maintain() -> ModuleType:
    path = Path(__file__).parents[2] / "plpython" / "maintain.py"
    spec = importlib.util.spec_from_file_location("maintain", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fire(maintain: ModuleType, plpy: Plpy, *events: str, source: str = "t") -> list[str]:
    run = maintain.maintainer(plpy, VIEW)
    for event in events:
        run({"event": event, "args": [source, "7"]})
    return [sql for sql, _ in plpy.executed]


ONE: dict[str, Any] = {"offset 1": [{}]}
MANY: dict[str, Any] = {"select distinct key": [{}]}


def test_an_insert_is_one_statement_after_its_locks_and_prepared_once(maintain: ModuleType) -> None:
    plpy = Plpy(**MANY)
    ran = fire(maintain, plpy, "INSERT", "INSERT")
    assert len(ran) == 6
    assert len(plpy.prepared) == 3
    assert "OFFSET 1" in ran[0]
    assert ran[1].startswith("SELECT stepping.lock('v', key, exclusive) FROM (WITH change AS (SELECT x, 1")
    assert "current_setting('stepping.open') = '+'" in ran[1]
    assert ran[1].endswith("ORDER BY key, exclusive DESC")
    assert ran[2] == (
        "WITH change AS (SELECT x, 1 AS weight FROM inserted), "
        "delta AS (SELECT x, sum(weight) AS n FROM ( SELECT x, weight FROM change ) AS term GROUP BY x) "
        "INSERT INTO s SELECT x, n FROM delta WHERE n <> 0 ON CONFLICT DO NOTHING"
    )


def test_one_row_is_not_gathered(maintain: ModuleType) -> None:
    ran = fire(maintain, Plpy(**ONE), "INSERT")
    assert len(ran) == 2
    assert ran[1] == (
        "WITH change AS (SELECT x, 1 AS weight FROM inserted)"
        " INSERT INTO s SELECT x, 1 AS n FROM change ON CONFLICT DO NOTHING"
    )


def test_without_locks_it_is_asked_whether_the_change_is_the_only_one(maintain: ModuleType) -> None:
    ran = fire(maintain, Plpy(**{"select where": [{}]}), "INSERT", source="w")
    assert [sql.split("(")[0] for sql in ran] == ["SELECT WHERE current_setting", "WITH change AS "]


def test_emptied_groups_are_removed(maintain: ModuleType) -> None:
    plpy = Plpy(**MANY, **{"as least": [{"least": 0, "emptied": ["(0,1)"]}]})
    ran = fire(maintain, plpy, "DELETE")
    assert "FROM deleted" in ran[1]
    assert plpy.executed[2] == (VIEW["remove"], [["(0,1)"]])


def test_a_count_below_zero_is_an_error(maintain: ModuleType) -> None:
    plpy = Plpy(**MANY, **{"as least": [{"least": -1, "emptied": None}]})
    with pytest.raises(Corrupt, match=r"stepping\.v is corrupt") as raised:
        fire(maintain, plpy, "UPDATE")
    assert raised.value.args[1]["sqlstate"] == "XX001"


def test_a_change_waits_while_another_statement_is_open(maintain: ModuleType) -> None:
    ran = fire(maintain, Plpy(**{"insert into s_aside": [{}]}), "INSERT")
    assert ran[2].startswith("SELECT WHERE current_setting('stepping.open') = '+'")
    assert ran[3:] == [
        "INSERT INTO s_aside SELECT x, 1 AS weight FROM inserted",
        "SELECT stepping.wait('v', 7)",
    ]


def test_no_change_does_not_wait(maintain: ModuleType) -> None:
    ran = fire(maintain, Plpy(**{"select where": [{}]}), "UPDATE")
    assert len(ran) == 2


def test_at_the_end_all_that_waits_is_carried(maintain: ModuleType) -> None:
    ran = fire(maintain, Plpy(**{"with delta": [{"least": 1, "emptied": None}]}), "UPDATE", source="")
    by_u, by_both, applied, *cleared = ran
    assert by_u == (
        "SELECT stepping.lock('v', key, exclusive) FROM ( SELECT DISTINCT key, exclusive FROM ("
        "(WITH change AS NOT MATERIALIZED (SELECT * FROM u_aside) SELECT y AS key, true AS exclusive FROM change)"
        ") AS part) AS bucket ORDER BY key, exclusive DESC"
    )
    assert by_both.count("UNION ALL") == by_both.count("FROM s_aside") == by_both.count("FROM u_aside") == 1
    assert "FROM s_aside" in applied
    assert cleared == [f"DELETE FROM {aside}" for aside in ("s_aside", "u_aside", "w_aside")]


def test_truncate_empties_the_state(maintain: ModuleType) -> None:
    new, old = ([{"transaction_isolation": level}] for level in ("read committed", "repeatable read"))
    ran = fire(maintain, Plpy(isolation=new), "TRUNCATE")
    assert [sql for sql in ran if "SHOW" not in sql] == [
        "DELETE FROM s_aside",
        "DELETE FROM u_aside",
        "DELETE FROM w_aside",
        "DELETE FROM s",
    ]
    assert "TRUNCATE s" in fire(maintain, Plpy(isolation=old), "TRUNCATE")
