"""A folder for as long as somebody needs it, also if the process that made it is killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .abandoned import remove_if_abandoned

__all__ = ["TemporaryFolder", "when_gone"]

PREFIX = "stateroom-"
OWNER = ".owner"
"""A file in the folder, locked by the process that made it for as long as that lives."""


class TemporaryFolder:
    """A folder that goes with the last of those who hold this object.

    A process that is killed leaves its folders; :meth:`remove_abandoned` of another one removes them.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Locked before it has its name: a folder without such a file is nobody's to remove.
        unnamed = self.path / "owner"
        owner = os.open(unnamed, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(owner, fcntl.LOCK_EX)
        unnamed.rename(self.path / OWNER)
        when_gone(self, _give_up, self.path, owner)

    def __repr__(self) -> str:
        return f"<TemporaryFolder {self.path}>"

    @staticmethod
    def remove_abandoned() -> None:
        """Remove the folders of this user whose processes have ended; it touches the disk."""
        for owner in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):
            remove_if_abandoned(owner, partial(_remove, owner.parent))


def when_gone(holder: object, function: Callable[..., Any], *args: Any) -> None:
    """Call ``function`` when ``holder`` is gone from this process; a forked child has but a copy of it."""
    weakref.finalize(holder, _call_in, os.getpid(), function, args)


def _call_in(pid: int, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if os.getpid() == pid:
        function(*args)


def _give_up(path: Path, owner: int) -> None:
    _remove(path)
    os.close(owner)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
