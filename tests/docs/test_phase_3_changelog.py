"""docs/PHASE_3_CHANGELOG.md has an entry for each pull request, with its parts; test_places.py has the rest."""

from __future__ import annotations

import re

from named_tests import ROOT

PAGE = (ROOT / "docs" / "PHASE_3_CHANGELOG.md").read_text(encoding="utf-8")


def test_there_is_an_entry_for_each_pull_request_with_its_parts() -> None:
    entries = re.split(r"^## PR (\d+) · ", PAGE, flags=re.MULTILINE)[1:]
    assert [int(number) for number in entries[::2]] == list(range(1, 13))
    for number, text in zip(entries[::2], entries[1::2], strict=True):
        assert all(f"**{part}.**" in text for part in ("Behaviour", "Where", "Decisions")), f"PR {number}"
        assert len(re.findall(r"`tests/[\w/]+\.py::\w+`", text)) >= 4, f"PR {number}"
