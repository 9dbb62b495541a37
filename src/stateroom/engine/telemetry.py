"""Counters of one engine: what the detector found, what cancels did, how long the loop stood still.

Each counter is written by one thread only (the loop's owner); any thread may read.
"""

from __future__ import annotations

__all__ = ["Telemetry"]


class Telemetry:
    """Plain integers and floats, so that an increment costs nothing and a snapshot is a dict."""

    __slots__ = (
        "cancel_effective",
        "cancel_escalated",
        "cancel_no_op",
        "cancel_requested",
        "detected_blocking_call",
        "detected_blocking_import",
        "loop_lag_max_s",
        "loop_lags",
        "missed_attribute_chain",
        "overshadow_guard_skips",
    )

    detected_blocking_import: int
    """Imports, in cells that ran, of a module that has blocking calls."""
    detected_blocking_call: int
    """Cells that were found blocking before they ran."""
    missed_attribute_chain: int
    """Attributes of an object from a blocking module that could not be followed."""
    overshadow_guard_skips: int
    """Calls that read like a blocking one, of a name that is bound to something else."""

    cancel_requested: int
    """Requests to cancel a cell."""
    cancel_effective: int
    """Those by which a cell has ended."""
    cancel_no_op: int
    """Cancels that found nothing to cancel."""
    cancel_escalated: int
    """Cancels that the cell did not obey at the first request."""

    loop_lags: int
    """How often the loop stood still for longer than ``loop_lag_warning_s``."""
    loop_lag_max_s: float
    """The longest standstill, in seconds."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Set every counter to zero."""
        for name in self.__slots__:
            setattr(self, name, 0)
        self.loop_lag_max_s = 0.0

    def note_loop_lag(self, lag_s: float) -> None:
        """Count one standstill of the loop."""
        self.loop_lags += 1
        self.loop_lag_max_s = max(self.loop_lag_max_s, lag_s)

    def as_dict(self) -> dict[str, int | float]:
        """All counters by name, as they are at this moment."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __repr__(self) -> str:
        counted = ", ".join(f"{name}={value}" for name, value in self.as_dict().items() if value)
        return f"Telemetry({counted})"
