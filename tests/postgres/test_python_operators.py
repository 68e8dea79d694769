"""Every operator through both stores: the same random histories give the same rows and the same changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import pg_stepping as st


class Item(st.Data):
    id: int
    kind: str | None
    price: float


class Sale(st.Data):
    item: int
    count: int
    note: str


class Named(st.Data):
    name: str
    amount: int


class Basket(st.Data):
    name: str
    amount: float


by_id = st.Index.pick(Item, lambda i: i.id)
by_item = st.Index.pick(Sale, lambda s: s.item)
by_kind = st.Index.pick(Item, lambda i: i.kind)
by_note = st.Index.pick(Sale, lambda s: s.note)
by_price_down = st.Index.pick(Item, lambda i: i.price, ascending=False)
mixed = st.Index.pick(Sale, lambda s: (s.note, s.count), ascending=(True, False))
Items, Sales, Edge = st.ZSet[Item], st.ZSet[Sale], st.Pair[int, int]


def edge(s: Sale) -> st.Pair[int, int]:
    return st.Pair(s.item, s.count)


def totals(z: Sales) -> st.ZSet[st.Pair[int, str]]:
    return st.group_reduce_flatten(z, by=by_note, zero=int, pick_value=lambda s: s.count)


def q_join(items: Items, sales: Sales) -> Any:
    return st.join(items, sales, on_left=by_id, on_right=by_item)


def q_outer_join(items: Items, sales: Sales) -> Any:
    return st.outer_join(items, sales, on_left=by_id, on_right=by_item)


def q_outer_join_of_sums(items: Items, sales: Sales) -> Any:
    sums = st.group_reduce_flatten(sales, by=by_item, zero=int, pick_value=lambda s: s.count)
    on = st.Index.pick(st.Pair[int, int], lambda p: p.right)
    return st.outer_join(items, sums, on_left=by_id, on_right=on)


def q_add(items: Items, sales: Sales) -> Any:
    return st.add3(sales, st.map(sales, f=lambda s: Sale(item=s.count, count=s.item, note=s.note)), sales)


def q_neg(items: Items, sales: Sales) -> Any:
    notes = st.map(sales, f=lambda s: s.note)
    kinds = st.map(sales, f=lambda s: "a")
    return st.add(notes, st.neg(kinds))


def q_neg_then_sum(items: Items, sales: Sales) -> Any:
    moved = st.map(sales, f=lambda s: Sale(item=1, count=s.count, note=s.note))
    signed = st.add(sales, st.neg(moved))
    return totals(signed), st.count(signed), st.distinct(signed)


def q_neg_then_first(items: Items, sales: Sales) -> Any:
    moved = st.map(sales, f=lambda s: Sale(item=1, count=s.count, note=s.note))
    signed = st.add3(sales, sales, st.neg(moved))
    return st.first_n(signed, index=mixed, n=3), st.join(signed, items, on_left=by_item, on_right=by_id)


def q_neg_outer(items: Items, sales: Sales) -> Any:
    moved = st.map(sales, f=lambda s: Sale(item=1, count=s.count, note=s.note))
    return st.outer_join(items, st.add(sales, st.neg(moved)), on_left=by_id, on_right=by_item)


def q_distinct_count(items: Items, sales: Sales) -> Any:
    notes = st.distinct(st.map(sales, f=lambda s: s.note))
    return notes, st.count(notes), st.count(sales)


def q_reduce(items: Items, sales: Sales) -> Any:
    return (
        st.reduce(items, zero=float, pick_value=lambda i: i.price),
        st.reduce(sales, zero=int, pick_value=lambda s: s.count * 2),
    )


def q_sums_by_key_that_may_be_none(items: Items, sales: Sales) -> Any:
    return st.group_reduce_flatten(items, by=by_kind, zero=float, pick_value=lambda i: i.price)


def q_first_n(items: Items, sales: Sales) -> Any:
    return (
        st.first_n(items, index=by_price_down, n=2),
        st.first_n(sales, index=mixed, n=3),
        st.first_n(items, index=by_kind, n=2),
    )


def q_closure(items: Items, sales: Sales) -> Any:
    return st.transitive_closure(st.map(sales, f=edge))


def q_closure_joined(items: Items, sales: Sales) -> Any:
    reached = st.transitive_closure(st.map(sales, f=edge))
    return st.join(reached, items, on_left=st.Index.pick(Edge, lambda e: e.right), on_right=by_id)


def q_per_group(items: Items, sales: Sales) -> Any:
    grouped = st.group(sales, by=by_note)
    distinct = st.per_group[grouped](lambda g: st.distinct(st.map(g, f=lambda s: s.count)))
    first = st.per_group[grouped](
        lambda g: st.first_n(g, index=st.Index.pick(Sale, lambda s: s.count, ascending=False), n=2)
    )
    joined = st.per_group[grouped](lambda g: st.join(g, g, on_left=by_item, on_right=by_item))
    counted = st.per_group[grouped](lambda g: st.count(g))
    return st.flatten(distinct), st.flatten(first), st.flatten(joined), st.flatten(counted)


def q_groups_in_groups(items: Items, sales: Sales) -> Any:
    grouped = st.group(items, by=by_kind)

    def inner(g: Items) -> Any:
        again = st.group(g, by=by_id)
        return st.flatten(
            st.per_group[again](lambda h: st.reduce(h, zero=float, pick_value=lambda i: i.price))
        )

    with_sales = st.per_group[grouped](lambda g: st.join(g, sales, on_left=by_id, on_right=by_item))
    pairs = st.per_group[grouped](lambda g: st.outer_join(g, g, on_left=by_id, on_right=by_id))
    return st.flatten(st.per_group[grouped](inner)), st.flatten(with_sales), st.flatten(pairs)


def q_over_time(items: Items, sales: Sales) -> Any:
    notes = st.map(sales, f=lambda s: s.note)
    return st.integrate(notes), st.differentiate(st.integrate(notes)), st.delay(st.integrate(notes))


def q_joins_of_sums(items: Items, sales: Sales) -> Any:
    summed = totals(sales)
    one = st.Index.atom("one", st.Pair[int, str], int, lambda p: 1)
    everything = st.reduce(sales, zero=int, pick_value=lambda s: s.count)
    return st.join(summed, everything, on_left=one, on_right=st.Index.atom("one", int, int, lambda n: 1))


QUERIES = [value for name, value in globals().items() if name.startswith("q_")]


def histories(rng: random.Random, steps: int) -> list[tuple[int, str, list[Any]]]:
    """(source, what, rows): inserts of several rows, removals and replacements of rows that are there."""
    there: tuple[list[Any], list[Any]] = ([], [])

    def made(source: int) -> Any:
        if source:
            return Sale(item=rng.randint(1, 4), count=rng.randint(1, 4), note=rng.choice("abä"))
        return Item(
            id=rng.randint(1, 4), kind=rng.choice(["x", "Y", None]), price=rng.choice([0.1, 0.2, 5.0])
        )

    done = []
    for _ in range(steps):
        source, what = rng.randint(0, 1), rng.choice(["insert", "insert", "remove", "replace"])
        rows = there[source]
        if what == "insert" or not rows:
            what, new = "insert", [made(source) for _ in range(rng.randint(1, 4))]
            rows += new
        elif what == "remove":
            new = rng.sample(rows, rng.randint(1, min(3, len(rows))))
            for row in new:
                rows.remove(row)
        else:
            old, after = rng.choice(rows), rng.choice([made(source), rng.choice(rows)])
            rows.remove(old)
            rows.append(after)
            new = [old, after]
        done.append((source, what, new))
    done += [(s, "remove", list(rows)) for s, rows in enumerate(there) if rows]
    return done


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.__name__)
def test_differential_both_stores_agree(query: Callable[..., Any], database: Any) -> None:
    number = QUERIES.index(query)
    with psycopg.connect(database(("plpython3u", "plpgsql")[number % 2])) as conn:
        check(conn, query, number)


def check(conn: psycopg.Connection[Any], query: Callable[..., Any], number: int) -> None:
    graph = st.compile(query)
    stores = st.StorePostgres.from_graph(conn, graph, create_tables=True), st.StorePython.from_graph(graph)
    postgres, memory = (st.actions(store, graph) for store in stores)
    seen = 0
    for step, (source, what, rows) in enumerate(histories(random.Random(number), 30)):
        changed = getattr(postgres[source], what)(*rows)
        expected = getattr(memory[source], what)(*rows)
        assert changed == expected, (step, what, rows)
        seen += sum(len(list(z.iter())) for z in changed)
        whole = stores[1].computed()
        for kept in graph.kept:
            assert st.ZSetPostgres(kept, conn, stores[0].schema) == whole[kept], (step, kept.name)
    assert seen > 10
    for kept in graph.kept:
        assert st.verify(conn, kept.name) == []
        assert whole[kept].empty()
