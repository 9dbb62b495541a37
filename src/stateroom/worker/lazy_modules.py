"""Modules of the standard library that asyncio imports for everybody and few cells ever use.

``ssl`` alone costs a worker 4 MB and some milliseconds of its start. It is put into ``sys.modules`` as
a module that loads itself when it is first asked for something. ``importlib.util.LazyLoader`` does
not do here: its modules load as soon as a second ``import`` statement looks at their spec.
"""

from __future__ import annotations

import sys
import threading
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

__all__ = ["import_asyncio"]


def import_asyncio() -> None:
    """Import asyncio without ``ssl``, which follows when it is used.

    An ordinary import where one of them is loaded already, or where this Python has no ``ssl`` at all.
    """
    spec = find_spec("asyncio")
    put_off = not {"asyncio", "ssl"} & sys.modules.keys() and find_spec("_ssl") is not None
    if put_off and spec is not None:
        _put_off(find_spec("ssl"))
        protocol = _put_off(PathFinder.find_spec("asyncio.sslproto", spec.submodule_search_locations))
        import asyncio

        asyncio.sslproto = protocol  # type: ignore[attr-defined]  # the import system sets it on loading


def _put_off(spec: ModuleSpec | None) -> ModuleType | None:
    if spec is None or spec.loader is None:
        return None
    loader, lock = spec.loader, threading.RLock()
    module = module_from_spec(spec)
    namespace, begun = vars(module), list[bool]()

    def load() -> None:
        with lock:  # a second thread waits here until the first has loaded all of it
            if not begun:
                begun.append(True)
                loader.exec_module(module)
                namespace.pop("__getattr__", None)
                namespace.pop("__dir__", None)

    def get(name: str) -> Any:
        load()
        try:
            return namespace[name]
        except KeyError:
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}") from None

    def names() -> list[str]:
        load()
        return sorted(namespace)

    namespace.update(__getattr__=get, __dir__=names)
    sys.modules[module.__name__] = module
    return module
