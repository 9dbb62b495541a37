"""Settings that cannot be meant are told at once, by their name."""

from __future__ import annotations

import pytest

import stateroom
from stateroom.errors import ConfigError

WRONG = [
    ({"max_output_byte": 5}, "there is no setting 'max_output_byte'; is 'max_output_bytes' meant?"),
    ({"colour": 5}, "there is no setting 'colour'$"),
    ({"takeover_after_s": "soon"}, r"^takeover_after_s='soon': Expected `float`, got `str`$"),
    ({"engine": {"takeover_after": 1}}, "EngineConfig: .*'takeover_after'"),
    ({"engine": 5}, "^engine=5: give an object of EngineConfig$"),
    ({"config": stateroom.SessionConfig(), "history_size": 5}, "'history_size' was given besides a config"),
    ({"restore_timeout_s": 0}, r"^restore_timeout_s=0: give more than 0$"),
    ({"restore_timeout_s": float("nan")}, r"^restore_timeout_s=nan: give more than 0$"),
    ({"heartbeat_interval_s": -1}, r"^heartbeat_interval_s=-1: give 0 or more$"),
    ({"cancel_grace_s": float("nan")}, r"^cancel_grace_s=nan: give 0 or more$"),
    ({"max_outbox_bytes": -1}, r"^max_outbox_bytes=-1: give 0 or more$"),
    ({"max_routing_concurrency": 0}, r"^max_routing_concurrency=0: give 1 or more$"),
    ({"checkpoint_every_cells": 0}, r"^checkpoint_every_cells=0: give 1 or more$"),
    ({"max_restarts_in_a_row": -1}, r"^max_restarts_in_a_row=-1: give 0 or more$"),
    ({"tla_timeout_s": float("nan")}, r"^tla_timeout_s=nan: give 0 or more$"),
    ({"config": "work"}, r"^config='work': give an object of SessionConfig, or settings by their names"),
    ({"config": {"name": "work"}}, r"^config={'name': 'work'}: give an object of SessionConfig"),
    ({"config": 3}, r"^config=3: give an object of SessionConfig"),
    ({"history_size": -1}, r"^history_size=-1: give 0 or more$"),
    ({"max_outbox_bytes": 1.5}, r"^max_outbox_bytes=1.5: Expected `int`, got `float`$"),
]


@pytest.mark.parametrize(("settings", "reason"), WRONG)
def test_a_wrong_setting(settings, reason):
    for make in (stateroom.Session, stateroom.open_session, stateroom.SessionPool):
        with pytest.raises(ConfigError, match=reason):
            make(**settings)


def test_engine_settings_may_be_a_dict():
    assert stateroom.Session(engine={"history_size": 7}).config.engine.history_size == 7


def test_a_wrong_setting_of_a_pool():
    with pytest.raises(ConfigError, match=r"^min_size='two': Expected `int \| null`, got `str`$"):
        stateroom.SessionPool(min_size="two")


def test_what_is_no_size():
    with pytest.raises(ConfigError, match=r"^size='2': give a number of sessions$"):
        stateroom.SessionPool(size="2")
    with pytest.raises(ConfigError, match=r"^max_size='3': give a number of sessions$"):
        stateroom.SessionPool(size=2, max_size="3")


def test_a_pool_has_no_store(tmp_path, monkeypatch):
    for settings in ({"store": "states"}, {"config": stateroom.SessionConfig(store="states")}):
        with pytest.raises(
            ConfigError, match=r"^store='states': .* one session at a time; make a Session for"
        ):
            stateroom.SessionPool(size=1, **settings)
    monkeypatch.setenv("STATEROOM_STORE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^store="):
        stateroom.SessionPool(size=2)


def test_what_is_no_launcher():
    for make in (stateroom.Session, stateroom.open_session, stateroom.SessionPool):
        with pytest.raises(
            TypeError, match=r"^launcher=3: give a function that starts a worker, a Launcher$"
        ):
            make(launcher=3)


def test_what_is_no_config_by_place():
    with pytest.raises(ConfigError, match=r"^config='work': give an object of SessionConfig"):
        stateroom.Session("work")


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


def test_a_blocking_session_takes_what_a_session_takes(tmp_path):
    settings = {"store": str(tmp_path), "name": "work"}
    with stateroom.open_session(**settings) as session:
        assert session.run("x = 1", execution_id="mine", queue=False, check=True).execution_id == "mine"
        assert session.recovery is None
    with stateroom.open_session(**settings) as session:
        assert session.recovery.restored == ["x"]
        session.restart(restore=False)
        assert session.run("'x' in globals()").value is False


def test_info_survives_an_attachment_that_raises():
    session = stateroom.Session()
    session.attachments |= {"broken": lambda: {}["no"], "whole": lambda: {"count": 1}}
    assert session.info.attachments == {"broken": {"error": "KeyError: 'no'"}, "whole": {"count": 1}}
