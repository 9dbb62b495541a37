"""The ``stateroom`` command as a user starts it: a process, with pipes or with a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("stateroom"))
PATIENCE_S = 30

# Ctrl-C may be ignored here (a job in the background); what is started must not inherit that.
LAUNCHER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
if sys.argv[1] == "terminal":
    os.login_tty(0)
os.execv(sys.argv[2], sys.argv[2:])
"""

Completed = subprocess.CompletedProcess[str]


class Started:
    """A running command whose output is read as it comes."""

    def __init__(self, process: subprocess.Popen[bytes], output: int, keyboard: int) -> None:
        self.process = process
        self.seen = ""
        self._output = output
        self._keyboard = keyboard

    def expect(self, pattern: str) -> re.Match[str]:
        """Read until the pattern shows up in what is new, and forget all up to its end."""
        deadline = time.monotonic() + PATIENCE_S
        while (match := re.search(pattern, self.seen)) is None:
            assert self._read_more(deadline), f"{pattern!r} never came, only {self.seen!r}"
        self.seen = self.seen[match.end() :]
        return match

    def type(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    def wait(self) -> int:
        """Read to the end of the output; return the exit status."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read_more(deadline):
            pass
        return self.process.wait(PATIENCE_S)

    def _read_more(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._output], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"nothing came in {PATIENCE_S} s after {self.seen!r}"
        try:
            chunk = os.read(self._output, 65_536)
        except OSError:  # Linux says EIO when the last user of a terminal has gone
            return False
        self.seen += chunk.decode()
        return bool(chunk)


@pytest.fixture
def command() -> str:
    """Path of the command, for tests that start it their own way."""
    return COMMAND


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Write a script and return its path."""

    def write(text: str | bytes, name: str = "script.py") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.fixture
def stateroom() -> Callable[..., Completed]:
    """Run the command to its end."""

    def run(*arguments: str, stdin: str = "") -> Completed:
        return subprocess.run(
            [COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    """Start the command with pipes; its errors go where its output goes."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> Started:
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, "pipes", COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        running.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        return Started(process, process.stdout.fileno(), process.stdin.fileno())

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def start_in_terminal() -> Iterator[Callable[..., Started]]:
    """Start the command in a terminal of its own."""
    running: list[tuple[subprocess.Popen[bytes], int]] = []

    def start(*arguments: str) -> Started:
        screen, line = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, "terminal", COMMAND, *arguments],
            stdin=line,
            stdout=line,
            stderr=line,
        )
        os.close(line)
        running.append((process, screen))
        return Started(process, screen, screen)

    yield start
    for process, screen in running:
        process.kill()
        process.wait()
        os.close(screen)
