"""Python sessions that keep their state: each in its own process, with top-level await.

::

    async with stateroom.Session() as session:
        result = await session.run("import asyncio; await asyncio.sleep(0.1); 6 * 7")
        result.value  # 42

Names are loaded when first used: a worker process imports this package too and needs few of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import EngineConfig as EngineConfig
    from .config import PoolConfig as PoolConfig
    from .config import SessionConfig as SessionConfig
    from .engine.async_executor import AsyncExecutor as AsyncExecutor
    from .engine.compiler import ExecutionMode as ExecutionMode
    from .engine.namespace import NamespaceManager as NamespaceManager
    from .errors import Busy as Busy
    from .errors import CheckpointError as CheckpointError
    from .errors import ConfigError as ConfigError
    from .errors import ExecutionError as ExecutionError
    from .errors import PoolTimeout as PoolTimeout
    from .errors import SessionBroken as SessionBroken
    from .errors import SessionClosed as SessionClosed
    from .errors import StateroomError as StateroomError
    from .errors import WorkerStartError as WorkerStartError
    from .protocol.error_info import ErrorInfo as ErrorInfo
    from .protocol.messages import ClearMessage as ClearMessage
    from .protocol.messages import DisplayMessage as DisplayMessage
    from .protocol.messages import ErrorMessage as ErrorMessage
    from .protocol.messages import InputMessage as InputMessage
    from .protocol.messages import OutputMessage as OutputMessage
    from .protocol.messages import ProgressMessage as ProgressMessage
    from .protocol.messages import ResultMessage as ResultMessage
    from .session.blocking_client import BlockingSession as BlockingSession
    from .session.blocking_client import open_session as open_session
    from .session.cancellation import CancelOutcome as CancelOutcome
    from .session.checkpoint import Checkpoint as Checkpoint
    from .session.execution import ExecutionResult as ExecutionResult
    from .session.info import SessionInfo as SessionInfo
    from .session.pool import SessionPool as SessionPool
    from .session.pool_info import PoolInfo as PoolInfo
    from .session.session import Session as Session
    from .worker.progress import progress as progress
    from .worker.steps import step as step
    from .worker.user_display import clear_output as clear_output
    from .worker.user_display import display as display
    from .worker.user_display import update_display as update_display

_HOMES = {
    "AsyncExecutor": "engine.async_executor",
    "BlockingSession": "session.blocking_client",
    "Busy": "errors",
    "CancelOutcome": "session.cancellation",
    "Checkpoint": "session.checkpoint",
    "CheckpointError": "errors",
    "ClearMessage": "protocol.messages",
    "ConfigError": "errors",
    "DisplayMessage": "protocol.messages",
    "EngineConfig": "config",
    "ErrorInfo": "protocol.error_info",
    "ErrorMessage": "protocol.messages",
    "ExecutionError": "errors",
    "ExecutionMode": "engine.compiler",
    "ExecutionResult": "session.execution",
    "InputMessage": "protocol.messages",
    "NamespaceManager": "engine.namespace",
    "OutputMessage": "protocol.messages",
    "ProgressMessage": "protocol.messages",
    "PoolConfig": "config",
    "PoolInfo": "session.pool_info",
    "PoolTimeout": "errors",
    "ResultMessage": "protocol.messages",
    "Session": "session.session",
    "SessionBroken": "errors",
    "SessionClosed": "errors",
    "SessionConfig": "config",
    "SessionInfo": "session.info",
    "SessionPool": "session.pool",
    "StateroomError": "errors",
    "WorkerStartError": "errors",
    "clear_output": "worker.user_display",
    "display": "worker.user_display",
    "open_session": "session.blocking_client",
    "progress": "worker.progress",
    "step": "worker.steps",
    "update_display": "worker.user_display",
}

__all__ = list(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
