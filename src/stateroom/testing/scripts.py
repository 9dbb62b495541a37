"""What scripted workers do: scripts, and the one that plays cell after cell."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from ..protocol.checkpoint_format import CheckpointHeader, checkpoint_chunks
from ..protocol.messages import (
    CheckpointChunkMessage,
    CheckpointedMessage,
    CheckpointMessage,
    ExecuteMessage,
    RestoredMessage,
    RestoreMessage,
)
from .cell import ScriptedCell
from .worker import ScriptedWorker

__all__ = ["Play", "Script", "each_cell", "save_nothing"]

Script = Callable[[ScriptedWorker], Coroutine[Any, Any, None]]
"""Plays a worker from its launch on. When it returns, the worker stays, and does nothing any more."""
Play = Callable[[ScriptedCell], Any]
"""Plays a cell: a function, plain or async, whose value or exception is the cell's."""


def each_cell(play: Play) -> Script:
    """A script that says Ready and lets ``play`` be each cell.

    The worker has no variables: it saves checkpoints without names, and restores nothing from others.
    """

    async def script(worker: ScriptedWorker) -> None:
        worker.say_ready()
        while True:
            message = await worker.receive()
            if isinstance(message, ExecuteMessage):
                worker.cell = ScriptedCell(worker, message)
                await worker.cell.play(play)
            elif isinstance(message, CheckpointMessage):
                save_nothing(worker, message)
            elif isinstance(message, RestoreMessage):
                worker.send(RestoredMessage(execution_id=message.execution_id, number=message.number))

    return script


def save_nothing(worker: ScriptedWorker, message: CheckpointMessage) -> None:
    """Answer with a whole checkpoint that has no names in it."""
    header = CheckpointHeader(
        python=platform.python_version(),
        implementation=sys.implementation.name,
        stateroom="scripted",
        created_at=time.time(),
        packages={},
        entries=[],
        order=[],
        skipped={},
        stream_bytes=0,
        buffer_bytes=[],
    )
    for chunk in checkpoint_chunks(header, [], []):
        piece = CheckpointChunkMessage(execution_id=message.execution_id, number=message.number)
        worker.channel.send(piece, payload=chunk)
    worker.send(CheckpointedMessage(execution_id=message.execution_id, number=message.number, duration_s=0.0))
