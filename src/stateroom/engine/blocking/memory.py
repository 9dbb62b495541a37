"""Verdicts that are kept with what they were read from: ``RecordedReads`` and ``Remembered``.

While a walk is recorded, each look-up that leads to its verdict is noted with what it found. As long
as all of them would find the same, so would the walk, and it is not made again. Objects are known by
their ``id`` and watched by weak references, so that nothing is kept alive, and no ``id`` that has gone
to another object is taken for the one that was meant.
"""

from __future__ import annotations

import builtins
import sys
import types
import weakref
from collections.abc import Mapping
from typing import Any

from ..telemetry import Telemetry
from .lookup import MISSING, dict_of_class, dict_of_module, own_dict
from .marks import (
    Facts,
    can_be_watched,
    facts_of,
    globals_of,
    is_immutable,
    mark,
    name_of_module,
    owner_of,
    shape_of,
)

__all__ = ["NOT_RECORDED", "Reads", "RecordedReads", "Remembered", "counters"]

Names = dict[str, Any]

_COUNTERS = (
    "detected_blocking_import",
    "detected_blocking_call",
    "missed_attribute_chain",
    "overshadow_guard_skips",
)

_builtins = builtins.__dict__


class Reads:
    """What one walk looks up. This one notes nothing of it; see :class:`RecordedReads`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def give_up(self) -> None:
        """Something was read that may change unnoticed."""

    def name(self, mapping: Any, name: str, found: Any) -> None:
        """A global or builtin, or a module by name."""

    def of_module(self, module: Any, name: str, found: Any) -> None:
        """An attribute of a module."""

    def of_instance(self, instance: Any, name: str, found: Any) -> None:
        """What an object's own dict has under a name."""

    def of_class(self, cls: type, name: str, found: Any) -> None:
        """What the dict of one class has under a name."""

    def bases(self, cls: type) -> None:
        """The MRO of a class, and who defines the classes in it."""

    def function(self, function: types.FunctionType) -> None:
        """The code of a function and the values that are bound to it."""

    def owner(self, method: Any) -> None:
        """The type of the object that a bound method has; the object itself cannot change."""

    def name_of_module(self, module: Any) -> None:
        """What a module says that its name is."""

    def identity(self, value: Any) -> None:
        """That it is this object and no other of its kind."""

    def streams(self) -> None:
        """Which objects are ``sys.stdout`` and ``sys.stderr``."""


NOT_RECORDED = Reads()


class RecordedReads(Reads):
    """Notes everything that one walk looks up. ``lost`` says that it met what cannot be watched."""

    __slots__ = ("_facts", "_fallen", "_globals", "_holders", "_mappings", "_namespace", "_refs", "lost")

    def __init__(self, namespace: Mapping[str, object]) -> None:
        self.lost = type(namespace) is not dict
        self._namespace = namespace
        self._mappings: dict[int, tuple[Any, Names]] = {}
        self._holders: dict[tuple[int, Facts], tuple[Any, Facts, Names]] = {}
        self._facts: dict[tuple[int, Facts], tuple[Any, Facts, Any]] = {}
        self._globals: dict[int, Any] = {}
        self._refs: dict[int, Any] = {}
        self._fallen: list[Any] = []

    def __repr__(self) -> str:
        state = "lost" if self.lost else f"{len(self._refs)} objects"
        return f"<RecordedReads: {state}>"

    def give_up(self) -> None:
        self.lost = True

    def name(self, mapping: Any, name: str, found: Any) -> None:
        if mapping is self._namespace or mapping is _builtins or mapping is sys.modules:
            entry = self._mappings.get(id(mapping))
            if entry is None:
                entry = self._mappings[id(mapping)] = (mapping, {})
            if name not in entry[1]:
                entry[1][name] = self._mark(found)
            return
        function = self._globals.get(id(mapping))
        if function is None:
            self.lost = True
        else:
            self._attribute(function, globals_of, name, found)

    def of_module(self, module: Any, name: str, found: Any) -> None:
        self._attribute(module, dict_of_module, name, found)

    def of_instance(self, instance: Any, name: str, found: Any) -> None:
        self._attribute(instance, own_dict, name, found)

    def of_class(self, cls: type, name: str, found: Any) -> None:
        if not is_immutable(cls):
            self._attribute(cls, dict_of_class, name, found)

    def bases(self, cls: type) -> None:
        if not is_immutable(cls):
            self._fact(cls, shape_of)

    def function(self, function: types.FunctionType) -> None:
        if function.__globals__ is not self._namespace:
            self._globals.setdefault(id(function.__globals__), function)
        self._fact(function, facts_of)

    def owner(self, method: Any) -> None:
        self._fact(method, owner_of)

    def name_of_module(self, module: Any) -> None:
        self._fact(module, name_of_module)

    def identity(self, value: Any) -> None:
        self._watch(value)

    def streams(self) -> None:
        self.of_module(sys, "stdout", sys.stdout)
        self.of_module(sys, "stderr", sys.stderr)

    def _attribute(self, holder: Any, fetch: Facts, name: str, found: Any) -> None:
        key = (id(holder), fetch)
        entry = self._holders.get(key)
        if entry is None:
            self._watch(holder)
            entry = self._holders[key] = (self._refs.get(id(holder)), fetch, {})
        if name not in entry[2]:
            entry[2][name] = self._mark(found)

    def _fact(self, holder: Any, read: Facts) -> None:
        key = (id(holder), read)
        if key in self._facts:
            return
        self._watch(holder)
        known = read(holder, self._watch)  # type: ignore[call-arg]
        self.lost = self.lost or known is None
        self._facts[key] = (self._refs.get(id(holder)), read, known)

    def _mark(self, found: Any) -> Any:
        known = mark(found, self._watch)
        if known is None:
            self.lost = True
        return known

    def _watch(self, value: Any) -> None:
        if id(value) not in self._refs:
            if can_be_watched(value):
                self._refs[id(value)] = weakref.ref(value, self._fallen.append)
            else:
                self.lost = True

    def remembered(self, owner: object, verdict: Any, counted: tuple[int, ...]) -> Remembered | None:
        """The verdict of this walk with all that it depends on; None if that cannot be watched."""
        if self.lost or self._fallen:
            return None
        self._globals.clear()
        return Remembered(
            owner,
            self._namespace,
            verdict,
            counted,
            fallen=self._fallen,
            refs=tuple(self._refs.values()),
            mappings=[(mapping, tuple(names.items())) for mapping, names in self._mappings.values()],
            holders=[(ref, fetch, tuple(names.items())) for ref, fetch, names in self._holders.values()],
            facts=list(self._facts.values()),
        )


class Remembered:
    """A verdict that holds while what it was read from is the same."""

    __slots__ = (
        "_counted",
        "_facts",
        "_fallen",
        "_holders",
        "_mappings",
        "_namespace",
        "_owner",
        "_refs",
        "verdict",
    )

    def __init__(
        self,
        owner: object,
        namespace: Mapping[str, object],
        verdict: Any,
        counted: tuple[int, ...],
        *,
        fallen: list[Any],
        refs: tuple[Any, ...],
        mappings: list[Any],
        holders: list[Any],
        facts: list[Any],
    ) -> None:
        self.verdict = verdict
        self._owner = owner
        self._namespace = namespace
        self._counted = [(name, count) for name, count in zip(_COUNTERS, counted, strict=True) if count]
        self._fallen = fallen
        self._refs = refs
        self._mappings = mappings
        self._holders = holders
        self._facts = facts

    def __repr__(self) -> str:
        return f"<Remembered {self.verdict!r} by {len(self._refs)} objects>"

    def holds(self, owner: object, namespace: Mapping[str, object]) -> bool:
        """Whether ``owner`` would find the same verdict again."""
        if self._fallen or owner is not self._owner or namespace is not self._namespace:
            return False
        try:
            return self._is_same() and not self._fallen
        except Exception:  # noqa: BLE001 - an object went while it was looked at, or a key of the user's raised
            return False

    def _is_same(self) -> bool:
        for mapping, names in self._mappings:
            get = mapping.get
            for name, known in names:
                found = get(name, MISSING)
                if id(found) != known and mark(found) != known:
                    return False
        for ref, fetch, names in self._holders:
            get = fetch(ref()).get
            for name, known in names:
                found = get(name, MISSING)
                if id(found) != known and mark(found) != known:
                    return False
        return all(read(ref()) == known for ref, read, known in self._facts)

    def count(self, telemetry: Telemetry) -> None:
        """Count what the walk counted."""
        for name, count in self._counted:
            setattr(telemetry, name, getattr(telemetry, name) + count)


def counters(telemetry: Telemetry) -> tuple[int, ...]:
    """The counters that a walk may change."""
    return tuple([getattr(telemetry, name) for name in _COUNTERS])
