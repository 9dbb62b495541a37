"""A client that tests kill: ``python postgres_client_child.py DSN GROUP SESSION TRACE``.

Executes ten cells, two of which ask, and prints for each its number, its value, and how often it had run
by the moment its result was there.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from stateroom.integration.durable_client import DurableClient


def script(trace: str) -> list[str]:
    cells = []
    for number in range(1, 11):
        amount = f"int(input('cell {number}? '))" if number in (4, 8) else str(number)
        cells.append(
            f"with open({trace!r}, 'a') as file: file.write('{number}\\n')\n"
            f"total = globals().get('total', 0) + {amount}\n"
            "import time; time.sleep(0.05)\n"
            "total"
        )
    return cells


async def main(dsn: str, group: str, session: str, trace: str) -> None:
    async with DurableClient(dsn, group, env={}) as client:
        for number, code in enumerate(script(trace), 1):
            result = await client.execute(session, code, execution_id=f"{session}-{number}")
            runs = Path(trace).read_text().split().count(str(number))
            print(number, result.value, runs, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
