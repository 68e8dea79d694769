"""Bad input gives one clear error of the right class, and leaves database and transaction as they were."""

import threading
from itertools import product

import psycopg
import pytest
import sqlalchemy
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row, tuple_row
from test_refused import STATE

import pg_stepping
from pg_stepping import errors

SCHEMA = """
CREATE TABLE t (id integer PRIMARY KEY, g text, x integer);
CREATE TABLE j (j json);
CREATE TABLE taken (id integer);
CREATE VIEW taken_view AS SELECT 1 AS one;
CREATE INDEX taken_index ON t (x);
CREATE SEQUENCE taken_sequence;
CREATE TYPE taken_type AS ENUM ('a');
CREATE TYPE taken_composite AS (a integer);
CREATE DOMAIN taken_domain AS integer;
CREATE TABLE stepping.occupied (id integer);
CREATE FUNCTION stepping.busy__maintain() RETURNS integer LANGUAGE sql AS 'SELECT 1';
"""

GOOD = "SELECT g, count(*) AS n FROM t GROUP BY g"

# What is wrong: name of the view, query, options, class of the error, SQLSTATE, words of the message.
WRONG = {
    "unknown table": ("v", "SELECT id\nFROM   missing", {}, errors.InvalidQuery, "42P01", '"missing".* line 2, column 8.*search_path'),
    "unknown schema": ("v", "SELECT id FROM nowhere.t", {}, errors.InvalidQuery, "42P01", "nowhere.* line 1, column 16"),
    "unknown column": ("v", "SELECT id,\n  missing FROM t", {}, errors.InvalidQuery, "42703", '"missing".* line 2, column 3.*tables in FROM'),
    "unknown column of an alias": ("v", "SELECT a.missing FROM t AS a", {}, errors.InvalidQuery, "42703", "missing.* line 1, column 8"),
    "unknown function": ("v", "SELECT missing(id) FROM t", {}, errors.InvalidQuery, "42883", r"missing\(integer\).* column 8"),
    "ambiguous column": ("v", "SELECT id FROM t, taken", {}, errors.InvalidQuery, "42702", '"id".* line 1, column 8'),
    "ungrouped column": ("v", "SELECT g, x, count(*) FROM t GROUP BY g", {}, errors.InvalidQuery, "42803", '"t.x".* column 11.*GROUP BY'),
    "aggregate in WHERE": ("v", "SELECT g FROM t WHERE sum(x) > 1", {}, errors.InvalidQuery, "42803", "WHERE.* column 23"),
    "duplicate outputs": ("v", "SELECT id, x AS id FROM t", {}, errors.InvalidQuery, "42701", '"id" specified more than once.*AS'),
    "duplicate outputs of a star": ("v", "SELECT * FROM t JOIN taken ON true", {}, errors.InvalidQuery, "42701", '"id"'),
    "wrong types": ("v", "SELECT g + 1 FROM t", {}, errors.InvalidQuery, "22P02|42883", "line 1, column"),
    "bad constant": ("v", "SELECT id FROM t WHERE x = 'abc'", {}, errors.InvalidQuery, "22P02", '"abc".* column 28'),
    "no type": ("v", "SELECT id::nonesuch FROM t", {}, errors.InvalidQuery, "42704", "nonesuch.* column 12"),
    "syntax": ("v", "SELECT id FRM t", {}, errors.InvalidQuery, "42601", '"t".* column 15'),
    "several statements": ("v", "SELECT id FROM t;\nSELECT x FROM t", {}, errors.InvalidQuery, "42601", "several statements.*line 1"),
    "a second statement": ("v", "SELECT id FROM t; DROP TABLE t", {}, errors.InvalidQuery, "42601", "several statements"),
    "statements behind a dollar in a name": (
        "v", "SELECT id AS a$x$ FROM t; COMMIT; DROP TABLE t; SELECT 1 AS a$x$", {}, errors.InvalidQuery, "42601", "several statements",
    ),
    "statements behind a nested comment": (
        "v", "SELECT id FROM t /* /* */ ; */; DROP TABLE t", {}, errors.InvalidQuery, "42601", "several statements",
    ),
    "statements behind a backslash": (
        "v", r"SELECT '\' AS a FROM t; DROP TABLE t; SELECT '\' AS b", {}, errors.InvalidQuery, "42601", "several statements",
    ),
    "empty": ("v", "", {}, errors.InvalidQuery, "42601", "empty"),
    "only blanks": ("v", " \n\t", {}, errors.InvalidQuery, "42601", "empty"),
    "only a comment": ("v", "-- SELECT 1", {}, errors.InvalidQuery, "42601", "empty"),
    "only a semicolon": ("v", "-- nothing but\n;", {}, errors.InvalidQuery, "42601", "empty"),
    "open quote": ("v", "SELECT 'abc FROM t", {}, errors.InvalidQuery, "42601", "quote"),
    "open double quote": ("v", 'SELECT "abc FROM t', {}, errors.InvalidQuery, "42601", "quote"),
    "open comment": ("v", "SELECT id FROM t /* abc", {}, errors.InvalidQuery, "42601", "comment"),
    "open parenthesis": ("v", "SELECT (id FROM t", {}, errors.InvalidQuery, "42601", "line 1"),
    "a zero byte": ("v", "SELECT id FROM t\x00", {}, errors.InvalidQuery, "22021", "zero byte"),
    "text behind a zero byte": ("v", "SELECT id FROM t\x00 WHERE x > 1", {}, errors.InvalidQuery, "22021", "zero byte"),
    "half a character": ("v", "SELECT id FROM t WHERE g = '\ud800'", {}, errors.InvalidQuery, "22021", "cannot be sent"),
    "INSERT": ("v", "INSERT INTO t VALUES (1)", {}, errors.InvalidQuery, "42601", '"INSERT"'),
    "DELETE RETURNING": ("v", "DELETE FROM t RETURNING id", {}, errors.InvalidQuery, "42601", '"DELETE"'),
    "DROP": ("v", "DROP TABLE t", {}, errors.InvalidQuery, "42601", '"DROP"'),
    "a parameter": ("v", "SELECT id FROM t WHERE x = $1", {}, errors.InvalidQuery, "42P02", r"\$1"),
    "a placeholder": ("v", "SELECT id FROM t WHERE x = %s", {}, errors.InvalidQuery, "42601", '"%".* line 1'),
    "a check option": ("v", "SELECT id FROM t WITH CHECK OPTION", {}, errors.UnsupportedQuery, "0A000", "WITH CHECK OPTION"),
    "name of a table": ("taken", GOOD, {}, errors.NameTaken, "42P07", "taken"),
    "name of a table of the query": ("t", GOOD, {}, errors.NameTaken, "42P07", "t"),
    "name of a view": ("taken_view", GOOD, {}, errors.NameTaken, "42P07", "taken_view"),
    "name of an index": ("taken_index", GOOD, {}, errors.NameTaken, "42P07", "taken_index"),
    "name of a sequence": ("taken_sequence", GOOD, {}, errors.NameTaken, "42P07", "taken_sequence"),
    "name of an enum": ("taken_type", GOOD, {}, errors.NameTaken, "42P07", "taken_type"),
    "name of a composite type": ("taken_composite", GOOD, {}, errors.NameTaken, "42P07", "taken_composite"),
    "name of a domain": ("taken_domain", GOOD, {}, errors.NameTaken, "42P07", "taken_domain"),
    "name of an array type": ("_taken", GOOD, {}, errors.NameTaken, "42P07", "_taken"),
    "name of another's state": ("occupied", GOOD, {}, errors.NameTaken, "42P07", "occupied"),
    "name of another's function": ("busy", GOOD, {}, errors.NameTaken, "42723", "busy"),
    "empty name": ("", GOOD, {}, errors.InvalidQuery, "42602", "name"),
    "long name": ("v" * 64, GOOD, {}, errors.InvalidQuery, "42602", "63 bytes"),
    "long name in bytes": ("é" * 32, GOOD, {}, errors.InvalidQuery, "42602", "63 bytes"),
    "zero byte in a name": ("v\x00", GOOD, {}, errors.InvalidQuery, "42602", "63 bytes, none of them zero"),
    "zero byte in a schema": ("v", GOOD, {"schema": "s\x00"}, errors.InvalidQuery, "42602", "'s.x00' is no name.*none of them zero"),
    "half a character in a name": ("\ud800", GOOD, {}, errors.InvalidQuery, "22021", "cannot be sent"),
    "long schema": ("v", GOOD, {"schema": "s" * 64}, errors.InvalidQuery, "42602", "'sss.*63 bytes"),
    "schema before the name": ("nowhere.v", GOOD, {}, errors.InvalidQuery, "3F000", "no schema 'nowhere'"),
    "schema of temporary tables": ("pg_temp.v", GOOD, {}, errors.InvalidQuery, "3F000", "no schema 'pg_temp'"),
    "schema of Postgres": ("pg_catalog.v", GOOD, {}, errors.InvalidQuery, "3F000", "no schema 'pg_catalog'"),
    "schema that is not there": ("v", GOOD, {"schema": "nowhere"}, errors.InvalidQuery, "3F000", "nowhere"),
    "index on a missing column": ("v", GOOD, {"indexes": [["g", "missing"]]}, errors.InvalidQuery, "42703", "missing.*(\n|.)*g, n"),
    "index on nothing": ("v", GOOD, {"indexes": [[]]}, errors.InvalidQuery, "42601", "names no column(\n|.)*g, n"),
    "unknown language": ("v", GOOD, {"language": "plperl"}, errors.UnsupportedServer, "0A000", "plperl"),
    "unordered index": ("v", "SELECT j FROM j", {"indexes": ["j"]}, errors.UnsupportedQuery, "0A000", "no ordering"),
    "wide index": ("v", GOOD, {"indexes": [["g"] * 33]}, errors.InvalidQuery, "54011", "32 columns"),
    "a value the backfill cannot compute": ("v", "SELECT 1 / (x - x) AS y FROM t", {}, errors.InvalidQuery, "22012", "division by zero"),
}  # fmt: skip


@pytest.fixture
def filled(conn):
    conn.execute(SCHEMA)
    conn.execute("INSERT INTO t VALUES (1, 'a', 5)")
    conn.commit()
    return conn


def state(conn):
    """What a failed call must not change: objects and settings, whatever rows the connection gives."""
    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        return cursor.execute(STATE).fetchall()


def wrong(conn, case, call=pg_stepping.create_view):
    name, query, options, error, sqlstates, words = WRONG[case]
    with pytest.raises(errors.SteppingError, match=f"(?s){words}") as raised:
        call(conn, name, query, **options)
    assert type(raised.value) is error
    assert raised.value.sqlstate in sqlstates.split("|")
    assert raised.value.hint
    return raised.value


@pytest.mark.parametrize("case", WRONG)
def test_one_clear_error_within_a_transaction(filled, case):
    filled.execute("INSERT INTO t VALUES (2, 'mine', 1)")
    before = state(filled)
    wrong(filled, case)
    assert filled.info.transaction_status == TransactionStatus.INTRANS
    assert filled.execute("SELECT g FROM t ORDER BY id").fetchall() == [("a",), ("mine",)]
    assert state(filled) == before
    filled.commit()
    assert filled.execute("SELECT count(*) FROM t").fetchone() == (2,)


KINDS = {
    "autocommit": {"autocommit": True},
    "dictionaries for rows": {"row_factory": dict_row},
    "all prepared": {"prepare_threshold": 0},
    "nothing prepared": {"prepare_threshold": None},
    "values put in by the client": {"cursor_factory": psycopg.ClientCursor},
    "numbered parameters": {"cursor_factory": psycopg.RawCursor},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_one_clear_error_on_every_kind_of_connection(filled, connect, options):
    session = connect(**options)
    before = state(session)
    for case in WRONG:
        wrong(session, case)
        assert session.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.IDLE)
    assert state(session) == before
    session.close()


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_one_clear_error_within_a_block(filled, connect, options):
    with connect(**options) as session, session.transaction():
        session.execute("INSERT INTO t VALUES (2, 'mine', 1)")
        for case in WRONG:
            wrong(session, case)
        with pytest.raises(errors.NameTaken), session.transaction():
            pg_stepping.create_view(session, "v", GOOD)
            wrong(session, "several statements", pg_stepping.generate)
            pg_stepping.create_view(session, "v", GOOD)
        assert pg_stepping.list_views(session) == []
        pg_stepping.create_view(session, "w", GOOD)
    assert [v.name for v in pg_stepping.list_views(filled)] == ["w"]
    assert filled.execute("TABLE w ORDER BY 1").fetchall() == [("a", 1), ("mine", 1)]


# A migration may be written before its name is free, and for other rows than there are now.
GENERATED = [c for c in WRONG if not c.startswith(("name of", "a value", "unordered", "wide"))]


@pytest.mark.parametrize("case", GENERATED)
def test_generate_says_the_same(filled, case):
    filled.execute("INSERT INTO t VALUES (2, 'mine', 1)")
    before = state(filled)
    wrong(filled, case, pg_stepping.generate)
    assert state(filled) == before
    assert filled.execute("SELECT count(*) FROM t").fetchone() == (2,)


CALLS = {
    "create_view": lambda conn: pg_stepping.create_view(conn, "v", GOOD),
    "generate": lambda conn: pg_stepping.generate(conn, "v", GOOD),
    "drop_view": lambda conn: pg_stepping.drop_view(conn, "v"),
    "explain": lambda conn: pg_stepping.explain(conn, "v"),
    "verify": lambda conn: pg_stepping.verify(conn, "v"),
    "installed": lambda conn: pg_stepping.installed(conn, "v"),
    "list_views": pg_stepping.list_views,
    "init": pg_stepping.init,
}


ONLINE = {
    "create_view_online": lambda conn: pg_stepping.create_view_online(conn, "v", GOOD),
    "change_view": lambda conn: pg_stepping.change_view(conn, "v", GOOD, online=True),
}
NO_CONNECTION = {
    "str": ("host=x password=geheim", "psycopg.connect()"),
    "NoneType": (None, "psycopg.connect()"),
    "psycopg.AsyncConnection": (
        psycopg.AsyncConnection.__new__(psycopg.AsyncConnection),
        "psycopg.connect()",
    ),
    "sqlalchemy.engine.base.Engine": (
        sqlalchemy.create_engine("postgresql+psycopg://u:geheim@x/y"),
        "connection.connection.driver_connection",
    ),
}


@pytest.mark.parametrize("call", (CALLS | ONLINE).values(), ids=CALLS | ONLINE)
def test_a_closed_connection(filled, call):
    filled.close()
    with pytest.raises(errors.ConnectionUnusable, match="closed") as raised:
        call(filled)
    assert raised.value.sqlstate == "08003"
    assert raised.value.hint


@pytest.mark.parametrize("kind", NO_CONNECTION)
def test_what_is_no_connection(kind):
    """Whatever is given, the error says of what type it is and what to give, and not a password in it."""
    given, hint = NO_CONNECTION[kind]
    for call in (CALLS | ONLINE).values():
        with pytest.raises(TypeError, match="a connection of psycopg 3 is wanted") as raised:
            call(given)
        assert f"not {kind}\nHINT: " in str(raised.value)
        assert hint in str(raised.value)
        assert "geheim" not in str(raised.value)


@pytest.mark.parametrize("call", ONLINE.values(), ids=ONLINE)
def test_online_within_a_transaction(filled, call):
    """What takes several transactions is refused in one of the caller's, however he began it."""
    filled.commit()
    with pytest.raises(errors.ConnectionUnusable, match="several transactions"):
        call(filled)
    filled.autocommit = True
    before = state(filled)
    with filled.transaction(), pytest.raises(errors.ConnectionUnusable, match="several transactions"):
        call(filled)
    assert state(filled) == before


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_failed_transaction(filled, call):
    with pytest.raises(psycopg.errors.UndefinedTable):
        filled.execute("SELECT FROM nowhere")
    with pytest.raises(errors.ConnectionUnusable, match="failed") as raised:
        call(filled)
    assert raised.value.sqlstate == "25P02"
    assert raised.value.hint
    filled.rollback()
    assert filled.execute("SELECT count(*) FROM t").fetchone() == (1,)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_server_that_is_too_old(filled, monkeypatch, call):
    before = state(filled)
    monkeypatch.setattr(psycopg.ConnectionInfo, "server_version", 140009)
    with pytest.raises(errors.UnsupportedServer, match="PostgreSQL 14") as raised:
        call(filled)
    assert raised.value.sqlstate == "0A000"
    assert raised.value.hint
    monkeypatch.undo()
    assert state(filled) == before


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_busy_connection(filled, call):
    with filled.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
        with pytest.raises(errors.ConnectionUnusable, match="busy") as raised:
            call(filled)
        copy.write_row((2, "b", 1))
    assert raised.value.sqlstate == "55006"
    assert raised.value.hint
    assert filled.execute("SELECT count(*) FROM t").fetchone() == (2,)
    with filled.pipeline(), pytest.raises(errors.ConnectionUnusable, match="busy"):
        call(filled)
    assert filled.execute("SELECT count(*) FROM t").fetchone() == (2,)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_connection_that_the_server_ended(filled, connect, call):
    for autocommit, begun in product((False, True), repeat=2):
        session = connect(autocommit=autocommit)
        if begun:
            session.execute("SELECT")
        filled.execute("SELECT pg_terminate_backend(%s, 5000)", [session.info.backend_pid])
        with pytest.raises(errors.ConnectionUnusable, match="lost") as raised:
            call(session)
        assert raised.value.sqlstate == "08006"
        assert raised.value.hint


def test_a_connection_that_the_server_ends_while_we_wait(filled, connect):
    session = connect()
    filled.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    end = threading.Timer(
        0.5, lambda: filled.execute("SELECT pg_terminate_backend(%s)", [session.info.backend_pid])
    )
    end.start()
    with pytest.raises(errors.ConnectionUnusable, match="lost"):
        pg_stepping.create_view(session, "v", GOOD)
    end.join()
    filled.commit()
    pg_stepping.create_view(filled, "v", GOOD)


def test_a_name_that_another_session_takes_meanwhile(filled, connect):
    other = connect()
    pg_stepping.create_view(filled, "v", GOOD)
    commit = threading.Timer(0.5, filled.commit)
    commit.start()
    other.execute("SELECT")
    with pytest.raises(errors.NameTaken) as raised:
        pg_stepping.create_view(other, "v", GOOD)
    commit.join()
    assert raised.value.hint
    assert [v.name for v in pg_stepping.list_views(other)] == ["v"]


def test_a_lock_that_is_not_to_be_had_is_for_the_caller_to_try_again(filled, connect):
    session = connect()
    filled.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    session.execute("SET LOCAL lock_timeout = '50ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        pg_stepping.create_view(session, "v", GOOD)
    filled.commit()
    pg_stepping.create_view(session, "v", GOOD)


def test_a_database_without_plpython(database):
    with psycopg.connect(database("plpgsql")) as session:
        session.execute(SCHEMA)
        before = state(session)
        with pytest.raises(errors.UnsupportedServer, match="plpython3u") as raised:
            pg_stepping.create_view(session, "v", GOOD, language="plpython3u")
        assert raised.value.sqlstate == "42704"
        assert "CREATE EXTENSION plpython3u" in raised.value.hint
        assert state(session) == before
        pg_stepping.create_view(session, "v", GOOD)
        assert pg_stepping.installed(session, "v").language == "plpgsql"


@pytest.mark.parametrize("call", [pg_stepping.drop_view, pg_stepping.verify, pg_stepping.explain])
@pytest.mark.parametrize("name", ["nothing", "taken", "taken_view", "nowhere.v"])
def test_a_view_that_is_not_there(filled, call, name):
    before = state(filled)
    with pytest.raises(errors.ViewNotFound, match=name) as raised:
        call(filled, name)
    assert raised.value.sqlstate == "42P01"
    assert raised.value.hint
    assert state(filled) == before


def test_the_same_view_twice(filled):
    pg_stepping.create_view(filled, "v", GOOD)
    before = state(filled)
    with pytest.raises(errors.NameTaken, match=r"public\.v"):
        pg_stepping.create_view(filled, "v", "SELECT id FROM t")
    assert state(filled) == before
    filled.execute("INSERT INTO t VALUES (9, 'b', 1)")
    assert pg_stepping.verify(filled, "v") == []


def test_a_view_that_another_reads(filled):
    pg_stepping.create_view(filled, "v", GOOD)
    pg_stepping.create_view(filled, "w", "SELECT n, count(*) FROM v GROUP BY n")
    before = state(filled)
    with pytest.raises(errors.ViewInUse, match=r"public\.w") as raised:
        pg_stepping.drop_view(filled, "v")
    assert raised.value.sqlstate == "2BP01"
    assert state(filled) == before
    filled.execute("CREATE VIEW reader AS SELECT * FROM w")
    with pytest.raises(errors.ViewInUse, match="reader"):
        pg_stepping.drop_view(filled, "w")
    filled.execute("DROP VIEW reader")
    pg_stepping.drop_view(filled, "w")
    pg_stepping.drop_view(filled, "v")


@pytest.fixture
def role(filled):
    """A role with no rights but to connect; the session becomes it."""
    name = f"poor_{filled.info.dbname}"
    filled.execute(f"CREATE ROLE {name}")
    filled.commit()
    yield name
    filled.rollback()
    filled.execute(f"RESET ROLE; DROP OWNED BY {name}; DROP ROLE {name}")
    filled.commit()


RIGHTS = {
    "none": ("SELECT", "permission denied for schema stepping"),
    "to read": ("GRANT SELECT ON t TO {0}", "permission denied for schema"),
    "to read and create": (
        "GRANT SELECT ON t TO {0}; GRANT USAGE, CREATE ON SCHEMA stepping, public TO {0}", "permission denied for table",
    ),
    "no schema": ("ALTER TABLE t OWNER TO {0}", "permission denied for schema"),
    "no schema stepping": (
        "ALTER TABLE t OWNER TO {0}; GRANT CREATE ON SCHEMA public TO {0}", "permission denied for schema stepping",
    ),
    "no catalog": (
        "ALTER TABLE t OWNER TO {0}; GRANT USAGE, CREATE ON SCHEMA stepping, public TO {0}", "permission denied for table",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("grants", "words"), RIGHTS.values(), ids=RIGHTS)
def test_a_role_without_the_rights(filled, role, grants, words):
    filled.execute(grants.format(role))
    before = state(filled)
    filled.execute(f"SET ROLE {role}")
    with pytest.raises(errors.InsufficientPrivilege, match=words) as raised:
        pg_stepping.create_view(filled, "v", GOOD, language="plpgsql")
    assert raised.value.sqlstate == "42501"
    assert raised.value.hint
    filled.execute("RESET ROLE")
    assert state(filled) == before


def test_a_role_without_the_language(database):
    with psycopg.connect(database("plpython3u")) as session:
        session.execute(SCHEMA)
        session.execute("CREATE ROLE ordinary; ALTER TABLE t OWNER TO ordinary")
        session.execute("GRANT USAGE, CREATE ON SCHEMA stepping, public TO ordinary")
        session.execute("GRANT ALL ON ALL TABLES IN SCHEMA stepping TO ordinary; SET ROLE ordinary")
        with pytest.raises(errors.InsufficientPrivilege, match="may not make functions in plpython3u"):
            pg_stepping.create_view(session, "v", GOOD, language="plpython3u")
        pg_stepping.create_view(session, "v", GOOD)
        assert pg_stepping.verify(session, "v") == []
        session.rollback()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_call_spoils_the_transaction_of_a_role_without_rights(filled, role, call):
    filled.execute(f"SET ROLE {role}")
    if call is not CALLS["generate"]:
        with pytest.raises(errors.InsufficientPrivilege):
            call(filled)
    assert filled.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "call", [CALLS["generate"], CALLS["drop_view"], lambda conn: pg_stepping.create_view(conn, "w", GOOD)]
)
def test_a_read_only_transaction(filled, call):
    pg_stepping.create_view(filled, "v", GOOD)
    filled.commit()
    filled.read_only = True
    with pytest.raises(errors.ConnectionUnusable, match="read-only") as raised:
        call(filled)
    assert raised.value.sqlstate == "25006"
    assert raised.value.hint
    assert filled.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_the_published_view_cannot_be_written(filled):
    pg_stepping.create_view(filled, "v", GOOD)
    for statement in ("INSERT INTO v VALUES ('b', 1)", "UPDATE v SET n = 0", "DELETE FROM v"):
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="maintained"), filled.transaction():
            filled.execute(statement)
    assert pg_stepping.verify(filled, "v") == []


def test_no_schema_to_create_in(filled):
    filled.execute("SET search_path = ''")
    with pytest.raises(errors.InvalidQuery, match="no schema") as raised:
        pg_stepping.create_view(filled, "v", "SELECT id FROM public.t")
    assert raised.value.sqlstate == "3F000"
    pg_stepping.create_view(filled, "public.v", "SELECT id FROM public.t")


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_every_kind_of_connection_makes_checks_and_drops_views(filled, connect, options):
    session = connect(**options)
    before = state(session)
    pg_stepping.create_view(session, "v", GOOD, indexes=[["n"]])
    session.execute("INSERT INTO t VALUES (7, 'b', 1)")
    assert pg_stepping.verify(session, "v") == []
    assert [v.name for v in pg_stepping.list_views(session)] == ["v"]
    assert pg_stepping.generate(session, "w", GOOD).up
    pg_stepping.drop_view(session, "v")
    assert state(session) == before
    session.close()
