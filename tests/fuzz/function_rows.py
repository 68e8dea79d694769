"""The rows that random functions are given: values at the edges of every type."""

import math
import random
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from uuid import UUID

from pg_stepping.frontend.python import AwareDatetime, Data


class Colour(Enum):
    RED = "red"
    BLUE = "Blue"
    NONE = ""


class Level(IntEnum):
    LOW = -1
    ZERO = 0
    HIGH = 7


class Word(StrEnum):
    A = "a"
    SS = "ss"


class Mixed(Enum):
    ONE = 1
    TWO = "two"


class Inner(Data):
    i: int
    s: str


class Row(Data):
    i: int
    j: int
    k: int | None
    x: float
    y: float
    z: float | None
    s: str
    t: str
    n: str | None
    b: bool
    c: bool | None
    m: Decimal
    w: Decimal
    v: Decimal | None
    d: date
    e: date | None
    at: datetime
    until: datetime
    span: timedelta
    gap: timedelta | None
    clock: time
    u: UUID
    moment: AwareDatetime
    colour: Colour
    hue: Colour | None
    level: Level
    word: Word
    mixed: Mixed
    inner: Inner
    pair: tuple[int, str]


INTS = [
    0,
    0,
    1,
    1,
    2,
    3,
    7,
    -1,
    -2,
    -7,
    10,
    100,
    255,
    2**31,
    -(2**31),
    2**53,
    2**53 + 1,
    -(2**53) - 1,
    2**62,
    2**63 - 1,
    -(2**63),
]
FLOATS = [0.0, -0.0, 1.0, 1.5, 2.5, -2.5, 0.5, -0.5, 3.5, 0.1, 1e-5, 1e16, 1e22, 123456789.125, 9007199254740993.0, 1e300, -1e300, 5e-324, 1e-300,
          math.inf, -math.inf, math.nan, 4.35, -7.0, 2.0**63]  # fmt: skip
TEXTS = ["", "", "a", "b", "A", "ss", "ß", "straße", "İstanbul", "i̇", "ı", "e\u0301", "é", "\U0001f600", " \u00a0a b\u3000\n", "\x1c\x1fa\u200b", " ",
         "None", "True", "red", "a,b,c", ",", "%", "_", "a_b%c\\", "\\", "'", '"', "{x}", "007", "-1", "1.5", "abcabc", "ab" * 9, "ﬁ", "ǆ", "ΑΣ", "١٢", "\ufeff", "\x0b",
         "aab", "aa", "\x85", "2024-02-29", ":x $1 %s"]  # fmt: skip
DECIMALS = [Decimal(t) for t in ("0", "0.00", "-0.00", "1", "1.10", "-1.5", "2.5", "3.5", "0.1", "1E+20", "1E-20", "12345678901234.5678901234567891", "7",
            "9876543210.0123456789", "99999999999999999999999999999.5", "-99999999999999999999999999999.5", "0.5", "-7", "1E+3", "3", "NaN")]  # fmt: skip
DATES = [date(1, 1, 1), date(9999, 12, 31), date(2024, 2, 29), date(2023, 12, 31), date(2020, 2, 29), date(1970, 1, 1), date(1969, 12, 31), date(1582, 10, 10), date(2023, 1, 1),
         date(999, 9, 9)]  # fmt: skip
TIMES = [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), datetime(2023, 3, 26, 2, 30), datetime(2023, 10, 29, 2, 30), datetime(2024, 2, 29, 12), datetime(2023, 1, 1),
         datetime(2023, 1, 1, 0, 0, 0, 1), datetime(1969, 12, 31, 23, 59, 59, 500000), datetime(2000, 1, 1), datetime(2023, 6, 5, 6, 7, 8, 9), datetime(1582, 10, 10, 1)]  # fmt: skip
SPANS = [timedelta(0), timedelta(days=1), timedelta(days=-1), timedelta(hours=25, microseconds=1), timedelta(microseconds=-1), timedelta(days=30), timedelta(days=365, seconds=1),
         timedelta(seconds=0.1), timedelta(days=-1, seconds=86399, microseconds=999999), timedelta(days=100000), timedelta(hours=24), timedelta(minutes=-90)]  # fmt: skip
CLOCKS = [time(0), time(23, 59, 59, 999999), time(12, 30), time(1, 2, 3, 4)]
MOMENTS = [datetime(2023, 3, 26, 1, 30, tzinfo=UTC), datetime(2023, 10, 29, 3, 30, tzinfo=timezone(timedelta(hours=2))), datetime(2, 1, 1, tzinfo=UTC), datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=-11)))]  # fmt: skip
UUIDS = [UUID(int=0), UUID(int=2**128 - 1), UUID(int=1), UUID(int=0xABCDEF)]


def rows(seed: int, count: int) -> list[Row]:
    """Random rows; those of one type are often equal."""
    of = random.Random(seed).choice

    def maybe(values):
        return of([None, of(values), of(values), of(values)])

    return [
        Row(i=of(INTS), j=of(INTS), k=maybe(INTS), x=of(FLOATS), y=of(FLOATS), z=maybe(FLOATS), s=of(TEXTS), t=of(TEXTS), n=maybe(TEXTS), b=of([True, False]),
            c=of([True, False, None]), m=of(DECIMALS[:-1]), w=of(DECIMALS), v=maybe(DECIMALS[:-1]), d=of(DATES), e=maybe(DATES), at=of(TIMES), until=of(TIMES), span=of(SPANS),
            gap=maybe(SPANS), clock=of(CLOCKS), u=of(UUIDS), moment=of(MOMENTS), colour=of(list(Colour)), hue=maybe(list(Colour)), level=of(list(Level)), word=of(list(Word)),
            mixed=of(list(Mixed)), inner=Inner(i=of(INTS), s=of(TEXTS)), pair=(of(INTS), of(TEXTS)))
        for _ in range(count)
    ]  # fmt: skip
