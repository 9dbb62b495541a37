"""Cuts a cell that awaits into stretches that await and stretches that do not.

``await a`` followed by ``time.sleep(1)`` is one coroutine to the compiler, and the sleep would hold
the event loop. Statements of a module run one after another in one namespace, so the cell can as
well be run in pieces, and a piece that blocks can be run with the loop out of its way. Nothing is
cut inside a statement.
"""

from __future__ import annotations

import ast
import itertools
import warnings
from builtins import compile  # noqa: A004 - cells may put another in its place
from collections.abc import Callable
from inspect import CO_COROUTINE
from types import CodeType
from typing import TYPE_CHECKING, NamedTuple

from .parsing import parse

if TYPE_CHECKING:
    from .blocking import CallSites
    from .compiler import CompiledCell

__all__ = ["Segment", "split"]


class Segment(NamedTuple):
    """A stretch of a cell."""

    code: CodeType
    """``exec`` code of some statements, or ``eval`` code of the final expression."""
    sites: CallSites | None = None
    """What the blocking detector needs to judge it; None if it is not to be judged."""


def split(cell: CompiledCell, analyse: Callable[[ast.Module], CallSites]) -> tuple[Segment, ...]:
    """The stretches of a cell that has compiled, in order, the final expression last."""
    flags = cell.future_flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were shown when the cell was compiled
        tree = parse(cell.source, cell.filename, flags)
        statements = tree.body if cell.last is None else tree.body[:-1]
        segments = [
            Segment(_compile(stretch, cell.filename, flags), analyse(ast.Module(stretch, [])))
            for stretch in _stretches(statements, cell.filename, flags)
        ]
    if cell.last is not None:
        segments.append(Segment(cell.last, analyse(ast.Module(tree.body[-1:], []))))
    return tuple(segments)


def _stretches(statements: list[ast.stmt], filename: str, flags: int) -> list[list[ast.stmt]]:
    def awaits(statement: ast.stmt) -> bool:
        return bool(_compile([statement], filename, flags).co_flags & CO_COROUTINE)

    stretches = [list(group) for _, group in itertools.groupby(statements, key=awaits)]
    return stretches[:1] + [kept for stretch in stretches[1:] if (kept := _without_leading_text(stretch))]


def _without_leading_text(stretch: list[ast.stmt]) -> list[ast.stmt]:
    """A text at the start would be taken for the docstring of the module."""
    return list(itertools.dropwhile(_is_text, stretch))


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _compile(statements: list[ast.stmt], filename: str, flags: int) -> CodeType:
    code: CodeType = compile(ast.Module(statements, []), filename, "exec", flags, dont_inherit=True)
    return code
