"""Checkpoints on disk: a directory for each name, a file for each generation, never a torn one.

::

    store/work/0000000007.checkpoint      the newest; older ones beside it
    store/work/0000000005.kept            number 5 did not come back in whole: it is not deleted
    store/.locks/work.session             held by the process that has the session "work" open
    store/.locks/work.commit              held for the moment in which a generation appears

A checkpoint is written to a temporary file, checked, flushed to the disk, and renamed. Nothing of it
is unpickled here.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

import msgspec

from ..errors import CheckpointError, ConfigError
from ..protocol.checkpoint_format import CheckpointChecker, open_parts
from ..protocol.framing import Buffer
from .abandoned import remove_if_abandoned
from .name_lock import NameLock

__all__ = ["CheckpointFile", "CheckpointStore", "StoredCheckpoint", "StoredName", "safe_name", "sync_folder"]

SUFFIX = ".checkpoint"
KEPT_SUFFIX = ".kept"
TEMPORARY_SUFFIX = ".part"
LOCKS = ".locks"
MAX_NAME_BYTES = 200

_GENERATION = re.compile(r"(\d{10})\.\w+")


class StoredName(msgspec.Struct, kw_only=True, frozen=True):
    """A name in a store and what is kept of it."""

    name: str
    """As it was given to :meth:`CheckpointStore.save`."""
    generations: tuple[int, ...]
    """Oldest first."""
    size_bytes: int
    """Of the newest generation."""
    saved_at: float
    """When the newest was saved, in seconds since the epoch."""


class CheckpointStore:
    """Checkpoints by name in the directory ``path``, which is made if it is missing.

    The last ``keep`` generations of each name are kept, and those that are kept back. Any number of
    processes may use one store; a session that owns a name takes its :meth:`lock`. All methods touch
    the disk: call them from a thread if an event loop runs. They raise :class:`CheckpointError` for a
    checkpoint that is not there or not whole, ConfigError for a name that cannot be used, OSError if
    the disk does.
    """

    def __init__(self, path: str | os.PathLike[str], *, keep: int = 3) -> None:
        if keep < 1:
            raise ConfigError(f"keep={keep}: give the number of generations to keep, 1 or more")
        self.path = Path(path)
        """The directory."""
        self.keep = keep
        """How many generations of each name are kept."""
        (self.path / LOCKS).mkdir(parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"<CheckpointStore {str(self.path)!r} keep={self.keep}>"

    def save(self, name: str, chunks: Iterable[Buffer]) -> int:
        """Save a checkpoint that comes in ``chunks`` and return its generation."""
        with self.begin(name) as file:
            for chunk in chunks:
                file.write(chunk)
            return file.commit()

    def begin(self, name: str) -> CheckpointFile:
        """A checkpoint to be written chunk by chunk; it appears in the store with ``commit()``."""
        return CheckpointFile(self, name)

    def open(self, name: str, generation: int | None = None) -> StoredCheckpoint:
        """The newest checkpoint of ``name``, or its given ``generation``, mapped and found whole."""
        kept = self.generations(name)
        if not kept or (generation is not None and generation not in kept):
            what = "no checkpoint" if generation is None else f"no generation {generation}"
            raise CheckpointError(f"{self.path} has {what} of {name!r}: {kept or 'nothing'} is kept")
        wanted = kept[-1] if generation is None else generation
        try:
            return StoredCheckpoint(self.path_of(name, wanted), wanted)
        except CheckpointError as error:
            what = f"generation {wanted} of {name!r} in {self.path}: {error}"
            raise CheckpointError(what + self.ways_back(name, wanted)) from None
        except FileNotFoundError:
            raise CheckpointError(
                f"generation {wanted} of {name!r} was deleted meanwhile; open again"
            ) from None

    def list(self) -> Sequence[StoredName]:
        """All names that have a checkpoint, in alphabetical order; the files are not opened."""
        folders = [entry for entry in self.path.iterdir() if entry.is_dir() and entry.name != LOCKS]
        found = (self._describe(unquote(folder.name)) for folder in folders)
        return sorted((stored for stored in found if stored is not None), key=lambda stored: stored.name)

    def generations(self, name: str) -> tuple[int, ...]:
        """What is kept of ``name``, oldest first."""
        return self._numbers(name, SUFFIX)

    def path_of(self, name: str, generation: int) -> Path:
        """The file of ``generation``, be it there or not."""
        return self._folder(name) / f"{generation:010d}{SUFFIX}"

    def generation_of(self, name: str, path: Path) -> int | None:
        """Which generation of ``name`` the file ``path`` is; None if it is none of them."""
        found = _GENERATION.fullmatch(path.name)
        is_here = found is not None and path.parent.resolve() == self._folder(name).resolve()
        return int(found[1]) if found is not None and is_here else None

    def kept_back(self, name: str) -> tuple[int, ...]:
        """The generations of ``name`` that are not deleted for newer ones, oldest first."""
        return self._numbers(name, KEPT_SUFFIX)

    def keep_back(self, name: str, generation: int, why: str) -> None:
        """Delete ``generation`` for no newer one until it is let go; nothing happens if it is not there.

        A note beside it says ``why``; it outlives this process.
        """
        with self._committing(name):
            if generation in self.generations(name):
                self._note(name, generation).write_text(f"{why}\n", encoding="utf-8")
                sync_folder(self._folder(name))

    def let_go(self, name: str, generation: int) -> None:
        """Undo :meth:`keep_back` of ``generation``; nothing happens if it was not kept back."""
        self._note(name, generation).unlink(missing_ok=True)

    def bring_back(self, name: str, generation: int) -> int:
        """Make ``generation`` the newest of ``name``, which a session opens, and return its new number.

        No other one is deleted. Raises :class:`CheckpointError` if it is not there or not whole, or if a
        session has ``name`` open.
        """
        with self.lock(name), self._committing(name):
            self.open(name, generation)
            newest = self.generations(name)[-1]
            if generation == newest:
                return newest
            self.path_of(name, generation).rename(self.path_of(name, newest + 1))
            if generation in self.kept_back(name):
                self._note(name, generation).rename(self._note(name, newest + 1))
            sync_folder(self._folder(name))
            return newest + 1

    def ways_back(self, name: str, generation: int) -> str:
        """How to open another one than ``generation``, to end a message with; empty if there is none."""
        others = tuple(other for other in self.generations(name) if other != generation)
        if not others:
            return ""
        call = f"CheckpointStore({str(self.path)!r}).bring_back({name!r}, {others[-1]})"
        return (
            f"; generations {others} are kept as well: {call} makes one of them the newest, "
            f"which is opened (from {__name__})"
        )

    def delete(self, name: str) -> None:
        """Delete all generations of ``name``; nothing happens if there is none."""
        with self._committing(name):
            self._clean(name, keep=0)
            with contextlib.suppress(OSError):  # another process is writing a new one
                self._folder(name).rmdir()

    def drop(self, name: str) -> None:
        """Leave nothing of ``name``, its locks included; only for names that no other store uses, or will."""
        shutil.rmtree(self._folder(name), ignore_errors=True)
        for kind in ("commit", "session"):
            self._lock_path(name, kind).unlink(missing_ok=True)

    def lock(self, name: str) -> NameLock:
        """Own ``name`` until ``release()``, or the end of this process.

        Raises :class:`CheckpointError` at once if another owner has it.
        """
        return NameLock(self._lock_path(name, "session"), name)

    def _describe(self, name: str) -> StoredName | None:
        kept = self.generations(name)
        try:
            status = self.path_of(name, kept[-1]).stat()
        except (IndexError, FileNotFoundError):
            return None
        return StoredName(name=name, generations=kept, size_bytes=status.st_size, saved_at=status.st_mtime)

    def _commit(self, name: str, temporary: Path) -> int:
        with self._committing(name):
            generation = max(self.generations(name), default=0) + 1
            temporary.rename(self.path_of(name, generation))
            sync_folder(self._folder(name))
            self._clean(name, keep=self.keep)
        return generation

    def _clean(self, name: str, *, keep: int) -> None:
        """Delete generations over the number to keep, and what dead writers left; all for 0."""
        spared = self.kept_back(name) if keep else ()
        kept = [generation for generation in self.generations(name) if generation not in spared]
        for generation in kept[: max(0, len(kept) - keep)]:
            self.path_of(name, generation).unlink(missing_ok=True)
        for generation in set(self.kept_back(name)).difference(self.generations(name)):
            self._note(name, generation).unlink(missing_ok=True)
        for path in self._folder(name).glob(f"*{TEMPORARY_SUFFIX}"):
            remove_if_abandoned(path, path.unlink)

    @contextlib.contextmanager
    def _committing(self, name: str) -> Iterator[None]:
        with self._lock_path(name, "commit").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _create_temporary(self, name: str) -> Any:
        """A file of its own for one writer, who holds a lock on it while alive."""
        folder = self._folder(name)
        while True:  # who cleans up, or deletes the name, may remove what is not locked yet
            folder.mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                file = tempfile.NamedTemporaryFile(dir=folder, suffix=TEMPORARY_SUFFIX, delete=False)  # noqa: SIM115
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_nlink:
                    return file
                file.close()

    def _folder(self, name: str) -> Path:
        return self.path / safe_name(name)

    def _note(self, name: str, generation: int) -> Path:
        return self._folder(name) / f"{generation:010d}{KEPT_SUFFIX}"

    def _numbers(self, name: str, suffix: str) -> tuple[int, ...]:
        names = (path.name for path in self._folder(name).glob(f"*{suffix}"))
        return tuple(sorted(int(match[1]) for match in map(_GENERATION.fullmatch, names) if match))

    def _lock_path(self, name: str, kind: str) -> Path:
        return self.path / LOCKS / f"{safe_name(name)}.{kind}"


class CheckpointFile:
    """A checkpoint on its way into a store; as a context manager it is aborted unless committed."""

    def __init__(self, store: CheckpointStore, name: str) -> None:
        self.name = name
        self._store = store
        self._checker = CheckpointChecker()
        self._file = store._create_temporary(name)
        self._path = Path(self._file.name)

    def __repr__(self) -> str:
        state = "closed" if self._file.closed else "open"
        return f"<CheckpointFile {self.name!r} {state} received_bytes={self._checker.received_bytes}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def write(self, chunk: Buffer) -> None:
        """Add a chunk; raises :class:`CheckpointError` as soon as this cannot become a checkpoint."""
        self._checker.feed(chunk)
        self._file.write(chunk)

    def commit(self) -> int:
        """Make it the newest generation, and return that; raises CheckpointError if it is not whole."""
        self._checker.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        generation = self._store._commit(self.name, self._path)
        self._file.close()
        return generation

    def abort(self) -> bool:
        """Drop it, unless it was committed, or dropped before; whether there was something to drop."""
        if self._file.closed:
            return False
        self._path.unlink(missing_ok=True)
        self._file.close()
        return True


class StoredCheckpoint:
    """A checkpoint in a store, mapped into memory: reading it costs memory only while it is read.

    Made of the file ``path`` and its ``generation``; raises :class:`CheckpointError` if it is not whole.
    """

    def __init__(self, path: Path, generation: int) -> None:
        self.path = path
        """What a worker on this machine can open by itself."""
        self.generation = generation
        """Which one of its name it is, from 1; 0 of a file outside of a store."""
        with path.open("rb") as file:
            try:
                self.blob = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise CheckpointError(
                    "the checkpoint is cut short: the file is empty; use another one"
                ) from None
        self.header = open_parts(self.blob).header
        """What it says of itself."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.blob.madvise(mmap.MADV_DONTNEED)  # all of it was read to check it

    def __repr__(self) -> str:
        return f"<StoredCheckpoint {self.path.name} total_bytes={len(self.blob)}>"

    def chunks(self, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The whole checkpoint in pieces, each read when it is asked for."""
        for start in range(0, len(self.blob), chunk_bytes):
            yield self.blob[start : start + chunk_bytes]


def safe_name(name: str) -> str:
    """A file name for any text, one for one."""
    try:
        safe = quote(name, safe=" ")
    except UnicodeEncodeError:
        raise ConfigError(f"{name!r} cannot be the name of a checkpoint: it holds lone surrogates") from None
    if safe.startswith("."):
        safe = "%2E" + safe[1:]
    if not 0 < len(safe) <= MAX_NAME_BYTES:
        raise ConfigError(f"{name!r} cannot be the name of a checkpoint: give 1 to some 60 characters")
    return safe


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` last."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
