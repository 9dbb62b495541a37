"""Worker processes on a database, and cells that tell what they do, for tests."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import psycopg
import pytest

from stateroom.integration.inputs import open_inputs

__all__ = ["CLI", "GROUP", "Workers", "appears", "dsn_to_url", "hang_while", "note", "the_question"]

GROUP = "cabin"
CLI = "import sys; from stateroom.frontends.cli import main; sys.exit(main())"


class Workers:
    """Worker processes of the command line, by pid."""

    def __init__(self, dsn: str, *, store: Path | None = None, ttl_s: float = 2.0) -> None:
        pytest.importorskip("typer", reason="needs the command line: install stateroom[cli]")
        self._options = ["--dsn", dsn, "--group", GROUP, "--ttl", str(ttl_s)]
        if store is not None:
            self._options += ["--store", str(store)]
        self.by_pid: dict[int, asyncio.subprocess.Process] = {}

    async def start(self) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLI, "worker", *self._options, stderr=asyncio.subprocess.PIPE
        )
        while b"ready" not in (line := await process.stderr.readline()):
            assert line, "the worker ended before it was ready"
        self.by_pid[process.pid] = process
        return process.pid

    async def end(self, pid: int, how: signal.Signals = signal.SIGKILL) -> int:
        process = self.by_pid.pop(pid)
        process.send_signal(how)
        await process.communicate()
        return process.returncode

    async def end_all(self) -> None:
        await asyncio.gather(*(self.end(pid) for pid in list(self.by_pid)))


async def appears(path: Path) -> str:
    """Wait for a file that a cell makes, and read it."""
    while not path.exists() or not (text := path.read_text()):
        await asyncio.sleep(0.01)
    return text


def note(folder: Path, what: str) -> str:
    """Code of a cell that leaves a trace each time it runs."""
    return f"with open({str(folder / 'trace')!r}, 'a') as file: file.write({what + chr(10)!r})\n"


def hang_while(folder: Path, name: str) -> str:
    """Code of a cell that tells the pid of the worker it runs on, then waits while a file is there."""
    return (
        f"import os, time, pathlib\n"
        f"part = pathlib.Path({str(folder / 'part')!r}); part.write_text(str(os.getppid())); part.rename({str(folder / 'running')!r})\n"
        f"while os.path.exists({str(folder / name)!r}): time.sleep(0.01)\n"
    )


def dsn_to_url(dsn: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    return "postgresql://{user}@{host}:{port}/{dbname}".format(**parts)


async def the_question(url: str):
    """Wait until something is asked."""
    while not (found := await asyncio.to_thread(open_inputs, url)):
        await asyncio.sleep(0.02)
    (question,) = found
    return question
