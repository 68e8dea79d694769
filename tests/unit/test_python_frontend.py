"""Queries in Python without a server: row types, tracing, the SQL that comes out, and what is refused."""

from __future__ import annotations

import dataclasses
import runpy
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from pg_stepping.errors import NameTaken, UnsupportedQuery
from pg_stepping.frontend import python as st
from pg_stepping.frontend.python.graph import snake_case
from pg_stepping.frontend.python.rows import columns

EXAMPLE = Path(__file__).parents[2] / "examples" / "meter_reads" / "query.py"


class Item(st.Data):
    id: int
    price: float
    note: str | None
    sold: datetime


class Sale(st.Data):
    item_id: int
    number: int
    date: date


class Named(Item, Sale):
    flag: bool = True


class Priced(st.Data):
    id: int
    price: float


by_id = st.Index.pick(Priced, lambda p: p.id)


def sql_of(f, row_type=Item):
    """The SELECT of a view that maps `items` by `f`."""

    def query(items):
        return st.Cache(name="v")[st.map(items, f=f)](lambda a: st.integrate_indexed(a, indexes=()))

    query.__annotations__ = {"items": st.ZSet[row_type]}
    return on_one_line(st.compile(query).sql["v"])


def on_one_line(sql):
    return " ".join(sql.split()).replace("( ", "(").replace(" )", ")")


# --- row types ------------------------------------------------------------------------------------


def test_a_data_class_is_a_frozen_dataclass_made_by_keywords():
    priced = Priced(id=1, price=2.0)
    assert priced == Priced(id=1, price=2.0)
    assert hash(priced) == hash(Priced(id=1, price=2.0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        priced.id = 2
    with pytest.raises(TypeError):
        Priced(1, 2.0)


def test_fields_and_their_types():
    assert {n: str(t) for n, t in columns(Named).items()} == {
        "item_id": "int", "number": "int", "date": "date",
        "id": "int", "price": "float", "note": "str | None", "sold": "datetime", "flag": "bool",
    }  # fmt: skip


def test_quoted_annotations_may_name_what_only_a_function_knows():
    Key = UUID

    class Local(st.Data):
        key: Key

    def query(rows: st.ZSet[Local]) -> None:
        st.Cache[Local]()[rows](lambda a: st.integrate_indexed(a, indexes=()))

    assert st.compile(query).sql == {"local": "SELECT\n  rows.key\nFROM rows"}


@pytest.mark.parametrize("annotation", [complex, list[complex], "Missing", object])
def test_a_field_of_another_type_is_refused_by_name(annotation):
    odd = type("Odd", (st.Data,), {"__annotations__": {"field": annotation}, "__module__": __name__})
    with pytest.raises(UnsupportedQuery, match=r"the field Odd\.field of "):
        columns(odd)


@pytest.mark.parametrize(
    ("name", "snake"),
    [("DailyUsage", "daily_usage"), ("User", "user"), ("HTTPRead2Day", "http_read2_day"), ("a_b", "a_b")],
)
def test_views_are_named_in_snake_case(name, snake):
    assert snake_case(name) == snake


# --- SQL ------------------------------------------------------------------------------------------


def test_the_seed_query_as_sql():
    program = runpy.run_path(str(EXAMPLE))
    assert st.compile(program["query"]).sql == {
        "daily_usage": """SELECT
  meters.user_id,
  meters.meter_id,
  reads."timestamp"::date AS date,
  sum(reads.value) AS value
FROM users
JOIN meters
  ON users.user_id = meters.user_id
JOIN reads
  ON meters.meter_id = reads.meter_id
GROUP BY
  meters.user_id,
  meters.meter_id,
  reads."timestamp"::date"""
    }


@pytest.mark.parametrize(
    ("f", "price"),
    [
        (lambda i: i.price + 1, "items.price + '1'::bigint"),
        (lambda i: 2 * (i.price - 0.5), "'2'::bigint * (items.price - '0.5'::double precision)"),
        (lambda i: i.price - (i.price - i.id), "items.price - (items.price - items.id)"),
        (lambda i: -(i.price + i.price), "-(items.price + items.price)"),
        (lambda i: i.id * i.id, "(items.id * items.id)::double precision"),
        (lambda i: sum([i.price, i.price]), "('0'::bigint + items.price) + items.price"),
        (lambda i: 7, "'7.0'::double precision"),
        (lambda i: float("nan"), "'nan'::double precision"),
    ],
)
def test_arithmetic_and_constants(f, price):
    text = sql_of(lambda i: Priced(id=i.id, price=f(i)))
    assert text.lower() == f"select items.id, {price} as price from items"


def test_constants_of_every_type():
    class All(st.Data):
        a: str
        b: bool
        c: date
        d: UUID
        e: Decimal
        f: bytes
        g: int | None

    day, key, amount = date(2023, 1, 2), UUID(int=1), Decimal("1.10")
    text = sql_of(lambda i: All(a="it's %s", b=True, c=day, d=key, e=amount, f=b"\x00", g=None))
    assert text == (
        r"SELECT E'it''s \x25s'::text AS a, TRUE AS b, '2023-01-02'::date AS c,"
        " '00000000-0000-0000-0000-000000000001'::uuid AS d, '1.10'::decimal AS e,"
        r" E'\x5Cx00'::bytea AS f, (NULL)::bigint AS g FROM items"
    )


def test_rows_can_be_copied_with_other_fields():
    assert "items.id + '1'::bigint AS id" in sql_of(lambda i: dataclasses.replace(i, id=i.id + 1))
    text = sql_of(lambda i: Named(**dataclasses.asdict(i), item_id=1, number=2, date=i.sold.date()))
    assert "items.sold::date AS date" in text
    assert "items.price" in text


def test_maps_after_maps_keep_their_parentheses():
    def query(items: st.ZSet[Priced]) -> None:
        once = st.map(items, f=lambda p: Priced(id=p.id, price=p.price - 1))
        twice = st.map(once, f=lambda p: Priced(id=p.id, price=p.price * p.price))
        st.Cache[Priced]()[twice](lambda a: st.integrate_indexed(a, indexes=(by_id,)))

    text = on_one_line(st.compile(query).sql["priced"])
    assert "(items.price - '1'::bigint) * (items.price - '1'::bigint) AS price" in text


def test_self_join_and_grouping_that_is_read_on():
    class Total(st.Data):
        id: int
        total: int

    def query(sales: st.ZSet[Sale]) -> None:
        by_item = st.Index.pick(Sale, lambda s: s.item_id)
        pairs = st.join(sales, sales, on_left=by_item, on_right=by_item)
        flat = st.map(pairs, f=lambda p: Total(id=p.left.item_id, total=p.right.number))
        by = st.Index.pick(Total, lambda t: t.id)
        sums = st.group_reduce_flatten(flat, by=by, zero=int, pick_value=lambda t: t.total)
        totals = st.map(sums, f=lambda p: Total(id=p.right, total=p.left))
        again = st.join(totals, sales, on_left=by, on_right=by_item)
        ids = st.map(again, f=lambda p: p.left)
        st.Cache[Total]("twice")[ids](lambda a: st.integrate_indexed(a, indexes=()))

    text = on_one_line(st.compile(query, tables={"sales": "shop.sales"}).sql["twice"])
    assert text == (
        "SELECT grouped.id, grouped.total"
        " FROM (SELECT sales.item_id AS id, sum(sales_2.number)::bigint AS total"
        " FROM shop.sales JOIN shop.sales AS sales_2 ON sales.item_id = sales_2.item_id"
        " GROUP BY sales.item_id) AS grouped"
        " JOIN shop.sales AS sales_3 ON grouped.id = sales_3.item_id"
    )


def test_keys_of_several_columns_and_a_join_of_joins():
    def query(a: st.ZSet[Sale], b: st.ZSet[Sale], c: st.ZSet[Sale], d: st.ZSet[Sale]) -> None:
        key = st.Index.pick(Sale, lambda s: (s.item_id, s.date))
        left, right = (st.join(x, y, on_left=key, on_right=key) for x, y in ((a, b), (c, d)))
        key_2 = st.Index.pick(st.Pair[Sale, Sale], lambda p: p.right.number)
        both = st.map(st.join(left, right, on_left=key_2, on_right=key_2), f=lambda p: p.left.left)
        st.Cache[Sale]()[both](lambda a: st.integrate_indexed(a, indexes=(key,)))

    text = on_one_line(st.compile(query).sql["sale"])
    assert text == (
        "SELECT a.item_id, a.number, a.date FROM a"
        " JOIN b ON a.item_id = b.item_id AND a.date = b.date"
        " JOIN d ON b.number = d.number"
        " JOIN c ON c.item_id = d.item_id AND c.date = d.date"
    )


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "construct"),
    [
        (lambda i: "%s" % i.id, "the operator % on str and int"),  # noqa: UP031
        (lambda i: list(i.note), "a call of list()"),
        (lambda i: hash(i), "a call of hash()"),
        (lambda i: i.note + "x", "the operator + on a value that may be None"),
        (lambda i: i.price + Decimal(1), "the operator + on float and Decimal"),
        (lambda i: i.id.date(), "the attribute .date of a value of type int"),
        (lambda i: Priced(id=i.price, price=1), "a value of type float for the field Priced.id of type int"),
        (lambda i: Priced(id="1", price=1), "(Priced.id is int, not str"),
        (lambda i: Sale(item_id=1, number=1, date=i.sold), "type datetime for the field Sale.date"),
        (lambda i: [i], "a value of type list"),
    ],
)
def test_what_has_no_sql_and_no_type_is_refused_with_its_line(f, construct):
    with pytest.raises(UnsupportedQuery) as refused:
        sql_of(f)
    message = str(refused.value)
    assert construct in message
    assert f"in <lambda> at {__file__}:{f.__code__.co_firstlineno}" in message
    assert "HINT" in message


def test_a_mistake_of_the_users_is_his_own_error():
    with pytest.raises(AttributeError, match="'Item' object has no attribute 'prize'"):
        sql_of(lambda i: i.prize)
    with pytest.raises(TypeError, match=rf"unexpected keyword argument 'prize', in <lambda> at {__file__}:"):
        sql_of(lambda i: Priced(id=i.id, prize=1.0))
    with pytest.raises(TypeError, match=rf"<lambda>\(\) at {__file__}:\d+: missing a required argument: 'j'"):
        sql_of(lambda i, j: i)


def test_refused_operators():
    def compiled(body):
        def query(items: st.ZSet[Item], sales: st.ZSet[Sale]) -> None:
            zset = body(items, sales)
            st.Cache("v")[zset](lambda a: st.integrate_indexed(a, indexes=()))

        return st.compile(query)

    by_price = st.Index.pick(Item, lambda i: i.price)
    by_number = st.Index.pick(Sale, lambda s: s.number)
    with pytest.raises(UnsupportedQuery, match="a join of unlike keys: float on the left, int on the right"):
        compiled(lambda i, s: st.join(i, s, on_left=by_price, on_right=by_number))
    with pytest.raises(UnsupportedQuery, match=r"a join by an index of Sale on rows of \(id: int, "):
        compiled(lambda i, s: st.join(i, s, on_left=by_number, on_right=by_number))
    with pytest.raises(UnsupportedQuery, match="a sum that starts at 1"):
        compiled(
            lambda i, s: st.group_reduce_flatten(
                s, by=by_number, zero=lambda: 1, pick_value=lambda s: s.number
            )
        )
    with pytest.raises(UnsupportedQuery, match=r"an index of .* that picks no field"):
        st.Index.pick(Item, lambda i: 1)


def test_refused_queries():
    def keeps_nothing(items: st.ZSet[Item]) -> None: ...

    def untyped(items) -> None: ...

    def two_caches(items: st.ZSet[Item]) -> None:
        for _ in range(2):
            st.Cache[Item]()[items](lambda a: st.integrate_indexed(a, indexes=()))

    with pytest.raises(UnsupportedQuery, match=r"no cache: keeps_nothing\(\) keeps nothing"):
        st.compile(keeps_nothing)
    with pytest.raises(UnsupportedQuery, match=r"the parameter items of untyped\(\)"):
        st.compile(untyped)
    with pytest.raises(NameTaken, match="two caches are named item"):
        st.compile(two_caches)
    with pytest.raises(ValueError, match="has no parameter sales"):
        st.compile(keeps_nothing, tables={"sales": "s"})


def test_the_same_query_gives_the_same_sql():
    program = runpy.run_path(str(EXAMPLE))
    assert st.compile(program["query"]).sql == st.compile(program["query"]).sql


def test_a_variable_that_changes_after_a_function_read_it_is_refused():
    """Python would look it up later: both maps would add 2, while the SQL of the first says 1."""

    def looked_up(items: st.ZSet[Item]) -> object:
        return tuple([st.map(items, f=lambda i: i.id + n) for n in (1, 2)])  # noqa: B023

    def given(items: st.ZSet[Item]) -> object:
        return tuple([st.map(items, f=lambda i, n=n: i.id + n) for n in (1, 2)])

    with pytest.raises(UnsupportedQuery, match=r"n, a variable of another function.*has read it at .*\.py:"):
        st.compile(looked_up)
    graph = st.compile(given)
    (items,) = st.actions(st.StorePython.from_graph(graph), graph)
    changed = items.insert(Item(id=1, price=1.0, note=None, sold=datetime(2024, 1, 1)))
    assert changed == (st.ZSetPython({2: 1}), st.ZSetPython({3: 1}))
    assert [on_one_line(text)[:27] for text in graph.sql.values()] == [
        "SELECT items.id + '1'::bigi",
        "SELECT items.id + '2'::bigi",
    ]
