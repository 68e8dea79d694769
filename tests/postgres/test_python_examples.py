"""A type checker as a query: classes whose attributes name classes, each resolved through all that it reaches."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

import pg_stepping as st


class Declared(st.Data):
    name: str
    attributes: tuple[tuple[str, str], ...]


class Reads(st.Data):
    reader: str
    read: str


class Attribute(st.Data):
    key: str
    type: str | tuple[Attribute, ...]


class Resolved(st.Data):
    name: str
    attributes: tuple[Attribute, ...]


Reached = st.Pair[str, str]
resolved = st.Cache[Resolved]()


def reads_of(declared: Declared) -> frozenset[Reads]:
    return frozenset(Reads(reader=declared.name, read=name) for _, name in declared.attributes)


def edge(reads: Reads) -> Reached:
    return st.Pair(reads.reader, reads.read)


def none() -> st.ZSetPython[Declared]:
    return st.ZSetPython[Declared]()


def one(p: st.Pair[Reached, Declared]) -> st.ZSetPython[Declared]:
    return st.ZSetPython[Declared]({p.right: 1})


def resolve(p: st.Pair[Declared, st.Pair[st.ZSetPython[Declared], str] | st.Empty]) -> Resolved:
    known = {} if isinstance(p.right, st.Empty) else {c.name: c.attributes for c, _ in p.right.left.iter()}

    def nested(attributes: tuple[tuple[str, str], ...]) -> tuple[Attribute, ...]:
        return tuple(
            Attribute(key=key, type=nested(known[name]) if name in known else name)
            for key, name in attributes
        )

    return Resolved(name=p.left.name, attributes=nested(p.left.attributes))


def check_types(classes: st.ZSet[Declared]) -> st.ZSet[Resolved]:
    reached = st.transitive_closure(st.map(st.map_many(classes, f=reads_of), f=edge))
    by_name = st.Index.pick(Declared, lambda c: c.name)
    targets = st.join(reached, classes, on_left=st.Index.pick(Reached, lambda p: p.right), on_right=by_name)
    gathered = st.group_reduce_flatten(
        targets,
        by=st.Index.pick(st.Pair[Reached, Declared], lambda p: p.left.left),
        zero=none,
        pick_value=one,
    )
    on_right = st.Index.pick(st.Pair[st.ZSetPython[Declared], str], lambda p: p.right)
    found = st.map(st.outer_join(classes, gathered, on_left=by_name, on_right=on_right), f=resolve)
    _ = resolved[found](lambda z: st.integrate(z))
    return found


def attribute(key: str, type: Any) -> Attribute:
    return Attribute(key=key, type=type)


A = Declared(name="one.A", attributes=(("x", "str"),))
B = Declared(name="one.B", attributes=(("y", "one.A"),))
C = Declared(name="one.C", attributes=(("z", "one.B"), ("n", "int")))


def test_a_type_checker(conn: psycopg.Connection[Any]) -> None:
    if conn.execute("SELECT FROM pg_language WHERE lanname = 'plpython3u'").fetchone() is None:
        pytest.skip("resolve() runs as Python")
    graph = st.compile(check_types)
    stores: list[Any] = [
        st.StorePostgres.from_graph(conn, graph, create_tables=True),
        st.StorePython.from_graph(graph),
    ]
    of_a = (attribute("x", "str"),)
    of_b = (attribute("y", of_a),)
    of_c = (attribute("z", of_b), attribute("n", "int"))
    unknown = (attribute("z", "one.B"), attribute("n", "int"))
    for store in stores:
        (classes,) = st.actions(store, graph)
        (changed,) = classes.insert(A, B, C)
        expected = {
            Resolved(name="one.A", attributes=of_a): 1,
            Resolved(name="one.B", attributes=of_b): 1,
            Resolved(name="one.C", attributes=of_c): 1,
        }
        assert changed == resolved.zset(store) == st.ZSetPython(expected)
        (changed,) = classes.remove(B)
        assert changed == st.ZSetPython(
            {
                Resolved(name="one.B", attributes=of_b): -1,
                Resolved(name="one.C", attributes=of_c): -1,
                Resolved(name="one.C", attributes=unknown): 1,
            }
        )
        (changed,) = classes.remove(A)
        assert changed == st.ZSetPython({Resolved(name="one.A", attributes=of_a): -1})
        assert resolved.zset(store) == st.ZSetPython({Resolved(name="one.C", attributes=unknown): 1})
    assert st.verify(conn, "resolved") == []
