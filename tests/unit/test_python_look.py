"""How a query looks, in a notebook and as a picture, and how its errors name the user's lines."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

import pg_stepping as st


class User(st.Data):
    id: int
    name: str


class Meter(st.Data):
    user: int
    key: str


def shout(user: User) -> str:
    return user.name.upper()


def is_first(user: User) -> bool:
    return user.id < 100


def query(users: st.ZSet[User]) -> st.ZSet[str]:
    return st.distinct(st.map(st.filter(users, f=is_first), f=shout))


def test_a_graph_shows_its_dataflow_with_python_told_apart() -> None:
    graph = st.compile(query)
    shown = graph._repr_mimebundle_()
    assert shown["text/plain"].startswith("<Graph of query() at ")
    root = ET.fromstring(shown["image/svg+xml"])
    groups = list(root.iter("{http://www.w3.org/2000/svg}g"))
    assert [g.get("class") for g in groups] == [
        "sql table",
        "sql step",
        "python step",
        "sql state",
        "sql view",
    ]
    titles = [g[0].text for g in groups]
    assert titles == ["users", "filter", "map shout\nPython: shout", "distinct", "query_output"]
    assert 'n2["map shout<br/>Python: shout"]' in shown["text/markdown"]
    assert "class n2 python" in graph.mermaid()
    assert graph.svg() == graph._repr_svg_() == shown["image/svg+xml"]


def test_reprs_of_what_a_query_is_made_of() -> None:
    index = st.Index.pick(User, lambda u: (u.name, u.id), ascending=(True, False))
    assert repr(index) == '<Index of User by "name" ASC, "id" DESC>'
    assert repr(st.compile(query).kept[0].operator) == "<Distinct of 1 columns>"


def test_without_graphviz_write_png_says_what_to_do(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(st.SteppingError, match=r"(?s)needs Graphviz.*graph\.svg\(\)"):
        st.write_png(st.compile(query), tmp_path / "query.png", simplify_labels=True)


def unlike(users: st.ZSet[User], meters: st.ZSet[Meter]) -> Any:
    left = st.Index.pick(User, lambda u: u.id)
    right = st.Index.pick(Meter, lambda m: m.key)
    return st.join(users, meters, on_left=left, on_right=right)  # here: join


def twice(users: st.ZSet[User]) -> Any:
    return st.map(st.integrate(users), f=shout)  # here: integrate


def adds(users: st.ZSet[User], meters: st.ZSet[Meter]) -> Any:
    return inner(users, meters)


def inner(users: Any, meters: Any) -> Any:
    return st.add(users, meters)  # here: add


def grouped(users: st.ZSet[User]) -> Any:  # here: groups
    return st.group(users, by=st.Index.pick(User, lambda u: u.id))


def nothing(users: st.ZSet[User]) -> None:  # here: nothing
    st.distinct(users)


@pytest.mark.parametrize(
    ("wrong", "mark"),
    [(unlike, "join"), (twice, "integrate"), (adds, "add"), (grouped, "groups"), (nothing, "nothing")],
)
def test_what_is_refused_names_the_users_line(wrong: Any, mark: str) -> None:
    with open(__file__) as text:
        [line] = [n for n, code in enumerate(text, 1) if code.endswith(f"# here: {mark}\n")]
    with pytest.raises(st.UnsupportedQuery) as caught:
        st.compile(wrong)
    assert f" at {__file__}:{line}\nHINT: " in str(caught.value)


def test_an_index_that_picks_nothing_names_the_users_line() -> None:
    with pytest.raises(st.UnsupportedQuery, match=r"picks no field at .*test_python_look\.py:\d+\nHINT"):
        st.Index.pick(User, lambda u: 1)


def test_a_field_that_is_not_there_names_the_users_line() -> None:
    def query(users: st.ZSet[User]) -> Any:
        return st.filter(users, f=lambda u: u.nope > 1)  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match=r"'User' object has no attribute 'nope', in .*_look\.py:\d+"):
        st.compile(query)
