"""The migration: one script that makes a view, and one that takes it away."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from textwrap import indent

from pg_stepping.backend import deferred as logs
from pg_stepping.backend import plpgsql, plpython
from pg_stepping.backend.apply import apply, step
from pg_stepping.backend.publish import index, view
from pg_stepping.backend.settings import dollar_tag, text_settings
from pg_stepping.backend.tables import aside_tables, key_table, row_type_tables, state_table
from pg_stepping.backend.triggers import follow_call, function_name, hold_calls
from pg_stepping.delta import Deferred, Published, Stage, StageProgram
from pg_stepping.delta.stripes import vanish_body, vanish_function
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.database_functions import Shipped
from pg_stepping.frontend.dialect import quote_lines, quote_text
from pg_stepping.frontend.sql import Query
from pg_stepping.ir import Project, Table
from pg_stepping.ir.format import format_plan
from pg_stepping.shipped import version

LANGUAGES = ("plpython3u", "plpgsql")
AS_APPLIED = "_as_applied"
# One more when a fault of the text is mended that views keep until they are made anew: see stepping.fault().
TEXT = 1


@dataclass(frozen=True, slots=True)
class Script:
    """`up` makes the view, `down` takes it away; both are plain SQL for any migration tool.

    `fingerprint` is a SHA-256 in hexadecimal of the plan, the indexes and the pinned settings.
    """

    up: str
    down: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Definition:
    """All that a script is written from."""

    view: Table
    query: Query
    plan: Project
    programs: tuple[StageProgram, ...]
    published: Published
    language: str
    indexes: tuple[tuple[str, ...], ...]
    functions: tuple[Shipped, ...] = ()
    deferred: Deferred | None = None
    stripes: int = 0

    @property
    def mode(self) -> str:
        return "deferred" if self.deferred is not None else "immediate"


def fingerprint_of(definition: Definition) -> str:
    """Equal for views that mean the same, whatever their text and language."""
    told = repr((format_plan(definition.plan), definition.indexes, definition.query.settings))
    told += f" in {definition.stripes} stripes" if definition.stripes else ""
    return hashlib.sha256(told.encode()).hexdigest()


def write_script(definition: Definition) -> Script:
    """The up and down scripts of a view; equal definitions give equal text."""
    return Script(_up(definition), write_down(definition.view), fingerprint_of(definition))


def write_skeleton(definition: Definition) -> str:
    """A view without rows or triggers, for others to be compiled against: it locks no table that it reads."""
    tables = [state_table(p.stage, "A trial, to be rolled back.") for p in definition.programs]
    called = [function.sql for function in definition.functions]
    return "\n".join(
        [*called, *tables, view(definition.published, definition.view, ""), register(definition)]
    )


def _up(definition: Definition) -> str:
    following = _fill_and_follow(definition, all_settings(definition))
    parts = [
        _heading(definition),
        *stored(definition),
        following,
        *published(definition),
        register(definition),
    ]
    return "\n\n".join(parts) + "\n"


def stored(definition: Definition) -> list[str]:
    """All that a view has below what is published, without rows and without triggers on its sources."""
    settings = all_settings(definition)
    parts = [function.sql for function in definition.functions]
    for program in definition.programs:
        parts.append(state_table(program.stage, says_of_state(definition.view, program)))
        if definition.deferred is None:
            parts += _maintaining(definition, program, settings)
    if definition.deferred is not None:
        parts += _logged(definition, definition.deferred, settings)
    if definition.query.whole_rows:
        parts.append(row_type_tables(definition.published.stage.name, definition.query.whole_rows))
    parts += [index(definition.published, columns) for columns in definition.indexes]
    return [*parts, comment_indexes(definition)]


def says_of_state(view_: Table, program: StageProgram) -> str:
    return f"State of the maintained view {view_}, {_kind(program)}. Only its triggers write here."


def comment_indexes(definition: Definition) -> str:
    """Say what each index is for. They are made without names, so that Postgres finds one that is free."""
    tables = [program.stage.table for program in definition.programs]
    if definition.deferred is None:
        tables += [program.keys.table for program in definition.programs if program.keys is not None]
    listed = ", ".join(quote_text(quote_table(table)) for table in tables)
    return f"CALL stepping.comment_indexes(ARRAY[{listed}]::regclass[]);"


def maintaining(definition: Definition) -> list[str]:
    """What a view in immediate mode has besides its state tables, but for the triggers on its sources."""
    settings = all_settings(definition)
    return [part for p in definition.programs for part in _maintaining(definition, p, settings)]


def follow(definition: Definition) -> str:
    """Create the triggers of a view for which all else is there."""
    return _fill_and_follow(definition, all_settings(definition), fill=False)


def hold(definition: Definition) -> str:
    """Hold the columns that a view reads, before it follows its tables."""
    followed = [definition.deferred] if definition.deferred is not None else definition.programs
    return "\n".join(call for each in followed for call in hold_calls(each))


def write_following(definition: Definition) -> list[str]:
    """What brings changes to state tables that are there, and right: functions, logs and triggers."""
    settings = all_settings(definition)
    deferred = definition.deferred
    parts = maintaining(definition) if deferred is None else _logged(definition, deferred, settings)
    return [*parts, _fill_and_follow(definition, settings, fill=False)]


def published(definition: Definition) -> list[str]:
    """What readers see."""
    says = "Maintained by pg_stepping; its query stands in stepping.maintained_view."
    shown = definition.deferred.published if definition.deferred is not None else definition.published
    parts = [view(shown, definition.view, says)]
    if definition.deferred is not None:
        parts.append(published_as_applied(definition))
    return parts


def published_as_applied(definition: Definition) -> str:
    """The second view of one in deferred mode."""
    says = f"{definition.view} as it was when its logs were applied last: it costs less, and may be behind."
    return view(definition.published, applied_name(definition.view), says)


def _maintaining(
    definition: Definition, program: StageProgram, settings: tuple[tuple[str, str], ...]
) -> list[str]:
    language = plpython if definition.language == "plpython3u" else plpgsql
    says = f"Keeps {program.stage.table} right when a table that it reads changes."
    function = _hidden(language.function(program, settings), function_name(program), says)
    vanish = [_vanish_function(program.stage)] if program.stage.stripes else []
    keys = [key_table(program.keys)] if program.keys is not None else []
    return [aside_tables(program), *keys, *vanish, function]


def _vanish_function(stage: Stage) -> str:
    """What the trigger function calls for groups that may have nothing left."""
    name, body = vanish_function(stage), vanish_body(stage)
    tag = dollar_tag("body", body)
    return (
        f"CREATE FUNCTION {name}(emptied tid[]) RETURNS void\nLANGUAGE plpgsql\n"
        f"SET search_path = pg_catalog, pg_temp\nAS {tag}\n{body}\n{tag};\n"
        f"REVOKE ALL ON FUNCTION {name}(tid[]) FROM PUBLIC;\n"
        f"COMMENT ON FUNCTION {name}(tid[]) IS 'Takes away groups whose stripes sum to nothing.';"
    )


def _hidden(created: str, function: str, says: str) -> str:
    return (
        f"{created}\nREVOKE ALL ON FUNCTION {function}() FROM PUBLIC;\n"
        f"COMMENT ON FUNCTION {function}() IS {quote_text(says)};"
    )


def _logged(definition: Definition, deferred: Deferred, settings: tuple[tuple[str, str], ...]) -> list[str]:
    """What a view in deferred mode has besides its state."""
    exact = tuple({**dict(settings), "extra_float_digits": "1"}.items())
    says = f"Appends what changes to the logs of {definition.view}."
    function = logs.log_function(deferred, definition.language)
    return [
        logs.log_tables(deferred, str(definition.view)),
        _hidden(function, logs.maintain_function(deferred), says),
        *(logs.pending(c, exact) for c in deferred.changes),
        *(logs.kept(stage) for stage in deferred.shown),
        apply(deferred, exact),
        *([step(deferred, exact)] if deferred.steps or deferred.keyed_steps else []),
    ]


def applied_name(view_: Table) -> Table:
    """The view that shows a deferred one as it was applied last."""
    return Table(view_.schema, f"{view_.name}{AS_APPLIED}")


def _heading(definition: Definition) -> str:
    query = "\n".join(f"--     {commented(line)}" for line in definition.query.text.splitlines())
    return (
        f"-- {commented(str(definition.view))}: a maintained view, generated by pg_stepping {version()}"
        f" in {definition.language}.\n{query}"
    )


def commented(text: str) -> str:
    """Text of one line that no migration tool takes for a template, for a comment."""
    return re.sub(r"%|(?<!:):(?=\w)|[{$\r\n]", "?", text)


def _kind(program: StageProgram) -> str:
    kinds = {"groups": "one row a group", "total": "one row", "rows": "one row a distinct row"}
    return kinds.get(program.stage.kind, "one row a distinct row, computed anew for each touched key")


def all_settings(definition: Definition) -> tuple[tuple[str, str], ...]:
    """The settings that the triggers run with, so that no session's own can change what they compute."""
    stages = [p.stage for p in definition.programs]
    by_text = [k.type.base for s in stages if s.is_bag for k in s.keys]
    by_text += [f.type.base for s in stages for scan in s.scans for f in scan.fields if not f.type.sorts]
    if any(c.kind == "fold" or "::text::numeric" in c.total() for s in stages for c in s.state):
        by_text.append("double precision")
    return tuple({**text_settings(by_text), **dict(definition.query.settings)}.items())


def write_filling(definition: Definition) -> str:
    """Fill state tables that are there, and keep writers out until the end of the transaction."""
    return _fill_and_follow(definition, all_settings(definition), follow=False)


def _fill_and_follow(
    definition: Definition,
    settings: tuple[tuple[str, str], ...],
    *,
    fill: bool = True,
    follow: bool = True,
) -> str:
    """Fill the state and create the triggers in one step: no write can fall between the two."""
    tables = dict.fromkeys(s.table for p in definition.programs for s in p.sources)
    own = {p.stage.table for p in definition.programs}
    locked = ", ".join(quote_table(t) for t in tables if t not in own)
    lines = [f"LOCK TABLE {locked} IN SHARE ROW EXCLUSIVE MODE;"]
    lines += [f"SET LOCAL {name} = {quote_text(value)};" for name, value in settings]
    lines.append("PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);")
    lines += [f"{program.fill};" for program in definition.programs if fill]
    if definition.deferred is None and follow:
        lines += [f"{program.keys.fill};" for program in definition.programs if program.keys is not None]
    changed = [*(name for name, _ in settings), "search_path"]
    lines += [f"PERFORM set_config('{name}', before_{name}, true);" for name in changed]
    followed = [definition.deferred] if definition.deferred is not None else definition.programs
    lines += [f"PERFORM {follow_call(each, definition.query.tables)};" for each in followed if follow]
    body = "\n".join(lines)
    tag = dollar_tag("fill", body)
    inner = indent(body, "    ")
    says = "From here on the view follows its tables" if follow else "The new version is filled"
    before = [f"    before_{name} text := current_setting('{name}');\n" for name in changed]
    declared = "DECLARE\n" + "".join(before)
    return (
        f"-- {says}: writers wait until this is committed.\n"
        f"DO {tag}\n#variable_conflict use_column\n{declared}BEGIN\n{inner}\nEND\n{tag};"
    )


def register(definition: Definition) -> str:
    values = [
        quote_text(definition.view.schema),
        quote_text(definition.view.name),
        quote_lines(definition.query.text),
        quote_lines(definition.query.recompute),
        quote_text(definition.language),
        _json(definition.indexes),
        _json(dict(definition.query.settings)),
        _array([p.stage.name for p in definition.programs]),
        _array([str(t) for t in definition.query.views]),
        _json([(view.schema, view.name, text) for view, text in definition.query.expands]),
        quote_text(fingerprint_of(definition)),
        quote_text(version()),
        quote_text(definition.mode),
        str(definition.stripes),
        str(TEXT),
    ]
    return (
        "INSERT INTO stepping.maintained_view (\n"
        "    schema_name, view_name, query, recompute, language, indexes, settings, stages, reads,\n"
        "    expands, fingerprint, version, mode, stripes, text_version\n"
        ") VALUES (\n    " + ",\n    ".join(values) + "\n);"
    )


def register_again(definition: Definition) -> str:
    """The same for a view that is registered: what was noted of it stays (see stepping.used and suspect)."""
    inserted = register(definition).removesuffix(";")
    names = (name.strip() for name in inserted[inserted.index("(") + 1 : inserted.index(")")].split(","))
    changed = ", ".join(f"{n} = excluded.{n}" for n in names if n not in ("schema_name", "view_name"))
    return f"{inserted}\nON CONFLICT (schema_name, view_name) DO UPDATE SET {changed};"


def _json(value: object) -> str:
    return quote_text(json.dumps(value, ensure_ascii=False))


def _array(values: list[str]) -> str:
    return f"ARRAY[{', '.join(map(quote_text, values))}]::text[]"


def write_down(view_: Table) -> str:
    """The script that takes a view away."""
    return (
        f"-- Takes the maintained view {commented(str(view_))} away; its tables keep their data.\n"
        f"SELECT stepping.drop_view({quote_text(view_.schema)}, {quote_text(view_.name)});\n"
    )
