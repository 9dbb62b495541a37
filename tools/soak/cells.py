"""The cells of the soak: code, and what must come of it if nobody meddles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

__all__ = ["Answer", "Cell", "End", "make_cell"]

End = Literal["itself", "cancel", "insist", "force", "death"]
"""What it takes to end a cell: nothing, one cancel, two, the hard stop; or it takes its worker along."""
Answer = Literal["none", "text", "eof", "error", "never"]
"""What the client does with the cell's question, if it has one."""


@dataclass
class Cell:
    """Code, and its outcome. ``marks`` says whether it adds its number to ``trail`` before all else."""

    kind: str
    code: str
    value: Any = None
    stdout: str = ""
    stderr: str = ""
    error: str | None = None
    displays: list[str] = field(default_factory=list)
    ends: End = "itself"
    answer: Answer = "none"
    marks: bool = True
    lasts_s: float = 0.002
    floods: bool = False
    """Prints without end: its output is one line over and over, and may be cut."""


def make_cell(dice: Random, number: int, ends: frozenset[End]) -> Cell:
    """A random cell among those that end in one of these ways; it leaves ``number`` in ``trail``."""
    kinds = [kind for kind in KINDS if kind.ends in ends]
    chosen = dice.choices(kinds, [kind.weight for kind in kinds])[0]
    cell = chosen.make(dice, number)
    cell.kind, cell.ends = chosen.name, chosen.ends
    cell.code = cell.code.replace("NUMBER", str(number))
    if cell.marks:
        cell.code = f"globals().setdefault('trail', []).append({number})\n{cell.code}"
    return cell


@dataclass(frozen=True)
class _Kind:
    name: str
    ends: End
    weight: float
    make: Callable[[Random, int], Cell]


KINDS: list[_Kind] = []
GROUP = """
import asyncio
async def bad(): raise OSError
async with asyncio.TaskGroup() as group: group.create_task(bad())
"""


def _kind(
    weight: float, ends: End = "itself"
) -> Callable[[Callable[[Random, int], Cell]], Callable[[Random, int], Cell]]:
    def add(make: Callable[[Random, int], Cell]) -> Callable[[Random, int], Cell]:
        KINDS.append(_Kind(make.__name__.strip("_"), ends, weight, make))
        return make

    return add


def _cell(code: str, **outcome: Any) -> Cell:
    return Cell("", code, **outcome)


# Cells that end by themselves


@_kind(8)
def _sync(dice: Random, number: int) -> Cell:
    n = dice.randrange(1, 30_000)
    return _cell(f"s = 0\nfor i in range({n}): s += i\ns + NUMBER", value=n * (n - 1) // 2 + number)


@_kind(6)
def _awaits(dice: Random, number: int) -> Cell:
    pause_s = dice.random() * 0.02
    code = f"import asyncio\nasync def give(x):\n    await asyncio.sleep({pause_s})\n    return x\n"
    tail = dice.choice(
        [
            "await give(NUMBER)",
            "(await asyncio.gather(give(0), give(NUMBER)))[1]",
            "asyncio.run(give(NUMBER))",
        ]
    )
    return _cell(code + tail, value=number, lasts_s=pause_s)


@_kind(5)
def _blocks(dice: Random, number: int) -> Cell:
    pause_s = dice.random() * 0.02
    head = dice.choice(["", "import asyncio; await asyncio.sleep(0)\n"])
    return _cell(f"import time\n{head}time.sleep({pause_s})\nNUMBER", value=number, lasts_s=pause_s)


@_kind(4)
def _prints(dice: Random, number: int) -> Cell:
    n = dice.choice([1, 10, 1000, 20_000])
    code = f"import sys\nfor i in range({n}): print(NUMBER, i)\nprint('e' * {n}, file=sys.stderr)"
    lines = "".join(f"{number} {i}\n" for i in range(n))
    return _cell(code, stdout=lines, stderr="e" * n + "\n", lasts_s=n * 1e-6)


@_kind(3)
def _writes(dice: Random, number: int) -> Cell:
    """Python, descriptors and child processes write in turns."""
    n = dice.randrange(1, 30)
    code = f"import os\nfor i in range({n}):\n    print('p', i)\n    _ = os.write(1, b'w %d\\n' % i)\n"
    lines = "".join(f"p {i}\nw {i}\n" for i in range(n))
    if dice.random() < 0.2:
        code += "import subprocess\n_ = subprocess.run(['echo', 'child'])\n"
        lines += "child\n"
    return _cell(code + "print('end')", stdout=lines + "end\n", lasts_s=0.005)


@_kind(4)
def _raises(dice: Random, number: int) -> Cell:
    code, error = dice.choice(
        [
            ("1 / 0", "ZeroDivisionError"),
            ("def f(x): return {}[x]\nf(NUMBER)", "KeyError"),
            ("import asyncio\nawait asyncio.sleep(0)\nraise ValueError('v' * 10_000)", "ValueError"),
            ("raise SystemExit(3)", "SystemExit"),
            ("import asyncio\nraise asyncio.CancelledError", "CancelledError"),
            (GROUP, "ExceptionGroup"),
        ]
    )
    return _cell(code, error=error)


@_kind(1)
def _syntax(dice: Random, number: int) -> Cell:
    return _cell("trail.append(NUMBER)\nx = = 1", error="SyntaxError", marks=False)


@_kind(3)
def _asks(dice: Random, number: int) -> Cell:
    head = dice.choice(["", "import asyncio; await asyncio.sleep(0)\n"])
    answer: Answer = dice.choice(["text", "text", "eof", "error", "none"])
    if answer == "text":
        return _cell(f"{head}'got ' + input('NUMBER? ')", value="got text", answer=answer, lasts_s=0.01)
    return _cell(f"{head}input()", error="EOFError", answer=answer, lasts_s=0.01)


@_kind(2)
def _asks_in_a_thread(dice: Random, number: int) -> Cell:
    code = "import asyncio\nawait asyncio.to_thread(input, 'NUMBER? ')"
    return _cell(code, value="text", answer="text", lasts_s=0.01)


@_kind(3)
def _shows(dice: Random, number: int) -> Cell:
    n = dice.randrange(1, 20)
    code = (
        "import stateroom\nhandle = stateroom.display({'text/plain': 'old'}, raw=True, display_id=True)\n"
        f"for i in range({n}): stateroom.display({{'text/plain': str(i)}}, raw=True)\n"
        "for _ in stateroom.progress(range(5)): pass\n"
        "handle.update({'text/plain': 'NUMBER'}, raw=True)\n"
    )
    shown = [str(number), *map(str, range(n))]
    if dice.random() < 0.3:
        code += "stateroom.clear_output()\n"
        shown = []
    return _cell(code, displays=shown)


@_kind(2)
def _big(dice: Random, number: int) -> Cell:
    n = dice.choice([1000, 300_000, 3_000_000])
    code, value = dice.choice(
        [
            (f"bytes({n}) + b'NUMBER'", bytes(n) + b"%d" % number),
            (f"[NUMBER] * {n // 10}", [number] * (n // 10)),
            (f"'ä' * {n // 2} + 'NUMBER'", "ä" * (n // 2) + str(number)),
            (
                f"{{i: (i, [str(i)]) for i in range({n // 100})}}",
                {i: (i, [str(i)]) for i in range(n // 100)},
            ),
        ]
    )
    return _cell(code, value=value, lasts_s=0.01)


@_kind(3)
def _background(dice: Random, number: int) -> Cell:
    """Leaves a task and a thread behind, which print and end."""
    pause_s = dice.random() * 0.03
    code = (
        "import asyncio, threading, time\n"
        f"async def later():\n    await asyncio.sleep({pause_s})\n    print('task NUMBER')\n"
        f"def thread():\n    time.sleep({pause_s})\n    print('thread NUMBER')\n"
        "asyncio.create_task(later())\nt = threading.Thread(target=thread); t.start()\n'NUMBER'"
    )
    return _cell(code, value=str(number), stdout="*")


@_kind(2)
def _defines(dice: Random, number: int) -> Cell:
    code = (
        "class Thing:\n    def count(self): return len(trail)\nthing = Thing()\npair = [trail]\n"
        "def kept(): return len(trail)\n"  # last: who finds it finds all, wherever a cancel came
        "kept() == thing.count() == len(pair[0])"
    )
    return _cell(code, value=True)


# Cells that somebody has to end


@_kind(6, "cancel")
def _endless(dice: Random, number: int) -> Cell:
    return _cell(
        dice.choice(
            [
                "while True: pass",
                "import time; time.sleep(1000)",
                "import asyncio; await asyncio.sleep(1000)",
                "import threading; threading.Event().wait()",
                "import asyncio; await asyncio.sleep(0)\nwhile True: [i for i in range(100)]",
                "import asyncio; asyncio.run(asyncio.sleep(1000))",
                "import asyncio; await asyncio.gather(asyncio.sleep(1000), asyncio.sleep(1000))",
                "import socket; a, b = socket.socketpair(); a.recv(1)",
                "import asyncio, time; await asyncio.to_thread(time.sleep, 0.5); await asyncio.sleep(1000)",
            ]
        )
    )


@_kind(2, "cancel")
def _asks_for_ever(dice: Random, number: int) -> Cell:
    head = dice.choice(["", "import asyncio; await asyncio.sleep(0)\n"])
    return _cell(head + "input('NUMBER? ')", answer="never")


@_kind(2, "cancel")
def _floods(dice: Random, number: int) -> Cell:
    return _cell("while True: print('flood ' * 20)", stdout="flood " * 20 + "\n", floods=True, lasts_s=0.05)


@_kind(1, "insist")
def _stubborn(dice: Random, number: int) -> Cell:
    wait = dice.choice(["time.sleep(100)", "await asyncio.sleep(100)", "[i for i in range(1000)]"])
    return _cell(
        f"import asyncio, time\nwhile True:\n    try: {wait}\n    except BaseException: pass", lasts_s=0.05
    )


@_kind(1, "force")
def _deaf(dice: Random, number: int) -> Cell:
    return _cell("sum(range(10 ** 14))", lasts_s=0.05)


@_kind(1, "death")
def _dies(dice: Random, number: int) -> Cell:
    how = dice.choice(["os._exit(3)", "os.kill(os.getpid(), 9)", "os.abort()"])
    return _cell(f"import os\nprint('last words')\n{how}", error="WorkerDied")
