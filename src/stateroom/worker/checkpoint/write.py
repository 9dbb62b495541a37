"""Writes a checkpoint: pickles the user's variables, leaves out those that cannot be, says why."""

from __future__ import annotations

import contextlib
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ... import __version__
from ...engine.namespace import NamespaceManager
from ...engine.sources import SourceCache
from ...errors import CheckpointError
from ...protocol.checkpoint_format import CheckpointHeader, EntryInfo, checkpoint_chunks, total_bytes
from ...protocol.framing import Buffer
from .cancelling import is_cancel
from .choose import choose, import_entry, is_importable, rank
from .live import LiveObjects
from .pickler import RUNS_USER_CODE, NamespacePickler
from .reasons import is_users, reason_for, type_name
from .stream import Limits, OverLimit, Stream
from .versions import package_versions

__all__ = ["INTERRUPTIBLE_DUMPS", "Checkpoint", "write_checkpoint"]

Limited = Callable[[], contextlib.AbstractContextManager[None]]
"""What ends the code of the user's objects that runs in it for too long."""
DEFAULT_TIMEOUT_S = 60.0
DEFAULT_MAX_STREAM_BYTES = 4 << 30
SAFE_RECURSION_LIMIT = 3000
"""On 3.11 the C pickler overflows the stack before a limit that a cell has raised far."""


class Checkpoint:
    """A namespace as it was pickled, large buffers still where they are.

    ``chunks()`` can be read once, before the next cell runs: it copies out of the live buffers. Until
    then (or ``release()``) they are held, and arrays and bytearrays in them cannot be resized.
    """

    def __init__(
        self, header: CheckpointHeader, stream: Sequence[Buffer], buffers: Sequence[memoryview]
    ) -> None:
        self.header = header
        self.total_bytes = total_bytes(header)
        self._stream = stream
        self._buffers = buffers
        self._used = False

    def __repr__(self) -> str:
        saved, skipped = len(self.header.entries), len(self.header.skipped)
        return f"<Checkpoint saved={saved} skipped={skipped} total_bytes={self.total_bytes}>"

    def chunks(self) -> Iterator[bytes]:
        """The whole checkpoint in pieces of at most 1 MiB, each made when it is asked for."""
        if self._used:
            raise CheckpointError("this checkpoint was sent or released; write another one")
        self._used = True
        try:
            yield from checkpoint_chunks(self.header, self._stream, self._buffers)
        finally:
            self.release()

    def release(self) -> None:
        """Let go of the buffers."""
        self._used = True
        self._stream, self._buffers = [], []


def write_checkpoint(
    manager: NamespaceManager,
    *,
    live: Mapping[str, Any] | None = None,
    sources: SourceCache | None = None,
    added_path: tuple[list[str], list[str]] = ([], []),
    timeout_s: float = DEFAULT_TIMEOUT_S,
    max_stream_bytes: int = DEFAULT_MAX_STREAM_BYTES,
    limited: Limited = contextlib.nullcontext,
) -> Checkpoint:
    """Pickle the user's variables of ``manager``.

    A variable that cannot be pickled is left out, with the reason in ``header.skipped``; so is one
    that takes longer than ``timeout_s`` or makes the stream larger than ``max_stream_bytes`` (large
    arrays and bytes do not count: they are not in it). ``live`` are further objects of this worker,
    by name, to be saved as that name; ``sources`` are the cells whose text goes along with their
    functions; ``added_path`` is what :meth:`ImportPath.added` tells. Code of the user's objects runs,
    up to three times an object, and each time in a ``limited()`` of its own: without one, what never
    returns is never left out.
    """
    alive = LiveObjects(manager.namespace, live)
    variables, skipped = choose(manager, alive)
    modules = {name: value for name, value in variables.items() if is_importable(value)}
    values = {
        name: variables[name] for name in sorted(variables.keys() - modules.keys(), key=rank(variables))
    }
    with _safe_recursion_limit():
        way = _Way(alive, Limits(timeout_s, max_stream_bytes), limited, sources, {})
        stream, entries = _pickle(values, way, skipped)
    imports = [import_entry(name, module) for name, module in modules.items()]
    header = CheckpointHeader(
        python=platform.python_version(),
        implementation=sys.implementation.name,
        stateroom=__version__,
        created_at=time.time(),
        packages=package_versions(stream.modules | {entry.module or "" for entry in imports}),
        entries=imports + entries,
        order=[name for name in variables if name not in skipped],
        skipped=skipped,
        stream_bytes=stream.size,
        buffer_bytes=[view.nbytes for view in stream.buffers],
        path_first=added_path[0],
        path_last=added_path[1],
    )
    return Checkpoint(header, stream.parts, stream.buffers)


class _Way(NamedTuple):
    """How to pickle."""

    live: LiveObjects
    limits: Limits
    limited: Limited
    sources: SourceCache | None
    left_out: dict[int, frozenset[str]]
    """Members of the user's classes that are not saved, by the id of the class."""

    def pickler(self, stream: Stream) -> NamespacePickler:
        return NamespacePickler(stream, self.live, self.sources, self.left_out)


class _Failed(Exception):
    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason


def _pickle(values: dict[str, Any], way: _Way, skipped: dict[str, str]) -> tuple[Stream, list[EntryInfo]]:
    """One stream of all values that can be pickled; the others go to ``skipped``.

    Mostly one pass. If a value fails, those behind it are tried by themselves, to find all that
    fail in one go, and the rest is pickled together in a second pass. A class of the user's is not
    given up for one of its members, since all its instances would go with it.
    """
    values = dict(values)
    relieved = probed = False
    while True:
        try:
            return _dump_all(values, way)
        except _Failed as failed:
            if not relieved:
                relieved = True
                if members := _relieve_classes(values, way):
                    skipped |= members
                    continue
            bad = {failed.name: failed.reason}
            if not probed:
                bad |= _probe(_behind(values, failed.name), way)
                probed = True
            skipped |= bad
            values = {name: value for name, value in values.items() if name not in bad}


def _dump_all(values: dict[str, Any], way: _Way) -> tuple[Stream, list[EntryInfo]]:
    stream = Stream(way.limits)
    stream.write(way.live.preamble())
    pickler = way.pickler(stream)
    entries = []
    for name, value in values.items():
        before = stream.size + stream.buffer_size
        _dump_entry(pickler, stream, name, value, way.limited)
        size = stream.size + stream.buffer_size - before
        entries.append(EntryInfo(name=name, type=type_name(value), size_bytes=size))
    dump_value(pickler, pickler.sources.by_filename)
    stream.modules = pickler.modules
    return stream, entries


def _probe(values: dict[str, Any], way: _Way) -> dict[str, str]:
    """Pickle each value by itself, to nowhere; those that fail, with the reason."""
    return {name: reason for name, value in values.items() if (reason := _try(name, value, way)) is not None}


def _try(name: str, value: Any, way: _Way) -> str | None:
    """Pickle a value to nowhere; why it fails, if it does."""
    stream = Stream(way.limits, keep=False)
    try:
        _dump_entry(way.pickler(stream), stream, name, value, way.limited)
    except _Failed as failed:
        return failed.reason
    return None


def _relieve_classes(values: dict[str, Any], way: _Way) -> dict[str, str]:
    """Leave out what of the user's classes cannot be saved; as ``Class.member``, with the reason."""
    skipped: dict[str, str] = {}
    for name, value in values.items():
        if _is_users_class(value) and _try(name, value, way) is not None:
            bad = _bad_members(value, way)
            way.left_out[id(value)] = frozenset(bad)
            skipped |= {f"{name}.{member}": reason for member, reason in bad.items()}
    return skipped


def _is_users_class(value: Any) -> bool:
    return issubclass(type(value), type) and is_users(value)


_MADE_ANEW = frozenset({"__dict__", "__weakref__", "_abc_impl"})
"""Members that every new class has of its own."""


def _bad_members(cls: type, way: _Way) -> dict[str, str]:
    """Each by itself, in a class without the others: a method that calls ``super()`` holds its class."""
    own: Mapping[Any, Any] = type.__getattribute__(cls, "__dict__")
    members = {name: own[name] for name in own if type(name) is str and name not in _MADE_ANEW}
    bad = {}
    for name, member in members.items():
        way.left_out[id(cls)] = frozenset(members.keys() - {name})
        if (reason := _try(name, member, way)) is not None:
            bad[name] = reason
    return bad


def _behind(values: dict[str, Any], name: str) -> dict[str, Any]:
    names = list(values)
    return {later: values[later] for later in names[names.index(name) + 1 :]}


def _dump_entry(pickler: NamespacePickler, stream: Stream, name: str, value: Any, limited: Limited) -> None:
    stream.start_entry()
    try:
        with limited():
            dump_value(pickler, value)
    except OverLimit as limit:
        raise _Failed(name, str(limit)) from None
    except BaseException as error:
        if is_cancel(error):
            raise
        if (reason := stream.over_limit()) is None:
            with limited():
                reason = reason_for(error, value, pickler.last)
        raise _Failed(name, reason) from None


def dump_value(pickler: NamespacePickler, value: Any) -> None:
    """All that pickling runs of the user's objects, it runs in here."""
    pickler.dump(value)


INTERRUPTIBLE_DUMPS = (dump_value, *RUNS_USER_CODE)


@contextlib.contextmanager
def _safe_recursion_limit() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    if sys.version_info >= (3, 12) or limit <= SAFE_RECURSION_LIMIT:
        yield
        return
    sys.setrecursionlimit(SAFE_RECURSION_LIMIT)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
