"""The tables and the settings, turned into look-ups by package and short name."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from .tables import ASYNC_MODULE_PARTS, BLOCKING_CALLS, PUBLIC_CLASSES, PUBLIC_NAMES, PUBLIC_PACKAGES

__all__ = ["PackageRules", "Rules", "rules_for"]


class PackageRules:
    """What blocks in one top-level package, by short name: ``sleep``, ``Session.get``.

    Short names leave the submodule out, since packages define things elsewhere than they offer
    them: ``requests.Session`` is ``requests.sessions.Session``.
    """

    __slots__ = ("calls", "classes", "exceptions", "methods", "package", "whole_modules")

    def __init__(self, package: str) -> None:
        self.package = package
        self.calls: dict[str, str] = {}
        """``sleep`` or ``Session.get`` to its public name."""
        self.methods: dict[str, str] = {}
        """``get`` to the public name of a method of that name, for objects of unknown class."""
        self.classes: set[str] = set()
        self.exceptions: set[str] = set()
        self.whole_modules: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<PackageRules {self.package}: {len(self.calls)} calls, all of {self.whole_modules}>"

    def add(self, module: str, class_name: str, names: Iterable[str]) -> None:
        """Add functions (no class name) or methods that block."""
        if class_name:
            self.classes.add(class_name)
        for name in names:
            short = f"{class_name}.{name.lstrip('-')}" if class_name else name
            if name.startswith("-"):
                self.exceptions.add(short)
                continue
            public = PUBLIC_NAMES.get(f"{module}.{short}") or _public_name(module, class_name, name)
            self.calls[short] = public
            if class_name and name != "*" and not name.startswith("__"):
                self.methods.setdefault(name, public)

    def function(self, module: str, name: str) -> str | None:
        """The public name of the function, or of the class whose construction blocks."""
        return self.calls.get(name) or self._whole(module, name)

    def method(self, module: str, class_name: str, name: str) -> str | None:
        """The public name of the method, if it blocks."""
        short = f"{class_name}.{name}"
        found = self.calls.get(short)
        if found is not None:
            return found
        if name.startswith("_"):
            return None
        wildcard = self.calls.get(f"{class_name}.*")
        if wildcard is not None and short not in self.exceptions:
            return wildcard[:-1] + name
        return self._whole(module, short)

    def _whole(self, module: str, short: str) -> str | None:
        for whole in self.whole_modules:
            if module == whole or module.startswith(whole + "."):
                return f"{module}.{short}"
        return None


class Rules:
    """All packages with blocking calls. ``modules`` and ``methods`` come from the settings."""

    def __init__(self, modules: Iterable[str] = (), methods: Iterable[str] = ()) -> None:
        self._packages: dict[str, PackageRules] = {}
        self._by_module: dict[str, PackageRules | None] = {}
        for module, classes in BLOCKING_CALLS.items():
            rules = self._package(module)
            for class_name, names in classes.items():
                rules.add(module, class_name, names.split())
        for module in modules:
            self._package(module).whole_modules += (module,)
        for dotted in methods:
            self._add_dotted(dotted)

    def __repr__(self) -> str:
        return f"<Rules: {len(self._packages)} packages>"

    def of_module(self, module: object) -> PackageRules | None:
        """The rules for what ``module`` (its name) defines; None if nothing in it blocks."""
        if type(module) is not str:
            return None
        try:
            return self._by_module[module]
        except KeyError:
            rules = self._find(module)
            if len(self._by_module) < 10_000:
                self._by_module[module] = rules
            return rules

    def dotted(self, path: str) -> tuple[PackageRules | None, str, str]:
        """Split ``requests.Session.get`` into rules, class (or ``""``) and name."""
        module, _, name = path.rpartition(".")
        rules = self.of_module(module or path)
        if rules is None:
            return None, "", name
        parts = path.split(".")
        for index, part in enumerate(parts[1:-1], 1):
            if part in rules.classes or part[:1].isupper():
                return rules, part, ".".join(parts[index + 1 :])
        return rules, "", name

    def dotted_call(self, path: str) -> str | None:
        """The public name, if a call that reads like ``path`` would block."""
        if "." not in path:
            return self._packages["builtins"].calls.get(path)
        rules, class_name, name = self.dotted(path)
        if rules is None or rules.package == "builtins":
            return None
        module = path.rpartition(".")[0]
        if class_name:
            return rules.method(module, class_name, name)
        return rules.function(module, name)

    def _package(self, module: str) -> PackageRules:
        package = _public(module).partition(".")[0]
        if package not in self._packages:
            self._packages[package] = PackageRules(package)
        return self._packages[package]

    def _find(self, module: str) -> PackageRules | None:
        package, _, below = _public(module).partition(".")
        rules = self._packages.get(package)
        if rules is None or not ASYNC_MODULE_PARTS.isdisjoint(below.split(".")):
            return None
        if rules.calls or any(_public(module).startswith(whole) for whole in rules.whole_modules):
            return rules
        return None

    def _add_dotted(self, dotted: str) -> None:
        module, _, name = dotted.rpartition(".")
        if not module:
            self._package("builtins").add("builtins", "", [name])
            return
        rules = self._package(dotted)
        rest, _, class_name = module.rpartition(".")
        if rest:
            rules.add(rest, class_name, [name])
        if not class_name[:1].isupper():
            rules.add(module, "", [name])


@functools.cache
def rules_for(modules: tuple[str, ...], methods: tuple[str, ...]) -> Rules:
    """The rules for these settings, built once: 3 ms that forked workers find done."""
    return Rules(modules, methods)


def _public_name(module: str, class_name: str, name: str) -> str:
    if not class_name:
        return f"{module}.{name}"
    return f"{module}.{PUBLIC_CLASSES.get(class_name, class_name)}.{name}"


def _public(module: str) -> str:
    return PUBLIC_PACKAGES.get(module, module)
