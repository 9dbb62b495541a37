"""What docstrings refer to by its full name is there."""

from __future__ import annotations

import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

SOURCES = [path.read_text(encoding="utf-8") for path in (Path(__file__).parents[2] / "src").rglob("*.py")]
ROLE = re.compile(r":(?:class|meth|func|mod|attr|data|exc):`~?(stateroom\.[\w.]+)`")
REFERENCES = sorted({reference for text in SOURCES for reference in ROLE.findall(text)})


def test_docstrings_refer_to_something() -> None:
    assert len(REFERENCES) > 10


@pytest.mark.parametrize("reference", REFERENCES)
def test_what_a_docstring_refers_to_is_there(reference: str) -> None:
    if reference.startswith("stateroom.integration."):
        pytest.importorskip("resonate")
    resolve_name(reference)
