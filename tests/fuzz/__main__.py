"""`python -m tests.fuzz --seed N --count M`: random queries as views; prints what fails and what is refused.

Every seed is tried by each probe of probes.py, or by those that `--probe` names: what is printed with a seed
is found again by `--probe NAME --seed SEED --count 1`.
"""

import argparse
import re
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import psycopg
from fuzzing import SCHEMA, alike, sweep
from probes import PROBES, shrunk
from values import SCHEMA as TYPES

import pg_stepping
from pg_stepping import devserver

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--count", type=int, default=200)
parser.add_argument("--probe", action="append", choices=PROBES, help="all of them, by default")
parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
parser.add_argument(
    "--budget", type=int, default=120, help="how many smaller queries to try for each failure"
)
options = parser.parse_args()
SESSION = 10  # seeds: a session keeps the plans of views that are gone, and looks at all of them at each DDL

tally, refusals, seen = Counter(), Counter(), Counter()
end = time.monotonic() + options.seconds


def tell(session, probe, seed, found):
    tally[probe, found.mode, found.kind] += 1
    key = re.sub(r" at line.*", "", alike(found.message))
    if found.kind == "refused":
        refusals[key] += 1
        if refusals[key] <= 2:
            print(f"--- refused, {probe}, seed {seed}: {found.message}\n{found.query}", flush=True)
    elif found.kind == "slow":
        print(f"=== slow, {probe}, seed {seed}: {found.query}", flush=True)
    elif found.failed:
        key = key if found.kind == "error" else found.kind
        seen[key] += 1
        print(f"=== {key}, {probe}, seed {seed}\n{found}", flush=True)
        if seen[key] <= (2 if found.kind == "error" else 8):
            print("SMALLER", shrunk(session, probe, found, seed, options.budget), flush=True)


with devserver.start(variables=(), kinds=devserver.KINDS[:2], settings={"fsync": "off"}) as server:
    with psycopg.connect(server.dsn) as session:
        session.execute("CREATE EXTENSION IF NOT EXISTS plpython3u")
        pg_stepping.init(session)
        session.execute(SCHEMA)
        session.execute(TYPES)
    for first in range(options.seed, options.seed + options.count, SESSION):
        with psycopg.connect(server.dsn) as session:
            sweep(session)
            for seed in range(first, min(first + SESSION, options.seed + options.count)):
                for probe in options.probe or PROBES:
                    if time.monotonic() < end:
                        for found in PROBES[probe](session, seed):
                            tell(session, probe, seed, found)
for key, n in sorted(tally.items()):
    print(n, *key)
for title, counts in (("refused", refusals), ("failed", seen)):
    print(title)
    for message, n in counts.most_common(30):
        print(f"  {n} {message}")
if seen:
    raise SystemExit(1)
