"""Measure this project beside a floor, in turns, and show ratios: ``make bench``.

``python benchmarks/bench.py [--quick] [--only round_trip,cancel] [--save RUN.json] [--markdown TABLE.md]``.
A whole run takes some five minutes, a quick one about one. Compare two stored runs with ``compare.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import compileall
import datetime as dt
import shlex
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console
from suite import cells, control, output, starts, state
from suite.environment import machine, versions
from suite.measuring import Group, Measured, Plan, measure
from suite.report import Run, markdown, save, show

import stateroom

GROUPS: dict[str, Group] = {
    group.name: group for module in (cells, output, control, starts, state) for group in module.GROUPS
}


def compile_all() -> None:
    """Write the bytecode of what workers import.

    With PYTHONDONTWRITEBYTECODE set, or in a fresh checkout, every start of a worker would compile it
    again, and that would be measured.
    """
    for folder in (Path(stateroom.__file__).parent, Path(__file__).parent):
        compileall.compile_dir(folder, quiet=2)


async def measure_group(group: Group, plan: Plan, progress: Console) -> list[Measured]:
    """Start what the group needs and let its comparisons run one after the other."""
    async with AsyncExitStack() as stack:
        results = []
        for comparison in await group.open(plan, stack):
            progress.print(f"{group.name}: {comparison.name}", style="dim")
            results.append(await measure(group.name, comparison, plan))
        return results


async def measure_all(names: list[str], plan: Plan, progress: Console) -> list[Measured]:
    """All groups in turn."""
    return [found for name in names for found in await measure_group(GROUPS[name], plan, progress)]


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="groups:\n" + "\n".join(f"  {group.name:14}{group.what}" for group in GROUPS.values()),
    )
    parser.add_argument("--only", help="groups to measure, with commas between")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and calls: rougher figures")
    parser.add_argument("--rounds", type=int, help="rounds of each comparison")
    parser.add_argument("--no-peers", action="store_true", help="measure beside the floor only")
    parser.add_argument("--unpinned", action="store_true", help="let the scheduler choose cores")
    parser.add_argument("--save", type=Path, metavar="RUN.json", help="store the run")
    parser.add_argument("--markdown", type=Path, metavar="TABLE.md", help="store the table as a page")
    parser.add_argument("--note", action="append", default=[], help="say this beside the figures")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",") if options.only else list(GROUPS)
    if unknown := [name for name in options.only if name not in GROUPS]:
        parser.error(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return options


def command(options: argparse.Namespace) -> str:
    """The command that measures the same again; where the figures went does not matter."""
    words = ["python", "benchmarks/bench.py"]
    if options.only != list(GROUPS):
        words += ["--only", ",".join(options.only)]
    if options.quick:
        words.append("--quick")
    if options.no_peers:
        words.append("--no-peers")
    if options.unpinned:
        words.append("--unpinned")
    if options.rounds:
        words += ["--rounds", str(options.rounds)]
    return shlex.join(words)


def main(arguments: list[str]) -> None:
    """Measure, print, store."""
    options = parse(arguments)
    plan = Plan(
        quick=options.quick, rounds=options.rounds, pinned=not options.unpinned, peers=not options.no_peers
    )
    plan.note("bytecode of the package and of the benchmarks was compiled before measuring")
    for note in options.note:
        plan.note(note)
    compile_all()
    where, begin = machine(), time.monotonic()
    results = asyncio.run(measure_all(options.only, plan, Console(stderr=True)))
    run = Run(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        command=command(options),
        quick=options.quick,
        seconds=round(time.monotonic() - begin, 1),
        machine=where,
        versions=versions(),
        notes=plan.notes,
        results=results,
    )
    console = Console() if sys.stdout.isatty() else Console(width=180)
    show(run, console)
    console.print(f"{run.seconds:.0f} s on {where['cores']} cores, {where['cpu']}, load {where['load']}")
    if options.save:
        save(run, options.save)
    if options.markdown:
        options.markdown.write_text(markdown(run))


if __name__ == "__main__":
    main(sys.argv[1:])
