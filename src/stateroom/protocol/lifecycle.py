"""What may happen next: the states of an execution and of a session, one table each.

Both ends ask before they act on a message, so that a message out of order is an error with a name
and not a hang. No I/O; after the state tables of h11.

An execution::

    QUEUED ──execute──▶ RUNNING ──input──▶ WAITING_INPUT
      │                 │     ◀─input_response─┘    │
      │ cancel   cancel │───────────┬───────────────┘
      ▼                 ▼           │ result  error  cancelled  worker_lost
    CANCELLED       CANCELLED       ▼
                  SUCCEEDED  FAILED  CANCELLED  LOST

A cell that was sent may be unbegun all the same, and can be withdrawn: a cancel before it began.
Threads and tasks outlive the cell that started them, so output and input are legal after the
end, input is legal while other input is waited for, and a cell can end while its thread waits.
Of a lost worker only the last words can still come.

A session::

    NEW ──start──▶ STARTING ──ready──▶ IDLE ──execute──▶ BUSY
                       │                 │  ◀────done────  │
                 start_failed            ├── worker_lost ──┤──▶ BROKEN
                       ▼                 └──── restart ────┘
                    BROKEN                        ▼
                       └──────restart──────▶ RESTARTING ──ready──▶ IDLE
                                                  └──start_failed──▶ BROKEN

    any ──close──▶ CLOSING ──closed──▶ CLOSED

What the old worker still does while the session restarts or closes changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from ..errors import UnexpectedMessage

__all__ = [
    "ENDED",
    "ExecutionEvent",
    "ExecutionState",
    "SessionEvent",
    "SessionState",
    "advance_execution",
    "advance_session",
]


class ExecutionState(StrEnum):
    """Where one execution stands."""

    QUEUED = "queued"
    """Known to the session, not begun. The next one may have been sent."""
    RUNNING = "running"
    """Sent; the worker has not replied."""
    WAITING_INPUT = "waiting for input"
    """As RUNNING, and an input request is open."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    """The worker ended before it replied."""


class ExecutionEvent(StrEnum):
    """What can happen to an execution: a message for it, or the session's own doing."""

    EXECUTE = "execute"
    OUTPUT = "output"
    INPUT = "input"
    INPUT_RESPONSE = "input_response"
    RESULT = "result"
    ERROR = "error"
    CANCELLED = "cancelled"
    """An error message that says that the cell was cancelled."""
    CANCEL = "cancel"
    """Taken from the queue, or withdrawn, before it began: not one line of it runs."""
    WORKER_LOST = "worker_lost"


class SessionState(StrEnum):
    """Where a session stands."""

    NEW = "new"
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    """An execution was sent and has not ended."""
    RESTARTING = "restarting"
    CLOSING = "closing"
    CLOSED = "closed"
    BROKEN = "broken"
    """No worker; a restart brings one."""


class SessionEvent(StrEnum):
    """What can happen to a session."""

    START = "start"
    READY = "ready"
    EXECUTE = "execute"
    DONE = "done"
    WORKER_LOST = "worker_lost"
    RESTART = "restart"
    CLOSE = "close"
    CLOSED = "closed"
    START_FAILED = "start_failed"


ENDED = frozenset(
    {ExecutionState.SUCCEEDED, ExecutionState.FAILED, ExecutionState.CANCELLED, ExecutionState.LOST}
)
"""An execution in one of these has its outcome, and keeps it."""


def _execution_moves() -> dict[ExecutionState, dict[ExecutionEvent, ExecutionState]]:
    state, event = ExecutionState, ExecutionEvent
    ends = {
        event.RESULT: state.SUCCEEDED,
        event.ERROR: state.FAILED,
        event.CANCELLED: state.CANCELLED,
        event.WORKER_LOST: state.LOST,
    }
    late = (event.OUTPUT, event.INPUT, event.INPUT_RESPONSE)
    return {
        state.QUEUED: {event.EXECUTE: state.RUNNING, event.CANCEL: state.CANCELLED},
        state.RUNNING: {
            event.OUTPUT: state.RUNNING,
            event.INPUT: state.WAITING_INPUT,
            event.INPUT_RESPONSE: state.RUNNING,  # for the second of two requests
            event.CANCEL: state.CANCELLED,
            **ends,
        },
        state.WAITING_INPUT: {
            event.OUTPUT: state.WAITING_INPUT,
            event.INPUT: state.WAITING_INPUT,
            event.INPUT_RESPONSE: state.RUNNING,
            **ends,
        },
        state.SUCCEEDED: dict.fromkeys(late, state.SUCCEEDED),
        state.FAILED: dict.fromkeys(late, state.FAILED),
        state.CANCELLED: dict.fromkeys(late, state.CANCELLED),
        state.LOST: {event.OUTPUT: state.LOST},
    }


def _session_moves() -> dict[SessionState, dict[SessionEvent, SessionState]]:
    state, event = SessionState, SessionEvent
    close = {event.CLOSE: state.CLOSING}
    started = {event.READY: state.IDLE, event.START_FAILED: state.BROKEN, **close}
    working = {event.WORKER_LOST: state.BROKEN, event.RESTART: state.RESTARTING, **close}
    ending = (event.DONE, event.WORKER_LOST)  # of the worker that is being ended
    return {
        state.NEW: {event.START: state.STARTING, **close},
        state.STARTING: started,
        state.IDLE: {event.EXECUTE: state.BUSY, **working},
        state.BUSY: {event.DONE: state.IDLE, **working},
        state.RESTARTING: {**started, **dict.fromkeys(ending, state.RESTARTING)},
        state.BROKEN: {event.RESTART: state.RESTARTING, **close},
        state.CLOSING: {
            event.CLOSED: state.CLOSED,
            **dict.fromkeys((*ending, event.READY, event.START_FAILED, event.CLOSE), state.CLOSING),
            event.EXECUTE: state.CLOSING,  # the last checkpoint
        },
        state.CLOSED: dict.fromkeys((event.CLOSE, event.START_FAILED), state.CLOSED),
    }


_EXECUTION_MOVES = _execution_moves()
_SESSION_MOVES = _session_moves()


def advance_execution(state: ExecutionState, event: ExecutionEvent, execution_id: str) -> ExecutionState:
    """The state after ``event``; raises :class:`UnexpectedMessage` if it may not happen now."""
    moves = _EXECUTION_MOVES[state]
    if event not in moves:
        raise _unexpected(event, f"execution {execution_id}", state, moves)
    return moves[event]


def advance_session(state: SessionState, event: SessionEvent) -> SessionState:
    """The state after ``event``; raises :class:`UnexpectedMessage` if it may not happen now."""
    moves = _SESSION_MOVES[state]
    if event not in moves:
        raise _unexpected(event, "the session", state, moves)
    return moves[event]


def _unexpected(event: str, whose: str, state: str, moves: Iterable[str]) -> UnexpectedMessage:
    legal = ", ".join(moves) or "nothing"
    return UnexpectedMessage(f"{event!s} came for {whose}, which is {state!s}; legal now: {legal}")
