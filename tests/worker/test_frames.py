"""Whose code the main thread is in: one row for each stack, innermost frame first."""

import json
import sys
import traceback
from types import SimpleNamespace

import pytest

from stateroom.engine import text
from stateroom.engine.tracebacks import describe_exception
from stateroom.worker.frames import is_in_engine, is_on_stack

FILES = {
    "user": "<cell 7>",
    "package": pytest.__file__,
    "engine": text.__file__,
    "wait": text.__file__,
    "loop": text.__file__,
    "standard": json.__file__,
    "generated": "<string>",
    "frozen": "<frozen importlib._bootstrap>",
}
CODES = {name: compile(name, file, "eval") for name, file in FILES.items()}
WAITS, RUNS_LOOP = frozenset({CODES["wait"]}), frozenset({CODES["loop"]})


def stack(words):
    frame = None
    for word in reversed(words.split()):
        frame = SimpleNamespace(f_code=CODES[word], f_back=frame)
    return frame


@pytest.mark.parametrize(
    "words",
    [
        "user engine",
        "package engine",
        "standard user engine",
        "frozen user engine",
        "generated package engine",
        "wait engine user engine",
        "wait standard engine user engine",
        "loop engine",
        "standard loop engine",
        "wait engine loop engine",
        "standard",
        "",
    ],
)
def test_not_in_the_engine(words):
    assert not is_in_engine(stack(words), WAITS, RUNS_LOOP)


@pytest.mark.parametrize(
    "words",
    [
        "engine",
        "engine user engine",
        "standard engine user engine",
        "frozen standard engine",
        "generated engine user",
        "engine loop engine",
        "engine wait engine user",
        "wait engine engine",
        "wait engine generated",
    ],
)
def test_in_the_engine(words):
    assert is_in_engine(stack(words), WAITS, RUNS_LOOP)


def look_in(function, call, ask):
    """What ``ask`` says of the frame of ``function`` when ``call()`` comes to it."""
    answers = []

    def look(frame, event, _argument):
        if event == "call" and frame.f_code is function.__code__:
            answers.append(ask(frame))

    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(None)
    return answers[0]


def test_real_frames():
    error = ValueError()
    library = traceback.TracebackException.format_exception_only
    engine = frozenset({describe_exception.__code__})

    def ask(frame):
        return is_in_engine(frame), is_on_stack(frame, engine)

    assert look_in(library, lambda: traceback.format_exception_only(error), ask) == (False, False)
    assert look_in(library, lambda: describe_exception(error, max_chars=1000), ask) == (True, True)
