"""The meter reads example on 293,874 real half-hourly reads: `make demo`.

Streams the reads of ten households into Postgres while `daily_usage` is maintained, corrects and removes
some of them, checks the view against its query computed anew, and says what all that cost.
"""

import csv
import gzip
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

import click
import psycopg
from query import HalfHourlyMeterRead, Meter, User, daily_cache, index_daily, query

import pg_stepping as st
from pg_stepping import devserver
from pg_stepping.frontend.postgres import Connection

READS = Path(__file__).with_name("half_hourly_reads.csv.gz")
SOURCE = "Smart Grid Smart City customer trial (Australian Government / Ausgrid), by way of R's gravitas"
BATCH = 1000
SINGLE = 500
DAYS = [date(2013, 1, 18), date(2013, 1, 19), date(2013, 1, 20)]


def meter_of(customer: int) -> UUID:
    return uuid5(NAMESPACE_URL, f"meter/{customer}")


def read_file() -> list[HalfHourlyMeterRead]:
    with gzip.open(READS, "rt", newline="") as lines:
        return [
            HalfHourlyMeterRead(
                meter_id=meter_of(int(row["customer_id"])),
                timestamp=datetime.fromisoformat(row["timestamp"]),
                value=float(row["kwh"]),
            )
            for row in csv.DictReader(lines)
        ]


def customers() -> list[int]:
    with gzip.open(READS, "rt", newline="") as lines:
        return sorted({int(row["customer_id"]) for row in csv.DictReader(lines)})


def batches(reads: list[HalfHourlyMeterRead]) -> Iterator[list[HalfHourlyMeterRead]]:
    waiting = iter(reads)
    while batch := list(islice(waiting, BATCH)):
        yield batch


def show(title: str, store: st.StorePostgres, customer: int) -> None:
    click.echo(f"\n{title}")
    for day, usage, _ in daily_cache.zset(store).iter_by_index(index_daily, frozenset(DAYS)):
        if usage.user_id == customer:
            click.echo(f"  {day}  user {usage.user_id}  {usage.value:8.3f} kWh")


def seconds(conn: Connection, sql: str) -> float:
    """The median time of a query, run three times."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        conn.execute(sql).fetchall()  # type: ignore[arg-type]
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def run(conn: Connection) -> bool:
    """The whole demo; returns whether the view was right."""
    graph = st.compile(query)
    store = st.StorePostgres.from_graph(conn, graph, create_tables=True)
    users, meters, reads = st.actions(store, graph)
    households, rows = customers(), read_file()
    users.insert(*(User(user_id=c, name=f"household {c}") for c in households))
    meters.insert(*(Meter(meter_id=meter_of(c), user_id=c) for c in households))
    conn.commit()
    view = st.installed(conn, "daily_usage")
    assert view is not None
    click.echo(f"{len(rows):,} reads of {len(households)} households. Source: {SOURCE}.")
    click.echo(f"daily_usage is maintained in {view.language} while they arrive, {BATCH:,} a transaction.\n")

    streamed, single = rows[:-SINGLE], rows[-SINGLE:]
    start = time.perf_counter()
    with click.progressbar(length=len(streamed), label="reads", show_pos=True) as bar:
        for batch in batches(streamed):
            reads.insert(*batch)
            conn.commit()
            bar.update(len(batch))
    per_read = (time.perf_counter() - start) / len(streamed)
    start = time.perf_counter()
    for row in single:
        reads.insert(row)
        conn.commit()
    per_single = (time.perf_counter() - start) / len(single)

    household = households[0]
    show("Three days as they arrived:", store, household)
    that_day = [r for r in rows if r.meter_id == meter_of(household) and r.timestamp.date() == DAYS[1]]
    reads.replace(that_day[20], replace(that_day[20], value=that_day[20].value + 100))
    reads.remove(*(r for r in rows if r.meter_id == meter_of(household) and r.timestamp.date() == DAYS[2]))
    conn.commit()
    show(f"One read of {DAYS[1]} corrected by 100 kWh, all reads of {DAYS[2]} removed:", store, household)

    differences = st.verify(conn, "daily_usage")
    recompute = seconds(conn, view.recompute)
    by_key = seconds(conn, f"SELECT * FROM daily_usage WHERE date = '{DAYS[0]}'")
    conn.commit()
    right = not differences
    click.echo(f"\nverify: {'the view equals its query, computed anew' if right else differences}")
    click.echo(f"a read streamed in batches        {per_read * 1e6:10.1f} microseconds")
    click.echo(f"a read in a transaction of its own{per_single * 1e6:10.1f} microseconds")
    click.echo(f"computing the view anew           {recompute * 1e6:10.1f} microseconds")
    click.echo(f"one day by the view's index       {by_key * 1e6:10.1f} microseconds")
    click.echo(
        f"keeping it right after one read is {recompute / per_single:,.0f} times faster than recomputing"
    )
    return right


def main() -> None:
    try:
        with devserver.start() as server:
            click.echo(server)
            with psycopg.connect(server.dsn) as conn:
                if server.plpython:
                    conn.execute("CREATE EXTENSION IF NOT EXISTS plpython3u")
                conn.execute("CREATE SCHEMA meter_reads_demo")
                conn.execute("SET search_path = meter_reads_demo")
                conn.commit()
                try:
                    right = run(conn)
                finally:
                    conn.rollback()
                    if st.installed(conn, "daily_usage") is not None:
                        st.drop_view(conn, "daily_usage")
                    conn.execute("DROP SCHEMA meter_reads_demo CASCADE")
                    conn.commit()
    except devserver.NoServer as reason:
        sys.exit(str(reason))
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
