"""kill -9 of clients and workers on PostgreSQL, anywhere in ten cells: each result is that of the first time."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import random
import sys
from pathlib import Path

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")
pytest.importorskip("psycopg", reason="needs psycopg: install stateroom[postgres]")

from postgres_workers import GROUP, Workers, dsn_to_url

from stateroom.errors import InputRefused
from stateroom.integration.inputs import answer_input, open_inputs

CLIENT = Path(__file__).with_name("postgres_client_child.py")


async def test_kill_9_of_clients_and_workers_changes_no_result_and_repeats_no_finished_cell(
    resonate_dsn, tmp_path
):
    await kill_again_and_again(resonate_dsn, tmp_path, kills=6)


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.parametrize("part", range(8))
async def test_two_hundred_kills(resonate_dsn, tmp_path, part):
    await kill_again_and_again(resonate_dsn, tmp_path, kills=25)


async def kill_again_and_again(resonate_dsn: str, tmp_path: Path, kills: int) -> None:
    workers = Workers(resonate_dsn, ttl_s=1)
    answering = asyncio.create_task(answer_all(dsn_to_url(resonate_dsn)))
    try:
        for _ in range(2):
            await workers.start()
        done = 0
        while done < kills:
            script = Script(resonate_dsn, f"s{done}", tmp_path / f"trace{done}")
            done += max(1, await script.run_while_killing(workers, min(10, kills - done)))
            assert script.values == EXPECTED
            assert script.runs_now() == script.runs_when_finished
    finally:
        answering.cancel()
        await workers.end_all()


EXPECTED = {1: 1, 2: 3, 3: 6, 4: 10, 5: 15, 6: 21, 7: 28, 8: 36, 9: 45, 10: 55}


async def answer_all(url: str) -> None:
    """Answer ``cell N?`` with N, as soon as it is asked."""
    while True:
        for question in await asyncio.to_thread(open_inputs, url):
            with contextlib.suppress(InputRefused):
                await asyncio.to_thread(answer_input, url, question.id, question.prompt[5:-2])
        await asyncio.sleep(0.02)


class Script:
    """Ten cells that a client executes, begun again as often as that is killed."""

    def __init__(self, dsn: str, session: str, trace: Path) -> None:
        self.arguments = [dsn, GROUP, session, str(trace)]
        self.trace = trace
        self.values: dict[int, int] = {}
        self.runs_when_finished: dict[int, int] = {}

    def runs_now(self) -> dict[int, int]:
        counted = collections.Counter(map(int, self.trace.read_text().split()))
        return {number: counted[number] for number in self.runs_when_finished}

    async def run_while_killing(self, workers: Workers, kills: int) -> int:
        """Run to the end, killing a client, a worker or both up to ``kills`` times; how often it was."""
        killed = 0
        client = await self._start()
        reading = asyncio.create_task(self._read(client))
        while True:
            pause_s = random.uniform(0.05, 0.9) if killed < kills else None
            if (await asyncio.wait([reading], timeout=pause_s))[0]:
                await reading
                assert await client.wait() == 0
                return killed
            whom = random.choice(["client", "worker", "both"])
            killed += 1
            if whom != "client":
                await workers.end(random.choice(list(workers.by_pid)))
            if whom != "worker":
                with contextlib.suppress(ProcessLookupError):
                    client.kill()
                await reading
                await client.wait()
                client = await self._start()
                reading = asyncio.create_task(self._read(client))
            if whom != "client":
                await workers.start()

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, str(CLIENT), *self.arguments, stdout=asyncio.subprocess.PIPE
        )

    async def _read(self, client: asyncio.subprocess.Process) -> None:
        """Note what the client says: each cell has the same value, and the same number of runs, each time."""
        while (line := await client.stdout.readline()).endswith(b"\n"):
            number, value, runs = map(int, line.split())
            assert self.values.setdefault(number, value) == value
            assert self.runs_when_finished.setdefault(number, runs) == runs
