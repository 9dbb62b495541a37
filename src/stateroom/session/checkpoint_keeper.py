"""Keeps a session's state: checkpoints on demand and by themselves, and their way back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..config import SessionConfig
from ..errors import CheckpointError
from ..logs import get_logger
from ..protocol.messages import CheckpointMessage, RestoredMessage, RestoreMessage
from .background_tasks import result_of
from .checkpoint import Checkpoint, Recovery
from .checkpoint_job import CheckpointJob
from .checkpoint_store import CheckpointFile, CheckpointStore
from .name_lock import NameLock
from .shielded import in_thread
from .temporary_folder import TemporaryFolder, when_gone

__all__ = ["CheckpointKeeper", "Saving", "outlook"]

log = get_logger("stateroom.session")


class Saving(NamedTuple):
    """A checkpoint on its way."""

    job: CheckpointJob
    file: CheckpointFile
    cells_before: int
    """Cells that had ended since the one before, when it was begun."""


class CheckpointKeeper:
    """The checkpoints of one session, in its store or a temporary one.

    ``number`` hands out the numbers of requests, which the cancel page names them by.
    """

    def __init__(self, config: SessionConfig, number: Callable[[], int]) -> None:
        self.last: Checkpoint | None = None
        self.cells_since = 0
        """Cells that have ended since the last checkpoint."""
        self.recovery: Recovery | None = None
        """The last one."""
        self._config = config
        self._number = number
        self._finishing = asyncio.Lock()
        self._opening: asyncio.Future[None] | None = None
        self._saved_at = time.monotonic()
        self._names = itertools.count(1)
        self._folder: TemporaryFolder | None = None
        self._lock: NameLock | None = None
        self._unreadable: str | None = None
        """Why what was saved under the session's name did not become the last checkpoint."""
        self._is_short = False
        """Whether the worker has less than the last checkpoint, for want of a way to restore it."""
        self._losses: dict[Path, str | None] = {}
        """What restores of files have lost, or None, as far as the store does not know it."""

    def __repr__(self) -> str:
        return f"<CheckpointKeeper last={self.last!r} cells_since={self.cells_since}>"

    async def open(self) -> None:
        """Take the session's name in its store, and find what was saved under it.

        Raises :class:`CheckpointError` if another process has it open, if what is there is damaged, or if
        the store cannot be used.
        """
        await self.settled()
        if self._config.store is not None and self._lock is None:
            self._opening = asyncio.ensure_future(asyncio.to_thread(self._open))
            self._opening.add_done_callback(lambda done: done.exception())  # whoever waited may be gone
            await result_of(self._opening)

    def _open(self) -> None:
        """In a thread, which nothing stops: see :meth:`settled`."""
        try:
            store = self._store()
            self._lock = store.lock(self._config.name)
            if store.generations(self._config.name):
                self.last = self._open_newest(store)
        except OSError as error:
            what = f"the store {self._config.store!r} cannot be used: {error}"
            raise CheckpointError(f"{what}; give a folder that can be written, or made") from error

    def _open_newest(self, store: CheckpointStore) -> Checkpoint:
        try:
            return Checkpoint(store.open(self._config.name))
        except (CheckpointError, OSError) as error:
            self._unreadable = str(error)
            newest = store.generations(self._config.name)[-1]
            self._keep_back(store, store.path_of(self._config.name, newest), self._unreadable)
            raise

    def _keep_back(self, store: CheckpointStore, path: Path, loss: str) -> None:
        """At once if the disk lets us, or else before the next checkpoint is stored."""
        self._losses[path] = loss
        generation = store.generation_of(self._config.name, path)
        with contextlib.suppress(OSError):
            if generation is not None:
                store.keep_back(self._config.name, generation, loss)

    async def close(self) -> None:
        """Give the name and the temporary files back."""
        await self.settled()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._config.store is None:
            self.last = None
        self._folder = None  # removed with the last checkpoint that lives in it

    @property
    def is_storing(self) -> bool:
        """Whether a checkpoint has come that is not on the disk yet: it is about to be the last."""
        return self._finishing.locked()

    @property
    def has_nothing_new(self) -> bool:
        """The state did not come back in whole, and no cell has ended since: better to keep the last one."""
        return self._is_short and not self.cells_since

    def is_due(self) -> bool:
        """Whether a checkpoint should be made now, after a cell."""
        every_cells, every_s = self._config.checkpoint_every_cells, self._config.checkpoint_every_s
        if every_cells is not None and self.cells_since >= every_cells:
            return True
        return every_s is not None and self.cells_since > 0 and time.monotonic() - self._saved_at >= every_s

    def begin(self, *, is_automatic: bool = False) -> Saving:
        """A checkpoint to be made: :meth:`finish` it, or :meth:`drop` it. Raises :class:`CheckpointError`."""
        name = self._config.name if self._config.store is not None else f"checkpoint-{next(self._names)}"
        try:
            file = self._store().begin(name)
        except OSError as error:
            raise CheckpointError(f"no checkpoint can be stored: {error}") from error
        number = self._number()
        message = CheckpointMessage(
            execution_id=f"checkpoint-{number}", number=number, timeout_s=self._config.checkpoint_timeout_s
        )
        self._saved_at = time.monotonic()
        cells_before, self.cells_since = self.cells_since, 0
        return Saving(CheckpointJob(message, file.write, is_automatic=is_automatic), file, cells_before)

    async def finish(self, saving: Saving) -> Checkpoint:
        """Wait for the worker, then make the file a checkpoint. Raises :class:`CheckpointError`.

        What is being committed becomes the last checkpoint also if the caller is cancelled meanwhile.
        """
        try:
            await result_of(saving.job.done)
            async with self._finishing:
                return await self._commit_with_losses(saving.file)
        except BaseException as error:
            self.drop(saving)
            if isinstance(error, OSError):
                raise CheckpointError(f"the checkpoint could not be stored: {error}") from error
            raise

    async def settled(self) -> None:
        """Wait until the name is taken that is being taken, and a checkpoint that has come is on the disk."""
        if self._opening is not None:
            await asyncio.wait([self._opening])
        async with self._finishing:
            pass

    def drop(self, saving: Saving) -> None:
        """A checkpoint that was begun is not made, unless it was: it saved nothing of the cells before it."""
        if saving.file.abort():
            self.cells_since += saving.cells_before
            if self._config.store is None:
                self._store().drop(saving.file.name)

    async def _commit_with_losses(self, file: CheckpointFile) -> Checkpoint:
        losses, self._losses = self._losses, {}
        try:
            return await in_thread(self._commit, file, losses)
        except BaseException:
            self._losses = {**losses, **self._losses}
            raise

    def _commit(self, file: CheckpointFile, losses: dict[Path, str | None]) -> Checkpoint:
        """In a thread: the file becomes a checkpoint. A temporary one goes with the last who holds it.

        What others have lost is kept back before it could be deleted for this one.
        """
        store = self._store()
        found = [(store.generation_of(file.name, path), loss) for path, loss in losses.items()]
        for generation, loss in found:
            if generation is not None and loss is not None:
                store.keep_back(file.name, generation, loss)
        file.commit()
        for generation, loss in found:
            if generation is not None and loss is None:
                store.let_go(file.name, generation)
        if self._folder is not None and self.last is None:
            TemporaryFolder.remove_abandoned()
        checkpoint = Checkpoint(store.open(file.name), self._folder)
        if self._config.store is None:
            when_gone(checkpoint, store.drop, file.name)
        self.last = checkpoint
        return checkpoint

    def restore(self, saved: Checkpoint, **how: bool) -> CheckpointJob:
        """Bringing ``saved`` back, to be done."""
        if not isinstance(saved, Checkpoint):
            raise CheckpointError(f"a {type(saved).__name__} is no Checkpoint; see Checkpoint.load()")
        number = self._number()
        how = {name: bool(wanted) for name, wanted in how.items()}  # the worker takes nothing else
        job = CheckpointJob(
            RestoreMessage(execution_id=f"restore-{number}", number=number, path=str(saved.path), **how)
        )
        job.done.add_done_callback(lambda done: self._judge(saved.path, done))
        return job

    def recover(self, reason: str) -> CheckpointJob | None:
        """For a new worker: the last checkpoint, if there is one; :attr:`recovery` will tell how it went."""
        if self.last is None:
            error = self._unreadable or "there is no checkpoint"
            self.recovery = Recovery(reason=reason, cells_since=self.cells_since, error=error)
            self._is_short = True
            return None
        job = self.restore(self.last, allow_other_python=self._config.allow_other_python)
        job.is_automatic = True
        job.done.add_done_callback(lambda done: self._note(reason, done))
        return job

    async def refusal(self, recovery: CheckpointJob) -> CheckpointError:
        """Why a session is not opened whose saved state did not come back by ``recovery``, and what to do."""
        assert self.last is not None
        error = recovery.done.exception()
        advice = "; set a longer restore_timeout_s" if recovery.timeout_s is not None else ""
        others = await in_thread(self._pass_over, self.last.path, str(error))
        return CheckpointError(
            f"the state in {str(self.last.path)!r} did not come back: {error}{advice}. The file stays as it "
            f"is; to begin without it, open the session under another name{others}"
        )

    def _pass_over(self, path: Path, loss: str) -> str:
        """In a thread: keep a file that is of no use here, and name the others in words."""
        store = self._store()
        self._keep_back(store, path, loss)
        generation = store.generation_of(self._config.name, path)
        return store.ways_back(self._config.name, generation) if generation is not None else ""

    def _judge(self, path: Path, done: asyncio.Future[RestoredMessage]) -> None:
        """Remember what a restore of that file has lost, for the store."""
        if (error := done.exception()) is not None:
            self._losses[path] = str(error)
            return
        failed = done.result().failed
        self._losses[path] = "; ".join(f"{name}: {why}" for name, why in failed.items()) or None
        self._is_short = False

    def _note(self, reason: str, done: asyncio.Future[RestoredMessage]) -> None:
        lost_cells, self.cells_since = self.cells_since, 0
        if (error := done.exception()) is not None:
            self.recovery = Recovery(reason=reason, cells_since=lost_cells, error=str(error))
            self._is_short = True
            log.error("recovery_failed", reason=reason, error=str(error))
            return
        report = done.result()
        self._is_short = bool(report.failed)
        self.recovery = Recovery(
            reason=reason,
            restored=report.restored,
            lost={**report.skipped, **report.failed},
            cells_since=lost_cells,
        )
        log.info("recovered", reason=reason, restored=len(report.restored), lost=self.recovery.lost)

    def _store(self) -> CheckpointStore:
        if self._config.store is not None:
            return CheckpointStore(self._config.store, keep=self._config.store_keep)
        if self._folder is None:
            self._folder = TemporaryFolder()
        return CheckpointStore(self._folder.path, keep=1)


def outlook(keeper: CheckpointKeeper) -> str:
    """What is going to happen to the state of a worker that was lost, in words."""
    if keeper.last is None and not keeper.is_storing:
        return "there was no checkpoint, so the namespace is empty"
    cells = f"{keeper.cells_since} cell{'s' if keeper.cells_since != 1 else ''}"
    return f"the namespace comes back from the last checkpoint; {cells} ended since"
