"""The compile matrix of docs/async_execution.md, checked on the Python that runs this."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import warnings
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "async_execution.md"
VERSION = ".".join(map(str, sys.version_info[:2]))


def rows() -> list[tuple[str, str]]:
    table = (
        PAGE.read_text(encoding="utf-8").partition("<!-- matrix -->")[2].partition("<!-- end of matrix")[0]
    )
    head, _, *lines = [line.strip("| ").split(" | ") for line in table.split("\n") if line.startswith("|")]
    column = head.index(VERSION) if VERSION in head else 0
    return [(line[0].strip("`"), line[column]) for line in lines] if column else []


def made_of(text: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = compile(text, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        except SyntaxError:
            return "error"
    return "coroutine" if code.co_flags & inspect.CO_COROUTINE else "plain"


@pytest.mark.parametrize(
    ("text", "stated"), rows() or [pytest.param("", "", marks=pytest.mark.skip(f"no column for {VERSION}"))]
)
def test_the_column_of_this_python(text: str, stated: str) -> None:
    assert made_of(text) == stated


def test_there_is_a_row_for_each_outcome() -> None:
    assert re.search(r"\| coroutine \| coroutine \| coroutine \| plain \|", PAGE.read_text(encoding="utf-8"))
    assert not rows() or {stated for _, stated in rows()} == {"coroutine", "plain", "error"}
