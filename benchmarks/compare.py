"""Compare two stored runs by their ratios: ``python benchmarks/compare.py STORED.json NEW.json``.

A ratio that is worse by more than the tolerance (20 %) is a regression: it is named, and the exit status
is 1. Status 2 means that the runs cannot be compared. Absolute times are not compared, since they belong
to a machine and an hour. Peers are not judged. What only one of the runs has is said, and is no regression.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from suite.report import Run, load

TOLERANCE = 0.2
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Change:
    """One ratio in both runs."""

    key: Key
    stored: float
    new: float
    tolerance: float = TOLERANCE

    @property
    def by(self) -> float:
        """How much worse it is: 0.2 is 20 % worse, less than 0 is better."""
        return self.new / self.stored - 1

    @property
    def is_regression(self) -> bool:
        """Whether it is worse by more than the tolerance."""
        return self.by > self.tolerance

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.is_regression:
            return "WORSE"
        return "better" if 1 / (1 + self.by) > 1 + self.tolerance else ""


def ratios(run: Run) -> dict[Key, float]:
    """The judged ratios, by group, comparison (with its base) and subject."""
    return {
        (measured.group, f"{measured.name} / {measured.base}", subject): measured.figures[subject].ratio
        for measured in run.results
        for subject in measured.subjects
    }


def changes(stored: Run, new: Run, tolerance: float = TOLERANCE) -> list[Change]:
    """What both runs have, in the order of the stored one."""
    news = ratios(new)
    return [Change(key, ratio, news[key], tolerance) for key, ratio in ratios(stored).items() if key in news]


def remarks(stored: Run, new: Run) -> list[str]:
    """What makes the comparison weaker than it looks."""
    found = []
    if stored.quick != new.quick:
        found.append("one run is quick and the other is not: the quick one's figures are rougher")
    if any(stored.machine.get(what) != new.machine.get(what) for what in ("cpu", "cores")):
        found.append("the machines differ: ratios move with the machine too")
    if stored.versions.get("python") != new.versions.get("python"):
        found.append("the versions of Python differ")
    if {*_peers(stored)} != {*_peers(new)}:
        found.append("not the same peers ran beside: they take time from everybody, and ratios shrink")
    before, after = ratios(stored).keys(), ratios(new).keys()
    found += [f"only in the stored run: {', '.join(key)}" for key in before if key not in after]
    found += [f"only in the new run: {', '.join(key)}" for key in after if key not in before]
    return found


def _peers(run: Run) -> list[str]:
    return [peer for measured in run.results for peer in measured.peers]


def table(found: list[Change]) -> Table:
    """All changes, the regressions marked."""
    made = Table(title="ratio to the base in both runs; more is slower", title_justify="left")
    for heading in ("group", "measure / base", "subject"):
        made.add_column(heading)
    for heading in ("stored", "new", "change"):
        made.add_column(heading, justify="right")
    made.add_column("")
    for change in found:
        figures = (f"{change.stored:.2f}", f"{change.new:.2f}", f"{change.by:+.0%}")
        style = "bold red" if change.is_regression else None
        made.add_row(*change.key, *figures, change.verdict, style=style)
    return made


def main(arguments: list[str]) -> int:
    """Print the comparison; 0 if nothing is worse, 1 if something is, 2 if there is nothing to compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("stored", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="0.2 is 20 %%")
    options = parser.parse_args(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=140)
    try:
        stored, new = load(options.stored), load(options.new)
    except (OSError, ValueError) as error:
        console.print(f"cannot compare: {error}", markup=False)
        return 2
    found = changes(stored, new, options.tolerance)
    console.print(table(found))
    for remark in remarks(stored, new):
        console.print(f"note: {remark}", markup=False)
    if not found:
        console.print("cannot compare: the runs have no measure in common")
        return 2
    worse = sum(change.is_regression for change in found)
    console.print(f"{worse} of {len(found)} ratios are worse by more than {options.tolerance:.0%}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
