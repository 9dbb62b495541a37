"""A file as a durable run: its cells are durable executions, and the run goes on where it was left.

A file is cut at its ``# %%`` lines; without any it is one cell. Cell n of a run is the execution
``{run_id}.{n}``, where ``run_id`` is made of the texts of all cells and the arguments. So a file that
was changed in the middle of its run is another run, and a store that holds one refuses it.
"""

from __future__ import annotations

import hashlib
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..errors import DurableError
from ..session.execution import DisplayCallback, ExecutionResult, OutputCallback
from .durable_cells import DurableCells, digest_of
from .input_capability import Asker
from .outcome import outcome_to_result
from .sdk import FAR_FUTURE_MS, Resonate, Value, told

__all__ = ["DurableScript", "ScriptCell", "run_script", "split_cells"]

MANIFEST = "stateroom.run"
"""The promise that says which run a store holds."""

_MARKER = re.compile(r"#\s*%%")


class ScriptCell(NamedTuple):
    """A cell of a file."""

    number: int
    """From 1."""
    line: int
    """Of the file, from 1, where it begins."""
    code: str
    """With as many empty lines before it as bring its lines to where they are in the file."""


class DurableScript:
    """A file's text and arguments, as a run. ``filename`` is for tracebacks and ``__file__``."""

    def __init__(self, text: str, filename: str, argv: list[str]) -> None:
        self.filename = filename
        self.argv = argv
        self.cells = split_cells(text)
        self._digests = [digest_of(cell.code) for cell in self.cells]
        self.run_id = hashlib.sha256(repr((self._digests, argv[1:])).encode()).hexdigest()[:10]

    def __repr__(self) -> str:
        return f"<DurableScript {self.filename} cells={len(self.cells)} run_id={self.run_id}>"

    def execution_id(self, cell: ScriptCell) -> str:
        """The durable execution that this cell is."""
        return f"{self.run_id}.{cell.number}"

    async def claim(self, resonate: Resonate) -> None:
        """Make this the run that the store holds. Raises :class:`DurableError` if it holds another."""
        manifest = {"digests": self._digests, "arguments": self.argv[1:]}
        with told(MANIFEST):
            record = await resonate.promises.create(MANIFEST, FAR_FUTURE_MS, Value(data=manifest), {})
            if record.state == "pending":
                await resonate.promises.resolve(MANIFEST, Value(data=self.run_id))
        difference = self._difference(record.param.data)
        if difference:
            raise DurableError(
                f"the store holds another run: {difference}; bring back what was run, or begin a new run "
                "with another store"
            )

    def _difference(self, known: Any) -> str | None:
        if known["arguments"] != self.argv[1:]:
            return f"its arguments are {known['arguments']}, not {self.argv[1:]}"
        if known["digests"] == self._digests:
            return None
        for cell, digest, before in zip(self.cells, self._digests, known["digests"], strict=False):
            if digest != before:
                return f"cell {cell.number} of {self.filename} (line {cell.line}) is different"
        return f"it has {len(known['digests'])} cells, {self.filename} has {len(self.cells)}"


async def run_script(
    cells: DurableCells,
    script: DurableScript,
    *,
    on_output: OutputCallback | None = None,
    on_display: DisplayCallback | None = None,
    on_input: Asker | None = None,
    on_begin: Callable[[int], object] = lambda _: None,
) -> ExecutionResult:
    """Run the cells that are not finished; return the outcome of the last, or of the first that failed.

    ``on_begin`` is told how many were finished before. Cells after a failed one do not run, now or when
    the run is asked for again. Raises :class:`DurableError` if the store holds another run, and as
    :meth:`DurableCells.execute`.
    """
    await script.claim(cells.bridge.desk.resonate)
    on_begin(await cells.finished())
    result = ExecutionResult(execution_id=script.run_id)
    for cell in script.cells:
        outcome = await cells.execute(
            script.execution_id(cell),
            cell.code,
            filename=script.filename,
            argv=script.argv,
            on_output=on_output,
            on_display=on_display,
            on_input=on_input,
        )
        result = outcome_to_result(outcome)
        if not result.ok:
            break
    return result


def split_cells(text: str) -> list[ScriptCell]:
    """The cells of a file, cut at comments ``# %%`` that begin a line; none for one without code."""
    text = re.sub("\r\n?", "\n", text)
    lines = io.StringIO(text).readlines()  # as Python has them: at no other character
    starts = sorted({1, *_marker_lines(text)})
    cells: list[ScriptCell] = []
    for start, end in zip(starts, [*starts[1:], len(lines) + 1], strict=True):
        body = lines[start - 1 : end - 1]
        if any(line.strip() and not line.lstrip().startswith("#") for line in body):
            cells.append(ScriptCell(len(cells) + 1, start, "\n" * (start - 1) + "".join(body)))
    return cells


def _marker_lines(text: str) -> Iterator[int]:
    """Lines that begin a cell. A marker inside a string is text, as far as the file can be read."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and token.start[1] == 0 and _MARKER.match(token.string):
                yield token.start[0]
    except (tokenize.TokenError, SyntaxError):
        # What follows cannot be told apart: it is one cell, whose own error says what is wrong.
        return
