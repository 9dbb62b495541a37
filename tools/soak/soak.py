"""Soak: many sessions at once, random cells, random trouble, and a model that says what must hold.

    python tools/soak/soak.py [--minutes 30] [--sessions 20] [--seed N] [--cabins 3,7]

Some of the sessions are spawned and some come from two pools with a warm template; some restart by
themselves, with automatic checkpoints, some keep their state in a store and are opened again. Each has
one caller, which takes random steps: one cell or several, streams with slow consumers and with some that
stop early, callers that do not want to wait, checkpoints, restores. A step has a random fate: its cells
are cancelled (at a random moment, twice, by name, in the queue), run out of time, lose their caller; the
worker is killed by SIGKILL, the session restarted or closed. Callbacks are slow, and raise.

What is checked:

- every call has exactly one outcome, and one that can come of what was done to it;
- values, errors, displays and output of cells that ended well are complete and in order;
- each cell adds its number to a list in the namespace, so it is seen which cells ran, in which order,
  and that a recovery brought back what the last checkpoint promises (trail.py);
- nothing hangs: a step that takes longer than ``--limit`` ends the soak with the stacks of all tasks,
  and of the worker, if py-spy is to be found (on PATH, or named by PY_SPY);
- at every census all sessions but one are closed: descriptors, tasks, threads, processes, temporary
  files and objects of the library must be back to what they were, and the memory of the client, and of
  the worker that lives through all of it, must be flat;
- nothing is logged as an error that the soak has not provoked.

Figures are printed at the end; exit status 1 if anything was found. The dice of each step come from the
seed, the session's index and the number of the step, so a seed repeats the same steps; when the trouble
strikes, to the microsecond, is the machine's own dice. ``--cabins`` runs only some of the sessions.
With PYTHONTRACEMALLOC=1 in the environment, what has grown is shown line by line.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
from pathlib import Path

from census import MARKER
from rich.console import Console
from soaking import Soak


def main() -> int:
    """Soak; 0 if nothing was found."""
    options = parse_options()
    # A cancel may strike between a call and its await, and Python says so when it tidies up.
    gone = "ignore:coroutine '{}' was never awaited:RuntimeWarning"
    os.environ["PYTHONWARNINGS"] = ",".join(map(gone.format, ("sleep", "give")))
    os.environ[MARKER] = f"{os.getpid()}-{options.seed}"
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
        for name in ("temporary", "stores"):
            (Path(folder) / name).mkdir()
        tempfile.tempdir = f"{folder}/temporary"
        soak = Soak(options, Path(folder), Console(width=130))
        soak.say(f"seed {options.seed}, {options.sessions} sessions, {options.minutes:g} min")
        try:
            asyncio.run(soak.run())
        finally:
            tempfile.tempdir = None
    return soak.report()


def parse_options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Soak sessions in trouble; see the docstring of soak.py.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--limit", type=float, default=90.0, help="seconds that a step may take")
    parser.add_argument("--cabins", help="run only these, as 3,7")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
