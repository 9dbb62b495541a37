"""kill -9 of the client, the worker and both, anywhere in ten cells: the run ends as an undisturbed one."""

from __future__ import annotations

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")
pytest.importorskip("typer", reason="the run is started by the stateroom command, which needs typer")

from ten_cells import EXPECTED, Run, check_traces, killed_once

WHOM = ("client", "worker", "both")


def test_an_undisturbed_run(tmp_path):
    run = Run(tmp_path)
    assert run.to_its_end(run.start()) == EXPECTED
    check_traces(run)
    assert run.traces().total() == 11
    assert run.to_its_end(run.start()) == EXPECTED
    assert run.traces().total() == 11


@pytest.mark.parametrize("seed", range(10))
def test_a_kill(tmp_path, seed):
    killed_once(tmp_path, WHOM[seed % 3], seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_two_hundred_kills(tmp_path, seed):
    killed_once(tmp_path, WHOM[seed % 3], seed)
