"""What the judge knows of a value: None for nothing, else one of these."""

from __future__ import annotations

from types import CodeType
from typing import Any

from .rules import PackageRules
from .steps import Scope

__all__ = ["Class", "Dotted", "Frame", "Function", "Instance", "Items", "Lazy", "Live", "Method", "Reference"]


class Frame:
    """Names bound so far in one scope, and where to look for the others."""

    __slots__ = ("globals", "names", "parent", "result", "stars")

    def __init__(self, names: dict[str, Any], parent: Frame | None, globals_: Any) -> None:
        self.names = names
        self.parent = parent
        self.globals = globals_
        self.stars: list[Any] = []
        self.result: Any = None

    def __repr__(self) -> str:
        return f"<Frame {sorted(self.names)} in {self.parent!r}>"


class Live:
    """An object that exists."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"<Live {type(self.value).__name__}>"


class Dotted:
    """Something in a module that is not loaded, known by its path only."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<Dotted {self.path}>"


class Reference:
    """A function or method of a package with rules; ``blocking`` is its public name if it blocks."""

    __slots__ = ("blocking", "name", "rules")

    def __init__(self, rules: PackageRules, name: str, blocking: str | None) -> None:
        self.rules = rules
        self.name = name
        self.blocking = blocking

    def __repr__(self) -> str:
        return f"<Reference {self.rules.package}…{self.name}>"


class Instance:
    """An object that the code will make: of a live class, of one from the cell, or of a known package."""

    __slots__ = ("attributes", "class_name", "cls", "rules")

    def __init__(self, rules: PackageRules | None, class_name: str = "", cls: Any = None) -> None:
        self.rules = rules
        self.class_name = class_name
        self.cls = cls
        self.attributes: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Instance of {self.cls or self.class_name or self.rules!r}>"


class Function:
    """A function that the code defines, with the frame it closes over."""

    __slots__ = ("body", "frame")

    def __init__(self, body: Scope | CodeType, frame: Frame) -> None:
        self.body = body
        self.frame = frame

    def __repr__(self) -> str:
        return f"<Function {self.body!r}>"


class Class:
    """A class that the code defines."""

    __slots__ = ("attributes", "bases", "name")

    def __init__(self, name: str, attributes: dict[str, Any], bases: tuple[Any, ...]) -> None:
        self.name = name
        self.attributes = attributes
        self.bases = bases

    def __repr__(self) -> str:
        return f"<Class {self.name}>"


class Method:
    """A function with the object that it will get as its first argument."""

    __slots__ = ("function", "owner")

    def __init__(self, function: Any, owner: Any) -> None:
        self.function = function
        self.owner = owner

    def __repr__(self) -> str:
        return f"<Method {self.function!r}>"


class Lazy:
    """What is put off until somebody iterates: calls of ``callee``, or the body of a generator."""

    __slots__ = ("arguments", "callee", "is_generator")

    def __init__(self, callee: Any, arguments: tuple[Any, ...] = (), *, is_generator: bool = False) -> None:
        self.callee = callee
        self.arguments = arguments
        self.is_generator = is_generator

    def __repr__(self) -> str:
        return f"<Lazy {self.callee!r}>"


class Items:
    """A container that the code makes; one of its items stands for all."""

    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item

    def __repr__(self) -> str:
        return f"<Items {self.item!r}>"
