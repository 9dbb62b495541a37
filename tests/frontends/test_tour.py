"""The tour that ``make run`` gives shows what it says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TOUR = str(Path(__file__).parents[2] / "examples" / "tour.py")


@pytest.mark.parametrize(
    ("answer", "name"), [("Ada\n", "Ada"), ("", "nobody")], ids=["answered", "nobody there"]
)
def test_the_tour(stateroom, answer, name):
    done = stateroom("run", TOUR, stdin=answer)
    assert done.returncode == 0
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    value = ast.literal_eval(done.stdout.splitlines()[-1])
    assert value == {"name": name, "doubled": [0, 2, 4], "ticked": True}
