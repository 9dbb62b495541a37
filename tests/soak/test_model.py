"""What the soak checks sessions against does notice what is wrong."""

import importlib
from collections import Counter
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools" / "soak"


@pytest.fixture
def part(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module


@pytest.mark.parametrize("seen", [[1], [1, 2, 2], [2, 1], [1, 2, 3], []])
def test_a_cell_that_was_lost_doubled_or_swapped_is_noticed(part, seen):
    trail = part("trail").Trail()
    trail.ran(1)
    trail.ran(2)
    with pytest.raises(part("trail").TrailError, match="possible ends"):
        trail.observe(seen)
    trail.observe([1, 2])


def test_a_cancelled_cell_may_have_run_but_only_once(part):
    trail = part("trail").Trail()
    trail.may_have_run(1)
    trail.ran(2)
    trail.observe([2])
    with pytest.raises(part("trail").TrailError):
        trail.observe([1, 2])


def test_a_new_worker_begins_with_the_last_checkpoint(part):
    trail = part("trail").Trail()
    trail.ran(1)
    trail.saved()
    trail.ran(2)
    trail.lost()
    for wrong in ([], [1, 2]):
        with pytest.raises(part("trail").TrailError):
            trail.observe(wrong)
    trail.observe([1])


def test_automatic_checkpoints_lose_no_more_than_promised(part):
    trail = part("trail").Trail(every_cells=2)
    numbers = list(range(1, 101))
    for number in numbers:
        trail.ran(number)
    trail.lost()
    with pytest.raises(part("trail").TrailError):
        trail.observe(numbers[:10])
    trail.observe(numbers[:98])


def test_what_has_grown_is_a_leak(part):
    census = part("census")
    kept = {"tasks": ["a"], "files": [], "processes": {1: "x"}, "kinds": Counter(Session=1)}
    before = census.Census(
        at_s=0, memory_bytes=0, worker_bytes=0, blocks=0, worker_blocks=0, fds=5, threads=1, objects=9, **kept
    )
    assert census.leaks(before, before) == []
    grown = {
        "tasks": ["a", "b"],
        "files": ["f"] * 60,
        "processes": {1: "x", 2: "y"},
        "kinds": Counter(Session=9),
    }
    after = census.Census(
        at_s=9,
        memory_bytes=0,
        worker_bytes=0,
        blocks=0,
        worker_blocks=0,
        fds=6,
        threads=99,
        objects=9,
        **grown,
    )
    assert [text.split(":")[0].split()[0] for text in census.leaks(before, after)] == [
        "fds",
        "tasks",
        "threads",
        "processes",
        "objects",
        "files",
    ]


@pytest.mark.parametrize(("mb_per_min", "leaks"), [(0.0, False), (0.2, False), (2.0, True)])
def test_memory_that_climbs_is_a_leak(part, mb_per_min, leaks):
    census = part("census")
    rest = {
        "tasks": [],
        "files": [],
        "processes": {},
        "kinds": Counter(),
        "fds": 0,
        "threads": 1,
        "objects": 0,
    }
    rest |= {"blocks": 0, "worker_blocks": 0}
    line = [
        census.Census(at_s=60 * m, memory_bytes=int(5e7 + 1e6 * mb_per_min * m), worker_bytes=0, **rest)
        for m in range(30)
    ]
    assert (census.memory_leak(line) is not None) is leaks


def test_blocks_that_multiply_are_a_leak_at_once(part):
    census = part("census")
    rest = {
        "tasks": [],
        "files": [],
        "processes": {},
        "kinds": Counter(),
        "fds": 0,
        "threads": 1,
        "objects": 0,
    }
    line = [
        census.Census(
            at_s=m, memory_bytes=0, worker_bytes=0, blocks=200_000, worker_blocks=99_000 * m, **rest
        )
        for m in range(1, 6)
    ]
    assert "worker_blocks" in census.memory_leak(line)


def test_an_outcome_that_cannot_be_is_noticed(part):
    from stateroom import ExecutionResult

    judge, cell = part("judge"), part("cells").Cell("sync", "1", value=1, stdout="a\n")
    good = ExecutionResult(execution_id="c1", value=1, stdout="a\n")
    judge.check_cell(judge.Outcome(cell, 1, good, "ok"), set())
    for result in (
        ExecutionResult(execution_id="c1", value=2, stdout="a\n"),
        ExecutionResult(execution_id="c1", value=1, stdout=""),
        ExecutionResult(execution_id="c1", value=1, stdout="a\n", stderr="x"),
    ):
        with pytest.raises(AssertionError):
            judge.check_cell(judge.Outcome(cell, 1, result, "ok"), set())
    with pytest.raises(AssertionError, match="cancelled"):
        judge.check_cell(judge.Outcome(cell, 1, good, "cancelled"), {"kill"})
