"""@st.function: Python functions in SQL queries, against Python itself."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest

import pg_stepping as st
from pg_stepping import function
from pg_stepping.errors import InvalidQuery, UnsupportedQuery


@function
def slug(title: str) -> str:
    return "-".join(re.findall(r"\w+", title.casefold()))


@function
def half_down(n: int) -> int:
    return n // 2


@function
def labelled(n: int | None, day: date) -> str:
    return f"{'?' if n is None else hashlib.md5(str(n).encode()).hexdigest()[:4]} {day:%A}"


@function
def words(text: str) -> list[str]:
    return text.split()


class Part(st.Data):
    place: int
    part: str


@function
def parts(text: str, n: int | None) -> Iterator[Part]:
    for i in range(0, len(text), n or 2):
        yield Part(place=i, part=text[i : i + (n or 2)])


@function
class modular_product:
    @staticmethod
    def zero() -> int:
        return 1

    @staticmethod
    def step(state: int, value: int) -> int:
        return state * value % 1_000_003

    @staticmethod
    def finish(state: int) -> int | None:
        return state


def plpython(conn):
    return conn.execute("SELECT FROM pg_language WHERE lanname = 'plpython3u'").fetchone() is not None


@pytest.fixture
def posts(conn):
    if not plpython(conn):
        pytest.skip("these run as Python")
    conn.execute("CREATE TABLE posts (id bigint PRIMARY KEY, title text, n bigint, day date)")
    conn.execute(
        "INSERT INTO posts VALUES (1, 'Ein Maß  Bier', -7, '2023-01-02'), (2, NULL, NULL, NULL), (3, 'x y', 5, '2023-01-03')"
    )
    return conn


def changed(conn):
    """Every kind of change."""
    conn.execute("INSERT INTO posts VALUES (4, 'ẞ Z', 7, '2023-01-02'), (5, 'x', 3, '2023-01-03')")
    conn.execute("UPDATE posts SET title = title || ' End', n = n + 1 WHERE id IN (1, 5)")
    conn.execute("DELETE FROM posts WHERE id = 3")
    return conn.execute("SELECT id, title, n, day FROM posts ORDER BY id").fetchall()


def test_differential_scalar_functions(posts):
    query = "SELECT id, slug(title) AS s, half_down(n) AS h, labelled(n, day) AS l FROM posts"
    st.create_view(posts, "v", query)
    expected = [
        (i, t if t is None else slug(t), n if n is None else half_down(n), d if d is None else labelled(n, d))
        for i, t, n, d in changed(posts)
    ]
    assert posts.execute("SELECT * FROM v ORDER BY id").fetchall() == expected
    assert expected[0][1] == "ein-mass-bier-end"
    assert st.verify(posts, "v") == []
    made = posts.execute(
        "SELECT prosrc, l.lanname FROM pg_proc AS p JOIN pg_language AS l ON l.oid = prolang WHERE proname ~ '^half_down_'"
    ).fetchall()
    assert [language for _, language in made] == ["sql"]
    st.drop_view(posts, "v")
    assert posts.execute("SELECT FROM pg_proc WHERE proname ~ '^(slug|half_down|labelled)_'").fetchall() == []


def test_differential_functions_that_return_rows(posts):
    st.create_view(
        posts, "v", "SELECT p.id, w.word FROM posts AS p CROSS JOIN LATERAL words(p.title) AS w (word)"
    )
    st.create_view(
        posts, "u", "SELECT p.id, w.place, w.part FROM posts AS p CROSS JOIN LATERAL parts(p.title, p.n) AS w"
    )
    posts.execute("UPDATE posts SET n = 2")
    rows = changed(posts)
    expected = sorted((i, w) for i, t, *_ in rows if t for w in words(t))
    assert sorted(posts.execute("SELECT * FROM v").fetchall()) == expected
    expected_parts = sorted((i, p.place, p.part) for i, t, n, _ in rows if t for p in parts(t, n))
    assert sorted(posts.execute("SELECT * FROM u").fetchall()) == expected_parts
    assert len(expected) > 4
    assert st.verify(posts, "v") == st.verify(posts, "u") == []


def test_differential_folds(posts):
    st.create_view(posts, "v", "SELECT day, modular_product(n) AS p, count(*) AS c FROM posts GROUP BY day")
    rows = changed(posts)
    expected = {}
    for _, _, n, day in rows:
        state = expected.get(day, modular_product.zero())
        expected[day] = state if n is None else modular_product.step(state, n)
    assert dict(posts.execute("SELECT day, p FROM v").fetchall()) == expected
    assert len(expected) == 3
    assert st.verify(posts, "v") == []
    st.drop_view(posts, "v")
    assert posts.execute("SELECT FROM pg_proc WHERE proname ~ 'product_'").fetchall() == []


@function
class weighted:
    @staticmethod
    def zero() -> int:
        return 0

    @staticmethod
    def step(state: int, value: int, weight: int | None) -> int:
        return state + value * (weight or 7)

    @staticmethod
    def inverse(state: int, value: int, weight: int | None) -> int:
        return state - value * (weight or 7)


@function
class commonest:
    @staticmethod
    def zero() -> dict[str, int]:
        return {}

    @staticmethod
    def step(state: dict[str, int], label: str, times: int) -> dict[str, int]:
        return {**state, label: state.get(label, 0) + times}

    @staticmethod
    def inverse(state: dict[str, int], label: str, times: int) -> dict[str, int]:
        left = state[label] - times
        return {**{k: n for k, n in state.items() if k != label}, **({label: left} if left else {})}

    @staticmethod
    def finish(state: dict[str, int]) -> str | None:
        return max(state, key=lambda label: (state[label], label), default=None)


@function
class joined:
    @staticmethod
    def zero() -> str:
        return ""

    @staticmethod
    def step(state: str, value: int, share: float) -> str:
        return f"{state};{value}:{share}"


@function
class drifting:
    @staticmethod
    def zero() -> float:
        return 0.0

    @staticmethod
    def step(state: float, share: float) -> float:
        return state + share

    @staticmethod
    def inverse(state: float, share: float) -> float:
        return state - share


FOLDS = [(weighted, (0, 1)), (commonest, (2, 0)), (joined, (0, 3)), (drifting, (3,))]


def folded(rows, fold, places):
    given = sorted((tuple(r[p] for p in places) for r in rows), key=lambda r: [(v is None, v) for v in r])
    state = fold.zero()
    for row in given:
        if not any(v is None for v, place in zip(row, places, strict=True) if place != 1):
            state = fold.step(state, *row)
    return fold.finish(state) if hasattr(fold, "finish") else state


@pytest.mark.parametrize("triggers", ["plpython3u", "plpgsql"])
def test_oracle_folds_of_several_arguments_with_and_without_an_inverse(posts, triggers):
    rng = random.Random(triggers)
    posts.execute("CREATE TABLE r (k bigint, v bigint, w bigint, s text, x float8)")
    posts.execute("CREATE TABLE groups (k bigint, name text)")
    posts.execute("INSERT INTO groups VALUES (1, 'a'), (2, 'b'), (2, 'b'), (3, 'a')")
    query = """SELECT g.name, weighted(r.v, r.w) AS a, commonest(r.s, r.v) FILTER (WHERE r.v > 1) AS b,
                      joined(r.v, r.x) AS c, drifting(r.x) AS d, count(*) AS n
               FROM r JOIN groups AS g USING (k) GROUP BY g.name"""
    st.create_view(posts, "v", query, language=triggers)
    told = "SELECT name, weighted(v, w) AS a, commonest(s, v) AS b FROM r JOIN groups USING (k) GROUP BY name"
    st.create_view(posts, "kept", told, language=triggers)
    st.create_view(posts, "later", told, language=triggers, mode="deferred")
    assert "kept by delta" in st.explain(posts, "kept")
    assert "merge_commonest" in st.generate(posts, "other", told, language=triggers).up
    assert "merge_drifting" not in st.generate(posts, "other", query, language=triggers).up
    one = "(1 + random() * 3)::int, (1 + random() * 3)::int, nullif((random() * 3)::int, 0)"
    insert = f"INSERT INTO r SELECT {one}, chr(97 + (random() * 2)::int), (random() * 9)::int / 10.0"
    seen = 0
    posts.execute("SELECT setseed(0.5)")
    posts.execute(f"{insert} FROM generate_series(1, 9)")
    for _ in range(8):
        posts.execute(
            rng.choice(
                [
                    f"{insert} FROM generate_series(1, 6)",
                    insert,
                    "UPDATE r SET v = v + 1, k = 1 + k % 3 WHERE random() < 0.4",
                    "DELETE FROM r WHERE random() < 0.4",
                    "UPDATE groups SET name = CASE name WHEN 'a' THEN 'b' ELSE 'a' END WHERE k = 1",
                    "INSERT INTO r (k) VALUES (1)",
                ]
            )
        )
        rows = posts.execute("SELECT name, v, w, s, x FROM r JOIN groups USING (k)").fetchall()
        mine = {name: [r[1:] for r in rows if r[0] == name] for name in {r[0] for r in rows}}
        expected = {
            name: tuple(folded(of, f, p) for f, p in FOLDS if f is not commonest) for name, of in mine.items()
        }
        assert {n: (a, c, d) for n, a, _, c, d, _ in posts.execute("SELECT * FROM v")} == expected
        common = {name: folded(of, commonest, (2, 0)) for name, of in mine.items()}
        assert {n: b for n, _, b in posts.execute("SELECT * FROM kept")} == common
        assert {n: b for n, _, b in posts.execute("SELECT * FROM later")} == common
        st.apply(posts, "later")
        seen += len(expected)
        assert st.verify(posts, "v") == st.verify(posts, "kept") == []
    assert seen > 10
    posts.execute("DELETE FROM r")
    assert posts.execute("SELECT FROM v").fetchall() == []
    for view in ("v", "kept", "later"):
        st.drop_view(posts, view)
    assert (
        posts.execute("SELECT FROM pg_proc WHERE proname ~ '(weighted|commonest|joined)_'").fetchall() == []
    )


def test_a_fold_over_no_rows_is_what_it_begins_with(posts):
    posts.execute("CREATE TABLE r (id bigint, v bigint, w bigint)")
    query = """SELECT p.id, (SELECT weighted(r.v, r.w) FROM r WHERE r.id = p.id) AS a,
                      (SELECT modular_product(r.v) FROM r WHERE r.id = p.id) AS b FROM posts AS p"""
    st.create_view(posts, "v", query)
    st.create_view(posts, "total", "SELECT weighted(v, w) AS a, modular_product(v) AS b FROM r")
    posts.execute("INSERT INTO r VALUES (1, 2, 3)")
    assert posts.execute("SELECT * FROM v ORDER BY id").fetchall() == [(1, 6, 2), (2, 0, 1), (3, 0, 1)]
    posts.execute("DELETE FROM r")
    assert posts.execute("SELECT * FROM total").fetchall() == [(0, 1)]
    assert st.verify(posts, "v") == st.verify(posts, "total") == []


@function
def padded(text: str, width: int = 4, fill: str | None = None) -> str:
    return text.rjust(width, fill or "*")


def test_differential_defaults_orders_and_rows_in_exists(posts):
    posts.execute("CREATE TABLE r (id bigint, v bigint, x float8, s text)")
    posts.execute(
        "INSERT INTO r VALUES (1, 5, 0.5, 'a b'), (1, 3, 2, 'c'), (1, NULL, 1, ''), (2, 1, 1.5, NULL)"
    )
    query = """SELECT id, joined(v, x ORDER BY x DESC) AS down, joined(v, x ORDER BY v NULLS FIRST) AS up,
                      joined(v, x) AS plain FROM r GROUP BY id"""
    st.create_view(posts, "v", query)
    st.create_view(posts, "u", "SELECT s, padded(s) AS a, padded(s, 5) AS b, padded(s, 5, '-') AS c FROM r")
    there = "SELECT s FROM r WHERE EXISTS (SELECT FROM words(r.s) AS w (word) WHERE w.word > 'a')"
    st.create_view(posts, "w", there)
    posts.execute("INSERT INTO r VALUES (1, 4, 3, 'x')")
    posts.execute("UPDATE r SET x = 9 WHERE v = 5")
    assert posts.execute("SELECT * FROM v ORDER BY id").fetchall() == [
        (1, ";5:9.0;4:3.0;3:2.0", ";3:2.0;4:3.0;5:9.0", ";3:2.0;4:3.0;5:9.0"), (2, ";1:1.5", ";1:1.5", ";1:1.5"),
    ]  # fmt: skip
    shown = posts.execute("SELECT * FROM u WHERE s = 'c'").fetchall()
    assert shown == [("c", padded("c"), padded("c", 5), padded("c", 5, "-"))]
    assert sorted(posts.execute("SELECT s FROM w").fetchall()) == [("a b",), ("c",), ("x",)]
    for view in ("v", "u", "w"):
        assert st.verify(posts, view) == []


class Line(st.Data):
    label: str
    day: date | None
    price: Decimal


@function
def squares(numbers: list[int | None]) -> int:
    return sum(n * n for n in numbers if n is not None)


@function
def bumped(counts: dict[str, int]) -> dict[str, int]:
    return {key: n + 1 for key, n in counts.items()}


@function
def dearest(lines: list[Line]) -> Iterator[Line]:
    yield from sorted(lines, key=lambda line: line.price)[-1:]


@function
def labels(lines: list[Line], extra: frozenset[str] | None) -> frozenset[str] | None:
    return frozenset(line.label for line in lines) | (extra or frozenset())


def test_differential_functions_of_collections(posts):
    posts.execute("CREATE TABLE c (id bigint, numbers bigint[], counts jsonb, lines jsonb, extra text[])")
    st.create_view(posts, "v", "SELECT id, squares(numbers) AS s, bumped(counts) AS b FROM c")
    st.create_view(posts, "u", "SELECT c.id, l.* FROM c CROSS JOIN LATERAL dearest(c.lines) AS l")
    st.create_view(posts, "w", "SELECT id, labels(lines, extra) AS l FROM c")
    posts.execute(
        """INSERT INTO c VALUES
           (1, '{3,NULL,-2}', '{"ä": 1, "b": 5}',
            '[{"label": "x", "day": null, "price": "1.50"}, {"label": "y", "day": "2024-02-29", "price": "1.5"}]',
            '{z}'), (2, NULL, NULL, NULL, NULL), (3, '{}', '{}', '[]', NULL)"""
    )
    assert posts.execute("SELECT * FROM v ORDER BY id").fetchall() == [
        (1, 13, {"ä": 2, "b": 6}), (2, None, None), (3, 0, {}),
    ]  # fmt: skip
    assert posts.execute("SELECT * FROM u").fetchall() == [(1, "y", date(2024, 2, 29), Decimal("1.5"))]
    posts.execute("UPDATE c SET extra = '{q}' WHERE id = 3")
    assert posts.execute("SELECT l FROM w ORDER BY id").fetchall() == [(["x", "y", "z"],), (None,), (["q"],)]
    for view in ("v", "u", "w"):
        assert st.verify(posts, view) == []


def test_a_name_is_the_callers_own_or_the_databases(posts):
    def declaring():
        @function
        def upper(text: str) -> str:
            return "mine"

        @function
        def slug(title: str) -> str:
            return "another"

        return upper

    upper = declaring()
    with pytest.raises(UnsupportedQuery, match="which is a function of the database and one"):
        st.create_view(posts, "v", "SELECT id, upper(title) AS u FROM posts")
    st.create_view(posts, "v", "SELECT id, pg_catalog.upper(title) AS u, slug(title) AS s FROM posts")
    assert posts.execute("SELECT u, s FROM v WHERE id = 3").fetchall() == [("X Y", "x-y")]
    del upper
    st.create_view(posts, "u", "SELECT id, upper(title) AS u FROM posts")
    assert posts.execute("SELECT u FROM u WHERE id = 3").fetchall() == [("X Y",)]


def test_the_script_and_the_fingerprint_have_the_function(posts):
    query = "SELECT id, slug(title) AS s FROM posts"
    before = st.generate(posts, "v", query)
    assert "CREATE OR REPLACE FUNCTION stepping.slug_" in before.up
    assert not re.search(r"%|(?<!:):(?=\w)|\$\{|\{\{", before.up)
    posts.execute(before.up)
    assert posts.execute("SELECT s FROM v WHERE id = 1").fetchone() == ("ein-mass-bier",)

    def slug(title: str) -> str:
        return title.casefold().replace(" ", "_")

    function(slug)
    try:
        assert st.generate(posts, "w", query).fingerprint != before.fingerprint
    finally:
        function(globals()["slug"])


def test_a_function_without_types_is_refused(posts):
    def odd(title) -> str:
        return title

    function(odd)
    with pytest.raises(UnsupportedQuery, match=r"odd\(\), in which the parameter title has no type"):
        st.create_view(posts, "v", "SELECT id, odd(title) AS s FROM posts")


def test_a_drop_leaves_the_functions_of_others(posts):
    st.create_view(posts, "v", "SELECT day, modular_product(n) AS p FROM posts GROUP BY day")
    st.create_view(posts, "w", "SELECT id, slug(title) AS s FROM posts")
    st.drop_view(posts, "w")
    posts.execute("INSERT INTO posts VALUES (9, 'x', 11, '2023-01-02')")
    assert posts.execute("SELECT p FROM v WHERE day = '2023-01-02'").fetchone() == (1_000_003 - 77,)


def test_a_changed_view_has_the_functions_of_its_new_query(posts):
    st.create_view(posts, "v", "SELECT id, n, slug(title) AS s FROM posts")
    st.change_view(posts, "v", "SELECT id, n, labelled(n, day) || slug(title) AS s FROM posts")
    posts.execute("INSERT INTO posts VALUES (9, 'Ä B', 11, '2023-01-02')")
    assert posts.execute("SELECT s FROM v WHERE id = 9").fetchone() == (
        labelled(11, date(2023, 1, 2)) + "ä-b",
    )
    st.change_view(posts, "v", "SELECT id, n, title AS s FROM posts")
    posts.execute("INSERT INTO posts VALUES (10, 'Ä', 11, '2023-01-02')")
    assert posts.execute("SELECT s FROM v WHERE id = 10").fetchone() == ("Ä",)
    assert posts.execute("SELECT FROM pg_proc WHERE proname ~ '^(slug|labelled)_'").fetchall() == []
    st.create_view(posts, "g", "SELECT day, count(*) AS c FROM posts GROUP BY day")
    st.change_view(posts, "g", "SELECT day, count(*) AS c, half_down(count(*)) AS h FROM posts GROUP BY day")
    posts.execute("INSERT INTO posts VALUES (11, 'Ä', 11, '2023-01-02')")
    assert posts.execute("SELECT c, h FROM g WHERE day = '2023-01-02'").fetchone() == (4, 2)
    assert st.verify(posts, "g") == []


def test_a_query_that_is_no_sql_is_refused_as_ever(posts):
    with pytest.raises(InvalidQuery, match="cannot be read"):
        st.create_view(posts, "v", "SELECT slug(title), 'open FROM posts")
