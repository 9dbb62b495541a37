"""Writes the tables of docs/settings.md from ``stateroom.config``: ``python docs/settings_tables.py``.

A table stands between ``<!-- table: SessionConfig -->`` and ``<!-- end of table -->``. A test compares the
page with what this makes, so it cannot be stale.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from stateroom import config

PAGE = Path(__file__).with_name("settings.md")
UNITS = {"_s": "seconds", "_bytes": "bytes", "_chars": "characters", "_lines": "lines", "_cells": "cells"}
ENTRIES = {"code_cache_size", "ast_cache_size", "source_cache_size", "history_size"}
SESSIONS = {"min_size", "max_size"}
COUNTS = {
    "max_routing_concurrency": "tasks",
    "store_keep": "checkpoints",
    "max_restarts_in_a_row": "workers",
    "max_uses": "uses",
}

_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def page_with_tables(page: str) -> str:
    """The text of the page with each table made anew."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{_table(getattr(config, found[2]))}\n\n{found[3]}", page)


def _table(settings: type[msgspec.Struct]) -> str:
    rows = ["| setting | default | unit | environment | meaning |", "|---|---|---|---|---|"]
    for field in msgspec.structs.fields(settings):
        cells = (
            f"`{field.name}`",
            _default(field.default),
            unit_of(field.name, str(field.type)),
            _variable(settings, field.name),
            _meaning(settings.__name__, field.name),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _default(value: Any) -> str:
    if isinstance(value, msgspec.Struct):
        return f"`{type(value).__name__}()`"
    if type(value) is int and value >= 10_000:
        return _large(value)
    return f"`{value!r}`"


def _large(value: int) -> str:
    """A large number as it is best read."""
    for name, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value % size == 0:
            return f"{value // size} {name}"
    return "2 GiB - 1" if value == (1 << 31) - 1 else f"{value:,}"


def unit_of(name: str, kind: str) -> str:
    """What a setting is counted in; "-" for one that is not a number."""
    for suffix, unit in UNITS.items():
        if name.endswith(suffix):
            return unit
    if name in ENTRIES:
        return "entries"
    if name in SESSIONS:
        return "sessions"
    if name in COUNTS:
        return COUNTS[name]
    if "bool" in kind:
        return "yes or no"
    return "names" if "tuple" in kind else "-"


def _variable(settings: Any, name: str) -> str:
    return "-" if name in settings.not_from_env else f"`{settings.env_prefix}{name.upper()}`"


def _meaning(class_name: str, field_name: str) -> str:
    return _docstrings()[class_name, field_name].replace("``", "`").replace("|", "\\|")


def _docstrings() -> dict[tuple[str, str], str]:
    """The text under each field; one text serves the fields above it that have none."""
    tree = ast.parse(Path(config.__file__).read_text(encoding="utf-8"))
    return {
        (node.name, field): " ".join(text.split())
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for field, text in _fields(node)
    }


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    waiting: list[str] = []
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            waiting.append(statement.target.id)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            yield from ((field, str(statement.value.value)) for field in waiting)
            waiting = []


def main() -> None:
    """Write the page."""
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
