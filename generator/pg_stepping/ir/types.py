"""Names and types of what flows through a plan."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

# Types without an equality that GROUP BY could use.
NO_EQUALITY = frozenset(
    ("json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle", "refcursor")
)
# Types that can be grouped but not sorted, in which equal values have equal texts.
NO_ORDER = frozenset(("xid", "cid", "aclitem"))


@dataclass(frozen=True, slots=True)
class Type:
    """A column type as Postgres prints it, with its modifier: `numeric(10,2)`, `public.mood`.

    `base` is the type below a domain (equal to `name` for any other type); `collation` is given,
    quoted and qualified, only where it is not the type's own.
    """

    name: str
    base: str
    collation: str | None = None

    @property
    def sql(self) -> str:
        return f"{self.name} COLLATE {self.collation}" if self.collation else self.name

    @classmethod
    def of(cls, name: str) -> Type:
        """A type that is no domain and has its own collation."""
        return cls(name, name)


@dataclass(frozen=True, slots=True, order=True)
class Table:
    """A table's schema and name, unquoted."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation in a plan; `relation` is unique in the whole plan."""

    relation: str
    name: str
    type: Type
    not_null: bool = False

    @property
    def ref(self) -> exp.Column:
        """The expression that reads this column."""
        return reference(self.relation, self.name)


def reference(relation: str, name: str) -> exp.Column:
    """The expression that reads column `name` of `relation`."""
    return exp.column(exp.to_identifier(name, quoted=True), table=exp.to_identifier(relation, quoted=True))


def fresh(name: str, taken: set[str]) -> str:
    """`name`, or `name_2`, `name_3` ...: the first that is not in `taken`, to which it is added.

    Postgres would cut a name of more than 63 bytes itself, and two such names to the same one.
    """
    candidate, i = name.encode()[:60].decode(errors="ignore"), 1
    while candidate in taken:
        i += 1
        candidate = f"{name.encode()[:56].decode(errors='ignore')}_{i}"
    taken.add(candidate)
    return candidate
