"""Reads a checkpoint back into a namespace: all of it, or what can be had, or nothing if it is damaged."""

from __future__ import annotations

import importlib
import mmap
import platform
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from ...engine.namespace import ENGINE_INTERNALS, NamespaceManager
from ...engine.sources import SourceCache
from ...errors import CheckpointError
from ...protocol.checkpoint_format import CheckpointHeader, CheckpointParts, EntryInfo, open_parts
from ..import_path import add_to_import_path
from .cancelling import is_cancel
from .live import LiveObjects
from .reader import LiveUnpickler, writable
from .salvage import INTERRUPTIBLE_STEPS, Broken, SalvageUnpickler, guarded
from .versions import package_versions

__all__ = ["INTERRUPTIBLE_LOADS", "RestoreReport", "restore_checkpoint"]


class RestoreReport(msgspec.Struct, kw_only=True):
    """What became of the variables of a checkpoint."""

    restored: list[str] = []
    failed: dict[str, str] = {}
    """Saved, but could not be loaded here, and why."""
    skipped: dict[str, str] = {}
    """Left out when the checkpoint was written, and why."""
    packages_changed: dict[str, tuple[str, str]] = {}
    """Packages whose objects are in it: the version then and here (empty: not installed)."""


def restore_checkpoint(
    blob: Any,
    manager: NamespaceManager,
    *,
    clear_existing: bool = True,
    allow_other_python: bool = False,
    live: Mapping[str, Any] | None = None,
    sources: SourceCache | None = None,
) -> RestoreReport:
    """Bind what a checkpoint holds in the namespace of ``manager``.

    ``blob`` is an open file, or any bytes-like object; large arrays then live in the mapped file,
    or in that memory if it is writable, and keep it. With ``clear_existing`` the user's other
    variables go; what the engine keeps in the namespace stays in any case. ``live`` names the same
    objects as it did for ``write_checkpoint``; the text of restored functions goes to ``sources``. A
    variable that cannot be loaded is reported, and the others come back; code of the user's objects
    runs a second time then.

    Raises :class:`CheckpointError` for a checkpoint that is damaged, of another format version, or of
    another Python (unless ``allow_other_python``: then all but functions and classes of cells comes
    back). The namespace is what it was then, and also if loading is cancelled.
    """
    parts = open_parts(_view_of(blob))
    no_code = _check_python(parts.header, allow_other_python)
    before = manager.snapshot()
    try:
        loader = _Loader(parts, manager, LiveObjects(manager.namespace, live))
        loader.run(clear_existing=clear_existing, no_code=no_code)
    except BaseException:
        _set_back(manager.namespace, before)
        raise
    if sources is not None:
        for filename, text in loader.texts.items():
            sources.add(filename, text)
    return loader.report()


class _Loader:
    """One restore under way."""

    def __init__(self, parts: CheckpointParts, manager: NamespaceManager, live: LiveObjects) -> None:
        self.header = parts.header
        self.failed: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        """Sources of cells, by filename."""
        self._parts = parts
        self._manager = manager
        self._namespace = manager.namespace
        self._live = live
        self._pickled = [entry for entry in parts.header.entries if entry.module is None]

    def run(self, *, clear_existing: bool, no_code: str | None) -> None:
        """Load and bind everything that can be loaded."""
        if clear_existing:
            for name in self._manager.user_names():
                del self._namespace[name]
        add_to_import_path(self.header.path_first, self.header.path_last)
        for entry in self.header.entries:
            if entry.module is not None:
                self._import(entry)
        base = self._manager.snapshot()
        if no_code is not None or not self._load():
            _set_back(self._namespace, base)
            self._salvage(base, no_code)
        if clear_existing:
            self._put_in_order()

    def report(self) -> RestoreReport:
        """What came of it."""
        now = package_versions(self.header.packages)
        changed = {
            name: (then, now.get(name, ""))
            for name, then in self.header.packages.items()
            if now.get(name) != then
        }
        return RestoreReport(
            restored=[name for name in self.header.order if name not in self.failed],
            failed=self.failed,
            skipped=self.header.skipped,
            packages_changed=changed,
        )

    def _import(self, entry: EntryInfo) -> None:
        module = guarded(importlib.import_module, entry.module)
        if type(module) is Broken:
            self.failed[entry.name] = module.reason
            return
        for submodule in entry.submodules:
            if submodule not in sys.modules:
                guarded(importlib.import_module, submodule)
        self._bind(entry.name, module)

    def _load(self) -> bool:
        """Load with the fast unpickler; False if anything fails."""
        unpickler = LiveUnpickler(self._parts.stream, writable(self._parts.buffers), self._live)
        try:
            load_value(unpickler)
            for entry in self._pickled:
                self._bind(entry.name, load_value(unpickler))
            self.texts = load_value(unpickler)
        except BaseException as error:
            if is_cancel(error):
                raise
            return False
        return True

    def _salvage(self, base: dict[str, Any], no_code: str | None) -> None:
        """Load with the tolerant unpickler, then take out what is broken."""
        buffers = writable(self._parts.buffers)
        unpickler = SalvageUnpickler(self._parts.stream, buffers, self._live, no_code)
        load_value(unpickler)
        loaded: dict[str, Any] = {}
        for entry in self._pickled:
            loaded[entry.name] = load_value(unpickler)
            self._bind(entry.name, loaded[entry.name])
        self.texts = load_value(unpickler)
        for name, value in loaded.items():
            reason = unpickler.broken_in(value)
            if reason is not None:
                self.failed[name] = reason
                _set_back(self._namespace, base, [name])

    def _bind(self, name: str, value: Any) -> None:
        if name not in ENGINE_INTERNALS:
            self._namespace[name] = value

    def _put_in_order(self) -> None:
        for name in self.header.order:
            if name not in self.failed and name in self._namespace:
                self._namespace[name] = self._namespace.pop(name)


def load_value(unpickler: Any) -> Any:
    """The next value of the stream; the only place where loading runs code of the user's objects."""
    return unpickler.load()


INTERRUPTIBLE_LOADS = (load_value, *INTERRUPTIBLE_STEPS)


def _view_of(blob: Any) -> memoryview:
    """A file as private, writable memory: what is written to an array never reaches the file."""
    if not hasattr(blob, "fileno"):
        return memoryview(blob)
    descriptor = blob.fileno()
    try:
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
    except ValueError:
        raise CheckpointError("the checkpoint is cut short: the file is empty; use another one") from None


def _check_python(header: CheckpointHeader, allow_other_python: bool) -> str | None:
    """Why the code in a checkpoint cannot be used here, or None if it can."""
    wrote = (header.implementation, header.python.rpartition(".")[0])
    here = (sys.implementation.name, platform.python_version().rpartition(".")[0])
    if wrote == here:
        return None
    names = f"{' '.join(wrote)}, and this is {' '.join(here)}"
    if not allow_other_python:
        raise CheckpointError(
            f"the checkpoint was written by {names}; use that Python, or allow_other_python=True to get "
            "what does not depend on it (no functions and classes of cells)"
        )
    return f"its code was compiled by {names}"


def _set_back(namespace: dict[str, Any], before: dict[str, Any], names: list[str] | None = None) -> None:
    """Make the namespace, or these names in it, what it was; it never loses a name in between."""
    for name in names if names is not None else list(namespace):
        if name not in before:
            namespace.pop(name, None)
        else:
            namespace[name] = before[name]
    if names is None:
        namespace.update(before)
