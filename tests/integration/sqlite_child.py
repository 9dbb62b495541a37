"""What a process does that the tests of the durable store kill: ``python sqlite_child.py PATH PREFIX``.

Creates promises and settles every other one, and says on stdout what was acknowledged.
"""

from __future__ import annotations

import asyncio
import sys

from resonate_wire import ask

from stateroom.integration.sqlite_store import SqliteConnection


async def main(path: str, prefix: str) -> None:
    connection = SqliteConnection(path)
    for number in range(1_000_000):
        promise_id = f"{prefix}-{number}"
        await ask(connection, "promise.create", id=promise_id, timeoutAt=1 << 60, param={"data": "x" * 200})
        print("created", promise_id, flush=True)
        if number % 2:
            await ask(
                connection, "promise.settle", id=promise_id, state="resolved", value={"data": promise_id}
            )
            print("settled", promise_id, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
