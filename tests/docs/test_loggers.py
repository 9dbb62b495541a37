"""docs/architecture.md names every logger."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("\n## Logs\n")[2]


def test_the_page_names_the_loggers_that_there_are() -> None:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    used = {name for text in sources for name in re.findall(r"get_?[lL]ogger\(\"([\w.]+)\"\)", text)}
    assert set(re.findall(r"`(stateroom\.\w+)`", SECTION.partition("\n## ")[0])) == used
