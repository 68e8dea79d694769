"""What a new version of a view need not read its tables for: stages that the old one has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from pg_stepping.backend.script import Definition, all_settings
from pg_stepping.backend.tables import state_table
from pg_stepping.delta.terms import quote_table


def kept_stages(old: Definition, new: Definition) -> dict[str, str]:
    """The stages of `new` that have what a stage of `old` has, with its name.

    Two stages have the same if they are laid out alike and filled alike, from the same tables and stages.
    """
    if (all_settings(old), old.functions) != (all_settings(new), new.functions):
        return {}
    there = {print_: name for name, print_ in _prints(old).items()}
    return {name: there[print_] for name, print_ in _prints(new).items() if print_ in there}


def with_kept(new: Definition, kept: Mapping[str, str]) -> Definition:
    """The definition, with these stages filled from the tables of the old version."""
    programs = []
    for program in new.programs:
        if program.stage.name in kept:
            own = program.stage.table
            there = quote_table(replace(own, name=kept[program.stage.name]))
            program = replace(program, fill=f"INSERT INTO {quote_table(own)} SELECT * FROM {there}")
        programs.append(program)
    return replace(new, programs=tuple(programs))


def _prints(definition: Definition) -> dict[str, str]:
    """A fingerprint of each stage, by its name."""
    prints: dict[str, str] = {}
    for program in definition.programs:
        stage = program.stage
        text = state_table(replace(stage, name="stage"), "") + program.fill
        for name in sorted([*prints, stage.name], key=len, reverse=True):
            text = text.replace(quote_table(replace(stage.table, name=name)), f"<{prints.get(name, 'own')}>")
        prints[stage.name] = hashlib.sha256(text.encode()).hexdigest()
    return prints
