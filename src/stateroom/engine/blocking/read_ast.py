"""Reads the steps of a cell from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from . import steps as op
from .steps import NOTHING, Scope, ScopeBuilder

__all__ = ["read_cell"]

MAX_DEPTH = 80
"""Deeper nesting (``a + b + …`` thousands of times) is not looked into."""

Suspects = Callable[[str], object]
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def read_cell(tree: ast.Module, suspects: Suspects) -> Scope:
    """The steps of a cell, those of the functions and classes it defines included.

    ``suspects`` says whether a dotted name reads like a blocking call.
    """
    reader = _Reader("<cell>", suspects)
    reader.statements(tree.body)
    return reader.build.finish()


class _Reader:
    """Reads one scope; a function or class body gets a reader of its own."""

    __slots__ = ("build", "depth", "globals", "suspects")

    def __init__(
        self, name: str, suspects: Suspects, parameters: tuple[str, ...] = (), depth: int = 0
    ) -> None:
        self.suspects = suspects
        self.build = ScopeBuilder(name, parameters)
        self.depth = depth
        self.globals: set[str] = set()

    # The two entrances: statements, and expressions with the register of their value

    def statements(self, nodes: list[ast.stmt]) -> None:
        for node in nodes:
            kind = type(node)
            if kind is ast.Expr:
                self.effects(node.value)  # type: ignore[attr-defined]
            else:
                self._dispatch(_STATEMENTS.get(kind), node)

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
        register = (read or _Reader.children)(self, node)
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

    # Expressions

    def attribute(self, node: ast.Attribute) -> int:
        base = self.value(node.value)
        return self.build.value(op.ATTRIBUTE, base, node.attr, node.lineno) if base else NOTHING

    def call(self, node: ast.Call, kind: int = op.CALL) -> int:
        function = node.func
        if type(function) is ast.Attribute and _is_super(function.value):
            callee = self.build.value(op.SUPER, self._first_parameter(), function.attr)
        else:
            callee = self.value(function)
        arguments = tuple([self.value(a.value if type(a) is ast.Starred else a) for a in node.args])
        keywords = tuple([(k.arg, self.value(k.value)) for k in node.keywords])
        if not callee and not any(type(a) in _MAY_BE_LAZY for a in node.args):
            return NOTHING
        return self.build.value(kind, callee, (arguments, keywords, self._suspicious(function)), node.lineno)

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
        inner = _Reader("<genexpr>", self.suspects, depth=self.depth)
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

    # Statements

    def assign(self, node: ast.Assign) -> None:
        only = node.targets[0]
        if type(only) in _SEQUENCES and type(node.value) in _SEQUENCES:
            self._unpack(only, node.value)
            return
        register = self.value(node.value)
        for target in node.targets:
            self.bind(target, register)

    def _unpack(self, target: Any, value: Any) -> None:
        registers = [self.value(item) for item in value.elts]
        same = len(registers) == len(target.elts)
        for index, item in enumerate(target.elts):
            self.bind(item, registers[index] if same else NOTHING)

    def annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.bind(node.target, self.value(node.value))

    def augmented(self, node: ast.AugAssign) -> None:
        right = self.value(node.value)
        if type(node.target) is not ast.Name:
            return
        divides = type(node.op) is ast.Div
        left = self.build.value(op.NAME, node.target.id) if divides else NOTHING
        self.bind(node.target, self.build.value(op.DIVIDE, left, right) if divides else NOTHING)

    def bind(self, target: ast.expr, register: int) -> None:
        kind = type(target)
        if kind is ast.Name:
            name = target.id  # type: ignore[attr-defined]
            self.build.effect(op.BIND_GLOBAL if name in self.globals else op.BIND, name, register)
        elif kind is ast.Attribute:
            base = self.value(target.value)  # type: ignore[attr-defined]
            if base:
                self.build.effect(op.SET_ATTRIBUTE, target.attr, register, on=base)  # type: ignore[attr-defined]
        elif kind in _SEQUENCES:
            for item in target.elts:  # type: ignore[attr-defined]
                self.bind(item, NOTHING)
        elif kind is ast.Starred:
            self.bind(target.value, NOTHING)  # type: ignore[attr-defined]
        else:
            self.effects(target)

    def delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if type(target) is ast.Name:
                self.bind(target, NOTHING)

    def loop(self, target: ast.expr, iterable: ast.expr, *, waits: bool = True) -> None:
        register = self.value(iterable)
        item = NOTHING
        if register and waits:
            item = self.build.value(op.ITERATE, register, None, iterable.lineno)
        self.bind(target, item)

    def for_(self, node: ast.For | ast.AsyncFor) -> None:
        self.loop(node.target, node.iter, waits=type(node) is ast.For)
        self.statements(node.body)
        self.statements(node.orelse)

    def while_(self, node: ast.While) -> None:
        self.effects(node.test)
        self.statements(node.body)
        self.statements(node.orelse)

    def if_(self, node: ast.If) -> None:
        self.effects(node.test)
        constant = node.test.value if type(node.test) is ast.Constant else None
        if constant is None or constant:
            self.branch(lambda: self.statements(node.body))
        if constant is None or not constant:
            self.branch(lambda: self.statements(node.orelse))

    def with_(self, node: ast.With | ast.AsyncWith) -> None:
        waits = type(node) is ast.With
        for item in node.items:
            register = self.value(item.context_expr)
            entered = NOTHING
            if register and waits:
                entered = self.build.value(op.ENTER, register, None, item.context_expr.lineno)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, entered)
        self.statements(node.body)

    def try_(self, node: Any) -> None:
        self.statements(node.body)
        for handler in node.handlers:
            self.branch(lambda body=handler.body: self.statements(body))  # type: ignore[misc]
        self.statements(node.orelse)
        self.statements(node.finalbody)

    def match(self, node: ast.Match) -> None:
        self.effects(node.subject)
        for case in node.cases:
            self.effects(case.guard)
            self.branch(lambda body=case.body: self.statements(body))  # type: ignore[misc]

    def import_(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            register = self.build.value(op.IMPORT, alias.name, alias.asname is not None)
            self.build.effect(op.BIND, name, register)

    def import_from(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module:
            return
        module = self.build.value(op.IMPORT, node.module, True)
        for alias in node.names:
            if alias.name == "*":
                self.build.effect(op.IMPORT_STAR, module)
                continue
            register = self.build.value(op.ATTRIBUTE, module, alias.name)
            self.build.effect(op.BIND, alias.asname or alias.name, register)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._decorators(node)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            self.effects(default)
        scope = self._inner(node, node.name, lambda inner: inner.statements(node.body))
        scope.is_coroutine = type(node) is ast.AsyncFunctionDef
        # Decorated or not, it counts as the function: most decorators return something that calls it.
        self.bind(ast.Name(node.name), self.build.value(op.FUNCTION, scope))

    def class_(self, node: ast.ClassDef) -> None:
        self._decorators(node)
        bases = tuple([self.value(base) for base in node.bases])
        inner = _Reader(node.name, self.suspects, depth=self.depth)
        inner.statements(node.body)
        scope = inner.build.finish()
        self.bind(ast.Name(node.name), self.build.value(op.CLASS, scope, bases))

    def _decorators(self, node: Any) -> None:
        for decorator in node.decorator_list:
            self.effects(decorator)

    def _inner(self, node: _Function, name: str, read: Callable[[_Reader], None]) -> Scope:
        inner = _Reader(name, self.suspects, _parameters(node.args), self.depth)
        read(inner)
        return inner.build.finish()

    def returns(self, value: ast.expr | None) -> None:
        register = self.value(value) if value is not None else NOTHING
        if register:
            self.build.effect(op.RETURN, register)

    def return_(self, node: ast.Return) -> None:
        self.returns(node.value)

    def global_(self, node: ast.Global) -> None:
        self.globals.update(node.names)

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


_SEQUENCES = (ast.Tuple, ast.List)
_MAY_BE_LAZY = (ast.GeneratorExp, ast.Call)

_EXPRESSIONS: dict[type, Callable[[Any, Any], int | None]] = {
    ast.Attribute: _Reader.attribute,
    ast.Call: _Reader.call,
    ast.Await: _Reader.awaited,
    ast.BinOp: _Reader.binary,
    ast.BoolOp: _Reader.either,
    ast.IfExp: _Reader.conditional,
    ast.NamedExpr: _Reader.walrus,
    ast.Subscript: _Reader.subscript,
    ast.Lambda: _Reader.function_value,
    ast.List: _Reader.container,
    ast.Tuple: _Reader.container,
    ast.Set: _Reader.container,
    ast.Dict: _Reader.container,
    ast.ListComp: _Reader.comprehension,
    ast.SetComp: _Reader.comprehension,
    ast.DictComp: _Reader.comprehension,
    ast.GeneratorExp: _Reader.generator,
    ast.Yield: _Reader.yields,
    ast.YieldFrom: _Reader.yields,
    type(None): _Reader.nothing,
}

_STATEMENTS: dict[type, Callable[[Any, Any], int | None]] = {
    ast.Assign: _Reader.assign,
    ast.AnnAssign: _Reader.annotated,
    ast.AugAssign: _Reader.augmented,
    ast.Delete: _Reader.delete,
    ast.For: _Reader.for_,
    ast.AsyncFor: _Reader.for_,
    ast.While: _Reader.while_,
    ast.If: _Reader.if_,
    ast.With: _Reader.with_,
    ast.AsyncWith: _Reader.with_,
    ast.Try: _Reader.try_,
    ast.TryStar: _Reader.try_,
    ast.Match: _Reader.match,
    ast.Import: _Reader.import_,
    ast.ImportFrom: _Reader.import_from,
    ast.FunctionDef: _Reader.function,
    ast.AsyncFunctionDef: _Reader.function,
    ast.ClassDef: _Reader.class_,
    ast.Return: _Reader.return_,
    ast.Global: _Reader.global_,
    ast.Nonlocal: _Reader.nothing,
    ast.Pass: _Reader.nothing,
    ast.Break: _Reader.nothing,
    ast.Continue: _Reader.nothing,
}
