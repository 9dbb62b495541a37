"""From the text of a cell to code objects, with the meaning the text has in a Python module.

The text is parsed once, with ``PyCF_ALLOW_TOP_LEVEL_AWAIT``, and that one tree is compiled in two
parts: all but a final expression in ``exec`` mode, the final expression in ``eval`` mode so that
its value is kept. Whether a part has to be awaited is read off its ``CO_COROUTINE`` flag. The flag is that
of ``python -m asyncio``, the cut that of IPython.
"""

from __future__ import annotations
import __future__

import ast
import enum
import re
from builtins import compile  # noqa: A004 - cells may put another in its place
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING

from .parsing import parse
from .text import SPACE, add_text, is_quiet, normalise

if TYPE_CHECKING:
    from .cache import CodeCache
    from .fallback import FallbackTransformer
    from .sources import SourceCache

__all__ = ["CompiledCell", "Compiler", "ExecutionMode"]

CO_COROUTINE = 0x80
CO_ASYNC_GENERATOR = 0x200
FUTURE_FLAGS = sum(
    feature.compiler_flag
    for feature in (getattr(__future__, name) for name in __future__.all_feature_names)
    if feature.compiler_flag > 0xFFFF  # older ones share their bits with other meanings
)

_SURROGATE = re.compile("[\ud800-\udfff]")
_SURELY_NO_PARSER_WARNING = re.compile(r"(?!.*[0-9]\.?[a-zA-Z])[^\\\n;=]+")


class ExecutionMode(enum.StrEnum):
    """How a cell is run."""

    TOP_LEVEL_AWAIT = "top_level_await"
    """It awaits at the top level: a coroutine on the running loop."""
    ASYNC_DEF = "async_def"
    """It defines async functions, and runs synchronously."""
    SIMPLE_SYNC = "simple_sync"
    """Plain code."""
    BLOCKING_SYNC = "blocking_sync"
    """Synchronous code that is known to block: the loop has to go on elsewhere."""
    UNKNOWN = "unknown"
    """It does not compile."""


class CompiledCell:
    """The code of one cell under one filename, and the ``future_flags`` for the next. Not to be changed."""

    def __init__(
        self,
        source: str,
        filename: str,
        body: CodeType | None,
        last: CodeType | None,
        *,
        future_flags: int = 0,
        sites: object | None = None,
        is_wrapped: bool = False,
    ) -> None:
        self.source = source
        """The normalised text, as :mod:`linecache` has it."""
        self.filename = filename
        """The name of this run of it in tracebacks."""
        self.body = body
        """``exec`` code of everything but the final expression, or None."""
        self.last = last
        """``eval`` code of the final expression, or None. One that a semicolon follows is a statement."""
        self.future_flags = future_flags
        """``from __future__`` features in force after this cell."""
        self.sites = sites
        """What the ``analyse`` function of the compiler made of the tree."""
        self.is_wrapped = is_wrapped
        """``body`` is the function of the fallback wrapper: see :func:`stateroom.engine.fallback.run`."""
        self.codes = _codes(body, last)
        """The cell's own top-level code objects, for whoever looks for its frames."""
        self.is_coroutine = any(code.co_flags & CO_COROUTINE for code in self.codes)
        """Some part has to be awaited."""
        self.defines_async = any(map(_defines_async, self.codes))
        """The cell has an ``async def`` somewhere."""

    @property
    def mode(self) -> ExecutionMode:
        """How to run the cell, as far as its code alone can tell."""
        if self.is_coroutine:
            return ExecutionMode.TOP_LEVEL_AWAIT
        return ExecutionMode.ASYNC_DEF if self.defines_async else ExecutionMode.SIMPLE_SYNC

    def renamed(self, filename: str) -> CompiledCell:
        """The same cell under another filename, in every code object; this one stays as it is."""
        body, last = self.body and _renamed(self.body, filename), self.last and _renamed(self.last, filename)
        cell: CompiledCell = object.__new__(CompiledCell)
        vars(cell).update(vars(self), filename=filename, body=body, last=last, codes=_codes(body, last))
        return cell

    def __repr__(self) -> str:
        value = "" if self.last is None else " value"
        return f"<CompiledCell {self.filename!r} {self.mode.value} parts={len(self.codes)}{value}>"


class Compiler:
    """Compiles cells; keeps what one cell hands to the next (``from __future__`` features).

    ``analyse`` is called with the whole tree of each new cell; its answer is kept in
    :attr:`CompiledCell.sites`. ``fallback`` is asked about cells that the compiler refuses.
    """

    def __init__(
        self,
        *,
        cache: CodeCache[CompiledCell],
        sources: SourceCache,
        analyse: Callable[[ast.Module], object] | None = None,
        fallback: FallbackTransformer | None = None,
    ) -> None:
        self.cache = cache
        self.sources = sources
        self.future_flags = 0
        self._analyse = analyse
        self._fallback = fallback

    def compile(self, source: str, filename: str) -> CompiledCell:
        """Compile a cell; ``filename`` should name this run of it and no other.

        Raises what CPython raises for this text: ``SyntaxError``, ``ValueError``,
        ``RecursionError``, ``MemoryError`` or ``OverflowError``. Nothing of the cell has run then.
        """
        source = normalise(source)
        self.sources.add(filename, source)  # first: a SyntaxWarning shows its line
        key = (source, "exec", self.future_flags)
        cell = self.cache.get(key)
        if cell is None:
            cell = self._compile_new(source, filename)
            self.cache.put(key, cell)
        elif cell.filename != filename:
            cell = cell.renamed(filename)
        self.future_flags |= cell.future_flags
        return cell

    def _compile_new(self, source: str, filename: str) -> CompiledCell:
        flags = self.future_flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        try:
            return self._compile_new_quickly(source, filename, flags) or self._compile_tree(
                source, filename, flags
            )
        except (RecursionError, MemoryError):
            pass  # too deep for a tree, perhaps not for the compiler; outside of this context
        except SyntaxError as error:
            add_text(error, source, filename)
            raise
        return _compile_text(source, filename, flags)

    def _compile_new_quickly(self, source: str, filename: str, flags: int) -> CompiledCell | None:
        """Without the detour over a tree, which doubles the time, where nobody has to see one."""
        if self._analyse is not None:
            return None
        text = source.rstrip(SPACE)
        if _SURELY_NO_PARSER_WARNING.fullmatch(text, text.rfind("\n") + 1) is None:
            return None
        try:
            return _compile_split(source, filename, flags)
        except (SyntaxError, ValueError):
            return None

    def _compile_tree(self, source: str, filename: str, flags: int) -> CompiledCell:
        tree = parse(source, filename, flags)
        try:
            return compile_tree(tree, source, filename, flags, self._analyse)
        except SyntaxError as error:
            if self._fallback is None:
                raise
            cell = self._fallback.compile(error, tree, source, filename, flags)
            if cell is None:
                raise
            return cell

    def __repr__(self) -> str:
        return f"<Compiler future_flags={self.future_flags:#x} {self.cache!r} {self.sources!r}>"


def compile_tree(
    tree: ast.Module,
    source: str,
    filename: str,
    flags: int,
    analyse: Callable[[ast.Module], object] | None = None,
) -> CompiledCell:
    """Compile a tree in two parts, the final expression apart. ``tree`` is left as it was."""
    statements, final = tree.body, None
    if statements and isinstance(statements[-1], ast.Expr) and not is_quiet(statements[-1], source):
        final = statements[-1]
    body = last = None
    # A text alone is both: the value of the cell, and the docstring of a module.
    head = statements[:-1] if final and not _is_docstring(statements) else statements
    if head:
        part = ast.Module(body=head, type_ignores=[])
        body = compile(part, filename, "exec", flags, dont_inherit=True)
        flags |= body.co_flags & FUTURE_FLAGS
    if final:
        last = compile(ast.Expression(final.value), filename, "eval", flags, dont_inherit=True)
    return CompiledCell(
        source,
        filename,
        body,
        last,
        future_flags=flags & FUTURE_FLAGS,
        sites=analyse(tree) if analyse else None,
    )


def _compile_text(source: str, filename: str, flags: int) -> CompiledCell:
    """For trees too deep for Python objects: CPython's own way, which allows more depth.

    The value of a final expression is kept if the expression has a line to itself.
    """
    try:
        cell = _compile_split(source, filename, flags)
    except (SyntaxError, ValueError):
        cell = None
    if cell is not None:
        return cell
    body = compile(source, filename, "exec", flags, dont_inherit=True)
    return CompiledCell(source, filename, body, None, future_flags=(flags | body.co_flags) & FUTURE_FLAGS)


def _compile_split(source: str, filename: str, flags: int) -> CompiledCell | None:
    """Compile the text before the last line, and the last line as an expression.

    Sound, because a text that compiles has ended all its brackets, strings and blocks, and no
    expression in the first column can continue it: both parts mean what they mean together.
    Raises SyntaxError or ValueError for a part that does not compile, which says nothing about the whole.
    """
    head, newline, final = source.rstrip(SPACE).rpartition("\n")
    if not final or final[0].isspace() or head.endswith("\\"):
        return None
    line = "\n" * (head.count("\n") + len(newline))
    last = compile(line + final, filename, "eval", flags, dont_inherit=True)
    if not last.co_names and isinstance(next(iter(last.co_consts), None), str):
        return None  # a text may be a docstring
    body = None
    if head.strip(SPACE):
        body = compile(head, filename, "exec", flags, dont_inherit=True)
        flags |= body.co_flags
    return CompiledCell(source, filename, body, last, future_flags=flags & FUTURE_FLAGS)


def _is_docstring(statements: list[ast.stmt]) -> bool:
    first = statements[0]
    return (
        len(statements) == 1
        and isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
        and not _SURROGATE.search(first.value.value)  # refused as a docstring from 3.13 on
    )


def _defines_async(code: CodeType) -> bool:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            is_async = constant.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR)
            if (is_async and not constant.co_name.startswith("<")) or _defines_async(constant):
                return True
    return False


def _codes(body: CodeType | None, last: CodeType | None) -> frozenset[CodeType]:
    return frozenset([code for code in (body, last) if code is not None])


def _renamed(code: CodeType, filename: str) -> CodeType:
    if CodeType not in map(type, code.co_consts):
        return code.replace(co_filename=filename)
    constants = tuple(
        [_renamed(value, filename) if isinstance(value, CodeType) else value for value in code.co_consts]
    )
    return code.replace(co_filename=filename, co_consts=constants)
