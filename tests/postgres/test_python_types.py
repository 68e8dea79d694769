"""Every type of a field goes to Postgres and comes back the same; the examples of stepping's own documentation."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

import pg_stepping as st
from pg_stepping.frontend.python.picture import dot


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Street(st.Data):
    name: str
    number: int | None


class Node(st.Data):
    key: str
    value: str | tuple[Node, ...]


class Everything(st.Data):
    a_int: int
    a_float: float
    a_text: str
    a_bool: bool
    a_decimal: Decimal
    a_date: date
    naive: datetime
    aware: st.AwareDatetime
    a_time: time
    a_delta: timedelta
    a_uuid: UUID
    a_bytes: bytes
    color: Color
    level: Level | None
    maybe: float | None
    fixed: tuple[int, str]
    many: tuple[int, ...]
    listed: list[str]
    colors: list[Color]
    chosen: frozenset[int]
    told: dict[str, Any]
    by_number: dict[int, date]
    street: Street
    other: Street | None
    streets: list[Street]
    either: int | str
    tree: Node
    pair: st.Pair[int, Street]


def everything(**changes: Any) -> Everything:
    values: dict[str, Any] = dict(  # noqa: C408
        
        a_int=2**63 - 1, a_float=0.1, a_text="it's \"ä\" %s {x} \\", a_bool=True, a_decimal=Decimal("1.50"),
        a_date=date(2024, 2, 29), naive=datetime(2023, 1, 1, 2, 3, 4, 5),
        aware=datetime(2023, 1, 1, 2, tzinfo=timezone(timedelta(hours=5))), a_time=time(23, 59, 59, 999999),
        a_delta=timedelta(days=-3, microseconds=7), a_uuid=UUID(int=7), a_bytes=b"\x00\xff'", color=Color.BLUE,
        level=Level.HIGH, maybe=None, fixed=(1, "x"), many=(3, 1, 2), listed=["b", 'a"{},\\', ""],
        colors=[Color.RED], chosen=frozenset({3, 1}), told={"k": [1, None, {"n": 1.5}]},
        by_number={2: date(2023, 1, 1)}, street=Street(name="s", number=None), other=None,
        streets=[Street(name="t", number=1)], either="text", tree=Node(key="k", value=(Node(key="l", value="v"),)),
        pair=st.Pair(1, Street(name="p", number=2)),
    )  # fmt: skip
    return Everything(**values | changes)


ROWS = [
    everything(),
    everything(other=Street(name="o", number=None), either=5, level=None, maybe=1e300, many=(), listed=[]),
    everything(a_float=float("inf"), a_int=-(2**63), a_text="", told={}, chosen=frozenset(), streets=[]),
    everything(
        a_float=float("nan"), maybe=-0.0, a_decimal=Decimal("NaN"), aware=datetime(1, 1, 2, tzinfo=UTC)
    ),
]


def kept(rows: st.ZSet[Everything]) -> st.ZSet[Everything]:
    return rows


def test_differential_rows_of_all_types_come_back(conn: psycopg.Connection[Any]) -> None:
    graph = st.compile(kept)
    store = st.StorePostgres.from_graph(conn, graph, create_tables=True)
    memory = st.StorePython.from_graph(graph)
    (postgres,), (python,) = st.actions(store, graph), st.actions(memory, graph)
    for row in ROWS:
        (changed,), (expected,) = postgres.insert(row), python.insert(row)
        assert repr(changed) == repr(expected)
        [(back, count)] = changed.iter()
        assert count == 1
        assert repr(back) == repr(row).replace(repr(row.aware), repr(row.aware.astimezone(UTC)))
    assert conn.execute("SELECT color, street_name, fixed_1, many FROM rows LIMIT 1").fetchone() == (
        "blue", "s", "x", [3, 1, 2],
    )  # fmt: skip
    for row in ROWS[:3]:
        (changed,), (expected,) = postgres.remove(row), python.remove(row)
        assert repr(changed) == repr(expected)
        assert len(changed.to_python()) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("a_int", "1"), ("a_int", True), ("a_int", 2**63), ("a_text", "\0"), ("naive", datetime.now(UTC)),
     ("aware", datetime(2023, 1, 1)), ("color", "red"), ("many", ["x"]), ("street", None), ("told", {1: 2}),
     ("either", 1.5), ("a_date", datetime(2023, 1, 1))],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_by_name(field: str, value: Any) -> None:
    (rows,) = st.actions(memory := st.StorePython.from_graph(graph := st.compile(kept)), graph)
    with pytest.raises((TypeError, ValueError), match=rf"Everything\.{field}|a NUL|bigint"):
        rows.insert(everything(**{field: value}))
    assert memory.rows[graph.sources[0]].empty()


def test_fields_are_found_by_name_never_by_place(conn: psycopg.Connection[Any]) -> None:
    class Before(st.Data):
        first: int
        second: int

    class After(st.Data):
        second: int
        first: int

    class Renamed(st.Data):
        first: int
        third: int

    def query(row_type: Any) -> Any:
        def numbers(numbers: Any) -> Any:
            return st.Cache(name="kept")[numbers](lambda a: st.integrate(a))

        numbers.__annotations__["numbers"] = st.ZSet[row_type]
        return st.compile(numbers)

    graph = query(Before)
    (numbers,) = st.actions(st.StorePostgres.from_graph(conn, graph, create_tables=True), graph)
    numbers.insert(Before(first=1, second=2))
    st.drop_view(conn, "kept")
    graph = query(After)
    store = st.StorePostgres.from_graph(conn, graph, create_tables=True)
    assert st.ZSetPostgres(graph.kept[0], conn, store.schema) == st.ZSetPython({After(first=1, second=2): 1})
    with pytest.raises(st.SteppingError, match=r"the column third .* is missing"):
        st.StorePostgres.from_graph(conn, query(Renamed), create_tables=True)


class Product(st.Data):
    name: str
    price: float


class LineItem(st.Data):
    basket_id: int
    product_name: str
    qty: int


receipts = st.Cache[str]()
by_line = st.Index.identity(str)


def to_line(p: st.Pair[float, int]) -> str:
    return f"basket {p.right}: {p.left}"


def shop(products: st.ZSet[Product], line_items: st.ZSet[LineItem]) -> st.ZSet[st.Pair[Product, LineItem]]:
    joined = st.join(
        products,
        line_items,
        on_left=st.Index.pick(Product, lambda p: p.name),
        on_right=st.Index.pick(LineItem, lambda i: i.product_name),
    )
    sums = st.group_reduce_flatten(
        joined,
        by=st.Index.pick(st.Pair[Product, LineItem], lambda p: p.right.basket_id),
        zero=float,
        pick_value=lambda p: p.left.price * p.right.qty,
    )
    _ = receipts[st.map(sums, f=to_line)](lambda a: st.integrate_indexed(a, indexes=(by_line,)))
    return joined


@pytest.mark.parametrize("kind", ["postgres", "memory"])
@pytest.mark.parametrize("language", ["plpython3u"])
def test_receipts(conn: psycopg.Connection[Any], kind: str) -> None:
    graph = st.compile(shop)
    store: Any = (
        st.StorePython.from_graph(graph)
        if kind == "memory"
        else st.StorePostgres.from_graph(conn, graph, create_tables=True)
    )
    products, items = st.actions(store, graph)
    tv, dearer = Product(name="tv", price=3), Product(name="tv", price=4)
    products.insert(tv, Product(name="radio", price=5))
    items.insert(
        LineItem(basket_id=1, product_name="radio", qty=4),
        LineItem(basket_id=1, product_name="tv", qty=1),
        LineItem(basket_id=2, product_name="tv", qty=2),
    )
    (changed,) = products.replace(tv, dearer)
    assert sorted(count for _, count in changed.iter()) == [-1, -1, 1, 1]
    assert {p.right.qty for p, count in changed.iter() if p.left == dearer and count == 1} == {1, 2}
    assert products.replace(dearer, dearer) == (st.ZSetPython(),)
    lines = list(receipts.zset(store).iter_by_index(by_line))
    assert lines == [(line, line, 1) for line in ("basket 1: 24.0", "basket 2: 8.0")]
    with pytest.raises(st.RowNotFound, match="Product"):
        products.remove(tv)
    assert receipts.zset(store) == st.ZSetPython({line: 1 for line, _, _ in lines})


class Tag(st.Data):
    owner: int
    name: str


def gathered(tags: st.ZSet[Tag]) -> st.ZSet[st.Pair[st.ZSetPython[str], int]]:
    def zero() -> st.ZSetPython[str]:
        return st.ZSetPython()

    def pick(tag: Tag) -> st.ZSetPython[str]:
        return st.ZSetPython({tag.name: 1})

    return st.group_reduce_flatten(tags, by=st.Index.pick(Tag, lambda t: t.owner), zero=zero, pick_value=pick)


def test_collections_as_sums(conn: psycopg.Connection[Any]) -> None:
    graph = st.compile(gathered)
    memory, store = (
        st.StorePython.from_graph(graph),
        st.StorePostgres.from_graph(conn, graph, create_tables=True),
    )
    for one in (memory, store):
        (tags,) = st.actions(one, graph)
        tags.insert(
            Tag(owner=1, name="a"), Tag(owner=1, name="a"), Tag(owner=1, name="b"), Tag(owner=2, name="a")
        )
        (changed,) = tags.remove(Tag(owner=1, name="a"), Tag(owner=2, name="a"))
        assert changed == st.ZSetPython(
            {
                st.Pair(st.ZSetPython({"a": 2, "b": 1}), 1): -1,
                st.Pair(st.ZSetPython({"a": 1, "b": 1}), 1): 1,
                st.Pair(st.ZSetPython({"a": 1}), 2): -1,
            }
        )


def test_the_feed_tells_all_changes_in_order(conn: psycopg.Connection[Any]) -> None:
    cache = st.Cache[st.Pair[int, int]](name="sums")

    def query(tags: st.ZSet[Tag]) -> None:
        sums = st.group_reduce_flatten(
            tags, by=st.Index.pick(Tag, lambda t: t.owner), zero=int, pick_value=lambda t: t.owner + 1
        )
        _ = cache[sums](lambda a: st.integrate(a))

    graph = st.compile(query)
    memory, store = (
        st.StorePython.from_graph(graph),
        st.StorePostgres.from_graph(conn, graph, create_tables=True),
    )
    (tags,), (same) = st.actions(store, graph), st.actions(memory, graph)
    tags.insert(Tag(owner=1, name="a"))
    first = st.changes(store, cache)
    assert [(c.row, c.count) for c in first] == [(st.Pair(2, 1), 1)]
    conn.execute("UPDATE tags SET owner = 2")
    conn.execute("INSERT INTO tags VALUES (2, 'b'), (3, 'c')")
    later = st.changes(store, cache, since=first[-1].position)
    assert [c.position for c in later] == sorted(c.position for c in later)
    told = [(c.row, c.count) for c in [*first, *later]]
    assert st.ZSetPython(told) == cache.zset(store) == st.ZSetPython({st.Pair(6, 2): 1, st.Pair(4, 3): 1})
    assert told.index((st.Pair(2, 1), -1)) > told.index((st.Pair(2, 1), 1))
    assert st.changes(store, cache, since=later[-1].position) == []
    assert st.explain(conn, "sums", format="dot").startswith("digraph view {")
    assert "n1 -> n2" in dot(graph)
    conn.execute("TRUNCATE tags")
    assert st.ZSetPython((c.row, c.count) for c in st.changes(store, cache)).empty()
    same[0].insert(Tag(owner=1, name="a"))
    assert [(c.row, c.count) for c in st.changes(memory, cache)] == [(st.Pair(2, 1), 1)]
    st.drop_view(conn, "sums")
    assert conn.execute("SELECT to_regclass('stepping.sums__changes')").fetchone() == (None,)


class Inside(st.Data):
    a: int
    b: str | None


class Piece(st.Data):
    id: int
    inside: Inside | None
    set_of: frozenset[int]
    spans: frozenset[timedelta]
    names: dict[str, float]
    either: int | str
    listed: list[str | None]


def itself(p: Piece) -> Piece:
    return p


def test_differential_keys_and_orders_of_collections(database: Any) -> None:
    """Keys that are lists, sets, dicts and unions; equal keys are told apart by columns that are."""
    by_set, by_list, by_either, by_names, by_spans = (
        st.Index.pick(Piece, f, ascending=up)
        for f, up in (
            (lambda p: p.set_of, True),
            (lambda p: p.listed, False),
            (lambda p: p.either, True),
            (lambda p: p.names, False),
            (lambda p: p.spans, True),
        )
    )
    indexes: tuple[st.Index[Piece, Any], ...] = (by_set, by_list, by_either, by_names, by_spans)
    pieces_kept = st.Cache[Piece](name="pieces_kept")

    def chosen(pieces: st.ZSet[Piece]) -> Any:
        _ = pieces_kept[pieces](lambda z: st.integrate_indexed(z, indexes=indexes))
        firsts = tuple(st.map(st.first_n(pieces, index=i, n=3), f=lambda p: p.id) for i in indexes)
        sums = tuple(
            st.group_reduce_flatten(pieces, by=i, zero=int, pick_value=lambda p: p.id) for i in indexes
        )
        return (
            *firsts,
            *sums,
            st.map(pieces, f=itself),
            st.first_n(pieces, index=st.Index.atom("all", Piece, int, lambda p: 1), n=4),
        )

    with psycopg.connect(database("plpgsql")) as conn:
        both_agree(conn, chosen, indexes, pieces_kept)


def both_agree(conn: psycopg.Connection[Any], query: Any, indexes: Any, kept: st.Cache[Piece]) -> None:
    graph = st.compile(query)
    stores = st.StorePostgres.from_graph(conn, graph, create_tables=True), st.StorePython.from_graph(graph)
    (postgres,), (memory,) = (st.actions(store, graph) for store in stores)
    rows = [
        Piece(id=n, inside=Inside(a=n, b=None) if n % 2 else None, set_of=frozenset((n * 5 % 11, 10, n % 2)), spans=frozenset((timedelta(n % 3 - 1), timedelta(0))),
              names=[{"b": 1.5, "aa": -0.0}, {"ä": 1e20}, {}, {"b": 1e-7}][n % 4], either=[9, 10, "9", "é"][n % 4],
              listed=[["b", None], ["B"], [], ["b"]][n // 2 % 4])
        for n in range(9)
    ]  # fmt: skip
    for row in rows:
        assert postgres.insert(row) == memory.insert(row)
    for index in indexes:
        read = [list(store.zset(kept).iter_by_index(index)) for store in stores]
        assert read[0] == read[1] and len(read[0]) == 9
        in_order = [[list(row.names) for _, row, _ in rows_read] for rows_read in read]
        assert in_order[0] == in_order[1]
        bounds = [list(s.zset(kept).iter_by_index(index, below=index.f(rows[5]))) for s in stores]
        assert bounds[0] == bounds[1]
    for row in rows[::2]:
        assert postgres.remove(row) == memory.remove(row)


class Amount(st.Data):
    id: int
    value: Decimal
    values: list[Decimal]
    floats: tuple[float, ...]
    at: frozenset[st.AwareDatetime]
    named: dict[str, Decimal]


def test_differential_equal_values_in_several_forms(conn: psycopg.Connection[Any]) -> None:
    """NaN equals itself, -0 is 0, 1E+3 is written out, instants are in UTC: in memory as in Postgres."""

    def zero() -> st.ZSetPython[Decimal]:
        return st.ZSetPython()

    def pick(a: Amount) -> st.ZSetPython[Decimal]:
        return st.ZSetPython({a.value: 1})

    def forms(amounts: st.ZSet[Amount]) -> Any:
        ends = st.map(amounts, f=lambda a: st.Pair(a.value, a.value))
        by_value = st.Index.pick(Amount, lambda a: a.value)
        one = st.Index.atom("one", Amount, int, lambda a: 1)
        return (
            amounts,
            st.transitive_closure(ends),
            st.group_reduce_flatten(amounts, by=by_value, zero=int, pick_value=lambda a: a.id),
            st.group_reduce_flatten(amounts, by=one, zero=zero, pick_value=pick),
        )

    graph = st.compile(forms)
    stores: Any = (
        st.StorePostgres.from_graph(conn, graph, create_tables=True),
        st.StorePython.from_graph(graph),
    )
    (postgres,), (memory,) = (st.actions(store, graph) for store in stores)
    texts = ["NaN", "-0", "0.0", "1E+3", "1000", "1.50", "1.5", "-Infinity", "sNaN"]
    moment = datetime(2024, 1, 1, 5, tzinfo=timezone(timedelta(hours=5)))
    rows = [
        Amount(
            id=n, value=Decimal(text), values=[Decimal(text)], floats=(float("nan"), n / 3),
            at=frozenset([moment]), named={"a": Decimal(text)},
        )
        for n, text in enumerate(texts)
    ]  # fmt: skip
    for row in rows:
        changed, expected = postgres.insert(row), memory.insert(row)
        assert changed == expected
        ([(told, _)], [(same, _)]) = changed[0].iter(), expected[0].iter()
        assert repr(told) == repr(same)
    for row in rows[::-1]:
        assert postgres.remove(row) == memory.remove(row)
    for wrong in (Decimal("1E+131072"), Decimal("1E-16384")):
        with pytest.raises(ValueError, match="numeric cannot hold"):
            memory.insert(Amount(id=1, value=wrong, values=[], floats=(), at=frozenset(), named={}))


def test_a_row_of_a_subclass_is_another_row(conn: psycopg.Connection[Any]) -> None:
    class Longer(Street):
        town: str

    class House(st.Data):
        street: Street

    def houses_and_streets(houses: st.ZSet[House], streets: st.ZSet[Street]) -> Any:
        return houses, streets

    graph = st.compile(houses_and_streets)
    longer = Longer(name="a", number=1, town="t")
    stores: Any = (
        st.StorePostgres.from_graph(conn, graph, create_tables=True),
        st.StorePython.from_graph(graph),
    )
    for store in stores:
        houses, streets = st.actions(store, graph)
        with pytest.raises(TypeError, match=r"House\.street is a Street, not .*Longer\("):
            houses.insert(House(street=longer))
        with pytest.raises(TypeError, match=r"(row of|a) Street(,| is wanted,) not .*Longer\("):
            streets.insert(Street(name="b", number=None), longer)


def test_rows_that_no_key_can_be_are_refused_where_they_are_made() -> None:

    def lists(pieces: st.ZSet[Piece]) -> Any:
        return st.map(pieces, f=lambda p: p.listed)

    def dicts(pieces: st.ZSet[Piece]) -> Any:
        return st.map(pieces, f=lambda p: (p.id, p.names))

    def ends(pieces: st.ZSet[Piece]) -> Any:
        return st.transitive_closure(st.map(pieces, f=lambda p: st.Pair(p.listed, p.listed)))

    for query in (lists, dicts, ends):
        with pytest.raises(st.UnsupportedQuery, match=r"rows of (list|dict)\[.*\n.*make a tuple"):
            st.compile(query)
