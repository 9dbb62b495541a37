"""Finished cells and their checkpoints as files, in a directory that several machines may share.

::

    store/work/0000000007.checkpoint     the state after cell 7, if it is one of the last few
    store/work/0000000007-5d41402a.cell  its execution id, also as a digest in the name, and its
                                         result: with this file the cell is finished
    store/work/.lock                     held for the moment in which a cell is finished

A checkpoint is on the disk before its cell is; both are written under another name and renamed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from ..errors import CheckpointError, ConfigError, StoreError
from ..protocol.framing import Buffer
from ..session.checkpoint_store import safe_name, sync_folder
from .cell_store import CHUNK_BYTES, FinishedCell, StaleSave, in_chunks

__all__ = ["DirectoryCellStore"]

CELL, CHECKPOINT, PART = ".cell", ".checkpoint", ".part"
ABANDONED_AFTER_S = 3600.0
"""A file that nobody has written to for so long was left by a writer that is gone."""


class DirectoryCellStore:
    """The :class:`CellStore` in the directory ``path``, which is made if it is missing.

    On a network file system its locks (``flock``) must work. The last ``keep`` checkpoints of each session
    are kept. Raises ConfigError for a ``keep`` below 1, :class:`StoreError` for a path that cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str], *, keep: int = 3) -> None:
        if keep < 1:
            raise ConfigError(f"keep={keep}: give the number of checkpoints to keep, 1 or more")
        self.path = Path(path)
        """The directory."""
        self.keep = keep
        """How many checkpoints of each session are kept."""
        with self._told():
            self.path.mkdir(parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"<DirectoryCellStore {str(self.path)!r} keep={self.keep}>"

    def save(
        self, session: str, execution_id: str, result: bytes, checkpoint: Iterable[Buffer], *, after: int
    ) -> FinishedCell:
        """As :meth:`CellStore.save`."""
        cell = FinishedCell(
            session=session, number=after + 1, execution_id=execution_id, result=result, saved_at=time.time()
        )
        with self._told():
            self._save(cell, checkpoint)
        return cell

    def find(self, session: str, execution_id: str) -> FinishedCell | None:
        """As :meth:`CellStore.find`."""
        with self._told():
            return self._find(session, execution_id)

    def latest(self, session: str) -> FinishedCell | None:
        """As :meth:`CellStore.latest`."""
        with self._told():
            paths = self._files(session, CELL)
            return _read(paths[-1]) if paths else None

    def checkpoint(self, cell: FinishedCell) -> Iterator[bytes]:
        """As :meth:`CellStore.checkpoint`."""
        with self._told():
            try:
                file = self._checkpoint_file(cell).open("rb")
            except FileNotFoundError:
                raise CheckpointError(
                    f"{self.path} keeps no checkpoint of cell {cell.number} of {cell.session!r}"
                ) from None
        with file:
            while True:
                with self._told():
                    chunk = file.read(CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk

    def delete(self, session: str) -> None:
        """As :meth:`CellStore.delete`."""
        folder = self._folder(session)
        if not folder.exists():
            return
        with self._told(), _locked(folder):
            for path in reversed(self._files(session, CELL)):
                path.unlink()
            for path in self._files(session, CHECKPOINT):
                path.unlink()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"the store {self.path} cannot be used: {error}") from error

    def _save(self, cell: FinishedCell, checkpoint: Iterable[Buffer]) -> None:
        folder = self._folder(cell.session)
        folder.mkdir(exist_ok=True)
        self._judge(cell)
        uploaded = _write(folder, in_chunks(checkpoint))
        described: Path | None = None
        try:
            described = _write(folder, [msgspec.msgpack.encode(cell)])
            with _locked(folder):
                self._judge(cell)
                uploaded.rename(self._checkpoint_file(cell))
                sync_folder(folder)
                described.rename(folder / f"{cell.number:010d}-{_digest(cell.execution_id)}{CELL}")
                sync_folder(folder)
                self._clean(cell.session, cell.number)
        finally:
            uploaded.unlink(missing_ok=True)
            if described is not None:
                described.unlink(missing_ok=True)

    def _find(self, session: str, execution_id: str) -> FinishedCell | None:
        found = map(_read, self._folder(session).glob(f"*-{_digest(execution_id)}{CELL}"))
        return next((cell for cell in found if cell.execution_id == execution_id), None)

    def _judge(self, cell: FinishedCell) -> None:
        """Whether ``cell`` is the next one of its session."""
        if self._find(cell.session, cell.execution_id) is not None:
            raise StaleSave(
                f"execution {cell.execution_id!r} of {cell.session!r} was finished by somebody else"
            )
        latest = max(map(_number, self._files(cell.session, CELL)), default=0)
        if latest != cell.number - 1:
            raise StaleSave(f"{cell.session!r} has finished cell {latest} meanwhile, not {cell.number - 1}")

    def _clean(self, session: str, latest: int) -> None:
        for path in self._files(session, CHECKPOINT):
            if _number(path) <= latest - self.keep:
                path.unlink()
        for path in self._folder(session).glob(f"*{PART}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > ABANDONED_AFTER_S:
                    path.unlink()

    def _files(self, session: str, suffix: str) -> list[Path]:
        """Those of the first cell first."""
        return sorted(self._folder(session).glob(f"*{suffix}"))

    def _folder(self, session: str) -> Path:
        return self.path / safe_name(session)

    def _checkpoint_file(self, cell: FinishedCell) -> Path:
        return self._folder(cell.session) / f"{cell.number:010d}{CHECKPOINT}"


def _number(path: Path) -> int:
    return int(path.name[:10])


def _digest(execution_id: str) -> str:
    return hashlib.sha256(execution_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _read(path: Path) -> FinishedCell:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=FinishedCell)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None


def _write(folder: Path, pieces: Iterable[bytes]) -> Path:
    """A new file in ``folder``, on the disk when this returns."""
    file: IO[bytes]
    with tempfile.NamedTemporaryFile(dir=folder, suffix=PART, delete=False) as file:
        try:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            Path(file.name).unlink()
            raise
    return Path(file.name)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
