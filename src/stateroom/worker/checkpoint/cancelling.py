"""Tells a cancel of the checkpoint from a CancelledError that a user's object raises by itself."""

from __future__ import annotations

import asyncio
import os

from ..frames import ENGINE_FOLDER

__all__ = ["is_cancel"]

HERE = os.path.dirname(__file__) + os.sep


def is_cancel(error: BaseException) -> bool:
    """Whether the engine raised ``error``, in the handler of the cancel signal."""
    if not isinstance(error, asyncio.CancelledError):
        return False
    traceback, raised_in = error.__traceback__, ""
    while traceback is not None:
        raised_in, traceback = traceback.tb_frame.f_code.co_filename, traceback.tb_next
    return raised_in.startswith(ENGINE_FOLDER) and not raised_in.startswith(HERE)
