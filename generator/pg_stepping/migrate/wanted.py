"""What the declared views are as SQL, found out in a savepoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import sqlglot
from sqlglot.errors import SqlglotError

from pg_stepping.backend.script import Definition, fingerprint_of, write_script, write_skeleton
from pg_stepping.catalog import Installed, has_catalog, init, list_views, target
from pg_stepping.compiler import MODES, compile_query
from pg_stepping.errors import InvalidDeclaration, SteppingError
from pg_stepping.frontend.postgres import Connection, execute, run_script, savepoint
from pg_stepping.ir import Table
from pg_stepping.migrate.declared import View
from pg_stepping.migrate.sections import Section
from pg_stepping.session import guarded

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
        trial = _Trial(conn)
        if before is not None:
            trial.change(before)
        targets = [target(conn, v.name, v.schema) for v in declared]
        if len(set(targets)) < len(targets):
            twice = next(t for t in targets if targets.count(t) > 1)
            raise InvalidDeclaration(f"view {twice} is declared twice", hint="leave one out")
        order = _in_order(targets, [words(v.query) for v in declared])
        return [
            trial.compiled(targets[i], declared[i], needed=any(i in reads for _, reads in order))
            for i, _ in order
        ]


@dataclass(slots=True)
class _Trial:
    """The database within the savepoint; `there` are its maintained views."""

    conn: Connection
    there: dict[Table, Installed] = field(init=False)

    def __post_init__(self) -> None:
        self.there = {v.table: v for v in list_views(self.conn)}

    def change(self, before: Callable[[], object]) -> None:
        """What changes the tables below the maintained views may need these to be away."""
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

    def compiled(self, view: Table, declared: View, *, needed: bool) -> Section:
        mode = declared.mode or MODES[0]
        try:
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
        section = replace(
            section_of(definition), any_language=declared.language is None, declared=declared.digest
        )
        there = self.there.get(view)
        if needed and (there is None or there.fingerprint != section.fingerprint):
            self.drop(view)
            if not has_catalog(self.conn):
                init(self.conn)
            run_script(self.conn, write_skeleton(definition))
            execute(self.conn, "SELECT stepping.put_dependents_back(%s, %s)", [view.schema, view.name])
        return section

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
    mode, reads, up = definition.mode, definition.query.views, write_script(definition).up
    return Section(definition.view, fingerprint_of(definition), definition.language, mode, reads, up)


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
