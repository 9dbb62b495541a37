"""Walks the steps of a cell against the live namespace and stops at the first blocking call.

Nothing of the user's is run: attributes are read as in :mod:`.lookup`, functions are entered by
walking the steps of their code. Loops are walked once, branches one after the other.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Mapping
from itertools import zip_longest
from types import CodeType, FunctionType
from typing import Any

from ...config import EngineConfig
from ..telemetry import Telemetry
from . import steps as op
from .attributes import Attributes
from .calls import Blocks, Calls
from .lookup import MISSING, class_names, mro_of
from .memory import Reads
from .rules import Rules
from .scopes import ScopeCache
from .steps import Scope, Step
from .values import Class, Dotted, Frame, Function, Instance, Items, Lazy, Live, Reference

__all__ = ["Judge"]

MAX_DEPTH = 12
"""Calls of user functions within each other that are followed."""
MAX_STEPS = 4_000
"""Steps walked for one verdict; a cell that needs more is taken as not blocking."""

# Types by id, since a metaclass of the user may define what `==` and `hash` do.
_PLAIN = frozenset(map(id, (int, float, complex, bool, str, bytes, bytearray, type(None), range, slice)))
_PATHS = (("pathlib", "Path"), ("pathlib._local", "Path"))
_CONTAINERS = frozenset(map(id, (dict, list, tuple)))
_NO_KEYWORDS: dict[str, Any] = {}
_builtins = builtins.__dict__


class Judge:
    """One walk. ``line`` is the cell's line that is being walked, ``path`` the functions entered."""

    def __init__(
        self,
        rules: Rules,
        config: EngineConfig,
        telemetry: Telemetry,
        scopes: ScopeCache,
        namespace: Mapping[str, object],
        *,
        reads: Reads,
    ) -> None:
        self.line = 0
        self.path: list[str] = []
        self._rules = rules
        self._config = config
        self._telemetry = telemetry
        self._scopes = scopes
        self._cell = Frame({}, None, namespace)
        self._reads = reads
        self._attributes = Attributes(rules, telemetry, scopes, reads)
        self._calls = Calls(rules, self._attributes, scopes, self._run, reads)
        self._steps_left = MAX_STEPS
        self._walked: set[int] = set()
        self._kept: list[Any] = []

    def __repr__(self) -> str:
        return f"<Judge at line {self.line} in {self.path}>"

    def walk_cell(self, scope: Scope) -> None:
        """Walk a whole cell. Raises :class:`Blocks` at the first call that blocks."""
        self._walk(scope.steps, [None] * scope.size, self._cell)

    def _walk(self, steps: tuple[Step, ...], registers: list[Any], frame: Frame) -> None:
        self._steps_left -= len(steps)
        if self._steps_left < 0:
            return
        in_cell = not self.path
        for kind, target, first, second, line in steps:
            if in_cell and line:
                self.line = line
            if kind == op.NAME:
                registers[target] = self._name(first, frame)
            elif kind == op.ATTRIBUTE:
                value = registers[first]
                if value is not None:
                    registers[target] = self._attributes.of(value, second)
            elif kind == op.CALL:
                registers[target] = self._call(registers, first, second, frame)
            elif kind == op.BIND:
                frame.names[first] = registers[second]
            else:
                _OTHER[kind](self, registers, (kind, target, first, second, line), frame)

    # Names

    def _name(self, name: str, frame: Frame) -> Any:
        if name in frame.names:
            return frame.names[name]
        scope = frame.parent
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        value = self._global(frame.globals, name)
        if value is MISSING:
            return self._name_elsewhere(name, frame)
        return None if id(type(value)) in _PLAIN else Live(value)

    def _name_elsewhere(self, name: str, frame: Frame) -> Any:
        for module in reversed(self._cell.stars):
            found = self._attributes.of(module, name) if not name.startswith("_") else None
            if type(found) is Live or (type(found) is Dotted and self._rules.dotted_call(found.path)):
                return found
        value = self._global(_builtins, name)
        return None if value is MISSING else Live(value)

    def _global(self, names: Any, name: str) -> Any:
        value = names.get(name, MISSING)
        self._reads.name(names, name, value)
        return value

    def _is_bound(self, name: str) -> bool:
        return name in self._cell.names or self._global(self._cell.globals, name) is not MISSING

    # Calls

    def _call(self, registers: list[Any], callee: int, details: Any, frame: Frame) -> Any:
        arguments, keywords, text = details
        value = registers[callee]
        if text is None and not keywords and (value is None or self._is_harmless(value)):
            self._consume(arguments, registers, frame)
            return None
        known = tuple([registers[a] if type(a) is int else self._name(a, frame) for a in arguments])
        named = {name: registers[register] for name, register in keywords} if keywords else _NO_KEYWORDS
        result = self._calls.call(value, known, named)
        if text is not None and frame is self._cell:
            self._judge_text(text)
        return result

    def _consume(self, arguments: tuple[int | str, ...], registers: list[Any], frame: Frame) -> None:
        """What a harmless callee does with its arguments: at most iterate over them."""
        for argument in arguments:
            value = frame.names.get(argument) if isinstance(argument, str) else registers[argument]
            if type(value) is Lazy:
                self._calls.iterate(value)

    def _is_harmless(self, value: Any) -> bool:
        return type(value) is Live and self._scopes.is_harmless(value.value)

    def _judge_text(self, text: str) -> None:
        """A call that reads like a blocking one did not turn out to be one."""
        blocking = self._rules.dotted_call(text)
        if blocking is None:
            return
        if not self._is_bound(text.partition(".")[0]):
            if not self._config.require_import_for_module_calls:
                raise Blocks(blocking)
        elif not self._config.enable_overshadow_guard:
            raise Blocks(blocking)
        else:
            self._telemetry.overshadow_guard_skips += 1

    def _run(self, function: Any, arguments: tuple[Any, ...], iterating: bool) -> Any:
        """Walk the body of a function of the user; None for one of a library."""
        if type(function) is Live:
            function = function.value
        if type(function) is FunctionType:
            self._reads.function(function)
            scope = self._scopes.of(function.__code__, function.__globals__)
        else:
            body = function.body
            scope = self._scopes.of(body, function.frame.globals) if type(body) is CodeType else body
        if scope is None or scope.is_coroutine or len(self.path) >= MAX_DEPTH:
            return None
        if scope.is_generator and not iterating:
            holder = Live(function) if type(function) is FunctionType else function
            return Lazy(holder, arguments, is_generator=True)
        return self._walk_function(function, scope, arguments)

    def _walk_function(self, function: Any, scope: Scope, arguments: tuple[Any, ...]) -> Any:
        known = arguments.count(None) < len(arguments)
        key = id(scope) if known else id(function)
        if key in self._walked or (scope.needs_arguments and not known and not _has_defaults(function)):
            return None
        self._walked.add(key)
        self._kept.append(function)
        if type(function) is FunctionType:
            frame = self._frame_of(function)
        else:
            frame = Frame({}, function.frame, function.frame.globals)
        names = frame.names
        for name, argument in zip_longest(scope.parameters, arguments[: len(scope.parameters)]):
            names[name] = names.get(name) if argument is None else argument
        self.path.append(scope.name)
        self._walk(scope.steps, [None] * scope.size, frame)
        self.path.pop()
        if known:
            self._walked.discard(key)
        return frame.result

    def _frame_of(self, function: FunctionType) -> Frame:
        """The names that a live function sees, before those it binds itself."""
        names: dict[str, Any] = {}
        if function.__closure__:
            for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
                try:
                    names[name] = Live(cell.cell_contents)
                except ValueError:
                    names[name] = None
        if function.__kwdefaults__:
            for name, value in function.__kwdefaults__.items():
                names[name] = Live(value)
        if function.__defaults__:
            positional = function.__code__.co_varnames[: function.__code__.co_argcount]
            for name, value in zip(reversed(positional), reversed(function.__defaults__), strict=False):
                names[name] = Live(value)
        of_cell = function.__globals__ is self._cell.globals
        return Frame(names, self._cell if of_cell else None, function.__globals__)

    # The other steps

    def _awaited_call(self, registers: list[Any], step: Step, frame: Frame) -> None:
        """What is awaited is no blocking call, whatever it is called."""

    def _bind_global(self, registers: list[Any], step: Step, frame: Frame) -> None:
        if frame.globals is self._cell.globals:
            self._cell.names[step[2]] = registers[step[3]]

    def _set_attribute(self, registers: list[Any], step: Step, frame: Frame) -> None:
        self._attributes.set(registers[step[1]], step[2], registers[step[3]])

    def _import(self, registers: list[Any], step: Step, frame: Frame) -> None:
        _, target, path, whole, _ = step
        if frame is self._cell and self._rules.of_module(path) is not None:
            self._telemetry.detected_blocking_import += 1
        wanted = path if whole else path.partition(".")[0]
        module = self._global(sys.modules, wanted)
        registers[target] = Dotted(wanted) if module is MISSING or module is None else Live(module)

    def _import_star(self, registers: list[Any], step: Step, frame: Frame) -> None:
        if registers[step[2]] is not None:
            self._cell.stars.append(registers[step[2]])

    def _function(self, registers: list[Any], step: Step, frame: Frame) -> None:
        registers[step[1]] = Function(step[2], frame)

    def _class(self, registers: list[Any], step: Step, frame: Frame) -> None:
        _, target, scope, bases, _ = step
        inner = Frame({}, frame, frame.globals)
        self._walk(scope.steps, [None] * scope.size, inner)
        known = tuple([registers[base] for base in bases])
        registers[target] = Class(scope.name, inner.names, tuple([base for base in known if base]))

    def _iterate(self, registers: list[Any], step: Step, frame: Frame) -> None:
        registers[step[1]] = self._calls.iterate(registers[step[2]])

    def _enter(self, registers: list[Any], step: Step, frame: Frame) -> None:
        registers[step[1]] = self._calls.enter(registers[step[2]])

    def _divide(self, registers: list[Any], step: Step, frame: Frame) -> None:
        """``path / name``: the one operator that hands out blocking objects."""
        for register in (step[2], step[3]):
            value = registers[register]
            if type(value) is Live:
                self._reads.bases(type(value.value))
            if _is_path(value):
                registers[step[1]] = Instance(self._rules.of_module("pathlib"), "Path")

    def _item(self, registers: list[Any], step: Step, frame: Frame) -> None:
        container = registers[step[2]]
        if type(container) is Live and id(type(container.value)) not in _CONTAINERS:
            registers[step[1]] = self._attributes.item_of(container)
        else:
            if type(container) is Live:
                self._reads.give_up()
            registers[step[1]] = _item_of(container, step[3])

    def _either(self, registers: list[Any], step: Step, frame: Frame) -> None:
        registers[step[1]] = next((v for r in step[2] if (v := registers[r]) is not None), None)

    def _items(self, registers: list[Any], step: Step, frame: Frame) -> None:
        known = next((v for r in step[2] if (v := registers[r]) is not None), None)
        registers[step[1]] = Items(known)

    def _add_item(self, registers: list[Any], step: Step, frame: Frame) -> None:
        container = registers[step[1]]
        if type(container) is Items and container.item is None:
            container.item = registers[step[2]]

    def _branch(self, registers: list[Any], step: Step, frame: Frame) -> None:
        before = frame.names.copy()
        self._walk(step[2], registers, frame)
        for name, value in before.items():
            if frame.names.get(name) is None:
                frame.names[name] = value

    def _enclosed(self, registers: list[Any], step: Step, frame: Frame) -> None:
        before = frame.names.copy()
        self._walk(step[2], registers, frame)
        frame.names = before

    def _return(self, registers: list[Any], step: Step, frame: Frame) -> None:
        if frame.result is None:
            frame.result = registers[step[2]]

    def _yield_from(self, registers: list[Any], step: Step, frame: Frame) -> None:
        self._calls.iterate(registers[step[2]])

    def _super(self, registers: list[Any], step: Step, frame: Frame) -> None:
        registers[step[1]] = self._attributes.of_super(registers[step[2]], step[3])


def _has_defaults(function: Any) -> bool:
    return type(function) is FunctionType and bool(function.__defaults__ or function.__kwdefaults__)


def _is_path(value: Any) -> bool:
    rules = getattr(value, "rules", None) if type(value) in (Instance, Reference) else None
    if rules is not None:
        return bool(rules.package == "pathlib")
    if type(value) is not Live:
        return False
    return any(class_names(base) in _PATHS for base in mro_of(type(value.value)))


def _item_of(container: Any, key: Any) -> Any:
    """What a container holds: under the key if it is known, else any item of it."""
    if type(container) is Items:
        return container.item
    if type(container) in (Instance, Reference):
        return container
    value = container.value if type(container) is Live else None
    kind = type(value)
    if kind is dict and value:
        found = value.get(key, MISSING) if key is not None else next(iter(value.values()))
    elif (kind is list or kind is tuple) and value:
        index = key if type(key) is int else 0
        found = value[index] if -len(value) <= index < len(value) else MISSING
    else:
        return None
    return None if found is MISSING or id(type(found)) in _PLAIN else Live(found)


_OTHER: dict[int, Callable[[Judge, list[Any], Step, Frame], None]] = {
    op.AWAITED_CALL: Judge._awaited_call,
    op.BIND_GLOBAL: Judge._bind_global,
    op.SET_ATTRIBUTE: Judge._set_attribute,
    op.IMPORT: Judge._import,
    op.IMPORT_STAR: Judge._import_star,
    op.FUNCTION: Judge._function,
    op.CLASS: Judge._class,
    op.ITERATE: Judge._iterate,
    op.ENTER: Judge._enter,
    op.DIVIDE: Judge._divide,
    op.ITEM: Judge._item,
    op.EITHER: Judge._either,
    op.BRANCH: Judge._branch,
    op.ENCLOSED: Judge._enclosed,
    op.RETURN: Judge._return,
    op.YIELD_FROM: Judge._yield_from,
    op.SUPER: Judge._super,
    op.ITEMS: Judge._items,
    op.ADD_ITEM: Judge._add_item,
}
