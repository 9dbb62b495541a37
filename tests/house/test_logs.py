"""Where the library logs, whether the application has a logging of its own or not."""

from __future__ import annotations

import subprocess
import sys

EVENTS = """
from stateroom.logs import get_logger
log = get_logger("stateroom.test")
log.info("unseen", n=1)
log.warning("seen", n=1, share="100 %s")
try:
    1 / 0
except ZeroDivisionError as error:
    log.exception("failed")
    log.error("failed again", exc_info=error)
"""
STRUCTLOG = """
import structlog
structlog.configure(processors=[structlog.processors.KeyValueRenderer(sort_keys=True)])
"""
LOGGING = """
import logging
logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level="INFO")
"""


def logged(configure):
    done = subprocess.run(
        [sys.executable, "-c", configure + EVENTS], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_an_application_without_logging_sees_warnings_on_stderr_and_nothing_on_stdout():
    stdout, stderr = logged("")
    assert stdout == []
    assert stderr[:2] == ["seen n=1 share='100 %s'", "failed"]
    assert [line for line in stderr if line.startswith("ZeroDivisionError")] == [
        "ZeroDivisionError: division by zero"
    ] * 2
    assert "failed again" in stderr


def test_standard_logging_gets_every_event():
    _, stderr = logged(LOGGING)
    assert stderr[:2] == [
        "INFO stateroom.test: unseen n=1",
        "WARNING stateroom.test: seen n=1 share='100 %s'",
    ]


def test_structlog_that_the_application_has_configured_gets_the_fields():
    stdout, stderr = logged(STRUCTLOG)
    assert stdout[:3] == [
        "event='unseen' n=1",
        "event='seen' n=1 share='100 %s'",
        "event='failed' exc_info=True",
    ]
    assert stderr == []


def test_reprs():
    from stateroom.logs import get_logger

    assert repr(get_logger("stateroom.x")) == "<Log stateroom.x>"
