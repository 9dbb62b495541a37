"""The detector against the corpus of labelled cells."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from blocking_corpus import SNIPPETS, Snippet
from blocking_fakes import fake_packages, no_packages
from blocking_judges import close_all, parse

from stateroom.config import EngineConfig
from stateroom.engine.blocking import BlockingDetector
from stateroom.engine.telemetry import Telemetry


def judge(snippet: Snippet) -> str | None:
    """The call that the detector finds in the cell of a snippet, after its set-up has run."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    detector = BlockingDetector(EngineConfig(), Telemetry())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = parse(snippet.cell)
        exec(compile(snippet.setup, "<cell 1>", "exec"), namespace)
    try:
        verdict = detector.verdict(detector.analyse(tree), namespace)
        return None if verdict is None else verdict.call
    finally:
        close_all(namespace)


@pytest.mark.parametrize("snippet", [s for s in SNIPPETS if not s.known_wrong], ids=str)
def test_L6_L7_each_cell_is_judged_as_labelled(snippet: Snippet) -> None:
    with fake_packages():
        assert judge(snippet) == snippet.call


@pytest.mark.parametrize("snippet", [s for s in SNIPPETS if not s.setup and not s.known_wrong], ids=str)
def test_L6_L7_a_cell_that_imports_for_the_first_time_is_judged_the_same(snippet: Snippet) -> None:
    with no_packages():
        assert judge(snippet) == snippet.call


@pytest.mark.parametrize("snippet", [s for s in SNIPPETS if s.known_wrong], ids=str)
def test_the_known_errors_are_still_errors(snippet: Snippet) -> None:
    """Whoever mends one moves its entry to the lists that are checked."""
    with fake_packages():
        assert judge(snippet) != snippet.call


def test_precision_and_recall_reach_their_aims() -> None:
    with fake_packages():
        judged = [(judge(snippet) is not None, snippet.call is not None) for snippet in SNIPPETS]
    hits = judged.count((True, True))
    assert len(judged) >= 150
    assert hits / (hits + judged.count((True, False))) >= 0.98
    assert hits / (hits + judged.count((False, True))) >= 0.95
