"""Python functions in queries: each becomes SQL that means the same, or is shipped to the server."""

from pg_stepping.frontend.python.functions.declared import function
from pg_stepping.frontend.python.functions.purity import unchanging_variables
from pg_stepping.frontend.python.functions.rows import Note, compile_row_function, keep_notes, recording

__all__ = ["Note", "compile_row_function", "function", "keep_notes", "recording", "unchanging_variables"]
