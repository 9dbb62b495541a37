"""The wrapper for cells that the compiler refuses though they are legal.

No legal cell is known that ``PyCF_ALLOW_TOP_LEVEL_AWAIT`` refuses: ``tests/engine/test_fallback.py`` compares
the flag with the same text inside an ``async def``, for some hundred hand-written cells with an await in
every place that the grammar has for an expression, and for generated programs. The wrapper is there
for a version of CPython in which that is not so.

It is tried only if all of this holds:

1. the flag path ended in a SyntaxError that says an await, an async comprehension, ``async for``
   or ``async with`` stands outside a function;
2. the same tree, with the awaits of the module's own scope taken out of it, compiles as a plain
   module. So a ``return``, ``yield``, ``nonlocal`` or ``break`` at the top, or an await in a plain
   ``def``, lambda or class body, stays the user's SyntaxError: the wrapper never makes an illegal
   cell legal;
3. the wrapped tree compiles.

The two rewrites (``enable_def_await_rewrite``, ``enable_async_lambda_helper``) do make illegal
cells legal, which is why they are off by default. They need no wrapper: the rewritten tree takes
the flag path again.
"""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from builtins import compile  # noqa: A004 - cells may put another in its place
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from .cache import ASTCache
from .compiler import FUTURE_FLAGS, CompiledCell, compile_tree
from .rewrites import rewrite_awaiting_defs, rewrite_awaiting_lambdas
from .stacks import traceback_of
from .text import is_quiet

if TYPE_CHECKING:
    from .hoisting import Hoister
    from .namespace import NamespaceManager

__all__ = ["FallbackTransformer", "run"]

WRAPPER = "__stateroom_cell__"
LOCALS = "__stateroom_locals__"

_AWAIT_REFUSED = re.compile(r"('await'|'async (for|with)'|asynchronous comprehension) outside")


class FallbackTransformer:
    """Decides whether a refused cell gets a second chance, and gives it.

    ``hoister``, if given, reorders the wrapped statements (:mod:`stateroom.engine.hoisting`);
    ``cache`` keeps transformed trees.
    """

    def __init__(
        self,
        enable_def_await_rewrite: bool = False,
        enable_async_lambda_helper: bool = False,
        hoister: Hoister | None = None,
        cache: ASTCache[ast.Module] | None = None,
    ) -> None:
        self.enable_def_await_rewrite = enable_def_await_rewrite
        self.enable_async_lambda_helper = enable_async_lambda_helper
        self._hoister = hoister
        self._cache = cache if cache is not None else ASTCache[ast.Module](0)

    def compile(
        self, error: SyntaxError, tree: ast.Module, source: str, filename: str, flags: int
    ) -> CompiledCell | None:
        """The cell that ``error`` refused, compiled another way; None if the error is the user's.

        ``tree`` is left as it was.
        """
        if _AWAIT_REFUSED.match(error.msg or "") is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they were shown when the tree was parsed and compiled
            return self._rewritten(tree, source, filename, flags) or self._wrapped(
                tree, source, filename, flags
            )

    def _rewritten(self, tree: ast.Module, source: str, filename: str, flags: int) -> CompiledCell | None:
        if not (self.enable_def_await_rewrite or self.enable_async_lambda_helper):
            return None
        rewritten = self._cached("rewrite", source, flags)
        if rewritten is None:
            rewritten = self._keep("rewrite", source, flags, self.rewrite(tree))
        try:
            return compile_tree(rewritten, source, filename, flags)
        except SyntaxError:
            return None

    def rewrite(self, tree: ast.Module) -> ast.Module:
        """The tree with the rewrites that are enabled; a copy."""
        if self.enable_async_lambda_helper:
            tree = rewrite_awaiting_lambdas(tree)
        return rewrite_awaiting_defs(tree) if self.enable_def_await_rewrite else tree

    def _wrapped(self, tree: ast.Module, source: str, filename: str, flags: int) -> CompiledCell | None:
        flags &= FUTURE_FLAGS
        try:
            plain = without_awaits(tree)
            flags |= compile(plain, filename, "exec", flags, dont_inherit=True).co_flags & FUTURE_FLAGS
            wrapped = self._cached("wrap", source, flags)
            if wrapped is None:
                wrapped = self._keep("wrap", source, flags, self.wrap(tree, plain, source))
            module = compile(wrapped, filename, "exec", flags, dont_inherit=True)
        except SyntaxError:
            return None
        body = _unwrapped(next(const for const in module.co_consts if isinstance(const, CodeType)))
        return CompiledCell(source, filename, body, None, future_flags=flags, is_wrapped=True)

    def wrap(self, tree: ast.Module, plain: ast.Module, source: str) -> ast.Module:
        """``async def`` around the statements, in their order, returning (value, ``locals()``).

        Names of the cell are declared ``global``, so that functions of the cell stay bound to the
        live namespace; annotated names cannot be, and come back as locals. ``plain`` is the tree
        without its awaits.
        """
        value: ast.expr = ast.Constant(None)
        kept = tree.body
        if kept and isinstance(final := kept[-1], ast.Expr) and not is_quiet(final, source):
            value, kept = final.value, kept[:-1]
        if self._hoister is not None:
            kept = self._hoister.hoist(ast.Module([*kept, ast.Expr(value)], [])).body[:-1]
        statements = [each for statement in kept for each in _without_future(statement)]
        names = sorted(_module_names(plain) - _annotated_names(tree))
        answer = ast.Return(ast.Tuple([value, _call(LOCALS)], ast.Load()))
        if tree.body:
            ast.copy_location(answer, tree.body[-1])
        function = ast.parse(f"async def {WRAPPER}({LOCALS}): pass").body[0]
        assert isinstance(function, ast.AsyncFunctionDef)
        function.body = [*([ast.Global(names)] if names else []), *statements, answer]
        if tree.body:
            ast.copy_location(function, tree.body[0])
        return ast.fix_missing_locations(ast.Module([function], []))

    def _cached(self, mode: str, source: str, flags: int) -> ast.Module | None:
        return self._cache.get((source, mode, flags))

    def _keep(self, mode: str, source: str, flags: int, tree: ast.Module) -> ast.Module:
        self._cache.put((source, mode, flags), tree)
        return tree

    def __repr__(self) -> str:
        flags = f"def_await={self.enable_def_await_rewrite} async_lambda={self.enable_async_lambda_helper}"
        return f"<FallbackTransformer {flags} hoisting={self._hoister is not None} {self._cache!r}>"


async def run(cell: CompiledCell, manager: NamespaceManager) -> Any:
    """Run a wrapped cell in the manager's namespace and return the value of its final expression.

    What it left in its locals is merged even if it fails. Raises what the cell raises.
    """
    assert cell.is_wrapped
    assert cell.body is not None
    before = manager.snapshot()
    function = FunctionType(cell.body, manager.namespace, "<module>", (builtins.locals,))
    local_names: dict[str, Any] = {}
    try:
        value, local_names = await function()
    except BaseException as error:
        local_names = _locals_at(error, cell.body)
        raise
    finally:
        manager.merge_locals_then_globals(
            {name: value for name, value in local_names.items() if name != LOCALS}, before
        )
    return value


def _locals_at(error: BaseException, code: CodeType) -> dict[str, Any]:
    """The local names of the wrapper's frame, from the traceback that passed through it."""
    trace = traceback_of(error)
    while trace is not None:
        if trace.tb_frame.f_code is code:
            return dict(trace.tb_frame.f_locals)
        trace = trace.tb_next
    return {}


class _AwaitRemover(ast.NodeTransformer):
    """Takes awaits out of the module's own scope, and of comprehensions in it."""

    def visit_Await(self, node: ast.Await) -> ast.AST:
        return self.visit(node.value)  # type: ignore[no-any-return]

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        self.generic_visit(node)
        return _as(ast.For, node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        self.generic_visit(node)
        return _as(ast.With, node)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.is_async = 0
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        node.args = self.visit_arguments(node.args)
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the name that ast gives it

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        if not getattr(node, "type_params", None):  # generic: the bases have a scope of their own
            node.bases = [self.visit(base) for base in node.bases]
            node.keywords = [self.visit(word) for word in node.keywords]
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        node.args = self.visit_arguments(node.args)
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.arguments:
        """Default values belong to the scope around the function, its body and annotations do not."""
        node.defaults = [self.visit(default) for default in node.defaults]
        node.kw_defaults = [default and self.visit(default) for default in node.kw_defaults]
        return node


def without_awaits(tree: ast.Module) -> ast.Module:
    """A copy of the tree in which nothing of the module's own scope awaits."""
    from copy import deepcopy

    module: ast.Module = _AwaitRemover().visit(deepcopy(tree))
    return module


def _as(kind: type[ast.AST], node: ast.AST) -> ast.AST:
    return ast.copy_location(kind(**dict(ast.iter_fields(node))), node)


def _call(name: str) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [], [])


def _without_future(statement: ast.stmt) -> list[ast.stmt]:
    """``from __future__`` may not stand in a function: its flag is given, its names are assigned."""
    if not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
        return [statement]
    assignments = "\n".join(
        f"{alias.asname or alias.name} = __import__('__future__').{alias.name}" for alias in statement.names
    )
    replacement = ast.parse(assignments)
    for node in ast.walk(replacement):
        ast.copy_location(node, statement)
    return replacement.body


def _module_names(tree: ast.Module) -> set[str]:
    """All names of the module's scope, those bound in code that the compiler leaves out (``if 0:``) too."""
    from symtable import symtable

    table = symtable(ast.unparse(tree), "<cell>", "exec")
    return {symbol.get_name() for symbol in table.get_symbols()} - {"__debug__"}


def _annotated_names(tree: ast.Module) -> set[str]:
    return {
        node.target.id
        for node in _walk_own_scope(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _walk_own_scope(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _walk_own_scope(child)


def _unwrapped(code: CodeType) -> CodeType:
    """The wrapper's code under the names that a module's code has."""
    prefix = f"{WRAPPER}.<locals>."
    constants = tuple(_renamed(const, prefix) for const in code.co_consts)
    return code.replace(co_name="<module>", co_qualname="<module>", co_consts=constants)


def _renamed(constant: Any, prefix: str) -> Any:
    if not isinstance(constant, CodeType):
        return constant
    constants = tuple(_renamed(inner, prefix) for inner in constant.co_consts)
    return constant.replace(co_qualname=constant.co_qualname.removeprefix(prefix), co_consts=constants)
