"""Reads the steps of expressions from their syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from . import steps as op
from .steps import NOTHING, Scope, ScopeBuilder

__all__ = ["SEQUENCES", "ExpressionReader", "Suspects"]

MAX_DEPTH = 80
"""Deeper nesting (``a + b + …`` thousands of times) is not looked into."""

SEQUENCES = (ast.Tuple, ast.List)
_MAY_BE_LAZY = (ast.GeneratorExp, ast.Call)

Suspects = Callable[[str], object]
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class ExpressionReader:
    """Reads the expressions of one scope; a function or class body gets a reader of its own."""

    __slots__ = ("build", "depth", "globals", "suspects")

    def __init__(
        self, name: str, suspects: Suspects, parameters: tuple[str, ...] = (), depth: int = 0
    ) -> None:
        self.suspects = suspects
        self.build = ScopeBuilder(name, parameters)
        self.depth = depth
        self.globals: set[str] = set()

    def value(self, node: ast.expr | None) -> int:
        """The register that holds the value of an expression."""
        kind = type(node)
        if kind is ast.Constant:
            return NOTHING
        if kind is ast.Name:
            return self.build.value(op.NAME, node.id)  # type: ignore[union-attr]
        return self._dispatch(_EXPRESSIONS.get(kind), node)

    def effects(self, node: ast.expr | None) -> None:
        """Read an expression whose value nobody looks at."""
        kind = type(node)
        if kind is not ast.Name and kind is not ast.Constant:
            self._dispatch(_EXPRESSIONS.get(kind), node)

    def _dispatch(self, read: Callable[[Any, Any], int | None] | None, node: Any) -> int:
        if self.depth >= MAX_DEPTH:
            return NOTHING
        self.depth += 1
        register = (read or ExpressionReader.children)(self, node)
        self.depth -= 1
        return register or NOTHING

    def children(self, node: ast.AST) -> None:
        """Read the expressions in a node that has no meaning of its own here."""
        for field in node._fields:
            child = getattr(node, field, None)
            for item in child if type(child) is list else (child,):
                if isinstance(item, ast.expr):
                    self.effects(item)
                elif isinstance(item, ast.AST) and not isinstance(item, ast.expr_context):
                    self.children(item)

    def branch(self, read: Callable[[], None], kind: int = op.BRANCH) -> None:
        """Read something that may not run, or whose bindings are its own."""
        build = self.build
        outer, build.steps = build.steps, []
        read()
        inner, build.steps = build.steps, outer
        if inner:
            build.effect(kind, tuple(inner))

    def attribute(self, node: ast.Attribute) -> int:
        base = self.value(node.value)
        return self.build.value(op.ATTRIBUTE, base, node.attr, node.lineno) if base else NOTHING

    def call(self, node: ast.Call, kind: int = op.CALL) -> int:
        function = node.func
        if type(function) is ast.Attribute and _is_super(function.value):
            callee = self.build.value(op.SUPER, self._first_parameter(), function.attr)
        else:
            callee = self.value(function)
        arguments = tuple([self._argument(argument) for argument in node.args])
        keywords = tuple([(k.arg, self.value(k.value)) for k in node.keywords])
        if not callee and not any(type(a) in _MAY_BE_LAZY for a in node.args):
            return NOTHING
        return self.build.value(kind, callee, (arguments, keywords, self._suspicious(function)), node.lineno)

    def _argument(self, node: ast.expr) -> int | str:
        """A register, or a name: most callees do not need to know what it is."""
        if type(node) is ast.Name:
            return node.id
        return self.value(node.value if type(node) is ast.Starred else node)

    def _suspicious(self, function: ast.expr) -> str | None:
        """The text of a callee that reads like a blocking call, for the guard against overshadowing."""
        text = _dotted(function)
        return text if text is not None and self.suspects(text) else None

    def awaited(self, node: ast.Await) -> int:
        if type(node.value) is ast.Call:
            self.call(node.value, op.AWAITED_CALL)
        else:
            self.effects(node.value)
        return NOTHING

    def _first_parameter(self) -> int:
        parameters = self.build.scope.parameters
        return self.build.value(op.NAME, parameters[0]) if parameters else NOTHING

    def binary(self, node: ast.BinOp) -> int:
        if type(node.op) is not ast.Div:
            self.effects(node.left)
            self.effects(node.right)
            return NOTHING
        left = self.value(node.left)
        right = self.value(node.right)
        return self.build.value(op.DIVIDE, left, right) if left or right else NOTHING

    def either(self, node: ast.BoolOp) -> int:
        return self.build.value(op.EITHER, tuple([self.value(item) for item in node.values]))

    def conditional(self, node: ast.IfExp) -> int:
        self.effects(node.test)
        return self.build.value(op.EITHER, (self.value(node.body), self.value(node.orelse)))

    def walrus(self, node: ast.NamedExpr) -> int:
        register = self.value(node.value)
        self.bind(node.target, register)
        return register

    def subscript(self, node: ast.Subscript) -> int:
        base = self.value(node.value)
        self.effects(node.slice)
        if not base:
            return NOTHING
        key = node.slice.value if type(node.slice) is ast.Constant else None
        return self.build.value(op.ITEM, base, key if type(key) in (int, str) else None)

    def function_value(self, node: ast.Lambda) -> int:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            self.effects(default)
        return self.build.value(op.FUNCTION, self._inner(node, "<lambda>", lambda r: r.returns(node.body)))

    def container(self, node: Any) -> int:
        items = [self.value(item) for item in (node.values if type(node) is ast.Dict else node.elts)]
        return self.build.value(op.ITEMS, tuple([item for item in items if item]))

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp) -> int:
        items: list[int] = []
        self.branch(lambda: items.append(self._comprehension(node)), op.ENCLOSED)
        return self.build.value(op.ITEMS, (items[0],))

    def _comprehension(self, node: Any) -> int:
        self._clauses(node.generators)
        if type(node) is not ast.DictComp:
            return self.value(node.elt)
        self.effects(node.key)
        return self.value(node.value)

    def _clauses(self, generators: list[ast.comprehension]) -> None:
        for clause in generators:
            self.loop(clause.target, clause.iter, waits=not clause.is_async)
            for test in clause.ifs:
                self.effects(test)

    def generator(self, node: ast.GeneratorExp) -> int:
        """The first iterable is evaluated at once, the rest when somebody iterates."""
        first = node.generators[0]
        self.effects(first.iter)
        inner = type(self)("<genexpr>", self.suspects, depth=self.depth)
        inner.build.scope.is_generator = True
        inner._comprehension(node)
        function = self.build.value(op.FUNCTION, inner.build.finish())
        return self.build.value(op.CALL, function, ((), (), None), node.lineno)

    def yields(self, node: ast.Yield | ast.YieldFrom) -> None:
        self.build.scope.is_generator = True
        if type(node) is ast.YieldFrom:
            self.build.effect(op.YIELD_FROM, self.value(node.value), line=node.lineno)
        else:
            self.effects(node.value)

    def bind(self, target: ast.expr, register: int) -> None:
        kind = type(target)
        if kind is ast.Name:
            name = target.id  # type: ignore[attr-defined]
            self.build.effect(op.BIND_GLOBAL if name in self.globals else op.BIND, name, register)
        elif kind is ast.Attribute:
            base = self.value(target.value)  # type: ignore[attr-defined]
            if base:
                self.build.effect(op.SET_ATTRIBUTE, target.attr, register, on=base)  # type: ignore[attr-defined]
        elif kind in SEQUENCES:
            for item in target.elts:  # type: ignore[attr-defined]
                self.bind(item, NOTHING)
        elif kind is ast.Starred:
            self.bind(target.value, NOTHING)  # type: ignore[attr-defined]
        else:
            self.effects(target)

    def loop(self, target: ast.expr, iterable: ast.expr, *, waits: bool = True) -> None:
        register = self.value(iterable)
        item = NOTHING
        if register and waits:
            item = self.build.value(op.ITERATE, register, None, iterable.lineno)
        self.bind(target, item)

    def _inner(self, node: _Function, name: str, read: Callable[[Any], None]) -> Scope:
        inner = type(self)(name, self.suspects, _parameters(node.args), self.depth)
        read(inner)
        return inner.build.finish()

    def returns(self, value: ast.expr | None) -> None:
        register = self.value(value) if value is not None else NOTHING
        if register:
            self.build.effect(op.RETURN, register)

    def nothing(self, node: ast.AST) -> None:
        """A node without calls."""


def _parameters(arguments: ast.arguments) -> tuple[str, ...]:
    named = [*arguments.posonlyargs, *arguments.args]
    if arguments.vararg:
        named.append(arguments.vararg)
    named += arguments.kwonlyargs
    if arguments.kwarg:
        named.append(arguments.kwarg)
    return tuple([argument.arg for argument in named])


def _is_super(node: ast.expr) -> bool:
    return type(node) is ast.Call and type(node.func) is ast.Name and node.func.id == "super"


def _dotted(node: ast.expr) -> str | None:
    """``a.b.c`` as it is written, None for anything else."""
    if type(node) is ast.Name:
        return node.id
    parts = []
    while type(node) is ast.Attribute:
        parts.append(node.attr)
        node = node.value
    if type(node) is not ast.Name:
        return None
    parts.append(node.id)
    return ".".join(reversed(parts))


_EXPRESSIONS: dict[type, Callable[[Any, Any], int | None]] = {
    ast.Attribute: ExpressionReader.attribute,
    ast.Call: ExpressionReader.call,
    ast.Await: ExpressionReader.awaited,
    ast.BinOp: ExpressionReader.binary,
    ast.BoolOp: ExpressionReader.either,
    ast.IfExp: ExpressionReader.conditional,
    ast.NamedExpr: ExpressionReader.walrus,
    ast.Subscript: ExpressionReader.subscript,
    ast.Lambda: ExpressionReader.function_value,
    ast.List: ExpressionReader.container,
    ast.Tuple: ExpressionReader.container,
    ast.Set: ExpressionReader.container,
    ast.Dict: ExpressionReader.container,
    ast.ListComp: ExpressionReader.comprehension,
    ast.SetComp: ExpressionReader.comprehension,
    ast.DictComp: ExpressionReader.comprehension,
    ast.GeneratorExp: ExpressionReader.generator,
    ast.Yield: ExpressionReader.yields,
    ast.YieldFrom: ExpressionReader.yields,
    type(None): ExpressionReader.nothing,
}
