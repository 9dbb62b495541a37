"""Settings that cannot be meant are told at once, by their name."""

from __future__ import annotations

import pytest

import stateroom
from stateroom.errors import ConfigError

WRONG = [
    ({"max_output_byte": 5}, "there is no setting 'max_output_byte'; is 'max_output_bytes' meant?"),
    ({"colour": 5}, "there is no setting 'colour'$"),
    ({"takeover_after_s": "soon"}, r"EngineConfig: Expected `float`, got `str` - at `\$.takeover_after_s`"),
    ({"max_outbox_bytes": 1.5}, r"SessionConfig: Expected `int`, got `float` - at `\$.max_outbox_bytes`"),
]


@pytest.mark.parametrize(("settings", "reason"), WRONG)
def test_a_wrong_setting(settings, reason):
    for make in (stateroom.Session, stateroom.open_session, stateroom.SessionPool):
        with pytest.raises(ConfigError, match=reason):
            make(**settings)


def test_preload_is_a_list():
    with pytest.raises(ConfigError, match="preload='numpy' is a string: give a list of names of modules"):
        stateroom.SessionPool(preload="numpy")


def test_a_blocking_session_yields_messages():
    with stateroom.open_session() as session:
        kinds = [
            type(message).__name__ for message in session.execute("print('a'); print('b', flush=True); 3")
        ]
        assert (kinds[0], kinds[-1]) == ("OutputMessage", "ResultMessage")
        stopped = session.execute("while True: print('on and on')")
        next(stopped)
        stopped.close()
        assert session.run("6 * 7", check=True).value == 42
        assert (session.state, session.pid) == ("idle", session.info.pid)
