"""The messages by which a session has a namespace saved and brought back."""

from __future__ import annotations

from .message import Message

__all__ = [
    "CheckpointChunkMessage",
    "CheckpointMessage",
    "CheckpointedMessage",
    "RestoreMessage",
    "RestoredMessage",
]


class CheckpointMessage(Message, tag="checkpoint"):
    """Save the namespace, each variable within ``timeout_s`` seconds.

    Chunks and a CheckpointedMessage, or an ErrorMessage, come back.
    """

    execution_id: str
    number: int
    timeout_s: float


class RestoreMessage(Message, tag="restore"):
    """Bring back what the checkpoint at ``path`` holds; a RestoredMessage or an ErrorMessage follows."""

    execution_id: str
    number: int
    path: str
    clear_existing: bool = True
    allow_other_python: bool = False


class CheckpointChunkMessage(Message, tag="checkpoint_chunk", dict=True):
    """The next piece of a checkpoint, as raw bytes behind the message."""

    execution_id: str
    number: int

    @property
    def data(self) -> memoryview:
        """The piece; valid for as long as the message."""
        return self._data

    def attach(self, payload: memoryview) -> None:
        self._data = payload


class CheckpointedMessage(Message, tag="checkpointed"):
    """All pieces of a checkpoint have been sent, which took ``duration_s`` seconds."""

    execution_id: str
    number: int
    duration_s: float


class RestoredMessage(Message, tag="restored"):
    """What became of the variables of a checkpoint."""

    execution_id: str
    """Of the restoring."""
    number: int
    """Its number, which no other has."""
    restored: list[str] = []
    """Names that came back."""
    failed: dict[str, str] = {}
    """Saved, but could not be loaded here, and why."""
    skipped: dict[str, str] = {}
    """Left out when the checkpoint was written, and why."""
    packages_changed: dict[str, tuple[str, str]] = {}
    """Packages whose objects are in it: the version then and here (empty: not installed)."""
