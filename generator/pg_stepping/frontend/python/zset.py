"""ZSets: rows, each with how often it is there; less than zero times in what a statement took away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from pg_stepping.frontend.python.index import Index

T = TypeVar("T")
K = TypeVar("K")


class MatchAll:
    """All rows, or all keys."""

    def __repr__(self) -> str:
        return "MATCH_ALL"


MATCH_ALL = MatchAll()


class ZSet(Generic[T]):
    """Rows of type T with how often each is there. Two are equal if they have the same rows as often.

    In a query's annotations this is what a parameter and a result are; what it is there is a node of the
    graph. Outside it is a result, in Postgres (ZSetPostgres) or in memory (ZSetPython).
    """

    __slots__ = ()

    def iter(self, match: frozenset[T] | MatchAll = MATCH_ALL) -> Iterator[tuple[T, int]]:
        """Every row with its count, in no order; `match` leaves only these rows."""
        raise NotImplementedError

    def iter_by_index(
        self,
        index: Index[T, K],
        match_keys: frozenset[K] | MatchAll = MATCH_ALL,
        *,
        at_least: K | None = None,
        below: K | None = None,
        prefix: tuple[Any, ...] = (),
    ) -> Iterator[tuple[K, T, int]]:
        """(key, row, count) in the order of the index, and of all columns where keys are equal.

        `match_keys` leaves only rows with these keys, `prefix` those whose keys begin with these values,
        `at_least` and `below` those within these bounds: keys as tuples are compared element by element, and
        what may be None is within no bounds.
        """
        raise NotImplementedError

    def __neg__(self) -> ZSet[T]:
        return ZSetPython((row, -count) for row, count in self.iter())

    def __add__(self, other: ZSet[T]) -> ZSet[T]:
        return ZSetPython([*self.iter(), *other.iter()])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZSet) and dict(self.iter()) == dict(other.iter())

    def __hash__(self) -> int:
        return hash(frozenset(self.iter()))

    def to_python(self) -> ZSetPython[T]:
        """The rows in memory."""
        return ZSetPython(self.iter())


class ZSetPython(ZSet[T]):
    """A ZSet in memory, which does not change.

        ZSetPython({row: 2, other: -1})     ZSetPython([(row, 1), (row, 1)])

    `indexes` are of no use here, and taken for programs that give them: any index can be iterated by.
    """

    __slots__ = ("_counts",)

    def __init__(
        self,
        data: Mapping[T, int] | Iterable[tuple[T, int]] | None = None,
        indexes: tuple[Index[T, Any], ...] = (),
    ) -> None:
        counts: dict[T, int] = {}
        for row, count in data.items() if isinstance(data, Mapping) else data or ():
            counts[row] = counts.get(row, 0) + count
        self._counts = {row: count for row, count in counts.items() if count}

    def iter(self, match: frozenset[T] | MatchAll = MATCH_ALL) -> Iterator[tuple[T, int]]:
        if isinstance(match, MatchAll):
            return iter(self._counts.items())
        return ((row, self._counts[row]) for row in match if row in self._counts)

    def iter_by_index(
        self,
        index: Index[T, K],
        match_keys: frozenset[K] | MatchAll = MATCH_ALL,
        *,
        at_least: K | None = None,
        below: K | None = None,
        prefix: tuple[Any, ...] = (),
    ) -> Iterator[tuple[K, T, int]]:
        rows = [(index.f(row), row, count) for row, count in self._counts.items()]
        if not isinstance(match_keys, MatchAll):
            wanted = {index.placed(index.checked(key)) for key in match_keys}
            rows = [found for found in rows if index.placed(index.elements(found[0])) in wanted]
        if prefix:
            begin, n = index.placed(index.checked_prefix(prefix)), len(prefix)
            rows = [found for found in rows if index.placed(index.elements(found[0])[:n]) == begin]
        for bound, sides in ((at_least, (0, 1)), (below, (-1,))):
            if bound is not None:
                limit = index.checked(bound)
                rows = [found for found in rows if index.compared(index.elements(found[0]), limit) in sides]
        return iter(sorted(rows, key=lambda found: index.order(found[0], found[1])))

    def get_count(self, row: T) -> int:
        """How often a row is there."""
        return self._counts.get(row, 0)

    def empty(self) -> bool:
        """Whether no row is there."""
        return not self._counts

    def __mul__(self, times: int) -> ZSetPython[T]:
        return ZSetPython({row: count * times for row, count in self._counts.items()})

    def __neg__(self) -> ZSetPython[T]:
        return self * -1

    def __add__(self, other: ZSet[T]) -> ZSetPython[T]:
        return ZSetPython([*self.iter(), *other.iter()])

    def __sub__(self, other: ZSet[T]) -> ZSetPython[T]:
        return self + -other

    def __len__(self) -> int:
        return len(self._counts)

    def __repr__(self) -> str:
        return f"ZSetPython({self._counts!r})"

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        names: list[str] = []
        for row in self._counts:
            names += [n for n in getattr(row, "__dataclass_fields__", ("value",)) if n not in names]
        heads = "".join(f"<th>{escape(name)}</th>" for name in ("count", *names))
        lines = [f"<tr>{heads}</tr>"]
        for row, count in self._counts.items():
            cells = [getattr(row, name, row if name == "value" else "") for name in names]
            lines.append("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in (count, *cells)) + "</tr>")
        return f"<table>{''.join(lines)}</table>"


class ZSetLater(ZSetPython[T]):
    """The same, of rows that are made when they are first asked for: nobody may."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Callable[[], Iterable[tuple[T, int]]]) -> None:
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        if name != "_counts":
            raise AttributeError(name)
        self._counts: dict[T, int] = ZSetPython(self._rows())._counts
        return self._counts
