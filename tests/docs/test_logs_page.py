"""docs/logs.md names every logger and every event with its level and its fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
TREES = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "src").rglob("*.py")]
LEVELS = {"exception": "error"}

Event = tuple[str, str, str, frozenset[str]]


def calls_in(tree: ast.Module, pattern: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and re.fullmatch(pattern, ast.unparse(node.func)):
            yield node


def loggers_of(tree: ast.Module) -> list[str]:
    calls = calls_in(tree, r"get_logger|logging\.getLogger")
    return [call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)]


def events_logged() -> Iterator[Event]:
    for tree in TREES:
        for call in calls_in(tree, r"log\.\w+"):
            assert isinstance(call.func, ast.Attribute)
            level = LEVELS.get(call.func.attr, call.func.attr)
            fields = frozenset(each.arg for each in call.keywords if each.arg) - {"exc_info"}
            yield loggers_of(tree)[0], ast.literal_eval(call.args[0]), level, fields


def events_shown() -> Iterator[Event]:
    for section in PAGE.split("\n## `")[1:]:
        for event, level, fields in re.findall(
            r"^\| `(\w+)` \| (\w+) \| .* \| ([^|]+) \|$", section, re.MULTILINE
        ):
            yield section.partition("`")[0], event, level, frozenset(re.findall(r"`(\w+)`", fields))


def test_the_page_names_every_logger() -> None:
    assert set(re.findall(r"^## `(.+)`$", PAGE, re.MULTILINE)) == {
        name for tree in TREES for name in loggers_of(tree)
    }


def test_the_page_names_every_event_with_its_level_and_fields() -> None:
    assert set(events_shown()) == set(events_logged())
