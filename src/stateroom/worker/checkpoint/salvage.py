"""Loads what can be loaded of a checkpoint of which something cannot.

A pickle that fails takes all that come behind it along, since they share its memo. So here the
failing *step* is what is given up: its result becomes a :class:`Broken`, loading goes on, and in the
end the variables are broken in which a Broken is found. It takes the unpickler that is written in
Python, and happens only when a package is missing, say.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from .cancelling import is_cancel
from .live import LiveObjects
from .pickler import NamespacePickler
from .reader import ViewReader
from .reasons import describe
from .stream import Limits, Stream

__all__ = ["INTERRUPTIBLE_STEPS", "Broken", "SalvageUnpickler"]

_MAKING = {pickle.REDUCE: 2, pickle.NEWOBJ: 2, pickle.NEWOBJ_EX: 3}
"""Steps that replace so many items of the stack with one new object."""
_FILLING = (
    pickle.BUILD,
    pickle.APPEND,
    pickle.APPENDS,
    pickle.SETITEM,
    pickle.SETITEMS,
    pickle.ADDITEMS,
)
"""Steps that fill the object on top of the stack."""
_SETTERS = ("set_function_state", "set_cell", "_class_setstate", "_function_setstate")
"""Functions that a pickle calls to fill their first argument."""

CODE_LOADER = ("stateroom.worker.checkpoint.rebuild", "load_code")


class Broken:
    """Stands for an object that could not be made."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"<Broken {self.reason}>"


class SalvageUnpickler(pickle._Unpickler):
    """Loads pickles; what fails in them becomes Broken. ``no_code`` says why code is not loaded."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def __init__(
        self,
        stream: memoryview,
        buffers: Iterator[memoryview],
        live: LiveObjects,
        no_code: str | None = None,
    ) -> None:
        super().__init__(ViewReader(stream), buffers=buffers)
        self.half_filled: dict[int, tuple[Any, str]] = {}
        """By id: objects that were made but not filled, and why."""
        self._live = live
        self._no_code = no_code

    def persistent_load(self, key: str) -> Any:
        """The live object of that name."""
        if key in self._live.by_key:
            return self._live.by_key[key]
        return Broken(f"it refers to {key!r}, which this worker does not have")

    def find_class(self, module: str, name: str) -> Any:
        """The global, or Broken if it cannot be imported."""
        if self._no_code is not None and (module, name) == CODE_LOADER:
            return Broken(self._no_code)
        return guarded(super().find_class, module, name)

    def broken_in(self, value: Any) -> str | None:
        """Why ``value`` is not whole, or None if it is."""
        try:
            _BrokenFinder(self.half_filled, self._live).dump(value)
        except _Found as found:
            return str(found)
        except BaseException as error:
            if is_cancel(error):
                raise
        return None  # nothing broken, as far as one can look

    def make(self, step: Callable[[SalvageUnpickler], None], arity: int) -> None:
        """Run a step that makes an object."""
        depth = len(self.stack) - arity
        operands = self.stack[depth:]
        result = _first_broken(operands[:1]) or guarded(step, self)
        if type(result) is not Broken:
            return
        result = _first_broken(operands) or result
        del self.stack[depth:]
        self.stack.append(result)
        if isinstance(operands[1], tuple) and getattr(operands[0], "__name__", None) in _SETTERS:
            self._note(operands[1][0], result)

    def fill(self, step: Callable[[SalvageUnpickler], None]) -> None:
        """Run a step that fills an object."""
        result = guarded(step, self)
        if type(result) is Broken:
            self._note(self.stack[-1], result)

    def _note(self, target: Any, broken: Broken) -> None:
        if type(target) is not Broken:
            self.half_filled[id(target)] = (target, broken.reason)


def guarded(step: Callable[..., Any], *arguments: Any) -> Any:
    """What ``step`` returns, or Broken; runs code of the user's objects."""
    try:
        return step(*arguments)
    except BaseException as error:
        if is_cancel(error):
            raise
        return Broken(describe(error))


INTERRUPTIBLE_STEPS = (guarded,)


def _first_broken(items: Iterable[Any]) -> Broken | None:
    """The first Broken among ``items`` and in the tuples among them (arguments; bases of a class)."""
    for item in items:
        broken = _first_broken(item) if type(item) is tuple else item
        if type(broken) is Broken:
            return broken
    return None


def _making(step: Callable[[Any], None], arity: int) -> Callable[[Any], None]:
    return lambda unpickler: unpickler.make(step, arity)


def _filling(step: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda unpickler: unpickler.fill(step)


_DISPATCH = SalvageUnpickler.dispatch
_DISPATCH.update({op[0]: _making(_DISPATCH[op[0]], arity) for op, arity in _MAKING.items()})
_DISPATCH.update({op[0]: _filling(_DISPATCH[op[0]]) for op in _FILLING})


class _Found(Exception):
    pass


class _BrokenFinder(NamespacePickler):
    """Walks through a value as if to save it, and stops at anything broken."""

    def __init__(self, half_filled: dict[int, tuple[Any, str]], live: LiveObjects) -> None:
        super().__init__(Stream(Limits(), keep=False), live)
        self._half_filled = half_filled

    def persistent_id(self, obj: Any) -> None:
        if type(obj) is Broken:
            raise _Found(obj.reason)
        if id(obj) in self._half_filled:
            raise _Found(self._half_filled[id(obj)][1])
