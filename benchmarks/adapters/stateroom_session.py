"""This project as a participant of the comparison bench, which measures persistent sessions side by side.

It needs nothing beside it: copy the file into that bench's ``adapters`` folder. The benchmarks in this
repository drive every session, the floor and the peers too, through the shape that it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import stateroom

OnOutput = Callable[[str], object]
OnInput = Callable[[str], Awaitable[str]]


@dataclass(slots=True)
class Outcome:
    """What came of a cell: whether it ended well, its value as text, its output, its exception's name."""

    ok: bool
    value: str | None
    out: str
    error: str | None


class Session:
    """A session with default settings."""

    versions = ("stateroom",)
    """Distributions whose versions belong beside the figures."""
    lacks: frozenset[str] = frozenset()
    """Features that a bench need not try."""
    cpu_n = 2_000_000
    """Turns of the loop that measures how fast user code runs."""
    pid: int | None = None

    def __init__(self) -> None:
        self.session = stateroom.Session()

    @classmethod
    async def prepare(cls) -> None:
        """Nothing has to run before the first session starts."""

    async def start(self) -> None:
        """Return when cells can be run."""
        await self.session.start()
        self.pid = self.session.pid

    async def execute(
        self, code: str, on_output: OnOutput | None = None, on_input: OnInput | None = None
    ) -> Outcome:
        """Run a cell; ``on_output`` is called with text as it comes, ``on_input`` with each prompt."""
        result = await self.session.run(
            code,
            on_output=(lambda message: on_output(message.data)) if on_output else None,
            on_input=(lambda message: on_input(message.prompt)) if on_input else None,
        )
        error = None if result.error is None else result.error.type
        return Outcome(error is None, result.repr, result.stdout + result.stderr, error)

    async def execute_many(self, codes: list[str]) -> None:
        """Submit all cells at once: the worker has the next one at hand when one ends."""
        await asyncio.gather(*map(self.session.run, codes))

    async def value(self, name: str) -> object:
        """The object behind a name, as it arrives here."""
        return (await self.session.run(name, check=True)).value

    async def interrupt(self) -> None:
        """Return when the running cell has been cancelled."""
        await self.session.cancel()

    async def close(self) -> None:
        """End the worker."""
        await self.session.close()
