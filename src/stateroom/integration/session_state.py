"""The state of a session after its last finished cell: in the store of cells, and in the worker."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from ..errors import Busy, CheckpointError, DurableError, SessionBroken, StoreError
from ..logs import get_logger
from ..session.checkpoint import Checkpoint
from ..session.session import Session
from ..session.shielded import in_thread
from .cell_store import CHUNK_BYTES, CellStore, FinishedCell

__all__ = ["SessionState"]

log = get_logger("stateroom.durable")


class SessionState:
    """Brings the stored state of the session ``name`` into its worker, and stores what a cell has left there.

    Without a store there is no state to go back to: what the worker holds is what there is.
    """

    def __init__(self, session: Session, store: CellStore | None, name: str) -> None:
        self.name = name
        self.notes: list[str] = []
        """What did not outlive the last restart, to be told with the next outcome."""
        self._session = session
        self._store = store
        self._last: FinishedCell | None = None
        """What the store has as the latest, if it was asked."""
        self._is_asked = False
        self._is_changed = False
        """Whether a cell has run: until then, what the session was prepared with is to stay."""
        self._held_by: int | None = None
        """The pid of the worker whose namespace is that after the latest finished cell; None if none is."""

    def __repr__(self) -> str:
        return f"<SessionState {self.name!r} finished={self.finished} held_by={self._held_by}>"

    @property
    def is_stored(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    @property
    def finished(self) -> int:
        """How many cells of the session are finished, as far as is known here."""
        return self._last.number if self._last is not None else 0

    async def ask(self, *, again: bool = False) -> None:
        """Know what is finished; ``again``, as another process may have finished cells meanwhile."""
        if self._store is None or (self._is_asked and not again):
            return
        latest = await asyncio.to_thread(self._store.latest, self.name)
        if latest != self._last:
            self._held_by = None
        self._last, self._is_asked = latest, True

    async def find(self, execution_id: str) -> FinishedCell | None:
        """The finished cell with this execution id, if there is one."""
        if self._store is None:
            return None
        return await asyncio.to_thread(self._store.find, self.name, execution_id)

    async def bring(self) -> None:
        """Let the session have a worker whose namespace is that after the last finished cell."""
        await self.ask()
        pid = self._session.pid
        if pid is not None and pid == self._held_by and self._session.state != "broken":
            return
        if self._is_changed or self._session.state == "broken":
            await self._restart()
        if self._last is not None:
            await self._restore(self._last)
        self._held_by = self._session.pid

    async def _restart(self) -> None:
        """Have a new worker with an empty namespace, after the one that is being made, if any."""
        while True:
            try:
                return await self._session.restart(restore=False)
            except Busy:
                with suppress(SessionBroken):
                    await self._session.run("")  # it waits for the new worker, if there will be one

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A cell changes the namespace: until it is stored, that is nobody's."""
        pid = self._session.pid
        self._is_changed = True
        self._held_by = None
        try:
            yield
        finally:
            if self._store is None and self._session.pid == pid:
                self._held_by = pid  # there is no other state to go back to

    async def save(self, execution_id: str, outcome: dict[str, Any]) -> None:
        """Store the namespace and the outcome of the cell that has made it; nothing without a store.

        Raises :class:`CheckpointError` if the namespace cannot be saved, or somebody else has finished a
        cell, :class:`SessionBroken` if the worker is gone, :class:`StoreError`. A caller that is cancelled
        goes on when the store has answered.
        """
        if self._store is None:
            return
        pid = self._session.pid
        self._is_asked = False  # the store may take the cell, and be unable to say so
        saved = await self._session.checkpoint()
        await in_thread(self._save, execution_id, msgspec.json.encode(outcome), saved, pid)

    def _save(self, execution_id: str, result: bytes, saved: Checkpoint, pid: int | None) -> None:
        """In a thread: what the store takes is known here, also if nobody waits any more."""
        assert self._store is not None
        self._last = self._store.save(
            self.name, execution_id, result, _pieces(saved.path), after=self.finished
        )
        self._is_asked, self._held_by = True, pid

    async def _restore(self, cell: FinishedCell) -> None:
        with tempfile.TemporaryDirectory(prefix="stateroom-") as folder:
            path = Path(folder) / "state.checkpoint"
            await asyncio.to_thread(self._fetch, cell, path)
            try:
                report = await self._session.restore(Checkpoint.load(path))
            except CheckpointError as error:
                raise DurableError(
                    f"the state after {cell.execution_id} of session {self.name!r} cannot be brought back: "
                    f"{error}"
                ) from error
        lost = {**report.skipped, **report.failed}
        self.notes = [f"{name} did not outlive a restart: {why}" for name, why in lost.items()]
        log.info("durable_state_restored", after=cell.execution_id, restored=len(report.restored), lost=lost)

    def _fetch(self, cell: FinishedCell, path: Path) -> None:
        assert self._store is not None
        try:
            with path.open("wb") as file:
                for piece in self._store.checkpoint(cell):
                    file.write(piece)
        except OSError as error:
            raise StoreError(f"the state after {cell.execution_id} cannot be fetched: {error}") from error


def _pieces(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            yield piece
