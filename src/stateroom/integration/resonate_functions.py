"""The durable functions that stateroom registers with Resonate.

They never create or run an event loop, and never raise for what a cell does: an exception would
travel as a pickle.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import ConfigError, DurableError, DurableRejected, SessionError
from ..session.execution import ExecutionResult, error_info
from .outcome import outcome_to_data
from .request import check_cell
from .sdk import NO_TIMEOUT, Context, Never, PlatformError, Resonate, ResonateError, StoppedError

__all__ = ["FUNCTION_NAME", "DurableHost", "durable_execute", "register"]

FUNCTION_NAME = "stateroom.execute"


class DurableHost:
    """The dependency of :func:`durable_execute`: what runs cells, ``execute(session, execution_id, code)``.

    It takes the keywords of :meth:`DurableCells.execute`, returns and raises what that does.
    """

    def __init__(self, execute: Callable[..., Awaitable[dict[str, Any]]]) -> None:
        self.execute = execute

    def __repr__(self) -> str:
        return f"<DurableHost {getattr(self.execute, '__qualname__', self.execute)!r}>"


async def durable_execute(ctx: Context, request: Any) -> Any:
    """Run a cell durably and return its outcome as data; the same execution id never runs it twice.

    ``request`` holds ``code`` and, if wished, ``execution_id`` (else the id that this function was
    called by), ``session`` (else "default") and ``timeout_s``. An execution that has no outcome, since
    it ran out of time or was rejected, gives one whose error says so. When this process shuts down, the
    execution goes on in the next one.
    """
    defaults = {"execution_id": ctx.info.id, "session": "default", "timeout_s": None}
    return await ctx.options(timeout=NO_TIMEOUT).run(_execute, {**defaults, **request})


def register(resonate: Resonate, host: DurableHost) -> None:
    """Have ``resonate`` run cells, dispatched as ``stateroom.execute``."""
    resonate.with_dependency(host)
    resonate.register(durable_execute, name=FUNCTION_NAME, retry_policy=Never())


async def _execute(ctx: Context, asked: Any) -> Any:
    execution_id, session = asked["execution_id"], asked["session"]
    code, timeout_s = asked.get("code"), asked["timeout_s"]
    try:
        check_cell(session=session, execution_id=execution_id, code=code, timeout_s=timeout_s)
        host = ctx.get_dependency(DurableHost)
        return await host.execute(session, execution_id, code, timeout_s=timeout_s)
    except (ConfigError, DurableRejected) as error:
        return outcome_to_data(ExecutionResult(execution_id=execution_id, error=error_info(error)))
    except (DurableError, SessionError, OSError) as error:
        # Not its outcome: the task is given back, for this process or another to try again.
        raise PlatformError([_as_sdk_error(error)]) from error


def _as_sdk_error(error: Exception) -> ResonateError:
    stopped = StoppedError()
    stopped.add_note(f"{type(error).__name__}: {error}")
    return stopped
