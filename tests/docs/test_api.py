"""The API reference shows every public name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import stateroom
import stateroom.testing
from stateroom import errors
from stateroom.session import launcher

DOCS = Path(__file__).parents[2] / "docs"
SHOWN = set(
    re.findall(r"^::: stateroom\.[\w.]*\.(\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
)
SETTINGS = set(
    re.findall(r"^<!-- table: (\w+) -->$", (DOCS / "settings.md").read_text(encoding="utf-8"), re.MULTILINE)
)
ERRORS = {name for name in vars(errors) if name[0].isupper()}
"""They are shown by the page as one module."""


@pytest.mark.parametrize("name", [*stateroom.__all__, *launcher.__all__, *stateroom.testing.__all__])
def test_a_public_name_is_in_the_reference(name: str) -> None:
    assert name in SHOWN | SETTINGS | ERRORS


def test_the_errors_are_shown_as_a_whole() -> None:
    assert "::: stateroom.errors\n" in (DOCS / "api.md").read_text(encoding="utf-8")
