"""Runs one file of CPython's test suite: under plain Python, as a cell, and as ``stateroom run FILE``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

from corpus import TestFile
from outcomes import WHOLE_FILE, Outcomes

import stateroom

__all__ = ["MODES", "run_file"]

SITE = Path(__file__).parent / "site"
MODES = ("plain", "cell", "file")


async def run_file(file: TestFile, mode: str, time_limit_s: float) -> Outcomes:
    """Run ``file`` in ``mode`` in a fresh process and an empty folder of its own."""
    runner = {"plain": _run_plain, "cell": _run_as_cell, "file": _run_as_file}[mode]
    with tempfile.TemporaryDirectory(prefix="fidelity-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        return await _run_in(folder, file, runner, time_limit_s)


Runner = Callable[["Run"], Coroutine[None, None, str]]


class Run:
    """What a run needs to know: the file, where it may write, its environment."""

    def __init__(self, file: TestFile, folder: Path, time_limit_s: float) -> None:
        self.path = file.path
        self.folder = folder / "work"
        self.folder.mkdir()
        self.results = folder / "results.jsonl"
        self.time_limit_s = time_limit_s
        self.needs_path = file.needs_path
        self.source = file.script()
        if self.source != file.text():
            self.path = folder / f"{file.path.stem}_as_script.py"
            self.path.write_text(self.source, "utf-8")
        before = os.environ.get("PYTHONPATH", "")
        self.env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(SITE), before])),
            "FIDELITY_PYTHONPATH": before,
            "FIDELITY_RESULTS": str(self.results),
            "FIDELITY_ONLY": json.dumps(file.only),
            "FIDELITY_LEAVE_OUT": json.dumps(file.leave_out),
        }

    def __repr__(self) -> str:
        return f"<Run {self.path}>"


async def _run_in(folder: Path, file: TestFile, runner: Runner, time_limit_s: float) -> Outcomes:
    run = Run(file, folder, time_limit_s)
    started = time.monotonic()
    trouble = await runner(run)
    outcomes = Outcomes.read(run.results)
    outcomes.seconds = time.monotonic() - started
    if trouble:
        outcomes.note(WHOLE_FILE, "error", trouble)
    return outcomes


async def _run_plain(run: Run) -> str:
    """``python FILE``; returns what went wrong with the whole, or nothing."""
    output = run.folder.parent / "output"
    with output.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(run.path),
            cwd=run.folder, env=run.env, start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=sink, stderr=sink,
        )  # fmt: skip
        try:
            async with asyncio.timeout(run.time_limit_s):
                status = await process.wait()
        except TimeoutError:
            return "time limit"
        finally:
            _kill_group(process.pid)
            await process.wait()
    if status == 0:
        return ""
    lines = output.read_text("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"status {status}"


async def _run_as_cell(run: Run) -> str:
    """The text of the file as one cell."""
    return await _run_in_session(run, filename=None, argv=[str(run.path)])


async def _run_as_file(run: Run) -> str:
    """What ``stateroom run FILE`` does."""
    return await _run_in_session(run, filename=str(run.path), argv=[str(run.path)])


async def _run_in_session(run: Run, *, filename: str | None, argv: list[str] | None) -> str:
    session = stateroom.Session(cwd=str(run.folder), env=run.env)
    group: int | None = None
    try:
        async with session:
            group = session.info.pid
            return await _run_cells(session, run, filename, argv)
    except stateroom.StateroomError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        if group is not None:
            _kill_group(group)


async def _run_cells(
    session: stateroom.Session, run: Run, filename: str | None, argv: list[str] | None
) -> str:
    if filename is None:
        # Tests compare the name of their code with it, or look for data beside it.
        name = str(run.path) if run.needs_path else "<cell 2>"
        await session.run(f"__file__ = {name!r}", check=True)
    result = await session.run(run.source, timeout=run.time_limit_s, filename=filename, argv=argv)
    if result.error is None:
        return await _ask_for_life(session)
    return "time limit" if result.cancelled else _last_line(result.error)


async def _ask_for_life(session: stateroom.Session) -> str:
    """Whether the session still runs cells after the tests have had their way with it."""
    result = await session.run("import sys\nprint('out')\n[sys is not None, 6 * 7]", timeout=20)
    if result.error is not None:
        return f"the next cell failed: {_last_line(result.error)}"
    if result.value != [True, 42] or result.stdout != "out\n":
        return f"the next cell gave {result.value!r} and printed {result.stdout[:200]!r}"
    return ""


def _last_line(error: stateroom.ErrorInfo) -> str:
    return (error.text or f"{error.type}: {error.message}").strip().splitlines()[-1]


def _kill_group(leader: int) -> None:
    """End what the tests have left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
