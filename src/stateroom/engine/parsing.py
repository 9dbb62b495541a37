"""From the text of a cell to its tree."""

from __future__ import annotations

import ast
import sys
from builtins import compile  # noqa: A004 - cells may put another in its place

__all__ = ["parse"]

RACES_LOST = 20
"""So many in a row are no accident."""


def parse(source: str, filename: str, flags: int) -> ast.Module:
    """The tree of a text; raises what CPython raises for it.

    CPython 3.11 has one count of depth for all threads: if another one builds a tree while the garbage
    collector runs in the middle of this, it ends in a SystemError that means nothing (gh-106905).
    """
    for _ in range(RACES_LOST if sys.version_info < (3, 12) else 0):
        try:
            return _parse(source, filename, flags)
        except SystemError:
            pass
    return _parse(source, filename, flags)


def _parse(source: str, filename: str, flags: int) -> ast.Module:
    tree = compile(source, filename, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree
