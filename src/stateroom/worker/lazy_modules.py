"""Modules that asyncio and msgspec import for everybody and few cells ever use.

``ssl`` alone costs a worker 4 MB and some milliseconds of its start. It is put into ``sys.modules`` as
a module that loads itself when it is first touched. ``importlib.util.LazyLoader`` does not do
here: its modules load as soon as a second ``import`` statement looks at their spec.

``msgspec.inspect`` makes a class for each kind of type there is, for whoever describes types in JSON Schema.
``typing_extensions`` is what msgspec prefers to ``typing`` where it is installed. From Python 3.11 on
both give msgspec the same, and a session should not find it loaded, nor ``typing`` changed by it.
"""

from __future__ import annotations

import sys
import threading
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

__all__ = ["import_asyncio", "import_msgspec"]

_ASKED_BY_IMPORT = frozenset({"__class__", "__spec__"})
_lock = threading.RLock()
_loading: set[int] = set()


class _PutOff(ModuleType):
    """A module that is not loaded yet; the first touch makes it an ordinary one, before it is answered."""

    def __getattribute__(self, name: str) -> Any:
        if name not in _ASKED_BY_IMPORT:
            _load(self)
        return ModuleType.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _load(self)
        ModuleType.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        _load(self)
        ModuleType.__delattr__(self, name)


def import_asyncio() -> None:
    """Import asyncio without ``ssl``, which follows when it is used.

    An ordinary import where one of them is loaded already, or where this Python has no ``ssl`` at all.
    """
    spec = find_spec("asyncio")
    if spec is None or {"asyncio", "ssl"} & sys.modules.keys() or find_spec("_ssl") is None:
        return
    _put_off(find_spec("ssl"))
    protocol = _put_off(PathFinder.find_spec("asyncio.sslproto", spec.submodule_search_locations))
    import asyncio

    asyncio.sslproto = protocol  # type: ignore[attr-defined]  # the import system sets it on loading


def import_msgspec() -> None:
    """Import msgspec without its description of types, which follows when it is used.

    And without ``typing_extensions``, unless that is loaded already.
    """
    spec, hidden = find_spec("msgspec"), "typing_extensions"
    if spec is None or "msgspec" in sys.modules:
        return
    _put_off(PathFinder.find_spec("msgspec.inspect", spec.submodule_search_locations))
    if hidden in sys.modules:
        return
    sys.modules[hidden] = None  # type: ignore[assignment]  # an import of it fails
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules[hidden]


def _put_off(spec: ModuleSpec | None) -> ModuleType | None:
    if spec is None or spec.loader is None:
        return None
    module = sys.modules[spec.name] = module_from_spec(spec)
    module.__class__ = _PutOff
    return module


def _load(module: ModuleType) -> None:
    """Load it, once. If that fails, the next touch tries again."""
    with _lock:  # a second thread waits here until the first has loaded all of it
        if type(module) is not _PutOff or id(module) in _loading:
            return
        _loading.add(id(module))
        try:
            spec = module.__spec__
            assert spec is not None
            assert spec.loader is not None
            spec.loader.exec_module(module)
            module.__class__ = ModuleType  # type: ignore[assignment]
        finally:
            _loading.discard(id(module))
