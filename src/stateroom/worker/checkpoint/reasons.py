"""Why a variable cannot be saved, in words for its owner."""

from __future__ import annotations

import pickle
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from types import CellType, FunctionType
from typing import Any

from ..user_code import call_user_code
from .cancelling import is_cancel

__all__ = ["Unpicklable", "describe", "find_path", "is_users", "reason_for", "refusal", "type_name"]

MAX_REASON_CHARS = 300
MAX_PATH_STEPS = 5
MAX_PATH_OBJECTS = 20_000

_KINDS = (
    ("generator", "a generator: its state cannot be saved"),
    ("async_generator", "an async generator: its state cannot be saved"),
    ("coroutine", "a coroutine: its state cannot be saved"),
    ("frame", "a frame of running code"),
    ("traceback", "a traceback"),
    ("_asyncio.Task", "a task: it belongs to the running loop"),
    ("_asyncio.Future", "a future: it belongs to the running loop"),
    ("_thread.lock", "a lock"),
    ("_thread.RLock", "a lock"),
    ("threading.Thread", "a thread"),
    ("socket.socket", "a socket: open it again after the restore"),
    ("_socket.socket", "a socket: open it again after the restore"),
    ("subprocess.Popen", "a process"),
    ("sqlite3.Connection", "a connection to a database: open it again after the restore"),
    ("_io._IOBase", "an open file: open it again after the restore"),
    ("mmap.mmap", "a memory map: open it again after the restore"),
    ("asyncio.events.AbstractEventLoop", "an event loop"),
    ("_contextvars.ContextVar", "a context variable: make it again after the restore"),
    ("concurrent.futures._base.Executor", "an executor: its workers belong to this process"),
)
_REASONS = dict(_KINDS)
_CLASS_OF_CTYPES = "a class of ctypes: define it again after the restore"


class Unpicklable(pickle.PicklingError):
    """``obj`` is of a kind that no checkpoint holds, whatever its own reduction says."""

    def __init__(self, obj: Any) -> None:
        super().__init__(refusal(obj) or "it cannot be saved")


def type_name(obj: Any) -> str:
    """The type of ``obj`` as ``module.qualname``, without ``builtins``."""
    return _name_of(type(obj))


def _name_of(kind: type) -> str:
    """Asked past the metaclass, which may be the user's."""
    name = type.__getattribute__(kind, "__qualname__")
    module = type.__getattribute__(kind, "__module__")
    return _clean(name if module == "builtins" or not isinstance(module, str) else f"{module}.{name}")


def is_users(kind: type) -> bool:
    """Whether a cell has made this type; asked past the metaclass."""
    return bool(type.__getattribute__(kind, "__module__") == "__main__")


def refusal(obj: Any) -> str | None:
    """Why ``obj`` itself, by its type, is never saved; None if it may be tried."""
    kinds = [_name_of(base) for base in type.__getattribute__(type(obj), "__mro__")[:-1]]
    if "_io.StringIO" in kinds or "_io.BytesIO" in kinds:
        return None
    if "type" in kinds and kinds[0].startswith("_ctypes.") and not _is_global(obj):
        return _CLASS_OF_CTYPES
    return next((_REASONS[kind] for kind in kinds if kind in _REASONS), None)


def _is_global(cls: type) -> bool:
    """Whether a module has it under its own name; made by a cell, it would have to be made again."""
    module = sys.modules.get(type.__getattribute__(cls, "__module__"))
    return not is_users(cls) and getattr(module, cls.__name__, None) is cls


def reason_for(error: BaseException, value: Any, offender: Any) -> str:
    """Why the variable with ``value`` was left out: what ``error`` says, and where in it."""
    reason = refusal(offender) or describe(error)
    if offender is value or offender is None:
        return reason
    path = find_path(value, offender)
    return f"its {path}: {reason}" if path else reason


def find_path(value: Any, target: Any) -> str:
    """How to get from ``value`` to ``target``, as in ``['key'].attribute[0]``; empty if it is not near."""
    try:
        return _search(value, target)
    except RuntimeError:  # something that was searched has changed meanwhile
        return ""


def _search(value: Any, target: Any) -> str:
    queue: deque[tuple[Any, str, int]] = deque([(value, "", 0)])
    seen = {id(value)}
    while queue and len(seen) < MAX_PATH_OBJECTS:
        holder, path, steps = queue.popleft()
        for step, item in _steps(holder):
            if item is target:
                return _clip(path + step)
            if id(item) not in seen and steps < MAX_PATH_STEPS:
                seen.add(id(item))
                queue.append((item, path + step, steps + 1))
    return ""


def _steps(holder: Any) -> Iterator[tuple[str, Any]]:
    """What ``holder`` holds, without running any of its code."""
    kind = type(holder)  # its objects may have a ``__class__`` of their own
    if issubclass(kind, dict):
        yield from _items(dict.items(holder))
    elif issubclass(kind, list | tuple):
        plain: type[Any] = list if issubclass(kind, list) else tuple
        yield from _items(enumerate(plain.__iter__(holder)))
    elif kind is FunctionType:
        names = holder.__code__.co_freevars
        for name, cell in zip(names, holder.__closure__ or (), strict=False):
            yield from ((f".<closure>.{name}", item) for item in _content(cell))
    elif not issubclass(kind, type):
        yield from ((f".{_clean(name)}", item) for name, item in _attributes(holder).items())


def _items(items: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    for key, item in items:
        plain = type(key) in (str, int, float, bool, bytes)
        yield f"[{_clean(repr(key)) if plain else type_name(key)}]", item


def _content(cell: CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def _attributes(holder: Any) -> dict[Any, Any]:
    try:
        attributes = object.__getattribute__(holder, "__dict__")
    except (AttributeError, TypeError):
        return {}
    return attributes if type(attributes) is dict else {}


def describe(error: BaseException) -> str:
    """The exception in one line; its ``__str__`` may be the user's and fail."""
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        return "it is nested too deeply"
    try:
        text = call_user_code(str, error)
    except BaseException as failure:  # the user's __str__ raises what it likes
        if is_cancel(failure):
            raise
        text = ""
    name = type_name(error)
    return _clip(_clean(f"{name}: {text}" if text else name))


def _clip(text: str) -> str:
    return text if len(text) <= MAX_REASON_CHARS else text[:MAX_REASON_CHARS] + "…"


def _clean(text: str) -> str:
    """The text without lone surrogates, which no message can carry."""
    return text.encode("utf-8", "backslashreplace").decode()
