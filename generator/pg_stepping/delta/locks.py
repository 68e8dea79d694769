"""The advisory locks by which two writers whose rows could join see each other.

The danger: one transaction inserts a meter, another a read of that meter; neither sees the other's row, so
neither counts the pair. At READ COMMITTED each statement of a trigger has a fresh snapshot, so a writer first
locks the keys that its rows join by, then computes its delta: of two writers the second sees the first.
The joined relations form a tree, rooted at the many side (the facts). A writer of a relation takes
    exclusive: each edge on the way from it up to the root,
    shared: the edges from it down to its children, and the root's edges to its other branches,
so two writers of relations whose rows could join meet on one edge and key, one of them exclusively. The
writers of the root take shared locks only. docs/concurrency.md has the proof.

Keys are hashed into buckets, BUCKETS an edge, or fewer where a view has so many edges that this would be more
than MOST locks. The locks of a statement are taken in the order of their numbers, the deepest edge first: no
circle of waits, and no more locks than there are buckets.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from textwrap import indent

from sqlglot import exp

from pg_stepping.delta.stage import Stage
from pg_stepping.delta.terms import Core, core_of, quote_table
from pg_stepping.frontend.dialect import quote_name, quote_text, to_sql
from pg_stepping.ir import Project, Scan, Table, Union
from pg_stepping.ir.nodes import Expression, columns_read, is_equality
from pg_stepping.ir.rewrite import substitute

BUCKETS = 64
MOST = 1024  # of a view's locks: the lock table has room for 6,400 by default, and for others too
INDENT = "    "
# True where a statement may not see what was committed while it waited for a lock.
OLD_SNAPSHOT = "current_setting('transaction_isolation') IN ('repeatable read', 'serializable')"

Pair = tuple[Expression, Expression]


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge of a stage's join tree; `keys` are equal in joined rows, the child's first.

    `number` is its place in the order of locking. Without keys it has only one lock.
    `one`: the keys are unique in the child, so a row of the parent joins with at most one of it. `buckets`, a
    power of two, is into how many its keys are hashed.
    """

    number: int
    child: Scan
    parent: Scan
    keys: tuple[Pair, ...]
    one: bool
    buckets: int = BUCKETS


def bounded(trees: Mapping[str, tuple[Edge, ...]]) -> dict[str, tuple[Edge, ...]]:
    """The join trees of a view's stages, with at most MOST buckets in all, or one an edge."""
    edges = sum(map(len, trees.values()))
    buckets = BUCKETS
    while buckets > 1 and edges * buckets > MOST:
        buckets //= 2
    return {name: tuple(replace(e, buckets=buckets) for e in tree) for name, tree in trees.items()}


@dataclass(frozen=True, slots=True)
class Lock:
    """A statement that takes locks, in the order of their numbers. Each part is the number of an edge and a
    query of what to lock of it: `key` (bigint) and `exclusive`, or else shared.

    It refuses a transaction whose snapshot is older than the lock (REPEATABLE READ, SERIALIZABLE).
    """

    stage: str
    parts: tuple[tuple[int, str], ...]

    def query(self, with_: str = "") -> str:
        """The statement; `with_` is the WITH clause that the parts may read from."""
        queries = [query for _, query in self.parts]
        if len(queries) == 1:
            queries = [f"SELECT DISTINCT {queries[0].removeprefix('SELECT ')}"]
        keys = with_ + "\nUNION\n".join(queries)
        return f"{self._taken(keys)}\nORDER BY key, exclusive DESC"

    def of_one(self, rows: str, with_: str = "") -> str:
        """The same where `rows` are a single one: the parts come in the order of their edges."""
        keys = with_ + "\nUNION ALL\n".join(query for _, query in self.parts)
        return f"{self._taken(keys)}\nWHERE NOT EXISTS (SELECT FROM {rows} OFFSET 1)"

    def _taken(self, keys: str) -> str:
        function = f"stepping.lock({quote_text(self.stage)}, key, exclusive)"
        return f"SELECT {function}\nFROM (\n{indent(keys, INDENT)}\n) AS bucket"


def first_lock(stage_name: str) -> int:
    """The number of a stage's first lock: 47 bits of the SHA-256 of its name, above 16 bits for edge and
    bucket."""
    digest = hashlib.sha256(f"pg_stepping {stage_name}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 17 << 16


@dataclass(frozen=True, slots=True)
class Joined:
    """Relations whose rows are joined, and the conditions under which they are."""

    scans: tuple[Scan, ...]
    conditions: tuple[Expression, ...]


def joined(core: Core) -> list[Joined]:
    """What a core joins: all that it reads, but for the parts of a union, which do not meet."""
    if len(core.parts) == 1 and not core.outers and isinstance(core.parts[0], Union):
        return [j for part in core.parts[0].parts for j in joined(core_of(part.input))]
    return [Joined(core.scans, tuple(dict.fromkeys(_conditions(core))))]


def _conditions(core: Core) -> list[Expression]:
    """All conditions, of subqueries too, in terms of the tables' columns."""
    found = [*core.conditions]
    for outer in core.outers:
        found += [*outer.conditions, *outer.match_conditions]
    for relation in (*core.parts, *(o.input for o in core.outers)):
        if isinstance(relation, Project | Union):
            parts = relation.parts if isinstance(relation, Union) else (relation,)
            columns = [{(relation.relation, i.name): i.expression for i in p.items} for p in parts]
            found = [substitute(c, of_part) for c in found for of_part in columns]
            found += [c for p in parts for c in _conditions(core_of(p.input))]
    return found


def equalities(stage: Stage) -> list[Pair]:
    """The conditions that two relations' expressions are equal."""
    return [pair for j in joined(stage.core) for pair in _equalities(j)]


def _equalities(of: Joined) -> list[Pair]:
    there = {s.relation for s in of.scans}
    pairs = [(c.this, c.expression) for c in map(_bare, of.conditions) if _links(c)]
    return [p for p in pairs if all(next(columns_read(e))[0] in there for e in p)]


def _bare(condition: Expression) -> Expression:
    while isinstance(condition, exp.Paren):
        condition = condition.this
    return condition


def _links(condition: Expression) -> bool:
    if not is_equality(condition):
        return False
    sides = [{r for r, _ in columns_read(e)} for e in (condition.this, condition.expression)]
    return all(len(s) == 1 for s in sides) and sides[0] != sides[1]


def join_tree(
    stage: Stage, hashable: Collection[Pair], is_key: Callable[[Scan, set[str]], bool]
) -> tuple[Edge, ...]:
    """The edges of the stage's join tree, in the order of locking.

    `hashable` are those equalities in which equal values have equal hashes; `is_key` tells whether some
    columns of a relation tell its rows apart: such a relation is the one side of a join, not the root.
    """
    found: list[tuple[Scan, Scan, tuple[Pair, ...]]] = []
    for of in joined(stage.core):
        found += _tree(stage, of, hashable, is_key)
    return tuple(
        Edge(i, child, parent, keys, is_key(child, _names(child for child, _ in keys)))
        for i, (child, parent, keys) in enumerate(found)
    )


def _names(of: Iterable[Expression]) -> set[str]:
    return {e.name for e in of if isinstance(e, exp.Column)}


def _tree(
    stage: Stage, of: Joined, hashable: Collection[Pair], is_key: Callable[[Scan, set[str]], bool]
) -> list[tuple[Scan, Scan, tuple[Pair, ...]]]:
    """Child, parent and keys of each edge, the deepest first."""
    keys: dict[tuple[str, str], list[Pair]] = {}
    for pair in _equalities(of):
        if pair in hashable:
            (a, _), (b, _) = (next(columns_read(e)) for e in pair)
            keys.setdefault((a, b), []).append(pair)
            keys.setdefault((b, a), []).append((pair[1], pair[0]))
    if len(of.scans) < 2:
        return []
    root = _root(stage, of, keys, is_key)
    found: list[tuple[int, Scan, Scan]] = []
    depth = {root.relation: 0}
    reached, waiting = [root], [s for s in of.scans if s is not root]
    while waiting:
        linked = ((p, c) for p in reached for c in waiting if (c.relation, p.relation) in keys)
        parent, child = next(linked, (root, waiting[0]))
        depth[child.relation] = depth[parent.relation] + 1
        found.append((depth[child.relation], child, parent))
        reached.append(child)
        waiting.remove(child)
    found.sort(key=lambda edge: -edge[0])
    return [(c, p, tuple(keys.get((c.relation, p.relation), ()))) for _, c, p in found]


def _root(
    stage: Stage,
    of: Joined,
    keys: Mapping[tuple[str, str], list[Pair]],
    is_key: Callable[[Scan, set[str]], bool],
) -> Scan:
    """The one side of the fewest joins, then the many side of the most, then where most of what is aggregated
    comes from; the last such relation."""
    one, many = Counter[str](), Counter[str]()
    by_name = {s.relation: s for s in of.scans}
    for (mine, other), pairs in keys.items():
        if is_key(by_name[mine], _names(e for e, _ in pairs)):
            one[mine] += 1
            many[other] += 1
    summed = Counter(relation for c in stage.state for relation, _ in columns_read(c.argument))
    return max(reversed(of.scans), key=lambda s: (-one[s.relation], many[s.relation], summed[s.relation]))


def locks(stage: Stage, tree: tuple[Edge, ...], changed: Mapping[Table, str]) -> tuple[Lock, ...]:
    """The statements that take all locks that the changes of some tables need.

    `changed` names for each table the relation of its changed rows. Each statement must run by itself: it
    looks up keys under the locks of those before it.
    """
    parts = sorted(
        (p for s in stage.scans if s.table in changed for p in _parts(stage, tree, s, changed[s.table])),
        key=lambda p: p.edge.number,
    )
    statements: list[list[_Part]] = []
    for _, same_edge in groupby(parts, key=lambda p: p.edge.number):
        of_edge = list(same_edge)
        if not statements or any(p.looks_up for p in of_edge):
            statements.append([])
        statements[-1] += of_edge
    return tuple(_lock(stage, parts) for parts in statements)


def partition_lock(stage: Stage, tree: tuple[Edge, ...], touched: str) -> Lock:
    """The statement that locks the touched keys of a partition, each until the end of its transaction: who
    computes one anew sees all rows of those before him. `touched` is the query of their relation."""
    number = first_lock(stage.name) + len(tree) * BUCKETS
    keys = ", ".join(map(quote_name, stage.by))
    buckets = min((e.buckets for e in tree), default=BUCKETS)
    key = f"{number} + (hash_record(ROW({keys})) & {buckets - 1})" if stage.hashed else str(number)
    query = _locked(key, True, f"FROM (\n{indent(touched, INDENT)}\n) AS touched")
    return Lock(stage.name, ((len(tree), query),))


@dataclass(frozen=True, slots=True)
class _Part:
    """Locks of one edge: by `keys` of the rows that `rows` (FROM ...) gives, or `all` of them."""

    edge: Edge
    exclusive: bool
    keys: tuple[Expression, ...]
    rows: str
    looks_up: bool = False
    all: bool = False


def _parts(stage: Stage, tree: tuple[Edge, ...], scan: Scan, changed: str) -> Iterator[_Part]:
    own = rows = f"FROM {changed} AS {quote_name(scan.relation)}"
    path = list(_path(tree, scan))
    known = True
    for i, edge in enumerate(path):
        keys = tuple(child for child, _ in edge.keys)
        yield _Part(edge, True, keys, rows if known else own, looks_up=known and i > 0, all=not known)
        on = " AND ".join(f"{to_sql(a)} = {to_sql(b)}" for a, b in edge.keys)
        rows += f"\nJOIN {quote_table(edge.parent.table)} AS {quote_name(edge.parent.relation)} ON {on}"
        known = known and bool(edge.keys)
    for edge in tree:
        if edge.parent is scan:
            yield _Part(edge, False, tuple(parent for _, parent in edge.keys), own)
        elif path and edge.parent is path[-1].parent and edge is not path[-1]:
            yield _Part(edge, False, (), own, all=True)


def _path(tree: tuple[Edge, ...], scan: Scan) -> Iterator[Edge]:
    """The edges from a relation up to the root."""
    above = next((e for e in tree if e.child is scan), None)
    if above is not None:
        yield above
        yield from _path(tree, above.parent)


def _lock(stage: Stage, parts: list[_Part]) -> Lock:
    first = first_lock(stage.name)
    return Lock(stage.name, tuple((p.edge.number, _keys(first, p)) for p in parts))


def _keys(first: int, part: _Part) -> str:
    number = first + part.edge.number * BUCKETS
    if part.all and part.edge.keys:
        every = f"FROM generate_series(0, {part.edge.buckets - 1}) AS bucket"
        return _locked(f"{number} + bucket", part.exclusive, f"{every}\nWHERE EXISTS (SELECT {part.rows})")
    if not part.edge.keys:
        return _locked(str(number), part.exclusive, part.rows)
    values = ", ".join(map(to_sql, part.keys))
    key = f"{number} + (hash_record(ROW({values})) & {part.edge.buckets - 1})"
    return _locked(key, part.exclusive, part.rows)


def _locked(key: str, exclusive: bool, rows: str) -> str:
    between = "\n" if "\n" in rows else " "
    return f"SELECT {key} AS key, {str(exclusive).lower()} AS exclusive{between}{rows}"
