"""Asking for a new worker when there is none to replace, or one on its way."""

import pytest

import stateroom


async def test_a_restart_during_a_restart_is_refused_and_does_no_harm():
    async with stateroom.Session(auto_restart=True) as session:
        await session.run("import os; os._exit(1)")
        assert session.state == "restarting"
        with pytest.raises(stateroom.Busy, match="is restarting already"):
            await session.restart()
        assert (await session.run("6 * 7")).value == 42
        with pytest.raises(stateroom.Busy, match="was started"):
            await session.start()
        assert (await session.run("6 * 7")).value == 42


async def test_a_session_that_was_never_started_cannot_be_restarted():
    with pytest.raises(stateroom.SessionClosed, match="not started"):
        await stateroom.Session().restart()
