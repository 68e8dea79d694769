"""`python -m tests.fuzz --seed N --count M`: random queries as views; prints what fails and what is refused."""

import argparse
import re
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import psycopg
from fuzzing import SCHEMA, Generator, alike, shrink, trial

import pg_stepping
from pg_stepping import devserver

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--count", type=int, default=200)
parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
parser.add_argument(
    "--budget", type=int, default=120, help="how many smaller queries to try for each failure"
)
parser.add_argument("--longest", type=int, default=10_000, help="leave out queries of more characters")
parser.add_argument("--skip", default="$^", help="leave out queries that match this")
options = parser.parse_args()

tally, refusals, invalid, seen = Counter(), Counter(), Counter(), Counter()
end = time.monotonic() + options.seconds
with (
    devserver.start(variables=(), kinds=devserver.KINDS[:2], settings={"fsync": "off"}) as server,
    psycopg.connect(server.dsn) as session,
):
    session.execute("CREATE EXTENSION IF NOT EXISTS plpython3u")
    pg_stepping.init(session)
    session.execute(SCHEMA)
    session.commit()
    for place, seed in enumerate(range(options.seed, options.seed + options.count)):
        if time.monotonic() > end:
            break
        query = Generator(seed).statement()
        if len(query) > options.longest or re.search(options.skip, query):
            continue
        found = trial(session, seed, place)
        tally[found.kind] += 1
        if found.kind == "refused":
            key = re.sub(r" at line.*", "", alike(found.message))
            refusals[key] += 1
            if refusals[key] <= 2:
                print(f"--- refused {found.message}\n{found.query}", flush=True)
        elif found.kind == "invalid":
            invalid[found.message.splitlines()[0][:80]] += 1
        elif found.kind == "slow":
            print(f"=== seed {seed} slow: {found.query}\n {found.message}", flush=True)
        elif found.failed:
            key = alike(found.message) if found.kind == "error" else found.kind
            seen[key] += 1
            if seen[key] <= (2 if found.kind == "error" else 8):
                print(f"=== seed {seed} {key}\n{found.query}", flush=True)
                print("SMALLER", shrink(session, found, seed, options.budget), flush=True)
print(dict(tally))
for title, counts in (("refused", refusals), ("invalid", invalid), ("failed", seen)):
    print(title)
    for message, n in counts.most_common(30):
        print(f"  {n} {message}")
