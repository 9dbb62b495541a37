"""``stateroom worker``: takes executions for named sessions from a database until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ConfigError, StateroomError

if TYPE_CHECKING:
    from ...integration.durable_worker import DurableWorker

__all__ = ["worker"]

UNUSABLE = 2
"""Exit status for a database, a store or an installation that cannot be used."""


def worker(
    dsn: Annotated[
        str,
        typer.Option(
            envvar="STATEROOM_DSN",
            show_envvar=True,
            help="The PostgreSQL database, as libpq takes it: postgresql://user@host/name.",
        ),
    ],
    group: Annotated[str, typer.Option(help="The group whose executions are taken.")] = "default",
    store: Annotated[
        str | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Where the state after each cell is kept, the same for all workers; else the database.",
        ),
    ] = None,
    ttl: Annotated[
        float, typer.Option(metavar="SECONDS", help="After this a dead worker's executions are taken over.")
    ] = 15.0,
    max_sessions: Annotated[int, typer.Option(min=1, help="Most sessions open at once.")] = 16,
) -> None:
    """Run executions for named sessions; SIGTERM gives those that run back to other workers."""
    try:
        from ...integration.directory_store import DirectoryCellStore
        from ...integration.durable_worker import DurableWorker

        cells = DirectoryCellStore(store) if store is not None else None
        asyncio.run(
            _serve(lambda: DurableWorker(dsn, group, store=cells, ttl_s=ttl, max_sessions=max_sessions))
        )
    except (ConfigError, ImportError, OSError, StateroomError) as error:
        print(f"stateroom worker: {error}", file=sys.stderr)
        raise typer.Exit(UNUSABLE) from None


async def _serve(make: Callable[[], DurableWorker]) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with make() as running:
        print(f"stateroom worker: ready for group {running.group!r}", file=sys.stderr, flush=True)
        await stopped.wait()
