"""Saves the user's part of a namespace and brings it back; loaded when the first checkpoint is made.

The pickles are cloudpickle's, with one difference that makes them checkpoints: what is part of the
running worker (the namespace above all) is not saved but named, so that a restored function looks
its globals up in the very dict that the next cell runs in.
"""

from __future__ import annotations

from collections.abc import Callable

from .restore import INTERRUPTIBLE_LOADS, RestoreReport, restore_checkpoint
from .write import INTERRUPTIBLE_DUMPS, Checkpoint, write_checkpoint

__all__ = [
    "INTERRUPTIBLE",
    "Checkpoint",
    "RestoreReport",
    "restore_checkpoint",
    "write_checkpoint",
]

INTERRUPTIBLE: tuple[Callable[..., object], ...] = (*INTERRUPTIBLE_DUMPS, *INTERRUPTIBLE_LOADS)
"""The functions that call code of the user's objects: a cancel may end the work there."""
