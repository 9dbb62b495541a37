"""A saved namespace, and what came back of one, as the user of a session meets them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from ..errors import CheckpointError
from .checkpoint_store import StoredCheckpoint

__all__ = ["Checkpoint", "Recovery"]


class Checkpoint:
    """A saved namespace, in a file; nothing of it is unpickled on this side."""

    def __init__(self, stored: StoredCheckpoint, keep_alive: object = None) -> None:
        self.path: Path = stored.path
        """The file."""
        self.names: list[str] = list(stored.header.order)
        """What was saved."""
        self.skipped: dict[str, str] = dict(stored.header.skipped)
        """What was left out, and why."""
        self.python_version: str = stored.header.python
        """The Python that wrote it, in full."""
        self.total_bytes = len(stored.blob)
        """The size of the file."""
        self.created_at = stored.header.created_at
        """Seconds since the epoch."""
        self._keep_alive = keep_alive

    def __repr__(self) -> str:
        return f"<Checkpoint names={len(self.names)} skipped={len(self.skipped)} bytes={self.total_bytes}>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Copy the file to ``path``; :meth:`load` reads it again, in any process. Raises OSError."""
        shutil.copyfile(self.path, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """Read what :meth:`save` wrote. Raises :class:`CheckpointError` if it is not there, or damaged."""
        try:
            return cls(StoredCheckpoint(Path(path).absolute(), 0))
        except (OSError, CheckpointError) as error:
            raise CheckpointError(f"cannot read the checkpoint {os.fspath(path)!r}: {error}") from None


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What a new worker got back of the state that the old one had."""

    reason: str
    """Why there is a new worker."""
    restored: list[str] = []
    """Names that came back."""
    lost: dict[str, str] = {}
    """Names that did not come back, and why."""
    cells_since: int = 0
    """Cells that had ended since the checkpoint: their work is lost."""
    error: str | None = None
    """Why nothing came back at all."""
