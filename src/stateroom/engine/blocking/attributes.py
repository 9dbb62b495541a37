"""What an attribute of a value is, read without running user code."""

from __future__ import annotations

import sys
import types
from typing import Any

from ..telemetry import Telemetry
from .lookup import MISSING, class_names, dict_of_class, is_class, is_module, module_value, mro_of, own_dict
from .memory import Reads
from .read_bytecode import is_coroutine_function
from .rules import PackageRules, Rules
from .scopes import ScopeCache
from .tables import FOLLOWED_PACKAGES
from .values import Class, Dotted, Instance, Items, Live, Method, Reference

__all__ = ["Attributes"]

# Types by id, since a metaclass of the user may define what `==` and `hash` do.
_COMPUTED = frozenset(map(id, (property, types.GetSetDescriptorType)))
_DATA = frozenset(map(id, (list, dict, set, frozenset, tuple, str, bytes, int, float)))
_ADDING = frozenset({"append", "add", "appendleft"})


class Attributes:
    """Follows attributes for one walk. ``replaced`` are those that the cell itself sets."""

    def __init__(self, rules: Rules, telemetry: Telemetry, scopes: ScopeCache, reads: Reads) -> None:
        self._reads = reads
        self._scopes = scopes
        self._rules = rules
        self._telemetry = telemetry
        self._replaced: dict[tuple[int, str], Any] = {}

    def __repr__(self) -> str:
        return f"<Attributes: {len(self._replaced)} replaced>"

    def of(self, value: Any, name: str) -> Any:
        """The value of ``value.name``; None if it cannot be known."""
        kind = type(value)
        if kind is Live:
            return self._of_live(value, name)
        if kind is Dotted:
            return Dotted(f"{value.path}.{name}")
        if kind is Instance:
            return self._of_instance(value, name)
        if kind is Class:
            return self._of_class(value, name)
        if kind is Reference:
            return self._of_reference(value, name)
        if kind is Items:
            return Method(name, value) if name in _ADDING else Method("items", value)
        return None

    def set(self, value: Any, name: str, assigned: Any) -> None:
        """``value.name = assigned``, for the rest of this walk."""
        if type(value) is Instance or type(value) is Class:
            value.attributes[name] = assigned
        elif type(value) is Live:
            self._reads.identity(value.value)
            self._replaced[id(value.value), name] = assigned

    def of_super(self, value: Any, name: str) -> Any:
        """``super().name`` where ``value`` is the object that the method was called on."""
        if type(value) is Instance and type(value.cls) is Class:
            return self._of_bases(value.cls, name, value)
        if type(value) is Instance and value.cls is not None:
            return self.member(value.cls, name, value, after_first=True)
        if type(value) is Live and not is_class(value.value):
            return self.member(type(value.value), name, value, after_first=True)
        return None

    def item_of(self, value: Live) -> Any:
        """What ``value[…]`` hands out, for an object of a package that is followed."""
        if self._scopes.is_harmless(type(value.value)):
            return None
        self._reads.bases(type(value.value))
        for base in mro_of(type(value.value)):
            rules = self._rules.of_module(class_names(base)[0])
            if rules is not None and rules.package in FOLLOWED_PACKAGES:
                return Instance(rules)
        return None

    def member(self, cls: type, name: str, owner: Any, *, after_first: bool = False) -> Any:
        """An attribute that ``owner`` has from its class.

        The first class of the MRO that has rules for the name, or that is the user's and
        defines it, decides.
        """
        known: PackageRules | None = None
        defined: Any = MISSING
        reads = self._reads
        reads.bases(cls)
        for base in mro_of(cls)[1 if after_first else 0 :]:
            module, class_name = class_names(base)
            rules = None if module == "builtins" else self._rules.of_module(module)
            raw = dict_of_class(base).get(name, MISSING)
            reads.of_class(base, name, raw)
            if rules is not None:
                known = known or rules
                if type(raw) is types.FunctionType:
                    reads.function(raw)
                blocking = rules.method(module, class_name, name)
                if blocking is not None:
                    return None if is_coroutine_function(raw) else Reference(rules, name, blocking)
                if defined is MISSING:
                    defined = raw
            elif raw is not MISSING and defined is MISSING:
                if type(raw) is types.MemberDescriptorType:
                    reads.give_up()
                return _bind(raw, owner, cls)
        return None if known is None else self._harmless(known, name, defined)

    def _harmless(self, rules: PackageRules, name: str, raw: Any) -> Any:
        """A member of a class with rules that does not block itself."""
        followed = rules.package in FOLLOWED_PACKAGES
        if raw is MISSING:
            if followed:
                return Reference(rules, name, rules.methods.get(name))
            self._telemetry.missed_attribute_chain += 1
            return None
        if id(type(raw)) in _COMPUTED:
            return Instance(rules) if followed else None
        if type(raw) is types.MemberDescriptorType or is_coroutine_function(raw):
            return None
        return Reference(rules, name, None)

    def _of_live(self, live: Live, name: str) -> Any:
        value = live.value
        if id(type(value)) in _DATA:
            return None
        if self._replaced:
            replaced = self._replaced.get((id(value), name), MISSING)
            if replaced is not MISSING:
                return replaced
        if is_module(value):
            return self._of_module(value, name)
        if is_class(value):
            return self.member(value, name, None)
        return self._of_object(live, name)

    def _of_object(self, live: Live, name: str) -> Any:
        value = live.value
        self._reads.streams()
        if value is sys.stdout or value is sys.stderr:
            return None
        attributes = own_dict(value)
        if attributes is not None:
            own = attributes.get(name, MISSING)
            self._reads.of_instance(value, name, own)
            if own is not MISSING:
                return Live(own)
        cls = type(value)
        return None if self._scopes.is_harmless(cls) else self.member(cls, name, live)

    def _of_module(self, module: Any, name: str) -> Any:
        reads = self._reads
        found = module_value(module, name)
        reads.of_module(module, name, found)
        if found is not MISSING:
            return Live(found)
        own_name = module_value(module, "__name__")
        reads.name_of_module(module)
        if type(own_name) is not str:
            return None
        path = f"{own_name}.{name}"
        loaded = sys.modules.get(path)
        reads.name(sys.modules, path, MISSING if loaded is None else loaded)
        if loaded is not None:
            return Live(loaded)
        return Dotted(path) if self._rules.of_module(own_name) is not None else None

    def _of_instance(self, value: Instance, name: str) -> Any:
        if name in value.attributes:
            return value.attributes[name]
        if type(value.cls) is Class:
            return self._of_class(value.cls, name, value)
        if value.cls is not None:
            return self.member(value.cls, name, value)
        rules = value.rules
        if rules is None:
            return None
        if value.class_name:
            return Reference(rules, name, rules.method(rules.package, value.class_name, name))
        return Reference(rules, name, rules.methods.get(name))

    def _of_class(self, cls: Class, name: str, owner: Any = None) -> Any:
        found = cls.attributes.get(name, MISSING)
        if found is not MISSING:
            return found if owner is None else Method(found, owner)
        return self._of_bases(cls, name, owner)

    def _of_bases(self, cls: Class, name: str, owner: Any) -> Any:
        for base in cls.bases:
            found = None
            if type(base) is Class:
                found = self._of_class(base, name, owner)
            elif type(base) is Live and is_class(base.value):
                found = self.member(base.value, name, owner)
            elif type(base) is Dotted:
                rules, _, class_name = self._rules.dotted(base.path)
                blocking = rules.method(rules.package, class_name, name) if rules else None
                found = Reference(rules, name, blocking) if rules else None
            if found is not None:
                return found
        return None

    def _of_reference(self, value: Reference, name: str) -> Any:
        if value.rules.package in FOLLOWED_PACKAGES:
            return Reference(value.rules, name, value.rules.methods.get(name))
        self._telemetry.missed_attribute_chain += 1
        return None


def _bind(raw: Any, owner: Any, cls: type) -> Any:
    """What a class attribute becomes when it is read through ``owner`` (None: the class itself)."""
    kind = type(raw)
    if kind is types.FunctionType:
        return Live(raw) if owner is None else Method(Live(raw), owner)
    if kind is staticmethod:
        return Live(raw.__func__)
    if kind is classmethod:
        return Method(Live(raw.__func__), Live(cls))
    if kind is types.MemberDescriptorType and type(owner) is Live:
        try:
            return Live(raw.__get__(owner.value))
        except AttributeError:
            return None
    return None if id(kind) in _COMPUTED else Live(raw)
