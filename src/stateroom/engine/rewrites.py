"""Two rewrites that make an await legal where Python refuses it; both off by default.

They change what a program means: a caller of a rewritten function gets a coroutine.
"""

from __future__ import annotations

import ast
from copy import deepcopy
from typing import Any

__all__ = ["rewrite_awaiting_defs", "rewrite_awaiting_lambdas"]

_Scope = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.GeneratorExp)
_Comprehension = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def rewrite_awaiting_defs(tree: ast.Module) -> ast.Module:
    """Turn each ``def`` that awaits in its own body into an ``async def``; a copy."""
    module: ast.Module = _DefRewriter().visit(deepcopy(tree))
    return module


def rewrite_awaiting_lambdas(tree: ast.Module) -> ast.Module:
    """Turn each zero-argument lambda that awaits into an ``async def`` before its statement; a copy.

    Lambdas inside comprehensions and other lambdas are left alone: an own function would not see
    their variables.
    """
    module = deepcopy(tree)
    _LambdaRewriter().block(module.body)
    return ast.fix_missing_locations(module)


def awaits(nodes: list[Any]) -> bool:
    """Does any of the nodes await in its own scope, nested functions left aside?"""
    return any(_awaits(node) for node in nodes)


def _awaits(node: ast.AST) -> bool:
    if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
        return True
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp) and any(
        generator.is_async for generator in node.generators
    ):
        return True
    return awaits(_evaluated_here(node))


def _evaluated_here(node: ast.AST) -> list[Any]:
    """The children of a node that belong to the scope the node stands in."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
    if isinstance(node, ast.Lambda):
        return [*node.args.defaults, *filter(None, node.args.kw_defaults)]
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *node.keywords]
    if isinstance(node, ast.GeneratorExp):
        return [node.generators[0].iter]
    return list(ast.iter_child_nodes(node))


class _DefRewriter(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        if not awaits(node.body):
            return node
        return ast.copy_location(ast.AsyncFunctionDef(**dict(ast.iter_fields(node))), node)


class _LambdaRewriter:
    """Walks blocks of statements; the helpers of a statement are put right before it."""

    def __init__(self) -> None:
        self._count = 0
        self._helpers: list[ast.stmt] = []

    def block(self, statements: list[ast.stmt]) -> None:
        rewritten: list[ast.stmt] = []
        for statement in statements:
            outer, self._helpers = self._helpers, []
            self._children(statement)
            helpers, self._helpers = self._helpers, outer
            rewritten += [*helpers, statement, *self._removal(helpers, statement)]
        statements[:] = rewritten

    def _removal(self, helpers: list[ast.stmt], statement: ast.stmt) -> list[ast.stmt]:
        names: list[ast.expr] = [ast.Name(helper.name, ast.Del()) for helper in helpers]  # type: ignore[attr-defined]
        return [ast.copy_location(ast.Delete(names), statement)] if names else []

    def _children(self, node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                if value and isinstance(value[0], ast.stmt):
                    self.block(value)
                else:
                    value[:] = [self._child(item) for item in value]
            else:
                setattr(node, name, self._child(value))

    def _child(self, value: Any) -> Any:
        if isinstance(value, ast.Lambda):
            return self._helper(value) if not ast.unparse(value.args) and awaits([value.body]) else value
        if isinstance(value, ast.AST) and not isinstance(value, _Comprehension):
            self._children(value)
        return value

    def _helper(self, function: ast.Lambda) -> ast.Name:
        self._count += 1
        name = f"_stateroom_lambda_{self._count}"
        helper = ast.parse(f"async def {name}(): return 0").body[0]
        assert isinstance(helper, ast.AsyncFunctionDef)
        helper.body = [ast.copy_location(ast.Return(function.body), function.body)]
        self._helpers.append(ast.copy_location(helper, function))
        return ast.copy_location(ast.Name(name, ast.Load()), function)
