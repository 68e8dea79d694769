"""Row functions as SQL: each translation against Python itself, on values at the edges, and what is shipped."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from types import NoneType
from uuid import UUID

import psycopg
import pytest

from pg_stepping.frontend.database_functions import called_in
from pg_stepping.frontend.dialect import to_sql
from pg_stepping.frontend.python import AwareDatetime, Data
from pg_stepping.frontend.python.functions import compile_row_function
from pg_stepping.frontend.python.rows import row_of


class Row(Data):
    i: int
    j: int
    x: float
    y: float
    s: str
    t: str
    n: str | None
    k: int | None
    z: float | None
    d: date
    e: date
    at: datetime
    until: datetime
    b: bool
    m: Decimal
    w: Decimal
    u: UUID


INF, NAN = math.inf, math.nan
BIG = 2**63 - 1
DAY, LATE = date(2024, 2, 29), datetime(2023, 12, 31, 23, 59, 59, 999999)


def row(i, j, x, y, s, t, n, k, z, d, e, at, until, b, m, w, u):
    return Row(i=i, j=j, x=x, y=y, s=s, t=t, n=n, k=k, z=z, d=d, e=e, at=at, until=until, b=b,
               m=Decimal(m), w=Decimal(w), u=UUID(int=u))  # fmt: skip


ROWS = [
    row(7, 2, 1.5, 0.1, "straße", "ss", None, None, None, DAY, date(2023, 1, 1), LATE, datetime(2024, 2, 29), True, "1.10", "2", 1),
    row(-7, 2, -0.0, 0.0, "", "", "", 0, 0.0, date(1, 1, 1), DAY, datetime(1, 1, 1), LATE, False, "0", "-0.00", 0),
    row(7, -2, 2.5, -2.5, "İstanbul", "i̇", "x", -1, NAN, date(9999, 12, 31), DAY, datetime(2023, 1, 2, 3, 4), LATE, True, "-1.5", "1E+20", 2),
    row(-7, -2, NAN, 1.0, " \u00a0a b\u3000\n", " ", "None", 5, 1.0, date(2023, 1, 1), DAY, LATE, LATE, False, "0.1", "3", 2**128 - 1),
    row(0, 5, INF, -INF, "e\u0301\U0001f600é", "\u0301", "True", 7, INF, date(2020, 2, 29), date(2021, 3, 1), datetime(2023, 3, 26, 2, 30), datetime(2022, 1, 1), True, "1E-20", "1E-20", 9),
    row(BIG, 1, 1e16, 1e-5, "Ab", "b", "b", 1, -0.0, date(2023, 12, 31), date(2023, 12, 31), datetime(2023, 1, 1), datetime(2023, 1, 1, 0, 0, 0, 1), False, "12345678901234.5678901234567891", "9876543210.0123456789", 10),
    row(-(2**63), -1, 0.5, 3.5, "a_b%c\\", "%", "_", -5, 0.5, date(2023, 1, 1), date(2022, 12, 31), datetime(2023, 10, 29, 2, 30), datetime(1969, 12, 31), True, "99999999999999999999999999999.5", "1", 11),
    row(2**53 + 1, 3, 123456789.125, 9007199254740993.0, "Zz", "a", "a", 2**53 + 1, 9007199254740992.0, DAY, DAY, datetime(2023, 1, 2), datetime(2023, 1, 1), False, "0.5", "0.5", 12),
    row(1, 0, 0.0, 0.0, "a,b,c", ",", ",", 0, 2.0, date(1999, 12, 31), DAY, datetime(2000, 2, 29, 12), LATE, True, "7", "0", 13),
    row(100, 7, -1.5, 1e300, "x" * 40, "xx", "zz", 100, -1.5, date(2023, 6, 5), date(2023, 6, 4), datetime(2023, 6, 5, 6, 7, 8, 9), datetime(2023, 6, 5), True, "-99999999999999999999999999999.5", "-3", 14),
]  # fmt: skip


def half(i: int) -> int:
    if i < 0:
        return -half_of(-i)
    return half_of(i)


def half_of(i: int) -> int:
    return i // 2


def grade(r: Row) -> str:
    if r.n is None:
        return "none"
    size = len(r.n)
    if size == 0:
        kind = "empty"
    elif size < 2:
        kind = "short"
    else:
        kind = "long"
    total = 0
    for step in (1, 2, 3):
        total += step * size
    label, number = kind, total
    return f"{label}:{number}"


def early(r: Row) -> int | None:
    if r.i < 0:
        if r.b:
            return None
    elif r.i == 0:
        return 0
    return r.i % 10


def guarded(r: Row) -> bool:
    return r.j > -2 and r.j not in (0, -1) and r.i // r.j > 1


class Letter(str, Enum):  # noqa: UP042, whose str() is another
    B = "b"


class Few(IntEnum):
    SEVEN = 7


def set_in_a_test(r: Row) -> int:
    if (k := r.k) is not None and k != 2**53 + 1:
        return k + 1
    return -1


def optional(r: Row) -> int:
    k = r.k
    if k is not None and k > 0:
        return k
    return 0 if k is None else -1


SAME = [
    # arithmetic
    lambda r: r.j + 1, lambda r: r.j - r.j * 3, lambda r: -r.j, lambda r: r.i // r.j, lambda r: r.i % r.j,
    lambda r: r.j // -2, lambda r: r.j % -3, lambda r: -7 // 2 + r.j, lambda r: r.i / r.j, lambda r: r.j / 3, lambda r: r.i / -(2**61), lambda r: (r.j - r.j) / r.i,
    lambda r: r.j**2, lambda r: r.j**3, lambda r: r.x + 1, lambda r: r.x * r.y, lambda r: r.x - r.y,
    lambda r: r.x + r.j, lambda r: r.x / r.y, lambda r: r.x / r.j, lambda r: 1 / r.x, lambda r: -r.x, lambda r: abs(r.x),
    lambda r: abs(r.j), lambda r: round(r.x), lambda r: round(r.y), lambda r: int(r.x), lambda r: int(r.b),
    lambda r: float(r.i), lambda r: float(r.j), lambda r: r.b + r.j, lambda r: True + r.j,
    lambda r: r.m + r.w, lambda r: r.m * r.w, lambda r: r.m - r.w, lambda r: -r.m, lambda r: abs(r.m), lambda r: r.m * 2,
    lambda r: r.m * r.m, lambda r: r.m + 1, lambda r: int(r.w), lambda r: float(r.m), lambda r: Decimal(r.i),
    lambda r: sum((r.j, 1, r.j)), lambda r: half(r.j), lambda r: half(r.i) if r.i > -(2**63) else 0,
    # comparisons
    lambda r: r.i < r.j, lambda r: r.i <= 7, lambda r: r.i == 7, lambda r: r.i != r.j, lambda r: 0 < r.i <= 100 != r.j,
    lambda r: r.x < r.y, lambda r: r.x <= r.y, lambda r: r.x > r.y, lambda r: r.x >= r.y, lambda r: r.x == r.y,
    lambda r: r.x != r.y, lambda r: r.x > 1, lambda r: r.x < 1, lambda r: r.x <= 1, lambda r: r.x == 1.5, lambda r: r.x != 1.5,
    lambda r: not r.x < r.y, lambda r: r.x != r.x, lambda r: r.x == r.x, lambda r: r.z == r.x, lambda r: r.z != r.z, lambda r: r.z == r.z,
    lambda r: r.i > 0.5, lambda r: r.i == 7.0, lambda r: r.x == 0,
    lambda r: r.s < r.t, lambda r: r.s >= "a", lambda r: r.s == r.t, lambda r: r.n == r.t, lambda r: r.n != r.t, lambda r: r.n == "b",
    lambda r: r.n != "b", lambda r: r.n == r.n, lambda r: r.k == r.i, lambda r: r.k != r.k, lambda r: r.n == None,  # noqa: E711
    lambda r: r.d < r.e, lambda r: r.d == r.e, lambda r: r.at < r.until, lambda r: r.at == r.until, lambda r: r.b == True,  # noqa: E712
    lambda r: r.m < r.w, lambda r: r.m == r.w, lambda r: r.m >= 1, lambda r: r.m == Decimal("1.1"), lambda r: r.u == UUID(int=2),
    lambda r: (r.i, r.s) == (7, "straße"), lambda r: (r.i, r.j) != (7, 2),
    lambda r: r.i in (7, 0), lambda r: r.i not in (7, 0), lambda r: r.s in {"", "Ab"}, lambda r: r.n in ("x", None),
    lambda r: r.n not in ("x", "b"), lambda r: r.x in (1.5, 0.0), lambda r: r.i in [r.j, 7], lambda r: r.i not in {r.j, 7}, lambda r: len(r.n) if r.n in {r.t, "x"} else 0,
    # truth, choice, None
    lambda r: not r.i, lambda r: not r.s, lambda r: not r.x, lambda r: bool(r.m), lambda r: bool(r.n), lambda r: bool(r.k), lambda r: bool(r.z),
    lambda r: r.i or r.j, lambda r: r.i and r.j, lambda r: r.s or "none", lambda r: r.n or "none", lambda r: r.k or 0,
    lambda r: r.n and r.n + "!", lambda r: r.x or r.y, lambda r: r.b and r.i > 0, lambda r: r.b or r.i > 0,
    lambda r: r.i if r.b else r.j, lambda r: r.i if r.b else None, lambda r: r.x if r.b else 0.0, lambda r: r.s if r.s and r.b else r.t,
    lambda r: r.n is None, lambda r: r.n is not None, lambda r: r.n if r.n is not None else r.s, lambda r: r.i is None,
    lambda r: r.n is not None and r.n > "a", lambda r: r.k is None or r.k < 5, lambda r: len(r.n) if r.n else 0,
    lambda r: (v := r.j * 2) + v, guarded, grade, early, optional, set_in_a_test,
    lambda r: r.n == Letter.B, lambda r: r.s > Letter.B, lambda r: r.i == Few.SEVEN, lambda r: r.i in (Few.SEVEN, 0),
    lambda r: 1 if r.n in (r.n, r.t) else 2, lambda r: 1 if r.s in ("a", r.t) else 2,
    lambda r: isinstance(r.i, int), lambda r: isinstance(r.n, str), lambda r: isinstance(r.s, (int, bytes)),
    lambda r: isinstance(r.k, int | None), lambda r: isinstance(r.n, NoneType), lambda r: isinstance(r.n, (int, NoneType)), lambda r: isinstance(r.k, object),
    lambda r: r.k if isinstance(r.k, (str, (int, bytes))) else 0, lambda r: 1 if isinstance(r.k, NoneType) else r.k + 1, lambda r: isinstance(r.i, (str, NoneType)),
    # text
    lambda r: r.s + r.t, lambda r: len(r.s), lambda r: r.s.strip(), lambda r: r.s.lstrip(), lambda r: r.s.rstrip(), lambda r: r.s.strip("aSx"),
    lambda r: r.s.startswith(r.t), lambda r: r.s.startswith("a"), lambda r: r.s.startswith(("a", "Z", "")), lambda r: r.s.endswith(r.t),
    lambda r: r.s.endswith("b"), lambda r: r.s.replace("a", "ß"), lambda r: r.s.replace(r"%", r.t), lambda r: r.t in r.s, lambda r: "b" in r.s,
    lambda r: "" in r.s, lambda r: r.s[:2], lambda r: r.s[1:], lambda r: r.s[-2:], lambda r: r.s[:-1], lambda r: r.s[1:3], lambda r: r.s[1:-1],
    lambda r: r.s[-3:-1], lambda r: r.s[2:1], lambda r: r.s[:0], lambda r: r.s[:], lambda r: r.s.split(",")[0], lambda r: r.s.split("b")[-1],
    lambda r: r.s.removeprefix("a"), lambda r: r.s.removesuffix("c"), lambda r: "-".join((r.s, r.t, "x")), lambda r: f"{r.s}/{r.i}:{r.b}:{r.d}:{r.u}",
    lambda r: f"{r.n}{r.k}", lambda r: str(r.i), lambda r: str(r.b), lambda r: str(r.s), lambda r: f"{r.j:03d}|{r.i:05}|{r.j:d}", lambda r: f"{r.s!s}{{}}%",
    # dates and times
    lambda r: r.at.date(), lambda r: r.at.year, lambda r: r.at.month, lambda r: r.at.day, lambda r: r.at.hour, lambda r: r.at.minute,
    lambda r: r.at.second, lambda r: r.at.microsecond, lambda r: r.d.year * 100 + r.d.month, lambda r: r.d.day, lambda r: r.d.weekday(),
    lambda r: r.at.weekday(), lambda r: r.d.isoweekday(), lambda r: r.d.isoformat(), lambda r: str(r.d), lambda r: r.d - r.e, lambda r: (r.d - r.e).days,
    lambda r: r.at - r.until, lambda r: (r.at - r.until).total_seconds(), lambda r: (r.at - r.until).days, lambda r: (r.at - r.until).seconds,
    lambda r: r.d + timedelta(days=3) if r.d < date(9999, 1, 1) else r.d, lambda r: r.d - timedelta(days=1, hours=5) if r.d.year > 1 else r.d,
    lambda r: r.at + timedelta(days=1, seconds=5, microseconds=7), lambda r: r.at - timedelta(minutes=5) if r.at.year > 1 else r.at,
    lambda r: r.at.replace(hour=0, minute=0, second=0, microsecond=0), lambda r: r.at.replace(minute=0, second=0, microsecond=0),
    lambda r: r.at.replace(second=0, microsecond=0), lambda r: r.at.replace(hour=6, minute=30, second=0, microsecond=1),
    lambda r: r.d + timedelta(days=1) > r.e, lambda r: r.at - timedelta(days=1) < r.until, lambda r: r.at + timedelta(hours=1) == r.until,
    lambda r: r.d.replace(day=1), lambda r: r.d.replace(month=1, day=1), lambda r: (r.at - r.until) > timedelta(hours=1), lambda r: bool(r.d - r.e),
    # the least and the greatest
    lambda r: min(r.i, r.j), lambda r: max(r.i, r.j, 3), lambda r: min(r.x, r.y), lambda r: max(r.x, r.y), lambda r: min((r.s, r.t)), lambda r: max(r.d, r.e),
    lambda r: max(r.m, r.w), lambda r: min(r.x, 1.0),
]  # fmt: skip


@pytest.fixture(scope="module")
def table(databases):
    """A session with the rows in a table."""
    with psycopg.connect(databases.dsn(databases.template("plpgsql"))) as conn:
        fields = [
            (name, leaf.type)
            for name, leaf in ((n, getattr(row_of(Row), n)) for n in Row.__dataclass_fields__)
        ]
        conn.execute(
            f"CREATE TEMP TABLE given (place bigint, {', '.join(f'{n} {t.sql}' for n, t in fields)})"
        )
        for place, one in enumerate(ROWS):
            values = [getattr(one, name) for name, _ in fields]
            conn.execute(f"INSERT INTO given VALUES ({place}{', %s' * len(values)})", values)
        yield conn
        conn.rollback()


def told(value):
    """A value with all that may differ."""
    if isinstance(value, Decimal):
        return "Decimal", value.normalize() + 0
    return type(value).__name__, repr(value)


@pytest.mark.parametrize("f", SAME, ids=lambda f: f"line {f.__code__.co_firstlineno}-{SAME.index(f)}")
def test_differential_sql_and_python(table, f):
    compiled = compile_row_function(f, row_of(Row))
    text = to_sql(compiled.expression)
    assert not called_in(text), text
    expected, failing = {}, []
    for place, one in enumerate(ROWS):
        try:
            expected[place] = f(one)
        except (ArithmeticError, ValueError):
            failing.append(place)
    unheld = [p for p, v in expected.items() if type(v) is int and not -(2**63) <= v < 2**63]
    out_of_range = [p for p, v in expected.items() if type(v) is float and beyond(v, ROWS[p])]
    for place in (*failing, *unheld):
        with pytest.raises(psycopg.DataError), table.transaction():
            table.execute(f"SELECT {text} FROM given WHERE place = {place}")
    left = [p for p in expected if p not in (*unheld, *out_of_range)]
    assert len(left) > 3
    with table.transaction():
        got = dict(
            table.execute(f"SELECT place, {text} FROM given WHERE place = ANY (%s)", [left]).fetchall()
        )
    assert {p: told(v) for p, v in got.items()} == {p: told(expected[p]) for p in left}, text


def beyond(value, one):
    """Whether a float left the range: then Postgres raises where Python goes on with an infinity or zero."""
    return abs(value) == INF and INF not in (abs(one.x), abs(one.y))


def set_again(r: Row) -> int:
    y = 1
    z = (y := 2) if r.b else 0
    return y + z


def set_by_itself(r: Row) -> int:
    y = r.j
    return ((y := y + 1) or 0) + y


def set_in_a_loop(r: Row) -> int:
    z = 0
    for i in (1, 2):
        z = (r.i > i and (y := i)) + z
    return z + y


NO_SQL = [
    lambda r: len({r.i, r.j}) == 1, lambda r: max({r.i, r.j}) == 1,  # equal ones are one
    lambda r: r.x in (r.y, 1.5), lambda r: (r.m, r.i) == (r.w, 1),  # in a tuple a NaN is equal to itself
    lambda r: r.i == 2.0**53,  # 2**53 + 1 is not that, though as a float it is
    lambda r: r.i < 2**70, lambda r: r.s == "\0", lambda r: r.s == "\ud800",  # what no column holds
    lambda r: r.s.startswith("b", 1), lambda r: len(r.s.split(",", 1)) > 1, lambda r: r.s.replace("a", "b", 1) == "",
    lambda r: r.s[2 : 2**40] == "",
    set_again, set_by_itself, set_in_a_loop,
]  # fmt: skip


@pytest.mark.parametrize("f", NO_SQL, ids=lambda f: f"line {f.__code__.co_firstlineno}-{NO_SQL.index(f)}")
def test_what_means_another_thing_in_sql_is_no_sql(f):
    made = compile_row_function(f, row_of(Row), returns=int if f.__name__.startswith("set") else bool)
    text = to_sql(made.expression)
    assert called_in(text), text


class Kind(Enum):
    LETTER = "letter"
    DIGIT = "digit"


class Timed(Data):
    at: AwareDatetime
    kind: Kind
    other: Kind | None
    clock: time


@pytest.mark.parametrize(
    ("f", "text"),
    [
        (lambda r: r.kind == Kind.DIGIT, "kind = 'digit'::text"),
        (lambda r: r.kind is Kind.DIGIT, "kind = 'digit'::text"),
        (lambda r: r.other is not Kind.DIGIT, "other IS DISTINCT FROM 'digit'::text"),
        (lambda r: r.kind in (Kind.DIGIT, Kind.LETTER), "(kind = 'digit'::text) OR (kind = 'letter'::text)"),
        (lambda r: r.clock >= time(3), r"clock >= E'03\x3A00\x3A00'::time"),
        (lambda r: r.at < datetime(2024, 1, 1, tzinfo=UTC), r"at < E'2024-01-01 00\x3A00\x3A00+00\x3A00'::timestamptz"),
    ],
)  # fmt: skip
def test_constants_of_every_type_become_sql(f, text):
    assert to_sql(compile_row_function(f, row_of(Timed), returns=bool).expression) == text
