"""Random queries in Python through both stores: the same rows, and the same changes from each action.

`python -m tests.fuzz.graphs --seed N --count M`.
"""

import argparse
import random
import re
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).parent))

import graph_rows
from functions import Found, module, tell
from graph_generator import Generator

import pg_stepping as st
from pg_stepping.errors import UnsupportedQuery

LARGEST = 4000
FAILED = ("wrong", "error", "verify", "slow")


def outcome(write, given):
    """What an action gives, or its error."""
    try:
        return write(*given), None
    except (st.RowNotFound, ArithmeticError, ValueError, TypeError, psycopg.Error) as error:
        return None, error


def trial(session, seed, steps=10, bulk=False):
    text = Generator(seed).module()
    try:
        made = module(text, f"graph_{seed}")
        graph = st.compile(made.query)
    except UnsupportedQuery as error:
        return Found("refused", str(error), text)
    except Exception as error:
        return Found(
            "error",
            f"{type(error).__name__}: {error}",
            text + "".join(traceback.format_exception(error)[-3:]),
        )
    stores = [st.StorePython.from_graph(graph)]
    try:
        stores.append(st.StorePostgres.from_graph(session, graph, create_tables=True))
        return history(session, graph, stores, random.Random(seed), steps, bulk, text)
    except UnsupportedQuery as error:
        return Found("refused", str(error), text)
    except psycopg.errors.QueryCanceled as error:
        return Found("slow", str(error), text)
    except Exception as error:
        return Found(
            "error",
            f"{type(error).__name__}: {error}",
            text + "".join(traceback.format_exception(error)[-3:]),
        )
    finally:
        session.rollback()


def history(session, graph, stores, rng, steps, bulk, text):
    kinds = [type(source.row).__name__ for source in graph.sources]
    actions = [st.actions(store, graph) for store in stores]
    there = [[] for _ in kinds]
    seen = 0
    told = []
    for step in range(steps):
        place = rng.randrange(len(kinds))
        make, rows = graph_rows.MAKE[kinds[place]], there[place]
        what = rng.choice(["insert", "insert", "remove", "replace", "same", "missing"]) if rows else "insert"
        if what == "insert":
            count = 1500 if bulk and step == steps // 2 else rng.choice([1, 2, 4, 6])
            given = [make(rng.choice) for _ in range(count)]
            after = rows + given
        elif what == "remove":
            given = rng.sample(rows, min(len(rows), rng.choice([1, 2, 5])))
            after = list(rows)
            for row in given:
                after.remove(row)
        elif what == "missing":
            what = "remove"
            given, after = [rng.choice(rows), *([make(rng.choice)] * 4)], rows
            if all(given.count(r) <= rows.count(r) for r in given):
                continue
        else:
            old = rng.choice(rows)
            new = old if what == "same" else make(rng.choice)
            what, given = "replace", [old, new]
            after = list(rows)
            after.remove(old)
            after.append(new)
        told.append(f"{what} {kinds[place]} {given if len(given) < 9 else len(given)}")
        expected, failed = outcome(getattr(actions[0][place], what), given)
        if (
            expected is not None
            and max((len(list(z.iter())) for z in stores[0].computed().values()), default=0) > LARGEST
        ):
            return Found("large", "", text)
        try:
            with session.transaction():
                got, error = getattr(actions[1][place], what)(*given), None
                got = tuple(z if not isinstance(z, st.ZSetPython) else st.ZSetPython(z.iter()) for z in got)
        except (st.RowNotFound, psycopg.DataError) as raised:
            got, error = None, raised
        where = "\n".join(told)
        if (failed is None) != (error is None):
            ranged = isinstance(error, psycopg.DataError) and failed is None
            kind = "range" if ranged and re.search("out of range", str(error)) else "error"
            return Found(kind, f"memory {failed!r}, Postgres {error!r}\n{where}", text)
        if failed is not None:
            if (
                isinstance(error, st.RowNotFound)
                and kinds[place] != "Event"
                and str(error).partition(".")[2] != str(failed).partition(".")[2]
                and str(error).replace("public.", "") != str(failed)
            ):
                return Found("error", f"memory {failed!r}, Postgres {error!r}\n{where}", text)
            continue
        there[place] = after
        for number, (a, b) in enumerate(zip(expected, got, strict=True)):
            if a != b:
                return Found("wrong", f"output {number}: memory {a}, Postgres {b}\n{where}", text)
            seen += not a.empty()
    whole = stores[0].computed()
    for kept in graph.kept:
        if st.ZSetPostgres(kept, session, stores[1].schema) != whole[kept]:
            return Found(
                "wrong",
                f"{kept.name} at the end: memory {whole[kept]}, Postgres {st.ZSetPostgres(kept, session, stores[1].schema).to_python()}\n"
                + "\n".join(told),
                text,
            )
        found = st.verify(session, kept.name)
        if found:
            return Found("verify", str(found)[:500] + "\n" + "\n".join(told), text)
    return Found("right" if seen else "empty", "", text)


def is_shipped(seed):
    """Whether the query is likely to need PL/Python."""
    return re.search(
        "shouted|digits|upper|ZSetPython|map_many",
        Generator(seed).module().partition("def none")[2].partition("\n\n\n")[2],
    )


def main():
    from pg_stepping import devserver, init

    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--show", type=int, default=3)
    options = parser.parse_args()
    tally, refusals, seen = Counter(), Counter(), Counter()
    end = time.monotonic() + options.seconds
    with devserver.start(variables=(), kinds=devserver.KINDS[:2], settings={"fsync": "off"}) as server:
        names = ["python", "plain"]
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            for name in names:
                admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        sessions = [
            psycopg.connect(psycopg.conninfo.make_conninfo(server.dsn, dbname=name)) for name in names
        ]
        sessions[0].execute("CREATE EXTENSION IF NOT EXISTS plpython3u")
        for session in sessions:
            init(session)
            session.commit()
            session.execute("SET statement_timeout = '20s'; SET jit = off; SET client_min_messages = error")
            session.commit()
        for seed in range(options.seed, options.seed + options.count):
            if time.monotonic() > end:
                break
            found = trial(sessions[0 if is_shipped(seed) else seed % 2], seed, bulk=seed % 10 == 0)
            tally[found.kind] += 1
            if found.kind == "refused":
                key = re.sub(r" at /.*| at line.*|\d+", "", found.message)
                refusals[key] += 1
                if refusals[key] <= 1:
                    print(
                        f"--- seed {seed} refused {found.message}\n{found.text.partition('def none')[2]}",
                        flush=True,
                    )
            if found.kind in FAILED:
                key = (found.kind, re.sub(r"\d+", "N", found.message)[:80] if found.kind == "error" else "")
                seen[key] += 1
                if seen[key] <= options.show:
                    print(
                        f"=== seed {seed} {found.kind}: {found.message[:3000]}\n{found.text.partition('def none')[2]}\n",
                        flush=True,
                    )
    tell(tally, refusals, seen)


if __name__ == "__main__":
    main()
