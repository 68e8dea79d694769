"""Names and types of what flows through a plan."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

# What is the same for equal values, of types whose equal values can differ.
_ALIKE = {
    "numeric": "trim_scale({})",
    "double precision": "{} + 0",  # -0 becomes 0
    "real": "{} + 0",
    "interval": "justify_interval({})",
    "bpchar": "{}::text",
    "time with time zone": "{}",
}


@dataclass(frozen=True, slots=True)
class Type:
    """A column type as Postgres prints it, with its modifier: `numeric(10,2)`, `public.mood`.

    `base` is the type below a domain (equal to `name` for any other type); `collation` is given,
    quoted and qualified, only where it is not the type's own. `told_apart` says how two values are: by
    `value`; by `order`, where values that are equal can differ (1.0 and 1.00); or only by their `text`, where
    they have no order (json, point, xid, and what is made of them). `equals` is the operator that says which
    are of one group, with its schema if that is not pg_catalog: citext would else be compared as text.
    `is_row`: of a row of NULLs, IS NULL is true. None of these is part of a type's equality.
    """

    name: str
    base: str
    collation: str | None = None
    told_apart: str = field(default="order", compare=False)
    equals: str = field(default="=", compare=False)
    is_row: bool = field(default=False, compare=False)

    @property
    def sql(self) -> str:
        return f"{self.name} COLLATE {self.collation}" if self.collation else self.name

    @property
    def sorts(self) -> bool:
        """Whether values can be sorted; what cannot is compared by its text."""
        return self.told_apart != "text"

    @property
    def exact(self) -> bool:
        """Whether values that are equal are the same in every respect."""
        fixed = self.base.startswith(("numeric(", "character("))
        return self.told_apart == "value" or (fixed and not self.base.endswith("[]") and not self.collation)

    @property
    def alike(self) -> str | None:
        """SQL over a value, `{}`, whose text is the same for all that are equal; None if there is none."""
        return "{}" if self.exact else _ALIKE.get(self.base)

    @property
    def groups(self) -> bool:
        """Whether GROUP BY takes it, and an index finds its groups: by their texts, if it has no order."""
        return self.sorts or self.base in ("xid", "cid", "aclitem")

    @property
    def equated(self) -> bool:
        """Whether `=` says what GROUP BY takes for equal."""
        return self.groups and self.equals == "="

    @classmethod
    def of(cls, name: str) -> Type:
        """A type that is no domain and has its own collation."""
        return cls(name, name, told_apart="value" if name in ("bigint", "boolean", "integer") else "order")


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
