"""Ten cells with two inputs and a step, each leaving a trace whenever it runs; and who runs and kills them."""

from __future__ import annotations

import collections
import json
import random
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil

from stateroom.integration.inputs import answer_input, open_inputs

COMMAND = str(Path(sys.executable).with_name("stateroom"))
CELLS = 10
LOOK_S = 0.01
PATIENCE_S = 40
AMID_A_CELL_S = 0.06
AMID_THE_START_S = 1.0
ANSWERS = {"who? ": "Ada", "how many? ": "12"}
BODIES = {
    4: "name = input('who? ')",
    6: "drawn = await stateroom.step('draw', draw)",
    8: "number = int(input('how many? '))",
    10: "json.dumps([total, ran, name, drawn, number])",
}
EXPECTED = [55, {str(n): 1 for n in range(1, CELLS + 1)}, "Ada", 7, 12]


def script(effects: Path) -> str:
    """The text of the file; ``effects`` is what its cells write to."""
    cells = [
        "# %%\n"
        + (HEAD.format(effects=str(effects)) if number == 1 else "")
        + f"trace('cell {number}')\nran[{number}] = ran.get({number}, 0) + 1\n"
        + f"await asyncio.sleep(0.005)\ntotal += {number}\n{BODIES.get(number, '')}\n"
        for number in range(1, CELLS + 1)
    ]
    return "".join(cells)


HEAD = """import asyncio, json, os, stateroom
total, ran = 0, {{}}
def trace(what):
    with open({effects!r}, 'a') as file: file.write(what + '\\n')
def draw():
    trace('draw')
    return 7
"""


class Run:
    """One run of the ten cells, killed at a point that ``seed`` chooses; then run again until it ends."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "state.db"
        self.effects = folder / "effects"
        self.file = folder / "ten.py"
        self.file.write_text(script(self.effects))

    def traces(self) -> collections.Counter[str]:
        text = self.effects.read_text() if self.effects.exists() else ""
        return collections.Counter(text.splitlines())

    def finished(self) -> set[str]:
        """The cells that the store has as finished."""
        if not self.store.exists():
            return set()
        with closing(sqlite3.connect(self.store)) as db:
            ids = [row[0] for row in db.execute("SELECT execution_id FROM cells")]
        return {f"cell {execution_id.rpartition('.')[2]}" for execution_id in ids}

    def start(self) -> subprocess.Popen[str]:
        command = [COMMAND, "run", "--durable", str(self.store), str(self.file)]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def answer(self) -> None:
        """Answer what is asked, as another process does."""
        if self.store.exists():
            for question in open_inputs(self.store):
                answer_input(self.store, question.id, ANSWERS[question.prompt])

    def attend(self, process: subprocess.Popen[str], until=lambda: False) -> None:
        """Answer questions until the process has ended, or ``until`` says so."""
        for _ in range(int(PATIENCE_S / LOOK_S)):
            if until():
                return
            self.answer()
            try:
                process.wait(LOOK_S)
            except subprocess.TimeoutExpired:
                continue
            return
        process.kill()
        raise AssertionError(f"the run did not end: {process.communicate()} {self.traces()}")

    def to_its_end(self, process: subprocess.Popen[str], *, may_not_start: bool = False) -> list[object]:
        """What it shows; ``may_not_start`` if its worker was killed early: that is said, and run again goes on."""
        self.attend(process)
        out, errors = process.communicate()
        if may_not_start and "before it was ready" in errors:
            return self.to_its_end(self.start())
        value = re.search(r"'(\[.*\])'\n$", out)  # prompts may stand before it
        assert process.returncode == 0, (out, errors)
        assert value is not None, (out, errors)
        shown: list[object] = json.loads(value[1])
        return shown


def kill(process: subprocess.Popen[str], whom: str) -> bool:
    """Kill -9 the client, its workers, or both, in that order; whether the client is still to end."""
    try:
        client = psutil.Process(process.pid)
        workers = client.children(recursive=True)
        victims = {"client": [client], "worker": workers, "both": [client, *workers]}[whom]
    except psutil.NoSuchProcess:
        return False
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            pass
    return whom == "worker"


def killed_once(folder: Path, whom: str, seed: int) -> None:
    """Kill at a point that ``seed`` chooses, run to the end, and compare with an undisturbed run."""
    chance = random.Random(seed)
    run = Run(folder)
    process = run.start()
    lines = chance.randrange(CELLS + 1)
    run.attend(process, until=lambda: run.traces().total() >= lines)
    try:
        process.wait(chance.uniform(0, AMID_A_CELL_S if lines else AMID_THE_START_S))
    except subprocess.TimeoutExpired:
        pass
    finished = run.finished()
    if not kill(process, whom):
        process.communicate()
        finished = run.finished()  # nobody can finish one any more
        process = run.start()
    assert run.to_its_end(process, may_not_start=whom == "worker" and not finished) == EXPECTED
    assert {cell: run.traces()[cell] for cell in finished} == dict.fromkeys(finished, 1)
    repeated = check_traces(run)
    print(f"killed {whom} after {lines} lines, {len(finished)} cells finished; repeated: {repeated}")


def check_traces(run: Run) -> list[str]:
    """What has run twice: at most the cell that something died in, and the step that it was in."""
    traces, cells = run.traces(), {f"cell {number}" for number in range(1, CELLS + 1)}
    assert run.finished() == cells
    assert set(traces) == {*cells, "draw"}
    repeated = sorted(what for what, times in traces.items() if times > 1)
    assert repeated in ([], ["cell 6", "draw"], *([cell] for cell in cells))
    assert max(traces.values()) <= 2
    return repeated
