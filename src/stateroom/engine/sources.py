"""The sources of cells, where tracebacks, warnings, debuggers and ``inspect`` look for them.

Each cell is registered in :mod:`linecache` under its own filename, with no modification time:
``linecache.checkcache()`` leaves such entries alone. Classes need one thing more: a class in
``__main__`` names no file, so :func:`install` teaches ``inspect.getfile`` to ask the cells.
"""

from __future__ import annotations

import ast
import linecache
from collections import OrderedDict
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

__all__ = ["SourceCache", "install"]


class SourceCache:
    """Sources of the last ``max_size`` cells by filename, mirrored into :mod:`linecache`."""

    def __init__(self, max_size: int = 4096) -> None:
        self._sources: OrderedDict[str, str] = OrderedDict()
        self._max_size = max_size

    def add(self, filename: str, source: str) -> None:
        """Register a cell, and forget the oldest if there are too many.

        ``source`` has line feeds for line ends; other line separators of ``str.splitlines`` do not end
        a line for Python's tokenizer and must not end one here.
        """
        if self._max_size <= 0:
            return
        lines = [line + "\n" for line in source.split("\n")]
        linecache.cache[filename] = (len(source), None, lines, filename)
        self._sources[filename] = source
        self._sources.move_to_end(filename)
        while len(self._sources) > self._max_size:
            self.discard(next(iter(self._sources)))

    def discard(self, filename: str) -> None:
        """Forget a cell, here and in :mod:`linecache`."""
        if self._sources.pop(filename, None) is not None:
            linecache.cache.pop(filename, None)

    def get(self, filename: str) -> str | None:
        """The source of a cell, or None if it is not, or no longer, known."""
        return self._sources.get(filename)

    def clear(self) -> None:
        """Forget all cells."""
        for filename in list(self._sources):
            self.discard(filename)

    def file_of_class(self, cls: type) -> str | None:
        """The filename of the cell that defined ``cls``, or None.

        The class's own methods name it for certain. A class without methods is looked up by its
        ``class`` statement, newest cell first.
        """
        return self._file_by_methods(cls) or self._file_by_statement(cls)

    def _file_by_methods(self, cls: type) -> str | None:
        for member in list(vars(cls).values()):
            code = getattr(getattr(member, "__func__", member), "__code__", None)
            if not isinstance(code, CodeType) or code.co_filename not in self._sources:
                continue
            if code.co_qualname.startswith(f"{cls.__qualname__}."):
                return code.co_filename
        return None

    def _file_by_statement(self, cls: type) -> str | None:
        for filename, source in reversed(list(self._sources.items())):
            if cls.__name__ in source and _defines_class(source, cls):
                return filename
        return None

    def __contains__(self, filename: object) -> bool:
        return filename in self._sources

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._sources))

    def __len__(self) -> int:
        return len(self._sources)

    def __repr__(self) -> str:
        return f"<SourceCache {len(self)}/{self._max_size}>"


def _defines_class(source: str, cls: type) -> bool:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    first_line = vars(cls).get("__firstlineno__")  # 3.13 and later
    return any(
        name == cls.__qualname__ and first_line in (None, line) for name, line in _class_statements(tree)
    )


def _class_statements(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Qualified name and first line (decorators included) of each class statement below ``node``."""
    for child in ast.iter_child_nodes(node):
        inner = prefix
        if isinstance(child, ast.ClassDef):
            first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
            yield prefix + child.name, first
            inner = f"{prefix}{child.name}."
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{prefix}{child.name}.<locals>."
        yield from _class_statements(child, inner)


def install(sources: SourceCache) -> Callable[[], None]:
    """Let ``inspect.getfile``, and so ``inspect.getsource``, find the classes of cells.

    Wraps ``inspect.getfile``; nothing is done until somebody asks for the file of a class that
    lives in ``__main__``. Returns a function that takes the wrapper out again.
    """
    import inspect

    original = inspect.getfile

    def getfile(object: Any) -> str:  # noqa: A002 - the name that inspect.getfile gives it
        if isinstance(object, type) and getattr(object, "__module__", None) == "__main__":
            filename = sources.file_of_class(object)
            if filename is not None:
                return filename
        return original(object)

    def uninstall() -> None:
        if inspect.getfile is getfile:
            inspect.getfile = original

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(getfile, name, getattr(original, name))
    inspect.getfile = getfile
    return uninstall
