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
    "rows": {"t": ("x, ", "x, ", "GROUP BY x")},
    "term": {"t": "SELECT x, weight FROM change"},
    "gather": ("SELECT x, sum(weight) AS n FROM (", ") AS term GROUP BY x"),
    "grown": {"t": "FROM inserted"},
    "insert": ("INSERT INTO s SELECT x, count(*) AS n", "GROUP BY x"),
    "before": {},
    "apply": "INSERT INTO s SELECT x, n FROM delta WHERE (n <> 0)",
    "returning": "RETURNING ctid, n",
    "outcome": "SELECT min(n) AS least, array_agg(ctid) AS emptied FROM changed",
    "emptied": "DELETE FROM s WHERE ctid = ANY ($1)",
    "empty": ["DELETE FROM s"],
    "unseen": "TRUNCATE s",
    "aside": {"t": "s_aside"},
    "net": [],
    "waiting": "SELECT x, weight FROM s_aside",
    "locks": {"t": [("pg_advisory_xact_lock(key)", "SELECT DISTINCT x AS key FROM change")]},
    "waiting_locks": [("pg_advisory_xact_lock(key)", "SELECT DISTINCT x AS key FROM s_aside")],
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


def fire(maintain: ModuleType, plpy: Plpy, *events: str) -> list[str]:
    run = maintain.maintainer(plpy, VIEW)
    for event in events:
        event, _, source = event.partition(" ")
        run({"event": event, "args": ["t" if not source else "", "7"]})
    return [sql for sql, _ in plpy.executed]


ONLY_ONE = [{"open": "+", "waiting": ""}]


def test_an_insert_is_one_statement_after_its_locks_and_prepared_once(maintain: ModuleType) -> None:
    plpy = Plpy(current_setting=ONLY_ONE)
    ran = fire(maintain, plpy, "INSERT", "INSERT")
    assert len(ran) == 6
    assert len(plpy.prepared) == 3
    assert "current_setting('stepping.open'" in ran[0]
    assert ran[1].startswith("SELECT pg_advisory_xact_lock(key) FROM (WITH change AS (SELECT x, 1 AS weight")
    assert ran[2] == "INSERT INTO s SELECT x, count(*) AS n FROM inserted GROUP BY x"


def test_emptied_groups_are_removed(maintain: ModuleType) -> None:
    plpy = Plpy(current_setting=ONLY_ONE, outcome=[{"least": 0, "emptied": ["(0,1)"]}])
    ran = fire(maintain, plpy, "DELETE")
    assert "FROM deleted" in ran[2]
    assert plpy.executed[3] == (VIEW["emptied"], [["(0,1)"]])


def test_a_count_below_zero_is_an_error(maintain: ModuleType) -> None:
    plpy = Plpy(current_setting=ONLY_ONE, outcome=[{"least": -1, "emptied": None}])
    with pytest.raises(Corrupt, match=r"stepping\.v is corrupt") as raised:
        fire(maintain, plpy, "UPDATE")
    assert raised.value.args[1]["sqlstate"] == "XX001"


def test_a_change_waits_while_another_statement_is_open(maintain: ModuleType) -> None:
    plpy = Plpy(**{"insert into s_aside": [{}], "current_setting": [{**ONLY_ONE[0], "open": "++"}]})
    ran = fire(maintain, plpy, "INSERT")
    assert [sql.split(" SELECT x")[0] for sql in ran[1:3]] == [
        "INSERT INTO s_aside",
        "SELECT stepping.wait('v', 7)",
    ]


def test_at_the_end_all_that_waits_is_carried(maintain: ModuleType) -> None:
    plpy = Plpy(
        **{
            "current_setting": [{**ONLY_ONE[0], "waiting": "7"}],
            "with delta": [{"least": 1, "emptied": None}],
        }
    )
    ran = fire(maintain, plpy, "UPDATE of-what-waits")
    assert "pg_advisory_xact_lock(key)" in ran[0]
    assert "FROM s_aside" in ran[1]
    assert ran[2:] == ["DELETE FROM s_aside"]


def test_truncate_empties_the_state(maintain: ModuleType) -> None:
    new, old = ([{"transaction_isolation": level}] for level in ("read committed", "repeatable read"))
    ran = fire(maintain, Plpy(isolation=new), "TRUNCATE")
    assert [sql for sql in ran if "SHOW" not in sql] == ["DELETE FROM s_aside", "DELETE FROM s"]
    assert "TRUNCATE s" in fire(maintain, Plpy(isolation=old), "TRUNCATE")
