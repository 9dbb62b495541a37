"""What a call does: blocks, makes an object, or runs code whose steps are walked in turn."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from .attributes import Attributes
from .lookup import MISSING, class_names, dict_of_class, is_class, module_value, mro_of, own_dict
from .memory import Reads
from .read_bytecode import is_coroutine_function
from .rules import PackageRules, Rules
from .scopes import ScopeCache, is_standard
from .tables import HANDING_PACKAGES, RESULTS
from .values import Class, Dotted, Function, Instance, Items, Lazy, Live, Method, Reference

__all__ = ["Blocks", "Calls"]

# By id, since a metaclass of the user may define what `==` and `hash` do.
_PASSED_ON = frozenset(map(id, (map, filter, zip, enumerate, reversed, iter)))
"""Builtins that iterate over their arguments only when somebody iterates over them."""
_CONTAINERS = frozenset(map(id, (list, tuple, set, frozenset)))
_CALLS_KEY = frozenset(map(id, (sorted, min, max)))
_SPECIAL = _PASSED_ON | _CALLS_KEY | frozenset(map(id, (next, functools.reduce)))
_WITHOUT_CODE = frozenset(map(id, (types.MethodDescriptorType, types.WrapperDescriptorType)))
_MAX_WRAPPERS = 4

Run = Callable[[Any, tuple[Any, ...], bool], Any]
"""Walks the body of a function with arguments, that of a generator only if told to."""


class Blocks(Exception):
    """A blocking call was found; ``call`` is its public name."""

    def __init__(self, call: str) -> None:
        super().__init__(call)
        self.call = call


class Calls:
    """Judges calls for one walk. ``run`` walks a function of the user."""

    def __init__(
        self,
        rules: Rules,
        attributes: Attributes,
        scopes: ScopeCache,
        run: Run,
        reads: Reads,
    ) -> None:
        self._reads = reads
        self._scopes = scopes
        self._rules = rules
        self._attributes = attributes
        self._run = run

    def __repr__(self) -> str:
        return f"<Calls by {self._rules!r}>"

    def call(self, callee: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """The result of a call, None if unknown. Raises :class:`Blocks`."""
        kind = type(callee)
        if kind is Live:
            return self._live(callee.value, arguments, keywords)
        if kind is Function:
            return self._run(callee, arguments, False)
        if kind is Method:
            return self._method(callee, arguments)
        if kind is Reference:
            return self._reference(callee)
        if kind is Dotted:
            return self._dotted(callee.path)
        if kind is Class:
            return self._make(callee, arguments)
        if kind is Instance:
            return self.call_member(callee, "__call__", arguments)
        self.consume(arguments)
        return None

    def call_member(self, value: Any, name: str, arguments: tuple[Any, ...] = ()) -> Any:
        """``value.name(...)`` for a method that Python itself calls, if there is one that matters."""
        member = self._attributes.of(value, name)
        if type(member) in (Reference, Method):
            return self.call(member, arguments, {})
        return None

    def consume(self, arguments: tuple[Any, ...]) -> None:
        """Something iterates over the arguments: what they put off happens."""
        for argument in arguments:
            if type(argument) is Lazy:
                self.iterate(argument)

    def iterate(self, value: Any) -> Any:
        """An item of ``value``, after all that iterating over it does."""
        kind = type(value)
        if kind is Items:
            return value.item
        if kind is Lazy:
            if value.is_generator:
                return self._run(value.callee, value.arguments, True)
            self.consume(value.arguments)
            return self.call(value.callee, value.arguments, {}) if value.callee is not None else None
        if kind is Live and (type(value.value) is list or type(value.value) is tuple):
            return Live(value.value[0]) if value.value else None
        if value is not None:
            self.call_member(value, "__iter__")
            self.call_member(value, "__next__")
        return None

    def enter(self, value: Any) -> Any:
        """What ``with value as …`` binds."""
        if type(value) is Lazy:
            return self.iterate(value)
        if value is None:
            return None
        entered = self.call_member(value, "__enter__")
        self.call_member(value, "__exit__")
        known = type(entered) is Instance and (entered.cls is not None or entered.class_name)
        return entered if known else value

    # One method for each kind of callee

    def _reference(self, callee: Reference) -> Any:
        if callee.blocking is not None:
            raise Blocks(callee.blocking)
        return _handed_out(callee.rules, callee.name)

    def _dotted(self, path: str) -> Any:
        blocking = self._rules.dotted_call(path)
        if blocking is not None:
            raise Blocks(blocking)
        rules, class_name, name = self._rules.dotted(path)
        if rules is None:
            return None
        if not class_name and (name in rules.classes or name[:1].isupper()):
            return Instance(rules, name)
        return _handed_out(rules, name)

    def _method(self, callee: Method, arguments: tuple[Any, ...]) -> Any:
        if type(callee.owner) is Items:
            return _call_container(callee, arguments)
        if type(callee.function) is Live:
            return self._live(callee.function.value, (callee.owner, *arguments), {})
        return self.call(callee.function, (callee.owner, *arguments), {})

    def _make(self, cls: Class, arguments: tuple[Any, ...]) -> Any:
        for base in cls.bases:
            if type(base) in (Live, Dotted):
                self.call(base, (), {})
        made = Instance(None, cls.name, cls)
        initialise = cls.attributes.get("__init__")
        if initialise is not None:
            self.call(initialise, (made, *arguments), {})
        return made

    def _live(self, value: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if self._scopes.is_harmless(value):
            if arguments:
                self.consume(arguments)
            return None
        kind = type(value)
        if kind is types.FunctionType:
            return self._function(value, arguments)
        if kind is types.BuiltinFunctionType:
            return self._builtin(value, arguments, keywords)
        if kind is types.MethodType:
            return self._bound(value, arguments)
        if is_class(value):
            return self._class(value, arguments)
        if kind is functools.partial:
            return self._live(value.func, tuple([Live(item) for item in value.args]) + arguments, keywords)
        if id(kind) in _WITHOUT_CODE:
            return self._named_method(value.__objclass__, value.__name__)
        wrapped = self._wrapped_by(value)
        if type(wrapped) is types.FunctionType:
            return self._function(wrapped, arguments)
        self.consume(arguments)
        return self.call_member(Live(value), "__call__", arguments)

    def _function(self, function: types.FunctionType, arguments: tuple[Any, ...]) -> Any:
        result = None
        wrapped: Any = function
        for _ in range(_MAX_WRAPPERS):
            if type(wrapped) is not types.FunctionType:
                break
            self._reads.function(wrapped)
            if is_coroutine_function(wrapped):
                break
            module: Any = wrapped.__globals__.get("__name__")
            rules = self._rules.of_module(module)
            if rules is not None:
                return self._library_function(rules, module, wrapped.__code__)
            if not wrapped.__dict__ and self._scopes.of(wrapped.__code__, wrapped.__globals__) is None:
                self._scopes.add_harmless(wrapped)
            result = self._run(wrapped, arguments, False) or result
            wrapped = wrapped.__dict__.get("__wrapped__")
        self.consume(arguments)
        return result

    def _library_function(self, rules: PackageRules, module: str, code: types.CodeType) -> Any:
        class_name, _, name = code.co_qualname.rpartition(".")
        if class_name and "<" not in class_name:
            blocking = rules.method(module, class_name, name)
        else:
            blocking = rules.function(module, name)
        if blocking is not None:
            raise Blocks(blocking)
        return _handed_out(rules, name)

    def _builtin(
        self, value: types.BuiltinFunctionType, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Any:
        owner: Any = value.__self__
        if owner is None or type(owner) is types.ModuleType:
            module: Any = value.__module__
            if module is None and owner is not None:
                self._reads.name_of_module(owner)
                module = module_value(owner, "__name__")
            rules = self._rules.of_module(module)
            if rules is not None:
                blocking = rules.function(module, value.__name__)
                if blocking is not None:
                    raise Blocks(blocking)
            return self._harmless_builtin(value, rules, arguments, keywords)
        self.consume(arguments)
        self._reads.owner(value)
        return self._named_method(owner if is_class(owner) else type(owner), value.__name__)

    def _harmless_builtin(
        self, value: Any, rules: PackageRules | None, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Any:
        if id(value) in _PASSED_ON:
            return Lazy(None, arguments)
        self.consume(arguments)
        if id(value) in _CALLS_KEY and keywords.get("key") is not None:
            self.call(keywords["key"], (), {})
        if value is functools.reduce and arguments and arguments[0] is not None:
            self.call(arguments[0], (), {})
        if value is next and arguments:
            self.call_member(arguments[0], "__next__")
        result = None if rules is None else _handed_out(rules, value.__name__)
        if result is None and id(value) not in _SPECIAL:
            self._scopes.add_harmless(value)
        return result

    def _named_method(self, cls: type, name: str) -> Any:
        member = self._attributes.member(cls, name, None)
        return self._reference(member) if type(member) is Reference else None

    def _bound(self, method: types.MethodType, arguments: tuple[Any, ...]) -> Any:
        owner, function = method.__self__, method.__func__
        self._reads.owner(method)
        if type(function) is not types.FunctionType:
            return self._live(function, (Live(owner), *arguments), {})
        self._reads.function(function)
        member = self._attributes.of(Live(owner), function.__code__.co_name)
        if type(member) is Reference:
            return self._reference(member)
        return self._function(function, (Live(owner), *arguments))

    def _class(self, cls: type, arguments: tuple[Any, ...]) -> Any:
        if id(cls) in _PASSED_ON:
            return _put_off(cls, arguments)
        if cls is functools.partial:
            return arguments[0] if arguments else None
        known: PackageRules | None = None
        self._reads.bases(cls)
        for base in mro_of(cls):
            module, name = class_names(base)
            rules = None if module == "builtins" else self._rules.of_module(module)
            if rules is None:
                continue
            known = known or rules
            blocking = rules.function(module, name)
            if blocking is not None:
                raise Blocks(blocking)
        self.consume(arguments)
        if id(cls) in _CONTAINERS:
            return Items(self.iterate(arguments[0]) if arguments else None)
        module, name = class_names(cls)
        if known is None and is_standard(module):
            self._scopes.add_harmless(cls)
        made = Instance(known, name, cls)
        initialise = self._initialiser(cls) if known is None else None
        if type(initialise) is types.FunctionType:
            self._function(initialise, (made, *arguments))
        return made

    def _initialiser(self, cls: type) -> Any:
        for base in mro_of(cls):
            found = dict_of_class(base).get("__init__", MISSING)
            self._reads.of_class(base, "__init__", found)
            if found is not MISSING:
                return found
        return None

    def _wrapped_by(self, value: Any) -> Any:
        names = own_dict(value)
        found = MISSING if names is None else names.get("__wrapped__", MISSING)
        if names is not None:
            self._reads.of_instance(value, "__wrapped__", found)
        return found


def _put_off(cls: Any, arguments: tuple[Any, ...]) -> Lazy:
    if (cls is map or cls is filter) and arguments:
        return Lazy(arguments[0], arguments[1:])
    return Lazy(None, arguments)


def _handed_out(rules: PackageRules, name: str) -> Instance | None:
    class_name = RESULTS.get((rules.package, name))
    if class_name is not None:
        return Instance(rules, class_name)
    return Instance(rules) if rules.package in HANDING_PACKAGES else None


def _call_container(callee: Method, arguments: tuple[Any, ...]) -> Any:
    container = callee.owner
    if callee.function == "items":
        return container
    if container.item is None and arguments:
        container.item = arguments[0]
    return None
