"""Callbacks of a cell's caller that raise."""

import math

import pytest
import structlog
from stage import Stage

from stateroom.session import pace
from stateroom.testing import virtual_time


def broken_output(_message):
    raise OSError("broken on purpose")


def broken_display(_message):
    raise OSError("broken on purpose")


@pytest.mark.parametrize(("every_s", "reports"), [(math.inf, 1), (0, 50)])
@virtual_time
async def test_one_that_always_raises_is_logged_once_in_a_while(monkeypatch, every_s, reports):
    monkeypatch.setattr(pace, "REPORT_EVERY_S", every_s)
    with structlog.testing.capture_logs() as logs:
        async with Stage() as stage:
            running, cell = await stage.begin(on_output=broken_output, on_display=broken_display)
            for _ in range(50):
                cell.print("x")
                cell.display({"text/plain": "x"})
            cell.succeed(42)
            result = await running
    assert (result.value, result.stdout, len(result.displays)) == (42, "x" * 50, 50)
    failures = [entry["callback"] for entry in logs if entry["event"] == "callback_failed"]
    assert sorted(failures) == ["broken_display"] * reports + ["broken_output"] * reports
