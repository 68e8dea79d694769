"""@st.function: Python functions in SQL queries, against Python itself."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import date

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
