"""The rows of random graphs, and what they are made of."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum

import pg_stepping as st


class Kind(Enum):
    NEW = "new"
    OLD = "Old"


class Item(st.Data):
    id: int
    kind: str | None
    price: float


class Sale(st.Data):
    item: int
    count: int
    note: str


class Event(st.Data):
    item: int | None
    day: date
    at: datetime
    amount: Decimal
    state: Kind
    open: bool
    took: timedelta


class Named(st.Data):
    name: str
    amount: int


class Basket(st.Data):
    name: str | None
    total: float
    parts: tuple[int, ...]


def shouted(text: str) -> str:
    return text.upper() + "!"


def digits(n: int) -> tuple[int, ...]:
    return tuple(int(d) for d in str(abs(n)))


FLOATS = [0.1, 0.2, 0.3, 5.0, -0.0, 0.0, 1e300, -0.1, float("nan"), float("inf"), 1e-7]


def item(of):
    return Item(id=of(range(1, 5)), kind=of(["x", "Y", "ä", None]), price=of(FLOATS))


def sale(of):
    return Sale(item=of(range(1, 5)), count=of(range(1, 5)), note=of("abä"))


def event(of):
    return Event(item=of([1, 2, 3, None]), day=date(2024, 2, 28) + timedelta(days=of(range(3))), at=datetime(2024, 2, 28, of(range(24))),
                 amount=Decimal(of(["1", "1.0", "0.10", "-3", "1E+3"])), state=of(list(Kind)), open=of([True, False]), took=timedelta(hours=of([0, 24, -1])))  # fmt: skip


MAKE = {"Item": item, "Sale": sale, "Event": event}
