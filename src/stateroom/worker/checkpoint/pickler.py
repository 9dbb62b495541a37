"""The pickler of checkpoints: cloudpickle, with functions that stay bound to where they live."""

from __future__ import annotations

import functools
import marshal
import sys
import threading
from _thread import LockType
from _thread import RLock as RLockType
from collections.abc import Callable, Mapping
from pickle import PickleBuffer
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any, NewType

import cloudpickle
from cloudpickle.cloudpickle import _should_pickle_by_reference

from ...engine.sources import SourceCache
from . import rebuild
from .live import LiveObjects
from .reasons import Unpicklable, is_users, refusal
from .reductions import REDUCTIONS
from .sources import KeptSources
from .stream import Stream

__all__ = ["RUNS_USER_CODE", "NamespacePickler"]

_EMPTY = object()


class NamespacePickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles values of one namespace into one stream, with one memo, so that they share objects.

    What differs from cloudpickle:

    - the globals of a function are the namespace itself, or the dict of the module it is from;
    - functions that close over the same variable still share it;
    - a class is new when it is loaded, even where the old one still exists;
    - open files are refused, where cloudpickle saves their text, and so is what belongs to this process;
    - a lock that nobody holds becomes a new lock;
    - a ``memoryview`` stays one.
    """

    def __init__(
        self,
        sink: Stream,
        live: LiveObjects,
        sources: SourceCache | None = None,
        left_out: Mapping[int, frozenset[str]] = MappingProxyType({}),
    ) -> None:
        super().__init__(sink, protocol=5, buffer_callback=sink.take_buffer)
        self.memo = live.pickler_memo()
        self.modules: set[str] = set()
        """Top-level names of the modules that the pickles refer to."""
        self.sources = KeptSources(sources)
        self._left_out = left_out
        self.last: Any = None
        """What was reduced last: if pickling fails, the object that it failed at."""
        self._check_limits = sink.check_limits
        self._filled_by_function: set[int] = set()
        self._allowed: dict[int, type] = {}
        """Types that may be tried, by their ids: the metaclass may be the user's, and so may its hash."""

    def reducer_override(self, obj: Any) -> Any:
        """How to save ``obj``; called for all but instances of the plainest built-in types."""
        self.last = obj
        self._check_limits()
        kind = type(obj)
        reduce = _REDUCERS.get(kind)
        if reduce is not None:
            return reduce(self, obj)
        if kind in REDUCTIONS:
            return REDUCTIONS[kind](obj)
        if issubclass(kind, type):
            return self._reduce_class(obj)
        if id(kind) not in self._allowed:
            if not is_users(kind) and refusal(obj) is not None:
                raise Unpicklable(obj)
            self._allowed[id(kind)] = kind
        return NotImplemented

    def _reduce_function(self, function: FunctionType) -> Any:
        self._note_module(function.__module__)
        if _should_pickle_by_reference(function):
            return NotImplemented
        code, closure = function.__code__, function.__closure__
        self._filled_by_function.update(map(id, closure or ()))
        state = (_cells(function), _slots(function), dict(function.__dict__))
        arguments = (code, _home(function), closure)
        return rebuild.make_function, arguments, state, None, None, rebuild.set_function_state

    def _reduce_cell(self, cell: CellType) -> Any:
        """A cell that is filled after it is made.

        A function fills its own cells, when it is there: filled from here, a function that is in
        one of its own cells would be written twice.
        """
        value = _content(cell)
        if value is _EMPTY or id(cell) in self._filled_by_function:
            return rebuild.make_cell, ()
        return rebuild.make_cell, (), value, None, None, rebuild.set_cell

    def _reduce_code(self, code: CodeType) -> Any:
        return rebuild.load_code, (marshal.dumps(self.sources.rename(code)),)

    def _reduce_lock(self, lock: Any) -> Any:
        """All that there is to know of a lock, if nobody holds it, is that."""
        held_here = isinstance(lock, RLockType) and lock._is_owned()  # type: ignore[attr-defined]
        if held_here or not lock.acquire(blocking=False):
            raise Unpicklable(lock)
        lock.release()
        return (threading.RLock if isinstance(lock, RLockType) else threading.Lock), ()

    def _reduce_cached(self, function: Any) -> Any:
        """A function behind ``lru_cache``; by itself it would be saved as the name of a global."""
        self._note_module(function.__module__)
        if _is_importable(function):
            return NotImplemented
        parameters = function.cache_parameters()
        arguments = (function.__wrapped__, parameters["maxsize"], parameters["typed"])
        return rebuild.make_cached, arguments, dict(vars(function))

    def _reduce_cached_property(self, descriptor: Any) -> Any:
        """Without the lock that it has on 3.11."""
        state = {name: value for name, value in vars(descriptor).items() if name != "lock"}
        return rebuild.make_cached_property, (descriptor.func,), state

    def _reduce_new_type(self, new_type: Any) -> Any:
        """Like a class: it, too, would be saved as the name of a global."""
        self._note_module(new_type.__module__)
        if new_type.__module__ != "__main__":
            return NotImplemented
        return rebuild.make_new_type, (new_type.__qualname__, new_type.__supertype__)

    def _reduce_view(self, view: memoryview) -> Any:
        if not view.c_contiguous or not view.nbytes or not view.shape:
            return NotImplemented
        return rebuild.make_view, (PickleBuffer(view), view.format, view.shape)

    def _reduce_builtin(self, function: BuiltinFunctionType) -> Any:
        self._note_module(function.__module__)
        return NotImplemented

    def _reduce_module(self, module: ModuleType) -> Any:
        self._note_module(module.__name__)
        return NotImplemented

    def _reduce_class(self, cls: type) -> Any:
        self._note_module(cls.__module__)
        reduction = super().reducer_override(cls)
        if isinstance(reduction, tuple) and refusal(cls) is not None:
            raise Unpicklable(cls)
        if cls.__module__ != "__main__":
            return reduction
        self.sources.keep_class(cls)
        return _as_new(cls, reduction, self._left_out.get(id(cls), frozenset()))

    def _note_module(self, name: object) -> None:
        if isinstance(name, str):
            self.modules.add(name.partition(".")[0])


_REDUCERS: dict[type, Any] = {
    functools._lru_cache_wrapper: NamespacePickler._reduce_cached,
    functools.cached_property: NamespacePickler._reduce_cached_property,
    NewType: NamespacePickler._reduce_new_type,
    FunctionType: NamespacePickler._reduce_function,
    CellType: NamespacePickler._reduce_cell,
    CodeType: NamespacePickler._reduce_code,
    memoryview: NamespacePickler._reduce_view,
    LockType: NamespacePickler._reduce_lock,
    RLockType: NamespacePickler._reduce_lock,
    BuiltinFunctionType: NamespacePickler._reduce_builtin,
    ModuleType: NamespacePickler._reduce_module,
}


def _is_importable(function: Any) -> bool:
    """Whether ``function`` can be found again by its module and name."""
    if function.__module__ == "__main__":
        return False
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


def _home(function: FunctionType) -> dict[str, Any] | ModuleType:
    """The module whose dict the function's globals are, or else that dict itself."""
    module = sys.modules.get(function.__globals__.get("__name__", ""))
    if module is None or module.__name__ == "__main__":
        return function.__globals__
    return module if getattr(module, "__dict__", None) is function.__globals__ else function.__globals__


def _cells(function: FunctionType) -> dict[int, Any]:
    contents = enumerate(map(_content, function.__closure__ or ()))
    return {index: value for index, value in contents if value is not _EMPTY}


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _slots(function: FunctionType) -> dict[str, Any]:
    names = ("__name__", "__qualname__", "__defaults__", "__kwdefaults__", "__module__", "__doc__")
    slots = {name: getattr(function, name) for name in names}
    if hasattr(function, "__type_params__"):  # 3.12 and later
        slots["__type_params__"] = function.__type_params__
    try:
        slots["__annotations__"] = function.__annotations__
    except Exception:  # noqa: BLE001 - 3.14 evaluates them here, and they are any expression
        slots["__annotate__"] = function.__annotate__  # type: ignore[attr-defined]
    return slots


def _as_new(cls: type, reduction: Any, left_out: frozenset[str]) -> Any:
    """What cloudpickle makes of a class, without the mark by which it finds an existing class again.

    And with the qualified name, which cloudpickle leaves out; and without the members ``left_out``.
    """
    if not isinstance(reduction, tuple) or len(reduction) < 3:
        return reduction
    function, (*arguments, _mark, extra), (members, slots), *rest = reduction
    members = {name: member for name, member in members.items() if name not in left_out}
    state = ({**members, "__qualname__": cls.__qualname__, **_annotations(cls)}, slots)
    return function, (*arguments, None, extra), state, *rest


if sys.version_info >= (3, 14):

    def _annotations(cls: type) -> dict[str, dict[str, Any]]:
        """Evaluated on request since 3.14, by a function that cloudpickle leaves out.

        Where a name in them is not bound yet, all of them are kept as text, as with the future import.
        """
        try:
            found = cls.__annotations__
        except Exception:  # noqa: BLE001 - they are any expression
            found = _annotations_as_text(cls)
        return {"__annotations__": dict(found)} if found else {}

    def _annotations_as_text(cls: type) -> dict[str, str]:
        import annotationlib

        try:
            return annotationlib.get_annotations(cls, format=annotationlib.Format.STRING)
        except Exception:  # noqa: BLE001 - code in them may run even so
            return {}

else:

    def _annotations(_cls: type) -> dict[str, dict[str, Any]]:
        """Among the members of the class already."""
        return {}


RUNS_USER_CODE: tuple[Callable[..., object], ...] = (
    NamespacePickler.reducer_override,
    NamespacePickler._reduce_class,
    *(reduce for reduce in _REDUCERS.values() if reduce is not NamespacePickler._reduce_lock),
    *REDUCTIONS.values(),
    _slots,
    _as_new,
    _annotations,
)
"""Code of the user's objects that these call (of a metaclass, say) may be ended, and they themselves:
a pickler that failed is not used again. What tries a lock must not leave it taken."""
