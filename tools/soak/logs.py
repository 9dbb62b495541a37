"""What the library logs while it is soaked: counted, and held against what was provoked."""

from __future__ import annotations

import logging
import sys
import warnings
from collections import Counter
from collections.abc import MutableMapping
from typing import Any

import structlog

__all__ = ["LogGuard", "Provoked"]

ERRORS = ("error", "critical", "exception")


class Provoked(Exception):
    """Raised by the callbacks of the soak, so that the library has to cope."""


class LogGuard(logging.Handler):
    """Counts warnings by name, keeps every error that nobody provoked.

    Takes structlog, the standard library's log (asyncio complains there), warnings and unraisable errors.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.counts: Counter[str] = Counter()
        self.unprovoked: list[str] = []
        self.cancels_hit_recoveries = 0

    def install(self) -> None:
        """Take everything from now on."""
        structlog.configure(
            processors=[self._take],
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=structlog.ReturnLoggerFactory(),
        )
        logging.getLogger().addHandler(self)
        sys.unraisablehook = lambda what: self._complain(f"unraisable: {what.exc_value!r} in {what.object!r}")
        warnings.simplefilter("always", ResourceWarning)
        warnings.showwarning = self._warned

    def emit(self, record: logging.LogRecord) -> None:
        self.counts[f"{record.name}: {record.levelname}"] += 1
        self._complain(self.format(record))

    def _take(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        name = str(event.get("event"))
        self.counts[name] += 1
        if method in ERRORS and not _is_provoked(name, event):
            self._complain(f"{dict(event)} {_error_of(event)!r}")
        return name

    def _warned(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        self.counts[category.__name__] += 1
        if issubclass(category, ResourceWarning | RuntimeWarning):
            self._complain(f"{category.__name__}: {message}")

    def _complain(self, text: str) -> None:
        if len(self.unprovoked) < 50:
            self.unprovoked.append(text)


def _is_provoked(name: str, event: MutableMapping[str, Any]) -> bool:
    if name == "recovery_failed":  # the new worker was killed too, or its restore cancelled
        return any(word in str(event.get("error")) for word in ("SIGKILL", "SIGABRT", "cancel"))
    return isinstance(_error_of(event), Provoked)


def _error_of(event: MutableMapping[str, Any]) -> Any:
    """The exception that is logged: named, or the one that is being handled."""
    named = event.get("exc_info")
    return sys.exc_info()[1] if named is True else named
