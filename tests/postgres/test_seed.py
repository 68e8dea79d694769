"""The meter reads example, word for word but for its set-up, and what it promises."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

import pg_stepping as st
from pg_stepping.errors import ViewDiffers
from pg_stepping.views import fingerprint

EXAMPLE = Path(__file__).parents[2] / "examples" / "meter_reads"

TWIN = """
    SELECT m.user_id, m.meter_id, r."timestamp"::date AS date, sum(r.value) AS value
    FROM users u JOIN meters m ON m.user_id = u.user_id JOIN reads r ON r.meter_id = m.meter_id
    GROUP BY m.user_id, m.meter_id, r."timestamp"::date
"""


class User(st.Data):
    user_id: int
    name: str


class Meter(st.Data):
    meter_id: UUID
    user_id: int


class HalfHourlyMeterRead(st.Data):
    meter_id: UUID
    timestamp: datetime
    value: float


class UserMeter(User, Meter): ...


class UserMeterRead(User, Meter, HalfHourlyMeterRead):
    date: date


class DailyUsage(st.Data):
    user_id: int
    meter_id: UUID
    date: date
    value: float


def make_user_meter(p: st.Pair[User, Meter]) -> UserMeter:
    return UserMeter(user_id=p.right.user_id, name=p.left.name, meter_id=p.right.meter_id)


def with_date(p: st.Pair[UserMeter, HalfHourlyMeterRead]) -> UserMeterRead:
    return UserMeterRead(
        user_id=p.left.user_id,
        name=p.left.name,
        meter_id=p.left.meter_id,
        timestamp=p.right.timestamp,
        value=p.right.value,
        date=p.right.timestamp.date(),
    )


def to_daily(p: st.Pair[float, tuple[int, UUID, date]]) -> DailyUsage:
    return DailyUsage(user_id=p.right[0], meter_id=p.right[1], date=p.right[2], value=p.left)


def pick_value(u: UserMeterRead) -> float:
    return u.value


user_1 = User(user_id=1, name="oli")
meter_id_1 = UUID("00000001-b3fb-47ef-b22f-a45ba5b7b645")
meter_id_2 = UUID("00000002-b3fb-47ef-b22f-a45ba5b7b645")
meter_1 = Meter(meter_id=meter_id_1, user_id=1)
half_hourly_reads_1 = [
    HalfHourlyMeterRead(meter_id=meter_id_1, timestamp=datetime(2023, 1, 1, 2), value=24.0),
    HalfHourlyMeterRead(meter_id=meter_id_1, timestamp=datetime(2023, 1, 1, 3), value=0.0),
    HalfHourlyMeterRead(meter_id=meter_id_1, timestamp=datetime(2023, 1, 2, 4), value=12.5),
    HalfHourlyMeterRead(meter_id=meter_id_1, timestamp=datetime(2023, 1, 3, 5), value=8.0),
    HalfHourlyMeterRead(meter_id=meter_id_1, timestamp=datetime(2023, 1, 2, 6), value=6.0),
    HalfHourlyMeterRead(meter_id=meter_id_2, timestamp=datetime(2023, 1, 2, 6), value=100.0),
]


index_daily = st.Index.pick(DailyUsage, lambda d: d.date)
daily_cache = st.Cache[DailyUsage]()


def query(
    users: st.ZSet[User],
    meters: st.ZSet[Meter],
    reads: st.ZSet[HalfHourlyMeterRead],
) -> st.ZSet[DailyUsage]:
    join_meters = st.join(
        users,
        meters,
        on_left=st.Index.pick(User, lambda u: u.user_id),
        on_right=st.Index.pick(Meter, lambda m: m.user_id),
    )
    join_meters_flat = st.map(join_meters, f=make_user_meter)
    join_reads = st.join(
        join_meters_flat,
        reads,
        on_left=st.Index.pick(UserMeter, lambda p: p.meter_id),
        on_right=st.Index.pick(HalfHourlyMeterRead, lambda m: m.meter_id),
    )
    merged = st.map(join_reads, f=with_date)
    grouped = st.group_reduce_flatten(
        merged,
        by=st.Index.pick(UserMeterRead, lambda f: (f.user_id, f.meter_id, f.date)),
        zero=float,
        pick_value=pick_value,
    )
    as_daily = st.map(grouped, f=to_daily)

    _ = daily_cache[as_daily](lambda a: st.integrate_indexed(a, indexes=(index_daily,)))

    return as_daily


def test_the_document(conn):
    postgres_conn = conn

    graph = st.compile(query)
    store = st.StorePostgres.from_graph(postgres_conn, graph, create_tables=True)
    i_users, i_meters, i_reads = st.actions(store, graph)
    i_users.insert(user_1)
    i_meters.insert(meter_1)
    i_reads.insert(*half_hourly_reads_1)

    actual = list(
        daily_cache.zset(store).iter_by_index(
            index_daily, frozenset((date(2023, 1, 2), date(2023, 1, 3)))
        )
    )  # fmt: skip
    expected = [
        (
            date(2023, 1, 2),
            DailyUsage(
                user_id=1,
                meter_id=UUID("00000001-b3fb-47ef-b22f-a45ba5b7b645"),
                date=date(2023, 1, 2),
                value=18.5,
            ),
            1,
        ),
        (
            date(2023, 1, 3),
            DailyUsage(
                user_id=1,
                meter_id=UUID("00000001-b3fb-47ef-b22f-a45ba5b7b645"),
                date=date(2023, 1, 3),
                value=8.0,
            ),
            1,
        ),
    ]
    assert actual == expected

    graph = st.compile(query)
    store = st.StorePostgres.from_graph(postgres_conn, graph, create_tables=False)

    i_reads.remove(half_hourly_reads_1[2])  # remove a read from 2023-01-02
    actual = list(
        daily_cache.zset(store).iter_by_index(
            index_daily, frozenset((date(2023, 1, 2), date(2023, 1, 3)))
        )
    )  # fmt: skip
    expected = [
        (
            date(2023, 1, 2),
            DailyUsage(
                user_id=1,
                meter_id=UUID("00000001-b3fb-47ef-b22f-a45ba5b7b645"),
                date=date(2023, 1, 2),
                value=6.0,
            ),
            1,
        ),
        (
            date(2023, 1, 3),
            DailyUsage(
                user_id=1,
                meter_id=UUID("00000001-b3fb-47ef-b22f-a45ba5b7b645"),
                date=date(2023, 1, 3),
                value=8.0,
            ),
            1,
        ),
    ]
    assert actual == expected


class Filled:
    """The store of the document after its inserts."""

    def __init__(self, conn):
        self.conn = conn
        self.graph = st.compile(query)
        self.store = st.StorePostgres.from_graph(conn, self.graph, create_tables=True)
        self.users, self.meters, self.reads = st.actions(self.store, self.graph)
        self.users.insert(user_1)
        self.meters.insert(meter_1)
        self.reads.insert(*half_hourly_reads_1)

    def days(self):
        """{(meter's first digit, day of January): value}, once the view is proved right."""
        assert st.verify(self.conn, "daily_usage") == []
        rows = list(daily_cache.zset(self.store).iter())
        assert all(count == 1 for _, count in rows)
        return {(row.meter_id.hex[7], row.date.day): row.value for row, _ in rows}


@pytest.fixture
def filled(conn) -> Filled:
    return Filled(conn)


def test_the_sql_twin_is_the_same_view(filled):
    there = st.installed(filled.conn, "daily_usage")
    assert fingerprint(filled.conn, "daily_usage", TWIN, indexes=(("date",),)) == there.fingerprint


@pytest.mark.parametrize(
    ("statement", "days"),
    [
        ("UPDATE reads SET value = value + 1 WHERE value = 8", {("1", 1): 24, ("1", 2): 18.5, ("1", 3): 9}),
        ("UPDATE reads SET timestamp = '2023-01-05' WHERE value = 8",
         {("1", 1): 24, ("1", 2): 18.5, ("1", 5): 8}),
        ("DELETE FROM reads WHERE timestamp < '2023-01-03'", {("1", 3): 8}),
        (f"INSERT INTO meters VALUES ('{meter_id_2}', 1)",
         {("1", 1): 24, ("1", 2): 18.5, ("1", 3): 8, ("2", 2): 100}),
        (f"UPDATE meters SET meter_id = '{meter_id_2}'", {("2", 2): 100}),
        ("INSERT INTO users VALUES (1, 'oli again')", {("1", 1): 48, ("1", 2): 37, ("1", 3): 16}),
        ("UPDATE users SET name = 'olly'", {("1", 1): 24, ("1", 2): 18.5, ("1", 3): 8}),
        ("UPDATE users SET user_id = 2", {}),
        ("TRUNCATE reads, meters", {}),
    ],
)  # fmt: skip
def test_plain_sql_keeps_the_cache_right(filled, statement, days):
    filled.conn.execute(statement)
    assert filled.days() == days


def test_copy_keeps_the_cache_right(filled):
    with filled.conn.cursor().copy("COPY reads FROM STDIN") as copy:
        copy.write_row((meter_id_1, datetime(2023, 1, 3, 6), 2.0))
    assert filled.days()["1", 3] == 10


def test_a_meter_moves_to_another_user(filled):
    filled.users.insert(User(user_id=2, name="ada"))
    filled.meters.replace(meter_1, Meter(meter_id=meter_id_1, user_id=2))
    assert {row.user_id for row, _ in daily_cache.zset(filled.store).iter()} == {2}
    assert filled.days() == {("1", 1): 24, ("1", 2): 18.5, ("1", 3): 8}


def test_nothing_is_committed(filled, connect: Callable[..., psycopg.Connection]):
    other = connect()
    assert other.execute("SELECT to_regclass('reads'), to_regclass('daily_usage')").fetchone() == (None, None)
    filled.reads.replace(half_hourly_reads_1[0], half_hourly_reads_1[1])
    filled.reads.remove(half_hourly_reads_1[1])
    filled.conn.rollback()
    conn = filled.conn
    assert conn.execute("SELECT to_regclass('reads'), to_regclass('daily_usage')").fetchone() == (None, None)
    assert st.list_views(conn) == []


def test_the_caller_rolls_back_to_his_own_savepoint(filled):
    with filled.conn.transaction(force_rollback=True):
        filled.reads.remove(*half_hourly_reads_1[:5])
        assert filled.days() == {}
    assert filled.days() == {("1", 1): 24, ("1", 2): 18.5, ("1", 3): 8}


def test_a_connection_with_autocommit_and_rows_as_dicts(connect):
    filled = Filled(connect(autocommit=True, row_factory=dict_row))
    filled.reads.remove(half_hourly_reads_1[0])
    assert filled.days() == {("1", 1): 0, ("1", 2): 18.5, ("1", 3): 8}
    days = daily_cache.zset(filled.store).iter_by_index(index_daily, frozenset((date(2023, 1, 3),)))
    assert [(day, row.value, count) for day, row, count in days] == [(date(2023, 1, 3), 8.0, 1)]


def test_another_process_finds_what_is_there(filled, dsn):
    filled.conn.commit()
    program = """
import os, psycopg, query as q, pg_stepping as st
with psycopg.connect(os.environ["DSN"]) as conn:
    store = st.StorePostgres.from_graph(conn, st.compile(q.query), create_tables=False)
    print(sum(row.value for row, _ in q.daily_cache.zset(store).iter()))
"""
    path = os.pathsep.join([str(EXAMPLE), *sys.path])
    environment = {**os.environ, "DSN": dsn, "PYTHONPATH": path}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "50.5\n"), ran.stderr


def test_without_create_tables_nothing_is_made(conn):
    with pytest.raises(ViewDiffers) as differs:
        st.StorePostgres.from_graph(conn, st.compile(query), create_tables=False)
    for name in ("users", "meters", "reads"):
        assert f"table public.{name} is missing" in str(differs.value)
    assert conn.execute("SELECT to_regclass('users')").fetchone() == (None,)


def test_a_missing_view_is_reported_and_can_be_made(filled):
    st.drop_view(filled.conn, "daily_usage")
    with pytest.raises(ViewDiffers, match=r"view public\.daily_usage is missing"):
        st.StorePostgres.from_graph(filled.conn, filled.graph, create_tables=False)
    st.StorePostgres.from_graph(filled.conn, filled.graph, create_tables=True)
    assert filled.days() == {("1", 1): 24, ("1", 2): 18.5, ("1", 3): 8}


def test_all_differences_of_the_tables_are_reported(filled):
    st.drop_view(filled.conn, "daily_usage")
    filled.conn.execute(
        """TRUNCATE users;
           ALTER TABLE users DROP COLUMN name, ADD COLUMN note text NOT NULL;
           ALTER TABLE meters ALTER COLUMN user_id TYPE integer;
           ALTER TABLE reads ALTER COLUMN value DROP NOT NULL"""
    )
    for create_tables in (False, True):
        with pytest.raises(ViewDiffers) as differs:
            st.StorePostgres.from_graph(filled.conn, filled.graph, create_tables=create_tables)
        message = str(differs.value)
        assert "table public.users: the column name (text NOT NULL) is missing" in message
        assert "the column note, which User has not, is NOT NULL without a default" in message
        assert "the column user_id is integer NOT NULL, not bigint NOT NULL" in message
        assert "the column value is double precision, not double precision NOT NULL" in message


@pytest.mark.parametrize("create_tables", [False, True])
def test_a_view_of_another_query_is_reported(filled, create_tables):
    st.drop_view(filled.conn, "daily_usage")
    st.create_view(filled.conn, "daily_usage", TWIN.replace("sum", "avg"), indexes=(("date",),))
    with pytest.raises(ViewDiffers, match=r"view public\.daily_usage is of another query"):
        st.StorePostgres.from_graph(filled.conn, filled.graph, create_tables=create_tables)


def test_tables_of_the_users_own(conn):
    conn.execute(
        """CREATE SCHEMA sales;
           CREATE TABLE sales."User % list" (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
               note text, name text NOT NULL, since date NOT NULL DEFAULT '2020-01-01',
               user_id bigint NOT NULL)"""
    )
    graph = st.compile(query, tables={"users": "sales.User % list", "reads": "half_hourly"})
    store = st.StorePostgres.from_graph(conn, graph, create_tables=True)
    users, meters, reads = st.actions(store, graph)
    users.insert(user_1)
    meters.insert(meter_1)
    reads.insert(*half_hourly_reads_1)
    users.replace(user_1, User(user_id=1, name="o"))
    conn.execute("INSERT INTO half_hourly VALUES (%s, '2023-01-03', 1)", [meter_id_1])
    assert [row.value for row, _ in daily_cache.zset(store).iter() if row.date.day == 3] == [9]
    assert st.verify(conn, "daily_usage") == []


def test_another_schema(conn):
    conn.execute("CREATE SCHEMA metering")
    graph = st.compile(query)
    store = st.StorePostgres.from_graph(conn, graph, create_tables=True, schema="metering")
    st.actions(store, graph)[0].insert(user_1)
    assert conn.execute("SELECT * FROM metering.users").fetchall() == [(1, "oli")]
    assert list(daily_cache.zset(store).iter()) == []


def test_remove_deletes_one_copy_for_each_row(filled):
    read = half_hourly_reads_1[3]
    filled.reads.insert(read, read, read)
    filled.reads.remove(read, read)
    assert filled.days()["1", 3] == 16


def test_remove_of_a_missing_row_changes_nothing(filled):
    read = half_hourly_reads_1[3]
    with pytest.raises(LookupError, match=r"public\.reads does not have 2 copies of HalfHourly.*8\.0"):
        filled.reads.remove(half_hourly_reads_1[0], read, read)
    with pytest.raises(LookupError, match=r"public\.users does not have User\(user_id=9"):
        filled.users.remove(User(user_id=9, name="nobody"))
    assert filled.days() == {("1", 1): 24, ("1", 2): 18.5, ("1", 3): 8}


def test_replace_changes_one_copy(filled):
    old, new = half_hourly_reads_1[3], half_hourly_reads_1[4]
    filled.reads.insert(old)
    filled.reads.replace(old, new)
    assert filled.days() == {("1", 1): 24, ("1", 2): 24.5, ("1", 3): 8}
    filled.reads.replace(new, new)
    filled.reads.replace(old, new)
    with pytest.raises(LookupError, match="does not have HalfHourlyMeterRead"):
        filled.reads.replace(old, new)
    assert filled.days() == {("1", 1): 24, ("1", 2): 30.5}


def test_inserting_or_removing_nothing(filled):
    filled.reads.insert()
    filled.reads.remove()
    assert filled.days() == {("1", 1): 24, ("1", 2): 18.5, ("1", 3): 8}


def test_a_key_that_is_not_there(filled):
    assert list(daily_cache.zset(filled.store).iter_by_index(index_daily, frozenset())) == []
    keys = frozenset((date(2022, 1, 1),))
    assert list(daily_cache.zset(filled.store).iter_by_index(index_daily, keys)) == []
    with pytest.raises(TypeError, match="the key date is date, not datetime"):
        daily_cache.zset(filled.store).iter_by_index(index_daily, frozenset((datetime(2023, 1, 1),)))
