"""Every file and test that docs/PHASE_3_CHANGELOG.md names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "PHASE_3_CHANGELOG.md").read_text(encoding="utf-8")


def test_there_is_an_entry_for_each_pull_request_with_its_parts() -> None:
    entries = re.split(r"^## PR (\d+) · ", PAGE, flags=re.MULTILINE)[1:]
    assert [int(number) for number in entries[::2]] == list(range(1, 13))
    for number, text in zip(entries[::2], entries[1::2], strict=True):
        assert all(f"**{part}.**" in text for part in ("Behaviour", "Where", "Decisions")), f"PR {number}"
        assert len(named_tests(text)) >= 4 or "**Measures.**" in text, f"PR {number}"


def test_every_test_it_names_exists() -> None:
    missing = [f"{file}::{name}" for file, name in named_tests(PAGE) if name not in functions_of(ROOT / file)]
    assert not missing


def test_every_file_it_names_exists() -> None:
    places = [
        name for line in PAGE.splitlines() for name in re.findall(r"`((?:[\w.]+/)+[\w.]*|[\w]+\.yml)`", line)
    ]
    commands = re.findall(r"`python (\S+\.py)`", PAGE)
    assert len(places) > 20
    missing = [
        name
        for name in [*places, *commands]
        if not (ROOT / name).exists() and not (ROOT / "src" / "stateroom" / name).exists()
    ]
    assert not missing


def named_tests(text: str) -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)


def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8")) if file.exists() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
