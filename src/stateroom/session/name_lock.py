"""One owner at a time for a name, by a lock that ends with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from ..errors import CheckpointError

__all__ = ["NameLock"]


class NameLock:
    """Sole ownership of a name; given up by ``release()``, ``with``, or the end of the process."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = self._read_owner()
            self._file.close()
            raise CheckpointError(
                f"{name!r} is open in {owner}; close it there first, or use another name"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __repr__(self) -> str:
        return f"<NameLock {self.name!r} held={not self._file.closed}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the name up; safe to call twice."""
        self._file.close()

    def _read_owner(self) -> str:
        self._file.seek(0)
        pid = self._file.read().strip()
        return "this process" if pid == str(os.getpid()) else f"process {pid or '(unknown)'}"
