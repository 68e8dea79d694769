"""Deferred mode: readers see every change at once, `apply` brings the state to what they see, and changes nothing."""

import pytest
from select_queries import CASES as QUERIES
from test_cases import CASES, NAMES, assert_right, columns, columns_of_query, rows, steps_of, views_of
from test_select import filled, session  # noqa: F401 - the fixture
from test_select import rows as counted

import pg_stepping

STATEMENTS = 8


def logged(conn, name):
    """How many rows wait in the logs of a view."""
    logs = conn.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'stepping'::regnamespace AND relname ~ %s",
        [f"^{name}__log_[0-9]+$"],
    ).fetchall()
    assert logs
    return sum(conn.execute(f"SELECT count(*) FROM stepping.{log}").fetchone()[0] for (log,) in logs)


def assert_applied(conn, view, query):
    """Applying changes nothing for readers of the view, and everything for those of the state."""
    expected = assert_right(conn, view, query, "before apply")
    waiting = logged(conn, view)
    assert pg_stepping.apply(conn, view) == waiting
    assert logged(conn, view) == 0
    assert rows(conn, f"{view}_as_applied") == expected
    assert_right(conn, view, query, "apply")


@pytest.mark.parametrize("case", NAMES)
def test_oracle_every_case_is_right_after_each_step(conn, language, case):
    """In one language the logs are applied after every other step, in the other at the end."""
    tables, _, data = (CASES / case / "schema.sql").read_text().partition("-- data\n")
    conn.execute(tables)
    steps = steps_of(case)
    if language == "plpgsql":
        steps = [("first rows", data), *steps]
    else:
        conn.execute(data)
    views = views_of(case)
    seen = {name: set() for name, _ in views}
    for name, query in views:
        pg_stepping.create_view(conn, name, query, language=language, mode="deferred")
        assert columns(conn, name) == columns_of_query(conn, query) == columns(conn, f"{name}_as_applied")
    for number, (after, sql) in enumerate(steps):
        conn.execute(sql)
        for name, query in views:
            seen[name].add(tuple(assert_right(conn, name, query, after)))
            assert pg_stepping.verify(conn, name) == []
            if language == "plpython3u" and number % 2:
                assert_applied(conn, name, query)
    for name, query in views:
        assert_applied(conn, name, query)
    assert all(len(contents) > 1 for contents in seen.values()), seen


@pytest.fixture(autouse=True)
def _clean(request):
    yield
    if "session" in request.fixturenames:
        request.getfixturevalue("session").rollback()


# Of each construct some: their deltas are those that test_select.py tests, all of them. A state table that is read
# in several places stands in the program of pending changes in each of them.
SAMPLE = QUERIES[::5] + [c for c in QUERIES if c[0] == "what is read more than once"]


@pytest.mark.parametrize(("place", "section", "query"), [(i, *c) for i, c in enumerate(SAMPLE)],
                         ids=[f"{s}: {q}" for s, q in SAMPLE])  # fmt: skip
def test_oracle_all_of_select_is_right_after_every_statement(session, place, section, query):  # noqa: F811
    del section
    writer, sizes = filled(session, query)
    ran = []
    language = ("plpgsql", "plpython3u")[place % 2]
    pg_stepping.create_view(session, "v", query, language=language, mode="deferred")
    for number in range(STATEMENTS):
        ran.append(writer.statement())
        session.execute(ran[-1])
        expected = counted(session, query)
        assert counted(session, "SELECT * FROM v") == expected, "\n".join(ran)
        sizes.append(sum(expected.values()))
        if number % 4 == 3:
            limit = max(1, logged(session, "v") // 2) if number == 3 else None
            while pg_stepping.apply(session, "v", limit=limit):
                ran.append(f"apply {limit}")
                assert counted(session, "SELECT * FROM v") == expected, "\n".join(ran)
            assert counted(session, "SELECT * FROM v_as_applied") == expected, "\n".join(ran)
    assert any(sizes), "the view was empty all the time"
