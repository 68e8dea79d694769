"""Reading caches, in ranges and several at once, and the feed of changes, with writers at the same time."""

from __future__ import annotations

import random
import re
import threading
from typing import Any

import psycopg
import pytest

import pg_stepping as st
from pg_stepping.errors import ConnectionUnusable, PositionGone, ViewDiffers


class Pet(st.Data):
    owner: int
    kind: str | None
    weight: float


class Owner(st.Data):
    id: int
    name: str


by_kind = st.Index.pick(Pet, lambda p: (p.kind, p.weight), ascending=(False, True))
by_owner = st.Index.pick(Pet, lambda p: p.owner)
by_id = st.Index.pick(Owner, lambda o: o.id)
kept = st.Cache[Pet](name="kept_pets")
owned = st.Cache[st.Pair[Owner, Pet | st.Empty]](name="owned")
sums = st.Cache[st.Pair[float, int]](name="sums")


def query(owners: st.ZSet[Owner], pets: st.ZSet[Pet]) -> None:
    _ = kept[pets](lambda z: st.integrate_indexed(z, indexes=(by_kind, by_owner)))
    joined = st.outer_join(owners, pets, on_left=by_id, on_right=by_owner)
    _ = owned[joined](lambda z: st.integrate(z))
    summed = st.group_reduce_flatten(pets, by=by_owner, zero=float, pick_value=lambda p: p.weight)
    _ = sums[summed](lambda z: st.integrate(z))


@pytest.fixture
def stores(conn: psycopg.Connection[Any]) -> tuple[st.StorePostgres, st.StorePython]:
    graph = st.compile(query)
    return st.StorePostgres.from_graph(conn, graph, create_tables=True), st.StorePython.from_graph(graph)


def both(stores: tuple[Any, Any], place: int, what: str, *rows: Any) -> None:
    for store in stores:
        getattr(st.actions(store, store.graph)[place], what)(*rows)


def test_differential_ranges_prefixes_and_exact_keys(stores: tuple[Any, Any]) -> None:
    rng = random.Random(3)
    kinds = ["a", "A", "ä", "", None]
    weights = [-0.5, 0.0, 1.5, 2.0, float("nan"), float("inf")]
    rows = [
        Pet(owner=rng.randint(1, 3), kind=rng.choice(kinds), weight=rng.choice(weights)) for _ in range(60)
    ]
    both(stores, 1, "insert", *rows)
    asked: list[dict[str, Any]] = [
        {},
        {"match_keys": frozenset([("a", 1.5), (None, 0.0), ("zz", 1.0)])},
        {"prefix": ("a",)},
        {"prefix": (None,)},
        {"prefix": ("ä", 2.0)},
        {"at_least": ("a", 1.5)},
        {"below": ("a", 1.5)},
        {"at_least": ("", 0.0), "below": ("b", 0.0)},
        {"at_least": ("A", float("nan"))},
        {"match_keys": frozenset([(kind, float("nan")) for kind in kinds])},
        {"prefix": ("ä", float("nan"))},
    ]
    found = 0
    for how in asked:
        postgres, memory = (list(kept.zset(s).iter_by_index(by_kind, **how)) for s in stores)
        assert postgres == memory, how
        found += len(postgres)
    assert found > 60
    for wrong in (
        {"prefix": ("a", 1.0, 2)},
        {"prefix": (1,)},
        {"match_keys": frozenset(["a"])},
        {"below": (b"a", 1.0)},
    ):
        for store in stores:
            with pytest.raises(TypeError, match="key"):
                list(kept.zset(store).iter_by_index(by_kind, **wrong))
    one = list(kept.zset(stores[0]).iter_by_index(by_owner, at_least=2, below=3))
    assert one == list(kept.zset(stores[1]).iter_by_index(by_owner, frozenset([2])))
    assert len(one) > 5


def test_several_cursors_stream_at_once(stores: tuple[Any, Any]) -> None:
    both(stores, 1, "insert", *(Pet(owner=n, kind="x", weight=n / 2) for n in range(500)))
    zset = kept.zset(stores[0])
    ahead = zset.iter_by_index(by_owner, at_least=1)
    pairs = [(a, b) for (a, _, _), (b, _, _) in zip(zset.iter_by_index(by_owner), ahead, strict=False)]
    assert pairs == [(n, n + 1) for n in range(499)]
    first = zset.iter()
    row, count = next(first)
    assert (type(row), count) == (Pet, 1)
    conn = stores[0].conn
    rows = conn.execute(f"SELECT count(*), sum(weight) FROM ({zset.to_sql()}) AS z").fetchone()
    assert rows == (500, sum(n / 2 for n in range(500)))


def test_the_feed_of_an_outer_join_has_its_columns_in_their_places(stores: tuple[Any, Any]) -> None:
    stores[0].conn.row_factory = psycopg.rows.dict_row
    st.changes(stores[0], owned)
    both(stores, 0, "insert", Owner(id=1, name="ada"))
    both(stores, 1, "insert", Pet(owner=1, kind="cat", weight=1.0))
    told = [[(c.row, c.count) for c in st.changes(store, owned)] for store in stores]
    assert sorted(map(repr, told[0])) == sorted(map(repr, told[1]))
    assert len(told[0]) == 3


def test_only_who_may_read_a_view_is_told_its_changes(conn: psycopg.Connection[Any]) -> None:
    def whole(pets: st.ZSet[Pet]) -> Any:
        return st.group_reduce_flatten(pets, by=by_owner, zero=float, pick_value=lambda p: p.weight)

    graph = st.compile(whole)
    (pets,) = st.actions(st.StorePostgres.from_graph(conn, graph, create_tables=True), graph)
    conn.execute("CREATE ROLE stepping_teller; GRANT INSERT ON pets TO stepping_teller")
    conn.execute("GRANT USAGE ON SCHEMA stepping TO stepping_teller")
    for become in ("SET ROLE stepping_teller", "SET SESSION AUTHORIZATION stepping_teller"):
        conn.execute(become)
        conn.execute("INSERT INTO pets VALUES (1, 'x', 1)")
        refused = pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not see what changes")
        with refused, conn.transaction():
            pets.insert(Pet(owner=1, kind="x", weight=2.0))
        conn.execute("RESET SESSION AUTHORIZATION; RESET ROLE")
    conn.execute("GRANT SELECT ON whole_output TO stepping_teller; SET ROLE stepping_teller")
    assert pets.insert(Pet(owner=2, kind="x", weight=2.0)) == (st.ZSetPython({st.Pair(2.0, 2): 1}),)
    conn.execute("RESET ROLE; ALTER TABLE stepping.whole_output ENABLE ROW LEVEL SECURITY")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not see what changes"):
        pets.insert(Pet(owner=1, kind="x", weight=2.0))


def test_what_triggers_tell_follows_the_views_query(conn: psycopg.Connection[Any]) -> None:
    def doubled(pets: st.ZSet[Pet]) -> Any:
        found = st.group_reduce_flatten(pets, by=by_owner, zero=float, pick_value=lambda p: p.weight)
        made = st.map(found, f=lambda p: st.Pair(p.left + p.left, p.right))
        _ = sums[made](lambda z: st.integrate(z))
        return made

    def plain(pets: st.ZSet[Pet]) -> Any:
        found = st.group_reduce_flatten(pets, by=by_owner, zero=float, pick_value=lambda p: p.weight)
        _ = sums[found](lambda z: st.integrate(z))
        return found

    before, after = st.compile(plain), st.compile(doubled)
    store = st.StorePostgres.from_graph(conn, before, create_tables=True)
    st.changes(store, sums)
    conn.commit()
    conn.autocommit = True
    assert st.change_view(conn, "sums", after.sql["sums"]).kind == "in place"
    conn.autocommit = False
    for create in (False, True):
        (pets,) = st.actions(st.StorePostgres.from_graph(conn, after, create_tables=create), after)
        (changed,) = pets.insert(Pet(owner=5, kind=None, weight=1.5))
        assert changed == st.ZSetPython({st.Pair(3.0, 5): 1})
        pets.remove(Pet(owner=5, kind=None, weight=1.5))
    with pytest.raises(st.SteppingError, match="tells the changes of an earlier query of sums"):
        st.changes(st.StorePostgres.from_graph(conn, after, create_tables=False), sums)


def test_the_feed_loses_nothing_while_writers_write(
    stores: tuple[Any, Any], dsn: str, conn: psycopg.Connection[Any]
) -> None:
    """A reader follows by position while transactions begin, wait and commit in another order."""
    st.changes(stores[0], sums)
    conn.commit()
    done = threading.Event()
    failed: list[BaseException] = []

    def write(number: int) -> None:
        rng = random.Random(number)
        try:
            with psycopg.connect(dsn) as own:
                for _ in range(25):
                    owner = rng.randint(1, 4)
                    try:
                        own.execute("INSERT INTO pets VALUES (%s, 'x', %s)", [owner, rng.randint(1, 9)])
                        if rng.random() < 0.3:
                            own.execute("DELETE FROM pets WHERE owner = %s AND weight > 5", [owner])
                    except psycopg.errors.DeadlockDetected:  # of two statements of a transaction
                        own.rollback()
                    own.rollback() if rng.random() < 0.2 else own.commit()
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    told: list[st.RowChange[Any]] = []

    def follow() -> None:
        with psycopg.connect(dsn, autocommit=True) as own:
            store = st.StorePostgres.from_graph(own, stores[0].graph, create_tables=False)
            while True:
                last = done.is_set()
                told.extend(st.changes(store, sums, since=told[-1].position if told else 0))
                if last:
                    return

    reader = threading.Thread(target=follow)
    reader.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert failed == []
    positions = [change.position for change in told]
    assert positions == sorted(set(positions))
    assert len(positions) > 50
    assert st.ZSetPython((c.row, c.count) for c in told) == sums.zset(stores[0])


def test_what_tells_an_action_its_changes_goes_with_the_view(conn: psycopg.Connection[Any]) -> None:
    def heads(pets: st.ZSet[Pet]) -> Any:
        found = st.group_reduce_flatten(pets, by=by_owner, zero=int, pick_value=lambda p: 1)
        _ = kept[found](lambda z: st.integrate(z))
        return found

    kept = st.Cache[Any](name="heads %s")
    functions = (
        r"SELECT proname FROM pg_proc WHERE proname ~ '^heads.*__(gather|insert|remove|replace)' ORDER BY 1"
    )
    graph = st.compile(heads)
    for create in (True, False):
        (pets,) = st.actions(st.StorePostgres.from_graph(conn, graph, create_tables=create), graph)
        made = [name for (name,) in conn.execute(functions)]
        assert [re.findall("__([a-z]+)", name)[-1] for name in made] == [
            "gather",
            "insert",
            "remove",
            "replace",
        ]
        (changed,) = pets.insert(
            *[Pet(owner=n, kind="\n", weight=1.5) for n in (7, 7, 8) if n == 7 or create]
        )
        assert changed.to_python().get_count(st.Pair(4 if not create else 2, 7)) == 1
    conn.execute(f'DROP FUNCTION stepping."{made[1]}"')  # a migration made the view: slower, and the same
    with pytest.raises(ViewDiffers, match="changed or dropped since this store"), conn.transaction():
        pets.insert(Pet(owner=9, kind=None, weight=1.5))
    (pets,) = st.actions(st.StorePostgres.from_graph(conn, graph, create_tables=False), graph)
    assert pets.insert(Pet(owner=9, kind=None, weight=1.5)) == (st.ZSetPython({st.Pair(1, 9): 1}),)
    with pytest.raises(ConnectionUnusable, match="busy"), conn.pipeline():
        pets.insert(Pet(owner=9, kind=None, weight=1.5))
    st.drop_view(conn, "heads %s")
    assert conn.execute(functions).fetchall() == []
    for write in (pets.remove, pets.insert):  # else these would tell that nothing has changed
        with pytest.raises(ViewDiffers, match="changed or dropped since this store"), conn.transaction():
            write(Pet(owner=9, kind=None, weight=1.5))


def test_whatever_cursors_the_caller_has(database: Any) -> None:
    graph = st.compile(query)
    with psycopg.connect(database("plpgsql"), prepare_threshold=0) as conn:
        conn.cursor_factory, conn.row_factory = psycopg.RawCursor, psycopg.rows.dict_row
        conn.server_cursor_factory = psycopg.RawServerCursor
        store = st.StorePostgres.from_graph(conn, graph, create_tables=True)
        st.changes(store, sums)
        owners, pets = st.actions(store, graph)
        pets.insert(Pet(owner=1, kind="%s", weight=2.0))
        assert st.changes(store, sums)[-1].row == st.Pair(2.0, 1)
        assert [key for key, _, _ in kept.zset(store).iter_by_index(by_kind, prefix=("%s",))] == [("%s", 2.0)]
        assert pets.remove(Pet(owner=1, kind="%s", weight=2.0)) == owners.insert() == ()
        conn.rollback()
        with pytest.raises(st.SteppingError, match=r"no maintained view public\.sums"):
            st.changes(store, sums)


def test_a_position_of_a_feed_that_went_with_its_view_is_told(
    conn: psycopg.Connection[Any], stores: tuple[st.StorePostgres, Any]
) -> None:
    store = stores[0]
    _, pets = st.actions(store, store.graph)
    pets.insert(*[Pet(owner=n, kind=None, weight=1.0) for n in range(5)])
    read = st.changes(store, sums)
    for anew in ("query", "drop"):
        pets.insert(Pet(owner=1, kind=None, weight=4.0))
        assert len(st.changes(store, sums, since=read[-1].position)) == 2
        view = st.installed(conn, "sums")
        assert view is not None
        if anew == "query":
            changed = view.query.replace("FROM public.pets", "FROM public.pets WHERE pets.owner <> 3")
            assert st.change_view(conn, "sums", changed).kind == "new version"
        else:
            st.drop_view(conn, "sums")
            st.create_view(conn, "sums", view.query)
        with pytest.raises(PositionGone, match="when the view was made anew") as refused:
            st.changes(store, sums, since=read[-1].position)
        assert "begin again at 0" in str(refused.value)
        read = st.changes(store, sums)
        assert read[0].position > 10**15
        rows = conn.execute("SELECT * FROM sums").fetchall()
        assert sorted((c.row.left, c.row.right) for c in read) == sorted(rows)
        assert rows
        assert st.changes(store, sums, since=read[-1].position) == []
