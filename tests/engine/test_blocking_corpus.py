"""The detector against the corpus of labelled cells."""

from __future__ import annotations

import ast
import importlib.util
import warnings
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stateroom.config import EngineConfig
from stateroom.engine.blocking import BlockingDetector
from stateroom.engine.telemetry import Telemetry

FLAGS = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


corpus = _load("blocking_corpus")
fakes = _load("blocking_fakes")


def judge(snippet: Any) -> str | None:
    """The call that the detector finds in the cell of a snippet, after its set-up has run."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    detector = BlockingDetector(EngineConfig(), Telemetry())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = compile(snippet.cell, "<cell 2>", "exec", FLAGS)
        exec(compile(snippet.setup, "<cell 1>", "exec"), namespace)
    assert isinstance(tree, ast.Module)
    try:
        verdict = detector.verdict(detector.analyse(tree), namespace)
        return None if verdict is None else verdict.call
    finally:
        _close(namespace)


def _close(namespace: dict[str, Any]) -> None:
    for name in ("shutdown", "close"):
        for value in [
            *namespace.values(),
            *namespace.get("dbs", {}).values(),
            getattr(namespace.get("c"), "s", None),
        ]:
            if not isinstance(value, ModuleType | type) and isinstance(
                getattr(type(value), name, None), object
            ):
                with suppress(Exception):
                    getattr(value, name)()


@pytest.mark.parametrize("snippet", [s for s in corpus.SNIPPETS if not s.known_wrong], ids=str)
def test_L6_L7_each_cell_is_judged_as_labelled(snippet: Any) -> None:
    with fakes.fake_packages():
        assert judge(snippet) == snippet.call


@pytest.mark.parametrize(
    "snippet", [s for s in corpus.SNIPPETS if not s.setup and not s.known_wrong], ids=str
)
def test_L6_L7_a_cell_that_imports_for_the_first_time_is_judged_the_same(snippet: Any) -> None:
    with fakes.no_packages():
        assert judge(snippet) == snippet.call


@pytest.mark.parametrize("snippet", [s for s in corpus.SNIPPETS if s.known_wrong], ids=str)
def test_the_known_errors_are_still_errors(snippet: Any) -> None:
    """Whoever mends one moves its entry to the lists that are checked."""
    with fakes.fake_packages():
        assert judge(snippet) != snippet.call


def test_precision_and_recall_reach_their_aims() -> None:
    with fakes.fake_packages():
        judged = [(judge(snippet) is not None, snippet.call is not None) for snippet in corpus.SNIPPETS]
    hits = judged.count((True, True))
    assert len(judged) >= 150
    assert hits / (hits + judged.count((True, False))) >= 0.98
    assert hits / (hits + judged.count((False, True))) >= 0.95
