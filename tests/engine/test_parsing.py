"""The tree of a cell, in spite of what CPython 3.11 may say."""

import ast
import sys

import pytest

from stateroom.engine import parsing


def interrupted(times):
    """``compile`` as it is when another thread was faster, so often."""
    left = [times]

    def compile_or_fail(*arguments, **settings):
        if left[0]:
            left[0] -= 1
            raise SystemError("AST constructor recursion depth mismatch (before=30, after=57)")
        return compile(*arguments, **settings)

    return compile_or_fail


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="mended in CPython 3.12")
def test_a_count_that_another_thread_has_changed_is_no_error_of_the_cell(monkeypatch):
    monkeypatch.setattr(parsing, "compile", interrupted(3))
    assert ast.unparse(parsing.parse("a = 1", "<cell>", 0)) == "a = 1"


def test_one_that_stays_is_raised(monkeypatch):
    monkeypatch.setattr(parsing, "compile", interrupted(10_000))
    with pytest.raises(SystemError, match="recursion depth"):
        parsing.parse("a = 1", "<cell>", 0)
