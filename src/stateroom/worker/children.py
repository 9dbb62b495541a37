"""Processes that cells start with :mod:`multiprocessing`: they find what the cells have defined.

A forked child has the whole namespace. ``spawn`` and ``forkserver`` start a new interpreter and have
it run the main script again, of which there is none here: instead the child gets a checkpoint of
the namespace, taken when the process is started, and restores it into its own ``__main__``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..engine.namespace import NamespaceManager

if TYPE_CHECKING:
    from importlib.abc import Loader

__all__ = ["install"]

SPAWN = "multiprocessing.spawn"
KEY = "stateroom_main"


def install(manager: NamespaceManager) -> None:
    """Have :mod:`multiprocessing.spawn` send the namespace along, as soon as somebody imports it."""
    sys.meta_path.insert(0, _SpawnFinder(lambda module: _extend(module, manager)))


class _SpawnFinder:
    """Finds one module, once, as it would have been found, and changes it after it was loaded."""

    def __init__(self, change: Callable[[ModuleType], None]) -> None:
        self._change = change

    def __repr__(self) -> str:
        return f"<_SpawnFinder of {SPAWN}>"

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != SPAWN:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            _call_after_loading(spec.loader, self._change)
        return spec


def _call_after_loading(loader: Loader, change: Callable[[ModuleType], None]) -> None:
    load = loader.exec_module

    def load_and_change(module: ModuleType) -> None:
        load(module)
        change(module)

    loader.exec_module = load_and_change  # type: ignore[method-assign]


def _extend(spawn: Any, manager: NamespaceManager) -> None:
    prepare: Callable[..., dict[str, Any]] = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        data = prepare(name)
        main = sys.modules.get("__main__")
        if main is not None and vars(main) is manager.namespace and not _is_script(main):
            data[KEY] = _Main(manager)
            data.pop("init_main_from_path", None)  # a cell may have set ``__file__``
        return data

    spawn.get_preparation_data = get_preparation_data


def _is_script(main: ModuleType) -> bool:
    """Whether children can run the main script again, as they do outside of a session."""
    return getattr(main, "__loader__", None) is not None and os.path.isfile(
        getattr(main, "__file__", None) or ""
    )


class _Main:
    """The namespace on its way to a child: unpickling it makes the child's ``__main__``.

    It is pickled in the child's first message, before anything that refers to ``__main__``.
    """

    def __init__(self, manager: NamespaceManager) -> None:
        self._manager = manager

    def __reduce__(self) -> Any:
        from multiprocessing import context

        from .checkpoint import write_checkpoint

        # Queues and locks can be pickled only as arguments of the process that is being started.
        spawning = context.get_spawning_popen()
        context.set_spawning_popen(None)
        try:
            checkpoint = b"".join(write_checkpoint(self._manager).chunks())
        finally:
            context.set_spawning_popen(spawning)
        return make_main, (list(sys.path), checkpoint)


def make_main(path: list[str], checkpoint: bytes) -> None:
    """In the child: a ``__main__`` that has what the cells had."""
    from .checkpoint import restore_checkpoint

    sys.path[:] = path
    main = ModuleType("__main__")
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    restore_checkpoint(checkpoint, NamespaceManager(vars(main), history_size=0))
