"""Labelled cells: what blocks, what only looks like it, and what is known to be judged wrongly.

Each entry is ``(call, setup, cell)``: the public name of the call that blocks, the earlier cell (run
for real, with the stand-ins of ``blocking_fakes``), and the cell to judge (never run). Entries of cells
that do not block have no call.
"""

from __future__ import annotations

from typing import NamedTuple

from .databases import DATABASES
from .harmless import HARMLESS
from .known_errors import KNOWN_FALSE_ALARMS, KNOWN_MISSES
from .network import HTTP, SOCKETS
from .sleeping import SLEEPING, SLEEPING_IN_A_FUNCTION
from .system import FILES, PROCESSES
from .waiting import WAITING


class Snippet(NamedTuple):
    """One labelled cell; ``call`` is None for a cell that does not block."""

    call: str | None
    setup: str
    cell: str
    known_wrong: bool = False

    def __str__(self) -> str:
        return f"{self.setup} | {self.cell}".replace("\n", "; ")[:100]


BLOCKING = [
    *SLEEPING,
    *SLEEPING_IN_A_FUNCTION,
    *HTTP,
    *SOCKETS,
    *DATABASES,
    *PROCESSES,
    *FILES,
    *WAITING,
]

SNIPPETS: list[Snippet] = [
    *(Snippet(*entry) for entry in BLOCKING),
    *(Snippet(None, *entry) for entry in HARMLESS),
    *(Snippet(*entry, known_wrong=True) for entry in KNOWN_MISSES),
    *(Snippet(None, *entry, known_wrong=True) for entry in KNOWN_FALSE_ALARMS),
]
