"""Every file of this project that a page names exists, and so does every test and every target of make."""

from __future__ import annotations

import re

import pytest
from named_tests import ROOT, not_collected

PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PARTS = sorted(part.name for part in (ROOT / "src" / "stateroom").iterdir() if part.is_dir())
AT_THE_TOP = ("benchmarks", "docs", "examples", "tests", "tools")
PLACE = re.compile(rf"\b(?:{'|'.join([*PARTS, *AT_THE_TOP])})/[\w/]*(?:\.\w+)?")
EXAMPLES = {"tests/engine/test_x.py"}
"""Names that stand for others."""
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pages
def test_files_exist(page):
    named = set(PLACE.findall(page.read_text(encoding="utf-8"))) - EXAMPLES
    assert not [name for name in named if not is_there(name)]


def test_files_are_named_at_all():
    assert sum(len(PLACE.findall(page.read_text(encoding="utf-8"))) for page in PAGES) > 100


@pages
def test_tests_exist(page):
    named = re.findall(r"`(tests/[\w/]+\.py::\w+)`", page.read_text(encoding="utf-8"))
    assert not not_collected(named)


@pages
def test_targets_of_make_exist(page):
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)) <= TARGETS


def is_there(name: str) -> bool:
    return any((folder / name).exists() for folder in (ROOT, ROOT / "src" / "stateroom", ROOT / "docs"))
