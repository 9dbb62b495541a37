"""Reads the steps of a cell from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from . import steps as op
from .read_expressions import SEQUENCES, ExpressionReader, Suspects
from .steps import NOTHING, Scope

__all__ = ["read_cell"]


def read_cell(tree: ast.Module, suspects: Suspects) -> Scope:
    """The steps of a cell, those of the functions and classes it defines included.

    ``suspects`` says whether a dotted name reads like a blocking call.
    """
    reader = _Reader("<cell>", suspects)
    reader.statements(tree.body)
    return reader.build.finish()


class _Reader(ExpressionReader):
    """Reads the statements of one scope."""

    __slots__ = ()

    def statements(self, nodes: list[ast.stmt]) -> None:
        for node in nodes:
            kind = type(node)
            if kind is ast.Expr:
                self.effects(node.value)  # type: ignore[attr-defined]
            else:
                self._dispatch(_STATEMENTS.get(kind), node)

    def assign(self, node: ast.Assign) -> None:
        only = node.targets[0]
        if type(only) in SEQUENCES and type(node.value) in SEQUENCES:
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

    def delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if type(target) is ast.Name:
                self.bind(target, NOTHING)

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

    def return_(self, node: ast.Return) -> None:
        self.returns(node.value)

    def global_(self, node: ast.Global) -> None:
        self.globals.update(node.names)


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
