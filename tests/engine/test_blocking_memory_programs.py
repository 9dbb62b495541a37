"""A remembered verdict is what a fresh look would find, whatever program it is of and whatever changes.

The judge of every test is a second detector, which has seen nothing before.
"""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable
from typing import Any

import pytest
from blocking_corpus import SNIPPETS, Snippet
from blocking_fakes import fake_packages
from blocking_judges import Seen, close_all
from blocking_programs import STATEMENTS
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
def test_L6_L7_a_cell_that_comes_again_is_judged_as_at_first(snippet: Snippet) -> None:
    with fake_packages():
        seen = Seen(snippet.setup, snippet.cell)
        try:
            expected = seen.call_judged_afresh()
            assert [seen.call() for _ in range(2)] == [expected] * 2
            for name, value in list(seen.namespace.items()):
                for other in (len, sys, MISSING_NAME):
                    change(seen.namespace, name, other)
                    assert seen.call() == seen.call_judged_afresh(), (name, other)
                seen.namespace[name] = value
                assert [seen.call() for _ in range(3)] == [expected] * 3
        finally:
            close_all(seen.namespace)


MISSING_NAME = object()


def change(namespace: dict[str, Any], name: str, value: object) -> None:
    if value is MISSING_NAME:
        namespace.pop(name, None)
    else:
        namespace[name] = value


def values() -> dict[str, Callable[[], Any]]:
    """What a name may be bound to in the test below: made anew each time."""

    def sleeper() -> None:
        time.sleep(1)

    def harmless() -> None:
        pass

    def taker(f: Any) -> None:
        f(1)

    class Socket:
        def recv(self) -> None:
            sleeper()

        def get(self) -> Any:
            return self

    def copied(function: types.FunctionType) -> Callable[[], Any]:
        return lambda: types.FunctionType(
            function.__code__, {**globals(), "time": time}, closure=function.__closure__
        )

    return {
        "time": lambda: time,
        "sleep": lambda: time.sleep,
        "sleeper": copied(sleeper),
        "harmless": copied(harmless),
        "taker": copied(taker),
        "Socket": lambda: Socket,
        "instance": Socket,
        "list": lambda: [time.sleep],
        "text": lambda: "text",
        "nothing": lambda: MISSING_NAME,
    }


BOUND = st.sampled_from(["time", "sleep", "requests", "s", "open", "lazy", "f", "socket", "x", "Path"])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(STATEMENTS, min_size=1, max_size=6),
    st.lists(st.tuples(BOUND, st.sampled_from(list(values()))), min_size=1, max_size=8),
    st.integers(0, 3),
)
def test_no_change_of_names_is_missed(
    lines: list[str], changes: list[tuple[str, str]], runs_between: int
) -> None:
    try:
        seen = Seen("", "\n".join(lines))
    except SyntaxError:  # a walrus where none may be
        return
    made = values()
    for name, key in changes:
        change(seen.namespace, name, made[key]())
        assert seen.call() == seen.call_judged_afresh()
        for _ in range(runs_between):
            seen.call()
