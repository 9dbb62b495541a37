"""For tests of code that uses sessions: workers that a test scripts, without processes, and time that jumps.

::

    async with scripted_session(lambda cell: 42) as session:
        (await session.run("whatever it is")).value  # 42

The session is the real one, and speaks its protocol with the scripted worker through memory.
"""

from __future__ import annotations

from .cell import ScriptedCell
from .channel import MemoryChannel
from .launcher import ScriptedLauncher, scripted_session
from .scripts import Play, Script, each_cell
from .virtual_time import VirtualTimeLoop, virtual_time
from .worker import CancelRequest, ScriptedWorker

__all__ = [
    "CancelRequest",
    "MemoryChannel",
    "Play",
    "Script",
    "ScriptedCell",
    "ScriptedLauncher",
    "ScriptedWorker",
    "VirtualTimeLoop",
    "each_cell",
    "scripted_session",
    "virtual_time",
]
