"""Notices a soak that hangs, and writes down where everybody stands."""

from __future__ import annotations

import asyncio
import faulthandler
import io
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable

__all__ = ["Watchdog", "dump_everything"]

PY_SPY_LIMIT_S = 20


class Watchdog:
    """Ends the process, with all stacks, if its event loop stands still for ``limit_s``."""

    def __init__(self, limit_s: float, pids: Callable[[], list[int]]) -> None:
        self.limit_s = limit_s
        self._pids = pids
        self._beat_at = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._beat_at = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        self._thread.join()

    def beat(self) -> None:
        """The loop turns."""
        self._beat_at = time.monotonic()

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            if time.monotonic() - self._beat_at > self.limit_s:
                print(f"the event loop has stood still for {self.limit_s} s", file=sys.stderr)
                faulthandler.dump_traceback(all_threads=True)
                print(_workers(self._pids()), file=sys.stderr, flush=True)
                os._exit(3)


def dump_everything(pids: list[int]) -> str:
    """The stacks of all tasks and threads of this process, and of the workers if py-spy is to be had."""
    out = io.StringIO()
    for task in asyncio.all_tasks():
        print(f"\n{task!r}", file=out)
        task.print_stack(file=out)
    print("\nthreads:", file=out)
    for ident, frame in sys._current_frames().items():
        name = next((thread.name for thread in threading.enumerate() if thread.ident == ident), "?")
        print(f"  {name}: {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}", file=out)
    return out.getvalue() + _workers(pids)


def _workers(pids: list[int]) -> str:
    py_spy = os.environ.get("PY_SPY") or shutil.which("py-spy")
    if py_spy is None:
        return f"\nworkers {pids}: no py-spy on PATH (or in PY_SPY), so no stacks of them\n"
    return "".join(f"\nworker {pid}:\n{_dump(py_spy, pid)}" for pid in pids)


def _dump(py_spy: str, pid: int) -> str:
    try:
        done = subprocess.run(
            [py_spy, "dump", "--pid", str(pid)],
            capture_output=True,
            text=True,
            timeout=PY_SPY_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return repr(error)
    return done.stdout + done.stderr
