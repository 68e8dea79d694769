"""From a plan to what must be stored and what each change of a table does to it."""

from pg_stepping.delta.program import SourceProgram, StageProgram, program_of
from pg_stepping.delta.stages import Published, Stage, cut_stages

__all__ = ["Published", "SourceProgram", "Stage", "StageProgram", "cut_stages", "program_of"]
