"""Names of tests as pages and commands give them: ``tests/folder/test_file.py::test_name``."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[2]


def not_collected(names: list[str]) -> list[str]:
    """Those of the names that pytest would not find."""
    return [name for name in names if name.partition("::")[2] not in _collected_from(name.partition("::")[0])]


@functools.cache
def _collected_from(file: str) -> frozenset[str]:
    path = ROOT / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.exists() else ast.Module([], [])
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test"))
