"""Measure how faithful sessions are: run CPython's own tests plainly and in sessions, and compare.

    python tools/fidelity/run.py [--jobs N] [--limit SECONDS] [--mode cell|file] [PATTERN ...]

Each file runs three times: as ``python FILE``, as the text of one cell, and as ``stateroom run
FILE`` would run it. A test with another outcome in a session is a difference, unless a second
try does not show it. Differences that expected.toml explains are counted; exit status 1 if
others are left.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import signal
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from corpus import Expected, TestFile, expected_differences, test_files
from outcomes import Difference, Outcomes, differences
from runs import MODES, run_file


@dataclass
class Report:
    """What the three runs of one file showed."""

    file: TestFile
    runs: dict[str, Outcomes] = field(default_factory=dict)
    explained: list[tuple[Difference, str]] = field(default_factory=list)
    unexplained: list[Difference] = field(default_factory=list)
    passing: list[Difference] = field(default_factory=list)
    """Seen once and not again."""

    def line(self) -> str:
        """One row of the table."""
        plain = self.runs["plain"].counts()
        bad = sum(plain.values()) - plain["ok"] - plain["skip"]
        seconds = "/".join(f"{run.seconds:.0f}" for run in self.runs.values())
        columns = (sum(plain.values()), plain["ok"], plain["skip"], bad, len(self.explained))
        numbers = "".join(f"{number:8}" for number in columns)
        return f"{self.file.name:44}{numbers}{len(self.unexplained):13}  {seconds} s"


HEAD = f"{'file':44}{'tests':>8}{'ok':>8}{'skip':>8}{'other':>8}{'expl.':>8}{'unexplained':>13}  time"


async def measure(file: TestFile, modes: list[str], time_limit_s: float, table: list[Expected]) -> Report:
    """Run a file in all modes; run it again where something is not explained."""
    report = Report(file)
    for mode in ["plain", *modes]:
        report.runs[mode] = await run_file(file, mode, time_limit_s)
    for mode in modes:
        found = differences(file.name, mode, report.runs["plain"], report.runs[mode])
        left = [difference for difference in found if not _explain(difference, table, report)]
        if left:
            again = await _run_again(file, mode, time_limit_s)
            report.unexplained += [difference for difference in left if difference.test in again]
            report.passing += [difference for difference in left if difference.test not in again]
    return report


def _explain(difference: Difference, table: list[Expected], report: Report) -> bool:
    for entry in table:
        if entry.explains(difference):
            report.explained.append((difference, entry.reason))
            return True
    return False


async def _run_again(file: TestFile, mode: str, time_limit_s: float) -> set[str]:
    plain = await run_file(file, "plain", time_limit_s)
    session = await run_file(file, mode, time_limit_s)
    return {difference.test for difference in differences(file.name, mode, plain, session)}


async def measure_all(
    files: list[TestFile], options: argparse.Namespace, table: list[Expected]
) -> list[Report]:
    """Measure all files, ``options.jobs`` at a time; print each row as it is ready."""
    places = asyncio.Semaphore(options.jobs)

    async def one(file: TestFile) -> Report:
        async with places:
            report = await measure(file, options.mode, options.limit, table)
        print(report.line(), flush=True)
        for difference in report.unexplained[: options.show]:
            print(f"    {difference}", flush=True)
        if (more := len(report.unexplained) - options.show) > 0:
            print(f"    … and {more} more; --show N shows N")
        return report

    print(HEAD, flush=True)
    return list(await asyncio.gather(*map(one, files)))


def conclude(reports: list[Report], missing: list[str], stale: list[Expected]) -> int:
    """Print what is left to say; the exit status."""
    explained = [pair for report in reports for pair in report.explained]
    for reason in dict.fromkeys(reason for _, reason in explained):
        _print_list(
            f"explained: {reason}", [found for found, its_reason in explained if its_reason == reason]
        )
    _print_list("seen once, not again:", [found for report in reports for found in report.passing])
    for entry in stale:
        print(f"explains nothing in this run: {entry.reason}")
    if missing:
        print("not in this version's suite:", ", ".join(missing))
    if hollow := [report.file.name for report in reports if not report.runs["plain"].counts()["ok"]]:
        print("compare nothing, since no test of theirs passes in plain Python:", ", ".join(hollow))
    unexplained = sum(len(report.unexplained) for report in reports)
    tests = sum(len(report.runs["plain"].tests) for report in reports)
    print(
        f"\nPython {sys.version.split()[0]}: {len(reports)} files, {tests} tests, "
        f"{len(explained)} differences explained, {unexplained} unexplained"
    )
    return 1 if unexplained else 0


def _print_list(head: str, found: list[Difference]) -> None:
    names = sorted({f"{difference.file}:{difference.test}" for difference in found})
    if names:
        print(f"\n{head}", *names, sep="\n    ")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="as test_asyncio/*; all files by default"
    )
    parser.add_argument("--jobs", type=int, default=2, help="files run at the same time")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds that one run of a file may take")
    parser.add_argument("--show", type=int, default=20, help="unexplained differences shown of a file")
    parser.add_argument("--mode", action="append", choices=MODES[1:], help="as cell or file; both by default")
    options = parser.parse_args()
    options.mode = options.mode or list(MODES[1:])
    return options


def main() -> int:
    """Measure, unless there is nothing to measure with."""
    options = parse_arguments()
    # A shell's background job ignores SIGINT, and so would all that is run here: tests would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = importlib.util.find_spec("test")
    suite = Path(found.origin).parent if found and found.origin else None
    if suite is None or not (suite / "test_grammar.py").exists():
        print(f"skipped: {sys.executable} comes without CPython's test suite (the package 'test')")
        return 0
    files, missing = test_files(suite)
    if options.patterns:
        files = [file for file in files if any(fnmatchcase(file.name, p) for p in options.patterns)]
    table = expected_differences()
    reports = asyncio.run(measure_all(files, options, table))
    whole = not options.patterns and options.mode == list(MODES[1:])
    return conclude(reports, missing, [entry for entry in table if whole and not entry.seen])


if __name__ == "__main__":
    sys.exit(main())
