"""What docs/api.md shows, by the lines that mkdocstrings reads."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "api.md").read_text(encoding="utf-8")
PLACES = re.findall(
    r"^::: (stateroom\.[\w.]*\.\w+)$", PAGE.replace("::: stateroom.errors\n", ""), re.MULTILINE
)
SHOWN = {place.rpartition(".")[2] for place in PLACES}
EXTRAS = {
    "stateroom.integration.": "resonate",
    "stateroom.integration.postgres": "resonate_pg",
    "stateroom.integration.durable_w": "resonate_pg",
    "stateroom.integration.durable_client": "resonate_pg",
}


def shown(place: str) -> Any:
    """The object that a line of the page shows; skips the test if an extra is missing."""
    for part, package in EXTRAS.items():
        if place.startswith(part):
            pytest.importorskip(package)
    module, _, name = place.rpartition(".")
    return getattr(importlib.import_module(module), name)
