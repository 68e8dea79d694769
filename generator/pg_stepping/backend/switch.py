"""The scripts that bring a view from one mode to the other: its state stays as it is."""

from __future__ import annotations

from pg_stepping.backend.publish import replaced
from pg_stepping.backend.script import Definition, applied_name, published_as_applied, write_following
from pg_stepping.delta.terms import quote_table, regclass
from pg_stepping.frontend.dialect import quote_text

# What the triggers of a table share goes when the others are there: it is put up by ALTER TABLE, after which
# event triggers want to see all triggers of a view.
_UNFOLLOW = "SELECT stepping.unfollow_tables();"


def write_deferring(definition: Definition, options: str = "") -> str:
    """To deferred mode: logs in place of what keeps the state, and the views that read them.

    `options` are those of the published view, as CREATE VIEW has them.
    """
    assert definition.deferred is not None
    shown = replaced(definition.deferred.published, definition.view, options)
    # Noted at once: event triggers look at what a view is made of, and a part of that is another now.
    parts = [_stop(definition), _note(definition), *write_following(definition), _UNFOLLOW]
    readable = f"SELECT stepping.let_owner_read({quote_text(regclass(definition.view))}::regclass);"
    return "\n\n".join([*parts, shown, readable, published_as_applied(definition), _note(definition)])


def write_keeping(definition: Definition) -> str:
    """To immediate mode, first half: the triggers keep the state, and nothing comes to the logs any more.

    The published view reads them yet: for older snapshots there are changes in them.
    """
    return "\n\n".join([_stop(definition), *write_following(definition), _UNFOLLOW])


def write_without_logs(definition: Definition, options: str = "") -> str:
    """To immediate mode, second half: the published view reads the state alone, and the logs go."""
    return "\n\n".join(
        [
            replaced(definition.published, definition.view, options),
            f"DROP VIEW {quote_table(applied_name(definition.view))};",
            f"SELECT stepping.drop_logs({_stages(definition)});",
            _note(definition),
        ]
    )


def _stop(definition: Definition) -> str:
    return f"SELECT stepping.stop_following({_stages(definition)});"


def _stages(definition: Definition) -> str:
    return f"ARRAY[{', '.join(quote_text(p.stage.name) for p in definition.programs)}]"


def _note(definition: Definition) -> str:
    schema, name = quote_text(definition.view.schema), quote_text(definition.view.name)
    return (
        f"UPDATE stepping.maintained_view SET mode = {quote_text(definition.mode)}\n"
        f"WHERE schema_name = {schema} AND view_name = {name};"
    )
