"""What a durable cell costs when PostgreSQL keeps it: time, transactions, connections.

``python examples/durable_capacity.py --dsn DSN``, with the database of docs/durable_workers.md. With worker,
client and database on one machine, as is usual for a first look, they share its processors.
"""

from __future__ import annotations

import argparse
import asyncio
import time
import uuid

import psycopg

from stateroom.integration.durable_client import DurableClient
from stateroom.integration.durable_worker import DurableWorker

COUNTERS_ARE_LATE_S = 2.0
"""So long the statistics of PostgreSQL may be behind."""
LONG_CELL = "import time; time.sleep(1)"
CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"


async def ask(dsn: str, query: str) -> int:
    """One number of the database."""
    async with await psycopg.AsyncConnection.connect(dsn) as db:
        row = await (await db.execute(query)).fetchone()
    assert row is not None
    return int(row[0])


async def run_cells(client: DurableClient, sessions: list[str], count: int) -> float:
    """Seconds for ``count`` small cells in each session; each waits for the one before it."""

    async def run_in(session: str) -> None:
        for _ in range(count):
            await client.execute(session, "1 + 1")

    started = time.perf_counter()
    await asyncio.gather(*map(run_in, sessions))
    return time.perf_counter() - started


async def measure(dsn: str, session_count: int, count: int) -> None:
    """Print all of it."""
    run = uuid.uuid4().hex[:8]
    sessions = [f"{run}-{number}" for number in range(session_count)]
    async with DurableWorker(dsn, group=run, max_sessions=session_count) as _:
        await asyncio.sleep(COUNTERS_ARE_LATE_S)
        print(f"connections of a worker that waits: {await ask(dsn, CONNECTIONS)}")
        async with DurableClient(dsn, group=run) as client:
            await run_cells(client, sessions, 1)
            print(f"one session: {await run_cells(client, sessions[:1], count) / count * 1e3:.0f} ms a cell")
            await asyncio.sleep(COUNTERS_ARE_LATE_S)
            commits = await ask(dsn, COMMITS)
            seconds = await run_cells(client, sessions, count)
            running = asyncio.gather(*(client.execute(session, LONG_CELL) for session in sessions))
            print(f"{session_count} sessions: {session_count * count / seconds:.0f} cells/s")
            await asyncio.sleep(0.5)
            connections = await ask(dsn, CONNECTIONS)
            print(f"connections with {session_count} cells running, client included: {connections}")
            await running
            await asyncio.sleep(COUNTERS_ARE_LATE_S)
            cells = session_count * (count + 1)
            print(f"transactions a cell: {(await ask(dsn, COMMITS) - commits) / cells:.0f}")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--count", type=int, default=25, help="cells in each session")
    options = parser.parse_args()
    asyncio.run(measure(options.dsn, options.sessions, options.count))


if __name__ == "__main__":
    main()
