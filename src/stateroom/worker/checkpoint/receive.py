"""Takes a checkpoint that comes in chunks, into memory that the restored arrays can live in."""

from __future__ import annotations

import mmap

from ...errors import CheckpointError
from ...protocol.framing import Buffer

__all__ = ["CheckpointReceiver"]


class CheckpointReceiver:
    """Mapped memory of the announced size, filled chunk by chunk; no byte is copied a second time."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.received_bytes = 0
        try:
            self._memory = memoryview(
                mmap.mmap(-1, max(total_bytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANON)
            )
        except (OSError, ValueError, OverflowError) as error:
            raise CheckpointError(f"no memory for a checkpoint of {total_bytes} bytes: {error}") from None

    def __repr__(self) -> str:
        return f"<CheckpointReceiver {self.received_bytes} of {self.total_bytes} bytes>"

    def feed(self, chunk: Buffer) -> bool:
        """Take the next chunk; True when all of it is there. Raises CheckpointError if it is too much."""
        end = self.received_bytes + len(chunk)
        if end > self.total_bytes:
            raise CheckpointError(f"a checkpoint of {self.total_bytes} bytes was announced, {end} bytes came")
        self._memory[self.received_bytes : end] = chunk
        self.received_bytes = end
        return end == self.total_bytes

    def blob(self) -> memoryview:
        """What has come, for ``restore_checkpoint``."""
        return self._memory[: self.received_bytes]
