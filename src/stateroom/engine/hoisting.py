"""Binding the safe imports and functions of a cell first; behind a flag, off by default.

Used by the fallback wrapper only. A statement is moved to the front (behind a docstring and
``from __future__`` imports) if all of this holds; the moved ones keep their order, and so do the
others:

- it stands at the top level and is an ``import``, ``from … import`` of a module that is loaded
  already, so that no code of it runs earlier, or a ``def`` or ``async def`` without decorators
  whose default values and annotations are constants or names;
- no other statement of the cell binds or deletes a name that it binds, nor is that name a builtin
  or bound before the cell (a reader above the statement would see another object);
- no statement above it that stays reads such a name, in its own scope, in a function in it or in a
  function of the cell that it names, or binds a name that it needs while it runs, or looks at the
  namespace as a whole (``exec``, ``eval``, ``globals``, ``locals``, ``vars``, ``dir``, ``from …
  import *``).

So a program that runs to its end means the same either way. What remains visible: when a statement
raises, names further down may be bound already; and a function of an earlier cell finds a name that
nobody has bound yet. An assignment, ``type X = …`` and ``X: TypeAlias =
…`` among them, is never moved; which names a statement binds and reads is asked of :mod:`symtable`.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Container, Iterable
from symtable import SymbolTable, symtable
from typing import NamedTuple

__all__ = ["Hoister"]

WHOLE_NAMESPACE = frozenset({"exec", "eval", "globals", "locals", "vars", "dir", "__import__", "*"})


class Names(NamedTuple):
    """Module-level names that a statement binds (or deletes) and reads, nested functions included."""

    binds: frozenset[str]
    reads: frozenset[str]


class Hoister:
    """Reorders the statements of a module; ``bound`` are the names bound before the cell runs."""

    def __init__(self, bound: Container[str] = ()) -> None:
        self._bound = bound

    def hoist(self, tree: ast.Module) -> ast.Module:
        """A module with the same statements, the safe imports and functions first."""
        start = _prefix_length(tree.body)
        names = _with_reads_of_functions([_names(statement) for statement in tree.body])
        moved: list[int] = []
        for index in range(start, len(tree.body)):
            stay = [names[above] for above in range(start, index) if above not in moved]
            others = [names[other] for other in range(len(names)) if other != index]
            if self._is_safe(tree.body[index], names[index], stay, others):
                moved.append(index)
        rest = [index for index in range(start, len(tree.body)) if index not in moved]
        order = [*range(start), *moved, *rest]
        return ast.Module([tree.body[index] for index in order], tree.type_ignores)

    def _is_safe(
        self, statement: ast.stmt, own: Names | None, stay: list[Names | None], others: list[Names | None]
    ) -> bool:
        needs = _needs(statement)
        if own is None or needs is None or any(self._is_taken(name) for name in own.binds):
            return False
        return all(
            other is not None and not own.binds & other.binds and not other.binds & {"*"} for other in others
        ) and all(
            above is not None
            and not above.reads & (own.binds | needs.touches | WHOLE_NAMESPACE)
            and not above.binds & needs.reads
            for above in stay
        )

    def _is_taken(self, name: str) -> bool:
        return name in self._bound or hasattr(builtins, name)

    def __repr__(self) -> str:
        return f"<Hoister bound={self._bound!r}>"


class _Needs(NamedTuple):
    """What a statement reads while it runs, and the names through which others could alter that."""

    reads: frozenset[str]
    touches: frozenset[str]


def _needs(statement: ast.stmt) -> _Needs | None:
    """None for a statement that is not to be moved at all."""
    if isinstance(statement, ast.Import):
        modules = [alias.name for alias in statement.names]
        return _Needs(frozenset(), _roots(modules)) if all(map(_is_loaded, modules)) else None
    if isinstance(statement, ast.ImportFrom):
        return _needs_of_import_from(statement)
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return _needs_of_function(statement)
    return None


def _needs_of_import_from(statement: ast.ImportFrom) -> _Needs | None:
    module = statement.module
    if module is None or statement.level or not _is_loaded(module):
        return None
    loaded = sys.modules[module]
    if any(alias.name not in vars(loaded) for alias in statement.names):
        return None
    return _Needs(frozenset(), _roots([module]))


def _needs_of_function(statement: ast.FunctionDef | ast.AsyncFunctionDef) -> _Needs | None:
    if statement.decorator_list or getattr(statement, "type_params", None):
        return None
    immediate = [
        *statement.args.defaults,
        *filter(None, statement.args.kw_defaults),
        *_annotations(statement),
    ]
    if not all(isinstance(node, ast.Constant | ast.Name) for node in immediate):
        return None
    return _Needs(frozenset(node.id for node in immediate if isinstance(node, ast.Name)), frozenset())


def _annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterable[ast.expr]:
    arguments = function.args
    every = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    annotations = [argument.annotation for argument in every if argument is not None]
    return [node for node in [*annotations, function.returns] if node is not None]


def _is_loaded(module: str) -> bool:
    parts = module.split(".")
    return all(".".join(parts[:count]) in sys.modules for count in range(1, len(parts) + 1))


def _roots(modules: Iterable[str]) -> frozenset[str]:
    return frozenset({"sys", *(module.partition(".")[0] for module in modules)})


def _prefix_length(statements: list[ast.stmt]) -> int:
    """How many statements at the start have to stay there: a docstring and ``from __future__``."""
    count = 0
    if statements and isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant):
        count = 1
    while count < len(statements) and _is_future(statements[count]):
        count += 1
    return count


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def _names(statement: ast.stmt) -> Names | None:
    """Asks :mod:`symtable`; None if the statement alone makes no program."""
    if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
        return Names(frozenset("*"), frozenset("*"))
    try:
        table = symtable(_without_await(statement), "<statement>", "exec")
    except (SyntaxError, ValueError, RecursionError):
        return None
    symbols = list(_module_symbols(table))
    return Names(
        frozenset(name for name, binds in symbols if binds),
        frozenset(name for name, binds in symbols if not binds),
    )


def _without_await(statement: ast.stmt) -> str:
    """Source that uses the same names; symtable of 3.14 refuses await outside of a coroutine."""
    return ast.unparse(_Synchronous().visit(ast.parse(ast.unparse(statement))))


class _Synchronous(ast.NodeTransformer):
    """Puts its synchronous twin in the place of each asynchronous construct."""

    def visit_Await(self, node: ast.Await) -> ast.AST:
        return self.visit(node.value)  # type: ignore[no-any-return]

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        return ast.For(**vars(self.generic_visit(node)))

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        return ast.With(**vars(self.generic_visit(node)))

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        node.is_async = 0
        return self.generic_visit(node)


def _with_reads_of_functions(names: list[Names | None]) -> list[Names | None]:
    """Who reads a name may call it: what the statement that binds it reads is added, to the end."""
    reached: dict[str, frozenset[str]] = {}
    for each in filter(None, names):
        for name in each.binds:
            reached[name] = reached.get(name, frozenset()) | each.reads
    return [each and Names(each.binds, _closure(each.reads, reached)) for each in names]


def _closure(start: frozenset[str], reached: dict[str, frozenset[str]]) -> frozenset[str]:
    found, left = set(start), list(start)
    while left:
        new = reached.get(left.pop(), frozenset()) - found
        found |= new
        left += new
    return frozenset(found)


def _module_symbols(table: SymbolTable) -> Iterable[tuple[str, bool]]:
    """(name, is it bound) for each use of a module-level name in the table and below it."""
    top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if top or symbol.is_global():
            if symbol.is_assigned() or symbol.is_imported():
                yield symbol.get_name(), True
            if symbol.is_referenced():
                yield symbol.get_name(), False
    for child in table.get_children():
        yield from _module_symbols(child)
