"""What processes that were killed left behind: the locks they held on it have gone with them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["remove_if_abandoned"]


def remove_if_abandoned(locked: Path, remove: Callable[[], object]) -> None:
    """Call ``remove`` if the process of this user that held a lock on the file ``locked`` is gone.

    The lock is held meanwhile: who has made the file, and waits to lock it, finds it removed then.
    """
    with contextlib.suppress(OSError), locked.open("r+b") as file:  # held, gone, or another user's
        if os.fstat(file.fileno()).st_uid == os.getuid():
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove()
