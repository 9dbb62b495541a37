"""Writes a checkpoint: pickles the user's variables, leaves out those that cannot be, says why."""

from __future__ import annotations

import contextlib
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from pickle import PickleBuffer
from types import ModuleType
from typing import Any

from ... import __version__
from ...engine.namespace import NamespaceManager
from ...errors import CheckpointError
from ...protocol.checkpoint_format import CheckpointHeader, EntryInfo, checkpoint_chunks, total_bytes
from ..interrupts import CellCancelled
from .live import LiveObjects
from .pickler import MIN_BUFFER_BYTES, NamespacePickler
from .reasons import reason_for, refusal, type_name
from .versions import package_versions

__all__ = ["INTERRUPTIBLE_DUMPS", "Checkpoint", "write_checkpoint"]

DEFAULT_TIMEOUT_S = 60.0
DEFAULT_MAX_STREAM_BYTES = 4 << 30
SAFE_RECURSION_LIMIT = 3000
"""On 3.11 the C pickler overflows the stack before a limit that a cell has raised far."""

_ATOMS = (type(None), bool, int, float, complex, str, bytes)


class Checkpoint:
    """A namespace as it was pickled, large buffers still where they are.

    ``chunks()`` can be read once, before the next cell runs: it copies out of the live buffers. Until
    then (or ``release()``) they are held, and arrays and bytearrays in them cannot be resized.
    """

    def __init__(self, header: CheckpointHeader, stream: list[Any], buffers: list[memoryview]) -> None:
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
    timeout_s: float = DEFAULT_TIMEOUT_S,
    max_stream_bytes: int = DEFAULT_MAX_STREAM_BYTES,
) -> Checkpoint:
    """Pickle the user's variables of ``manager``.

    A variable that cannot be pickled is left out, with the reason in ``header.skipped``; so is one
    that takes longer than ``timeout_s`` or makes the stream larger than ``max_stream_bytes`` (large
    arrays and bytes do not count: they are not in it). ``live`` are further objects of this worker,
    by name, to be saved as that name. Code of the user's objects runs, up to three times an object.
    """
    limits = Limits(timeout_s, max_stream_bytes)
    variables, skipped = _choose(manager)
    modules = {name: value for name, value in variables.items() if _is_importable(value)}
    values = {name: variables[name] for name in sorted(variables.keys() - modules.keys(), key=_rank(variables))}
    with _safe_recursion_limit():
        stream, entries = _pickle(values, LiveObjects(manager.namespace, live), limits, skipped)
    imports = [_import_entry(name, module) for name, module in modules.items()]
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
    )
    return Checkpoint(header, stream.parts, stream.buffers)


class Limits:
    """How much time and space one variable may take."""

    def __init__(self, timeout_s: float, max_stream_bytes: int) -> None:
        self.timeout_s = timeout_s
        self.max_stream_bytes = max_stream_bytes


class _Stream:
    """Collects what a pickler writes; large bytes and buffers are kept as they are, not copied."""

    def __init__(self, limits: Limits, *, keep: bool = True) -> None:
        self.parts: list[Any] = []
        self.buffers: list[memoryview] = []
        self.modules: set[str] = set()
        self.size = 0
        self.buffer_size = 0
        self._limits = limits
        self._copied = 0
        self._keep = keep
        self._deadline = float("inf")

    def start_entry(self) -> float:
        """Begin the time of the next variable; returns when it ends."""
        self._deadline = time.monotonic() + self._limits.timeout_s
        return self._deadline

    def write(self, data: Any) -> None:
        """What the pickler has ready: a frame of small things, or one large object."""
        view = memoryview(data)
        self.size += view.nbytes
        if view.nbytes < MIN_BUFFER_BYTES or not isinstance(data, bytes | bytearray):
            self._write_small(data)
        elif self._keep:
            self.parts.append(data)
        self._check()

    def _write_small(self, data: Any) -> None:
        self._copied += len(data)
        if not self._keep:
            return
        if not self.parts or type(self.parts[-1]) is not _Tail:
            self.parts.append(_Tail())
        self.parts[-1] += data

    def _check(self) -> None:
        if time.monotonic() > self._deadline:
            raise TimeoutError
        if self._copied > self._limits.max_stream_bytes:
            raise MemoryError

    def take_buffer(self, buffer: PickleBuffer) -> bool:
        """Keep a large buffer outside the stream."""
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if view.nbytes < MIN_BUFFER_BYTES:
            return True
        self.buffer_size += view.nbytes
        if self._keep:
            self.buffers.append(view)
        return False


class _Tail(bytearray):
    """A part of the stream that more can be added to."""


class _Failed(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason


def _choose(manager: NamespaceManager) -> tuple[dict[str, Any], dict[str, str]]:
    """The user's variables worth a try, and those that are not, with the reason."""
    variables: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for name in manager.user_names():
        reason = _bad_name(name) or _hopeless(value := manager.namespace.get(name))
        if reason is not None:
            skipped[name if type(name) is str and name.isprintable() else ascii(name)] = reason
        else:
            variables[name] = value
    return variables, skipped


def _bad_name(name: object) -> str | None:
    if type(name) is str and name.isprintable():  # no lone surrogates, above all
        return None
    return "its name is not one that a cell could write"


def _hopeless(value: Any) -> str | None:
    """Why it is no use to try; an instance of the user's own class may know how to be saved."""
    return None if type(value).__module__ == "__main__" else refusal(value)


def _rank(variables: dict[str, Any]) -> Any:
    """What others may need while they are loaded goes first: constants, then functions and classes."""
    place = {name: index for index, name in enumerate(variables)}

    def rank(name: str) -> tuple[int, int]:
        value = variables[name]
        plain = 0 if type(value) in _ATOMS else 1 if _is_definition(value) else 2
        return plain, place[name]

    return rank


def _is_definition(value: Any) -> bool:
    return issubclass(type(value), type) or type(value).__name__ in ("function", "builtin_function_or_method")


def _is_importable(value: Any) -> bool:
    return type(value) is ModuleType and sys.modules.get(value.__name__) is value


def _import_entry(name: str, module: ModuleType) -> EntryInfo:
    prefix = module.__name__ + "."
    submodules = [
        found
        for found in sorted(sys.modules)
        if found.startswith(prefix) and "._" not in found and isinstance(sys.modules[found], ModuleType)
    ]
    return EntryInfo(name=name, type="module", module=module.__name__, submodules=submodules)


def _pickle(
    values: dict[str, Any], live: LiveObjects, limits: Limits, skipped: dict[str, str]
) -> tuple[_Stream, list[EntryInfo]]:
    """One stream of all values that can be pickled; the others go to ``skipped``.

    Mostly one pass. If a value fails, those behind it are tried by themselves, to find all that
    fail in one go, and the rest is pickled together in a second pass.
    """
    values = dict(values)
    probed = False
    while True:
        try:
            return _dump_all(values, live, limits)
        except _Failed as failed:
            bad = {failed.name: failed.reason}
            if not probed:
                bad |= _probe(_behind(values, failed.name), live, limits)
                probed = True
            skipped |= bad
            values = {name: value for name, value in values.items() if name not in bad}


def _dump_all(
    values: dict[str, Any], live: LiveObjects, limits: Limits
) -> tuple[_Stream, list[EntryInfo]]:
    stream = _Stream(limits)
    stream.write(live.preamble())
    pickler = NamespacePickler(stream, live)
    entries = []
    for name, value in values.items():
        before = stream.size + stream.buffer_size
        _dump_entry(pickler, stream, name, value)
        size = stream.size + stream.buffer_size - before
        entries.append(EntryInfo(name=name, type=type_name(value), size_bytes=size))
    stream.modules = pickler.modules
    return stream, entries


def _probe(values: dict[str, Any], live: LiveObjects, limits: Limits) -> dict[str, str]:
    """Pickle each value by itself, to nowhere; those that fail, with the reason."""
    bad = {}
    for name, value in values.items():
        stream = _Stream(limits, keep=False)
        try:
            _dump_entry(NamespacePickler(stream, live), stream, name, value)
        except _Failed as failed:
            bad[failed.name] = failed.reason
    return bad


def _behind(values: dict[str, Any], name: str) -> dict[str, Any]:
    names = list(values)
    return {later: values[later] for later in names[names.index(name) + 1 :]}


def _dump_entry(pickler: NamespacePickler, stream: _Stream, name: str, value: Any) -> None:
    pickler.deadline = stream.start_entry()
    try:
        dump_value(pickler, value)
    except CellCancelled:
        raise
    except TimeoutError:
        raise _Failed(name, "it took too long to pickle") from None
    except MemoryError:
        raise _Failed(name, "it is too large to pickle") from None
    except BaseException as error:  # noqa: BLE001 - the user's __reduce__ raises what it likes
        raise _Failed(name, reason_for(error, value, pickler.last)) from None


def dump_value(pickler: NamespacePickler, value: Any) -> None:
    """The only place where pickling runs code of the user's objects."""
    pickler.dump(value)


INTERRUPTIBLE_DUMPS = (dump_value,)


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
