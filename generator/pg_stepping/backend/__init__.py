"""From a delta program to SQL text: tables, indexes, trigger functions, the published view, up and down."""

from pg_stepping.backend.script import Script, write_script

__all__ = ["Script", "write_script"]
