"""What durability adds to ``session.run("1+1")``: the promise alone, and with the state after each cell.

``python benchmarks/durable.py [--count N]``. Postgres is measured in the database that
``STATEROOM_BENCH_DSN`` names, which has Resonate's schema; or on a server of its own, whose commits wait
for the disk, if ``STATEROOM_RESONATE_SQL`` names the file of that schema.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import stateroom
from stateroom.integration.resonate_init import initialize_resonate_local, initialize_resonate_postgres
from stateroom.integration.runtime import DurableRuntime
from stateroom.integration.sqlite_store import SqliteCellStore, SqliteConnection

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "integration"))

from postgres_server import database, running_server

CODE = "1+1"
Run = Callable[[], Awaitable[object]]


@asynccontextmanager
async def runtime(**how: Any) -> AsyncIterator[tuple[stateroom.Session, DurableRuntime]]:
    """A session with a bridge over whatever is to be measured."""
    async with (
        stateroom.Session() as session,
        await initialize_resonate_local(session, env={}, **how) as made,
    ):
        yield session, made


def durably(made: DurableRuntime) -> Run:
    """Each call is an execution of its own."""
    return lambda: made.cells.execute(uuid.uuid4().hex, CODE)


async def open_sqlite(stack: AsyncExitStack, folder: str, name: str, **how: Any) -> DurableRuntime:
    """A runtime over a file, without the state after each cell unless a store is given."""
    connection = SqliteConnection(Path(folder) / name)
    stack.callback(connection.close)
    _, made = await stack.enter_async_context(runtime(connection=connection, **how))
    return made


def find_database(stack: AsyncExitStack) -> str | None:
    """The DSN of a database to measure in, or None, having said why."""
    dsn, schema = os.environ.get("STATEROOM_BENCH_DSN"), os.environ.get("STATEROOM_RESONATE_SQL")
    if dsn is not None:
        return dsn
    if schema is None:
        print("neither STATEROOM_BENCH_DSN nor STATEROOM_RESONATE_SQL is set: measured without Postgres")
        return None
    import psycopg

    dsn = stack.enter_context(database(stack.enter_context(running_server(fsync=True))))
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(Path(schema).read_text())
    return dsn


async def prepare_postgres(stack: AsyncExitStack, dsn: str) -> dict[str, Run]:
    """The promise alone, with the state, and all the way from a client to a worker and back."""
    from resonate_pg import PostgresConnection

    from stateroom.integration.durable_client import DurableClient
    from stateroom.integration.durable_worker import DurableWorker

    _, promises = await stack.enter_async_context(runtime(connection=PostgresConnection(dsn)))
    session = await stack.enter_async_context(stateroom.Session())
    states = await stack.enter_async_context(await initialize_resonate_postgres(dsn, "own", session, env={}))
    await stack.enter_async_context(DurableWorker(dsn, "bench", env={}))
    client = await stack.enter_async_context(DurableClient(dsn, "bench", env={}))
    return {
        "promise, Postgres": durably(promises),
        "and state, Postgres": durably(states),
        "client and worker": lambda: client.execute("bench", CODE),
    }


async def timed(run: Run, count: int) -> list[float]:
    """Microseconds of each of ``count`` calls, after a tenth as many that are not counted."""
    taken = []
    for number in range(count + count // 10):
        start = time.perf_counter()
        await run()
        if number >= count // 10:
            taken.append((time.perf_counter() - start) * 1e6)
    return taken


async def prepare(stack: AsyncExitStack, folder: str) -> dict[str, Run]:
    """All that is measured, the plain session first."""
    session, local = await stack.enter_async_context(runtime())
    plain = await stack.enter_async_context(stateroom.Session())
    sqlite = await open_sqlite(stack, folder, "promises.db")
    store = SqliteCellStore(Path(folder) / "states.db")
    states = await open_sqlite(stack, folder, "states.db", store=store)
    runs: dict[str, Run] = {
        "session.run": lambda: plain.run(CODE),
        "with a bridge": lambda: session.run(CODE),
        "promise, memory": durably(local),
        "promise, SQLite": durably(sqlite),
        "and state, SQLite": durably(states),
    }
    dsn = find_database(stack)
    return runs if dsn is None else {**runs, **await prepare_postgres(stack, dsn)}


async def main() -> None:
    """Measure all of them in turn, round by round, so that a noisy minute hits every one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            runs = await prepare(stack, folder)
            figures: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(options.rounds):
                for name, run in runs.items():
                    figures[name] += await timed(run, options.count)
    base = statistics.median(figures["session.run"])
    print(f"{'':<20}{'p50 µs':>9}{'p99 µs':>9}{'added µs':>10}")
    for name, taken in figures.items():
        p50, p99 = statistics.median(taken), sorted(taken)[len(taken) * 99 // 100]
        print(f"{name:<20}{p50:>9.0f}{p99:>9.0f}{p50 - base:>10.0f}")


if __name__ == "__main__":
    asyncio.run(main())
