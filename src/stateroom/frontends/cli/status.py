"""From how a cell ended to the exit status that ``python`` would give."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...protocol.messages import ErrorInfo
    from ...session.execution import ExecutionResult

__all__ = ["INTERRUPTED", "PIPE_CLOSED", "exit_status", "is_quiet_exit"]

INTERRUPTED = 128 + signal.SIGINT
PIPE_CLOSED = 128 + signal.SIGPIPE


def exit_status(result: ExecutionResult) -> int:
    """Return 0 for a cell that ended well, and what a shell would see of ``python`` otherwise."""
    error = result.error
    if result.cancelled:
        return INTERRUPTED
    if error is None:
        return 0
    if error.signal is not None:
        return 128 + error.signal
    if error.exit_status is not None:
        return error.exit_status
    return INTERRUPTED if error.type == "KeyboardInterrupt" else 1


def is_quiet_exit(error: ErrorInfo) -> bool:
    """Whether ``python`` would end without a word: SystemExit with a number, or with nothing."""
    return error.type == "SystemExit" and error.exit_status is not None
