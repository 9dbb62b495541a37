"""The steps that both readers produce and the judge walks.

A step is a tuple ``(op, target, first, second, line)``. Values live in numbered registers; the
register ``NOTHING`` holds what is not known and is never written.
"""

from __future__ import annotations

from typing import Any

__all__ = ["NOTHING", "CallSites", "Scope", "ScopeBuilder", "Step"]

Step = tuple[int, int, Any, Any, int]

NOTHING = 0

NAME = 1  # target = the value of name `first`
ATTRIBUTE = 2  # target = `first`.`second`
CALL = 3  # target = `first`(…), second = (registers or names of args, kwargs, text if it looks blocking)
AWAITED_CALL = 4  # the same below an `await`: the call itself does not block
BIND = 5  # the name `first` is bound to register `second`
BIND_GLOBAL = 6
SET_ATTRIBUTE = 7  # `target`.`first` = `second`
IMPORT = 8  # target = module `first`; second: the module itself, not its top package
IMPORT_STAR = 9  # all public names of register `first`
FUNCTION = 10  # target = a function whose body is `first`, a Scope or a code object
CLASS = 11  # target = a class with body `first` and the bases in registers `second`
ITERATE = 12  # target = an item of `first`
ENTER = 13  # target = what `with first` binds
DIVIDE = 14  # target = `first` / `second`
ITEM = 15  # target = `first`[`second`], a constant key or None
EITHER = 16  # target = the first known one of registers `first`
BRANCH = 17  # `first` are steps that may run; what they make unknown stays known
ENCLOSED = 18  # `first` are steps whose bindings end with them (comprehensions)
RETURN = 19  # register `first` is returned
YIELD_FROM = 20
SUPER = 21  # target = the attribute `second` of super() for register `first`
ITEMS = 22  # target = a container with the registers `first`
ADD_ITEM = 23  # `first` is added to container `target`


class Scope:
    """The steps of one cell, function or class body."""

    __slots__ = ("is_coroutine", "is_generator", "name", "needs_arguments", "parameters", "size", "steps")

    def __init__(self, name: str, parameters: tuple[str, ...] = ()) -> None:
        self.name = name
        self.parameters = parameters
        self.steps: tuple[Step, ...] = ()
        self.size = 1
        self.is_generator = False
        self.is_coroutine = False
        self.needs_arguments = False

    def __repr__(self) -> str:
        return f"<Scope {self.name}: {len(self.steps)} steps>"


class CallSites:
    """What ``analyse`` found in a cell; holds nothing of the tree, nor keeps any value alive.

    Immutable but for ``remembered``, where a detector keeps its last verdict.
    """

    __slots__ = ("remembered", "scope")

    scope: Scope | None
    remembered: object

    def __init__(self, scope: Scope | None) -> None:
        object.__setattr__(self, "scope", scope)
        object.__setattr__(self, "remembered", None)

    def remember(self, what: object) -> None:
        """Keep something for the next time that the cell is judged."""
        object.__setattr__(self, "remembered", what)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"CallSites is immutable; cannot set {name!r}")

    def __repr__(self) -> str:
        calls = 0 if self.scope is None else sum(step[0] == CALL for step in self.scope.steps)
        return f"<CallSites: {calls} calls>"


class ScopeBuilder:
    """Collects the steps of one scope and hands out registers."""

    __slots__ = ("scope", "steps")

    def __init__(self, name: str, parameters: tuple[str, ...] = ()) -> None:
        self.scope = Scope(name, parameters)
        self.steps: list[Step] = []

    def value(self, op: int, first: Any, second: Any = None, line: int = 0) -> int:
        """Add a step with a result; the register that will hold it."""
        scope = self.scope
        register = scope.size
        scope.size = register + 1
        self.steps.append((op, register, first, second, line))
        return register

    def effect(self, op: int, first: Any, second: Any = None, *, on: int = NOTHING, line: int = 0) -> None:
        """Add a step without a result."""
        self.steps.append((op, on, first, second, line))

    def finish(self) -> Scope:
        """The scope with all its steps."""
        self.scope.steps = tuple(self.steps)
        self.scope.needs_arguments = self._needs_arguments()
        return self.scope

    def _needs_arguments(self) -> bool:
        """Whether nothing here can wait unless a parameter brings it: ``text.strip().lower()``."""
        from_parameters = {NOTHING}
        for kind, target, first, second, _ in self.steps:
            known_sources = self.scope.parameters if kind == NAME else from_parameters
            if kind in (NAME, ATTRIBUTE, CALL, ITEM) and first in known_sources:
                from_parameters.add(target)
            elif kind == BIND and second in from_parameters:
                continue
            elif kind not in (NAME, ATTRIBUTE, RETURN) or (kind == RETURN and first not in from_parameters):
                return False
        return True
