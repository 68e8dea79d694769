"""Type checkers accept right queries and reject wrong ones: mypy, strict, on a program with marked lines."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """\
import pg_stepping as st
from uuid import UUID
class User(st.Data):
    id: int
    name: str
class Meter(st.Data):
    key: UUID
    user: int
def good(users: st.ZSet[User], meters: st.ZSet[Meter]) -> st.ZSet[st.Pair[User, Meter]]:
    return st.join(
        users, meters, on_left=st.Index.pick(User, lambda u: u.id),
        on_right=st.Index.pick(Meter, lambda m: m.user)
    )
graph = st.compile(good)
store = st.StorePython.from_graph(graph)
users, meters = st.actions(store, graph)
(changed,) = users.insert(User(id=1, name="a"))
users.insert(Meter(key=UUID(int=1), user=1))  # rejected
def unlike(users: st.ZSet[User], meters: st.ZSet[Meter]) -> None:
    st.join(  # rejected
        users, meters, on_left=st.Index.pick(User, lambda u: u.id),
        on_right=st.Index.pick(Meter, lambda m: m.key)
    )
def name_of(u: User) -> str:
    return u.name
def wrong(users: st.ZSet[User], meters: st.ZSet[Meter]) -> None:
    st.map(meters, f=name_of)  # rejected
def sums(users: st.ZSet[User]) -> st.ZSet[st.Pair[int, str]]:
    return st.group_reduce_flatten(
        users, by=st.Index.pick(User, lambda u: u.name), zero=int, pick_value=lambda u: u.id
    )
def unlike_sums(users: st.ZSet[User]) -> None:
    st.reduce(users, zero=int, pick_value=lambda u: u.name)  # rejected
def many(u: User) -> frozenset[str]:
    return frozenset([u.name])
def more(users: st.ZSet[User]) -> tuple[st.ZSet[str], st.ZSet[int]]:
    names = st.map_many(users, f=many)
    st.first_n(names, index=st.Index.pick(User, lambda u: u.id), n=1)  # rejected
    st.add(names, users)  # rejected
    return names, st.count(users)
kept = st.Cache[User](name="kept")
for key, row, count in kept.zset(store).iter_by_index(st.Index.pick(User, lambda u: u.id), at_least=2):
    row.name.upper()
    row.key  # rejected
def groups(users: st.ZSet[User]) -> st.ZSet[st.Pair[int, str]]:
    g = st.group(users, by=st.Index.pick(User, lambda u: u.name))
    return st.flatten(st.per_group[g](lambda z: st.count(z)))
lazy = st.compile_lazy(good)
users, meters = st.actions(store, lazy())
users.insert(Meter(key=UUID(int=1), user=1))  # rejected
"""


def test_mypy_accepts_the_right_lines_and_rejects_the_wrong_ones(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    root = Path(__file__).parents[2]
    examples = [
        root / "examples" / "meter_reads" / "query.py",
        root / "tests/postgres/test_python_examples.py",
    ]
    options = ["--strict", "--cache-dir", str(tmp_path / "cache")]
    run = [sys.executable, "-m", "mypy", *options, *map(str, [program, *examples])]
    done = subprocess.run(run, cwd=root, capture_output=True, text=True, check=False)
    errors = [line.split(":") for line in done.stdout.splitlines() if ": error:" in line]
    assert all(file.endswith("program.py") for file, *_ in errors), done.stdout
    told = {int(line) for _, line, *_ in errors}
    wanted = {n for n, line in enumerate(PROGRAM.splitlines(), 1) if "# rejected" in line}
    assert len(wanted) == 8
    assert told == wanted, done.stdout + done.stderr
