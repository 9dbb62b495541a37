"""Where the library logs: structlog, if the application has configured that, or else standard logging.

Left alone, structlog prints to standard output, which belongs to the application.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog

__all__ = ["Log", "get_logger"]


class Log:
    """A logger that asks at each event where that goes: applications configure late."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._plain = structlog.wrap_logger(
            logging.getLogger(name), processors=[_as_text], wrapper_class=structlog.stdlib.BoundLogger
        )

    def __repr__(self) -> str:
        return f"<Log {self.name}>"

    def debug(self, event: str, **fields: Any) -> None:
        """For who looks for a fault."""
        self._target().debug(event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        """Something has happened that was to be expected."""
        self._target().info(event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Something is not as it should be, and goes on."""
        self._target().warning(event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        """Something has failed; ``exc_info`` may be the exception."""
        self._target().error(event, **fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error, with the exception that is being handled."""
        self._target().error(event, **{"exc_info": True, **fields})

    def _target(self) -> Any:
        return structlog.get_logger(self.name) if structlog.is_configured() else self._plain


def get_logger(name: str) -> Log:
    """The logger of that name."""
    return Log(name)


def _as_text(_logger: object, _method: str, event: Any) -> tuple[tuple[str], dict[str, Any]]:
    """``event key=value``, and the exception as standard logging takes it."""
    exc_info = event.pop("exc_info", None)
    words = [str(event.pop("event")), *(f"{name}={value!r}" for name, value in event.items())]
    return (" ".join(words),), {"exc_info": exc_info}
