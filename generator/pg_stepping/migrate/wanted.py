"""What the declared views are as SQL, found out in a savepoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import sqlglot
from sqlglot.errors import SqlglotError

from pg_stepping.backend.script import Definition, fingerprint_of, write_script, write_skeleton
from pg_stepping.catalog import Installed, has_catalog, init, list_views, target
from pg_stepping.compiler import MODES, check_stripes, compile_query
from pg_stepping.errors import InvalidDeclaration, SteppingError
from pg_stepping.frontend.postgres import Connection, execute, run_script, savepoint
from pg_stepping.ir import Table
from pg_stepping.migrate.declared import View
from pg_stepping.migrate.sections import Section
from pg_stepping.session import guarded
from pg_stepping.shipped import version

Settings = tuple[tuple[str, str], ...]

# How long the trial waits to take away a view that others use: those who came after it would wait, too.
_PATIENCE = "5s"


def wanted(
    conn: Connection, declared: Sequence[View], *, before: Callable[[], object] | None = None
) -> list[Section]:
    """The declared views as SQL makes them, each after those that it reads; nothing in the database changes.

    `before` changes the database first, within the savepoint, as the migration will (None: it stays as it
    is). Where a view that another one reads is not there, or is of another query, it is made there without
    rows. Raises what `create_view` raises, with the view's name; then nothing is returned.
    """
    with guarded(conn, undo=True):
        trial = Trial(conn)
        if before is not None:
            trial.change(before)
        return [
            replace(section_of(definition), any_language=v.language is None, declared=v.digest)
            for v, definition in trial.compiled(declared)
        ]


@dataclass(slots=True)
class Trial:
    """The database within a savepoint of the caller's; `there` are its maintained views.

    `settings` are what views, by their names, are compiled with besides what the session has.
    """

    conn: Connection
    settings: Mapping[Table, Settings] = field(default_factory=dict)
    there: dict[Table, Installed] = field(init=False)

    def __post_init__(self) -> None:
        self.there = {v.table: v for v in list_views(self.conn)}

    def change(self, before: Callable[[], object]) -> bool:
        """Change the tables below the maintained views; returns whether these could stay meanwhile."""
        try:
            with savepoint(self.conn):
                before()
        except Exception:
            if not self.there:
                raise
            for view in list(self.there):
                self.drop(view)
            with savepoint(self.conn):
                before()
            return False
        return True

    def compiled(self, declared: Sequence[View]) -> Iterator[tuple[View, Definition]]:
        """Compile each view after those that it reads, while those are there as they are declared."""
        targets = [target(self.conn, v.name, v.schema) for v in declared]
        if len(set(targets)) < len(targets):
            twice = next(t for t in targets if targets.count(t) > 1)
            raise InvalidDeclaration(f"view {twice} is declared twice", hint="leave one out")
        order = _in_order(targets, [words(v.query) for v in declared])
        for i, _ in order:
            needed = any(i in reads for _, reads in order)
            with ExitStack() as stack:
                if targets[i] in self.settings:
                    stack.enter_context(_set(self.conn, self.settings[targets[i]]))
                definition = self._compiled(targets[i], declared[i], needed=needed)
            yield declared[i], definition

    def _compiled(self, view: Table, declared: View, *, needed: bool) -> Definition:
        mode = declared.mode or MODES[0]
        try:
            check_stripes(mode, declared.stripes)
            definition = compile_query(
                self.conn,
                view,
                declared.query,
                language=declared.language,
                indexes=declared.indexes,
                mode=mode,
                stripes=declared.stripes,
            )
        except SteppingError as error:
            error.args = (f"view {view}: {error}",)
            raise
        there = self.there.get(view)
        if needed and (there is None or there.fingerprint != fingerprint_of(definition)):
            self.drop(view)
            if not has_catalog(self.conn):
                init(self.conn)
            run_script(self.conn, write_skeleton(definition))
            execute(self.conn, "SELECT stepping.put_dependents_back(%s, %s)", [view.schema, view.name])
        return definition

    def drop(self, view: Table) -> None:
        """Drop a view, if it is there, and before it those that read it; ordinary ones are set aside."""
        found = self.there.pop(view, None)
        if found is None:
            return
        for reader in [t for t, v in self.there.items() if str(view) in v.reads]:
            self.drop(reader)
        execute(self.conn, f"SET LOCAL lock_timeout = '{_PATIENCE}'")
        execute(self.conn, "SELECT stepping.set_dependents_aside(%s, %s)", [view.schema, view.name])
        execute(self.conn, "SELECT stepping.drop_view(%s, %s)", [view.schema, view.name])


def section_of(definition: Definition) -> Section:
    """A definition as the section of a migration."""
    query = definition.query
    return Section(
        definition.view,
        fingerprint_of(definition),
        definition.language,
        definition.mode,
        query.views,
        write_script(definition).up,
        query=query.text,
        indexes=definition.indexes,
        settings=tuple(query.settings),
        stripes=definition.stripes,
        stages=tuple(p.stage.name for p in definition.programs),
        version=version(),
    )


@contextmanager
def _set(conn: Connection, settings: Settings) -> Iterator[None]:
    """The settings that a view was compiled with."""
    before = [(name, execute(conn, "SELECT current_setting(%s)", [name]).fetchone()) for name, _ in settings]
    for name, value in settings:
        execute(conn, "SELECT set_config(%s, %s, true)", [name, value])
    yield
    for name, row in before:
        execute(conn, "SELECT set_config(%s, %s, true)", [name, row[0] if row else ""])


def words(query: str) -> set[str]:
    """The names that a query may mention."""
    try:
        return {token.text for token in sqlglot.tokenize(query, read="postgres")}
    except SqlglotError:  # Postgres will say what is wrong with it
        return set()


def _in_order(views: Sequence[Table], words: Sequence[set[str]]) -> list[tuple[int, set[int]]]:
    """The views by number, each after those that its query may read, with these.

    Where two may read each other, as they are declared.
    """
    folded = [w | {x.lower() for x in w} for w in words]
    reads = [{i for i, v in enumerate(views) if v.name in f and i != n} for n, f in enumerate(folded)]
    left = list(range(len(views)))
    order = []
    while left:
        following = next((i for i in left if not reads[i] & set(left)), left[0])
        left.remove(following)
        order.append((following, reads[following]))
    return order
