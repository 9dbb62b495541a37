"""Which of the user's variables go into a checkpoint, in which order, and how modules do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from ...engine.namespace import NamespaceManager
from ...protocol.checkpoint_format import EntryInfo
from .live import LiveObjects
from .reasons import is_users, refusal

__all__ = ["choose", "import_entry", "is_importable", "rank"]

_ATOMS = (type(None), bool, int, float, complex, str, bytes)


def choose(manager: NamespaceManager, live: LiveObjects) -> tuple[dict[str, Any], dict[str, str]]:
    """The user's variables worth a try, and those that are not, with the reason."""
    variables: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for name in manager.user_names():
        reason = _bad_name(name) or _hopeless(value := manager.namespace.get(name), live)
        if reason is not None:
            skipped[name if type(name) is str and name.isprintable() else ascii(name)] = reason
        else:
            variables[name] = value
    return variables, skipped


def _bad_name(name: object) -> str | None:
    if type(name) is str and name.isprintable():  # no lone surrogates, above all
        return None
    return "its name is not one that a cell could write"


def _hopeless(value: Any, live: LiveObjects) -> str | None:
    """Why it is no use to try; an instance of the user's own class may know how to be saved."""
    return None if is_users(type(value)) or value in live else refusal(value)


def rank(variables: dict[str, Any]) -> Callable[[str], tuple[int, int]]:
    """What others may need while they are loaded goes first: constants, then functions and classes."""
    place = {name: index for index, name in enumerate(variables)}

    def place_of(name: str) -> tuple[int, int]:
        value = variables[name]
        plain = 0 if type(value) in _ATOMS else 1 if _is_definition(value) else 2
        return plain, place[name]

    return place_of


def _is_definition(value: Any) -> bool:
    return issubclass(type(value), type) or type(value) in (FunctionType, BuiltinFunctionType)


def is_importable(value: Any) -> bool:
    """Whether it is a module, which is saved by its name."""
    return type(value) is ModuleType and sys.modules.get(value.__name__) is value


def import_entry(name: str, module: ModuleType) -> EntryInfo:
    """What is saved of a module: its name, and those of its parts that were loaded with it."""
    prefix = module.__name__ + "."
    submodules = [
        found
        for found in sorted(sys.modules)
        if found.startswith(prefix) and "._" not in found and isinstance(sys.modules[found], ModuleType)
    ]
    return EntryInfo(name=name, type="module", module=module.__name__, submodules=submodules)
