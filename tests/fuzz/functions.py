"""Random row functions through Python and through the database: the same values, or an error in both.

`python -m tests.fuzz.functions --seed N --count M`.
"""

import argparse
import importlib.util
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).parent))

import function_rows
from function_generator import HEADING, Generator

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.database_functions import called_in
from pg_stepping.frontend.dialect import to_sql
from pg_stepping.frontend.python.functions import compile_row_function
from pg_stepping.frontend.python.rows import checked, filled, flattened, leaves, row_of, stored_columns

ROW = row_of(function_rows.Row)
FOLDER = tempfile.TemporaryDirectory(prefix="fuzz")  # a function is read where it is written
RANGE = re.compile(
    r"out of range|overflow|underflow|cannot hold|cannot be converted to|too large|a Decimal became|Python int too large|interval field"
)


@dataclass
class Found:
    """What became of one. kind: sql, python, empty (no row had a value), unused (Python raised for what the
    result does not need), zero (0.0 for -0.0, of a Decimal), refused, wrong or error; of a graph: right, empty, refused, large, range, slow,
    wrong, verify or error."""

    kind: str
    message: str = ""
    text: str = ""

    @property
    def failed(self):
        return self.kind in ("wrong", "error")


def prepare(session, rows):
    kinds = stored_columns(ROW)
    paths = [".".join(path) for path, _ in leaves(ROW)]
    columns = ", ".join(f'"{p}" {kind.sql}' for p, (_, kind) in zip(paths, kinds, strict=True))
    session.execute(f"CREATE TEMP TABLE given (place int PRIMARY KEY, {columns})")
    for place, one in enumerate(rows):
        values = [k.dump(v) for (_, k), v in zip(kinds, flattened(ROW, one), strict=True)]
        session.execute(f"INSERT INTO given VALUES (%s{', %s' * len(values)})", [place, *values])
    session.commit()
    return [checked(ROW, one) for one in rows]


def module(text, name="made"):
    path = Path(FOLDER.name) / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(made)
    return made


def valid(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "", "exec")
        except SyntaxError:
            return False
    return True


def told(value):
    if isinstance(value, tuple):
        return tuple(map(told, value))
    if isinstance(value, Decimal):
        return "Decimal", str(value.normalize() + 0)
    return type(value).__name__, repr(value)


def trial(session, function, rows):
    """What became of one function."""
    try:
        made = compile_row_function(function, ROW)
    except UnsupportedQuery as error:
        return Found("refused", str(error))
    except (TypeError, AttributeError) as error:
        return Found("refused", f"{type(error).__name__}: {error}")
    found = [leaf for _, leaf in leaves(made)]
    texts = [to_sql(leaf.expression) for leaf in found]
    sql = ", ".join(texts)
    shipped = called_in(sql)
    kind = "python" if shipped else "sql"
    try:
        for one in shipped:
            session.execute(one.sql)
        return compare(session, function, rows, made, sql, kind)
    except psycopg.Error as error:
        return Found("error", f"{type(error).__name__}: {error}", sql)
    finally:
        session.rollback()


def compare(session, function, rows, made, sql, kind):
    expected, failing = {}, {}
    for place, one in enumerate(rows):
        try:
            value = function(one)
        except (ArithmeticError, ValueError, IndexError, MemoryError, TypeError) as error:
            failing[place] = error
            continue
        try:
            expected[place] = told(checked(made, value))
        except (TypeError, ValueError) as error:
            failing[place] = error

    def ask(places):
        got = {}
        with session.transaction():
            for place, *values in session.execute(
                f"SELECT place, {sql} FROM given WHERE place = ANY (%s)", [places]
            ):
                got[place] = told(filled(made, iter(values)))
        return got

    left = list(expected)
    ranges = 0
    try:
        got = ask(left)
    except psycopg.Error:
        got = {}
        for place in left:
            try:
                got.update(ask([place]))
            except psycopg.Error as error:
                if not RANGE.search(str(error)):
                    return Found(
                        "error",
                        f"row {place}: {type(error).__name__} {error}; Python has {expected[place]}\n{rows[place]}",
                        sql,
                    )
                ranges += 1
    for place, value in got.items():
        unsigned = repr(expected[place]).replace("'-0.0'", "'0.0'") == repr(value)
        if value != expected[place] and unsigned and "stepping.decimal(" in sql:
            return Found("zero", "", sql)  # float() of a product of Decimals: numeric has no -0
        if value != expected[place]:
            return Found(
                "wrong", f"row {place}: Python {expected[place]}, database {value}\n{rows[place]}", sql
            )
    for place, error in failing.items():
        try:
            value = ask([place])
        except psycopg.Error:
            continue
        return Found("unused", f"row {place}: Python {error!r}, database {value}\n{rows[place]}", sql)
    return Found(kind if got else "empty", "", sql)


def tell(tally, refusals, seen):
    """Print how many trials ended how; the exit status is 1 if some failed."""
    print(dict(tally))
    for message, n in refusals.most_common(25):
        print(f"  refused {n} {message}")
    for key, n in seen.most_common(25):
        print(f"  failed {n} {key}")
    if seen:
        sys.exit(1)


def main():
    from pg_stepping import devserver, init

    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--sql", action="store_true", help="only what is likely to have SQL")
    parser.add_argument("--show", type=int, default=3, help="failures of a kind to print")
    options = parser.parse_args()
    tally, refusals, seen = Counter(), Counter(), Counter()
    end = time.monotonic() + options.seconds
    with (
        devserver.start(variables=(), kinds=devserver.KINDS[:2], settings={"fsync": "off"}) as server,
        psycopg.connect(server.dsn) as session,
    ):
        session.execute("CREATE EXTENSION IF NOT EXISTS plpython3u")
        init(session)
        session.commit()
        rows = prepare(session, function_rows.rows(options.seed, 60))
        for start in range(options.seed, options.seed + options.count, 50):
            if time.monotonic() > end:
                break
            seeds = range(start, min(start + 50, options.seed + options.count))
            texts = [Generator(seed, shipped=not options.sql).function(f"f{seed}") for seed in seeds]
            texts = [
                text if valid(text) else f"{text.partition('(')[0]}(r: Row) -> int:\n    return 1"
                for text in texts
            ]
            made = module(HEADING + "\n\n\n".join(texts) + "\n", f"made_{start}")
            for seed, text in zip(seeds, texts, strict=True):
                try:
                    found = trial(session, getattr(made, f"f{seed}"), rows)
                except psycopg.Error:
                    raise
                except Exception as error:
                    session.rollback()
                    found = Found(
                        "error",
                        f"{type(error).__name__}: {error}",
                        "".join(traceback.format_exception(error)[-4:]),
                    )
                tally[found.kind] += 1
                if found.kind == "refused":
                    refusals[re.sub(r" in f\d+.*| at /.*", "", found.message)] += 1
                if found.failed:
                    key = (
                        found.kind,
                        re.sub(r"\d+", "N", found.message)[:60] if found.kind == "error" else "",
                    )
                    seen[key] += 1
                    if seen[key] <= options.show:
                        print(
                            f"=== seed {seed} {found.kind}: {found.message}\n{text}\n  {found.text}\n",
                            flush=True,
                        )
    tell(tally, refusals, seen)


if __name__ == "__main__":
    main()
