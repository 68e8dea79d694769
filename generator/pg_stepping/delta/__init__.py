"""From a plan to what must be stored and what each change of a table does to it."""

from pg_stepping.delta.deferred import Deferred, deferred_of
from pg_stepping.delta.locks import Edge, Lock, bounded, equalities, join_tree
from pg_stepping.delta.merge import Log, StageChange
from pg_stepping.delta.program import SourceProgram, StageProgram, programs_of
from pg_stepping.delta.stage import Published, Stage, object_name
from pg_stepping.delta.stages import cut_stages

__all__ = [
    "Deferred", "Edge", "Lock", "Log", "Published", "SourceProgram", "Stage", "StageChange",
    "StageProgram",
    "bounded", "cut_stages", "deferred_of", "equalities", "join_tree", "object_name", "programs_of",
]  # fmt: skip
