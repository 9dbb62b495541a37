"""A run as data, as JSON, and as a table."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from .measuring import Figures, Measured

FORMAT = 1


class Run(msgspec.Struct, kw_only=True, frozen=True):
    """All that is kept of a run."""

    format: int = FORMAT
    date: str
    command: str
    quick: bool
    seconds: float
    machine: dict[str, str | int | float]
    versions: dict[str, str]
    notes: list[str]
    results: list[Measured]


def save(run: Run, path: Path) -> None:
    """Write a run as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")


def load(path: Path) -> Run:
    """Read what :func:`save` wrote. Raises OSError, or ValueError if it is no run of this format."""
    try:
        run = msgspec.json.decode(path.read_bytes(), type=Run)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is no stored run: {error}") from None
    if run.format != FORMAT:
        raise ValueError(f"{path} has format {run.format}, this program reads {FORMAT}: measure again")
    return run


def time_text(seconds: float) -> str:
    """A time with three digits or so."""
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1, 1e3, "ms")):
        if seconds < limit:
            value = seconds * factor
            return f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return f"{seconds:.2f} s"


def figure_text(measured: Measured, figures: Figures) -> str:
    """A median time; where the amount is known, the rate too."""
    text = time_text(figures.median_s)
    if measured.amount is None:
        return text
    return f"{text} = {measured.amount / figures.median_s:,.0f} {measured.unit}"


def rows(measured: Measured) -> list[list[str]]:
    """A row for each judged contestant: what, who, time, p99, base, ratio, its range, peers."""
    found = []
    base = f"{time_text(measured.figures[measured.base].median_s)} {measured.base}"
    for subject in measured.subjects:
        figures = measured.figures[subject]
        p99 = time_text(figures.p99_s) if figures.samples >= 100 else ""
        peers = [f"{measured.figures[peer].ratio / figures.ratio:.1f}x {peer}" for peer in measured.peers]
        found.append(
            [
                measured.group,
                measured.name,
                subject,
                figure_text(measured, figures),
                p99,
                base,
                f"{figures.ratio:.2f}",
                f"{figures.ratio_low:.2f} to {figures.ratio_high:.2f}",
                ", ".join(peers),
            ]
        )
    return found


HEADINGS = ("group", "measure", "subject", "median", "p99", "base", "ratio", "range", "peers, beside subject")


def headings_of(results: list[Measured]) -> tuple[str, ...]:
    """The columns: that of the peers only where there are any."""
    return HEADINGS if any(measured.peers for measured in results) else HEADINGS[:-1]


def table(results: list[Measured]) -> Table:
    """The run for the terminal."""
    headings = headings_of(results)
    made = Table(title="ratio: time of the subject / time of the base, 1 is as fast", title_justify="left")
    for heading in headings:
        made.add_column(heading, justify="right" if heading in ("median", "p99", "base", "ratio") else "left")
    group = ""
    for measured in results:
        if group and measured.group != group:
            made.add_section()
        group = measured.group
        for row in rows(measured):
            made.add_row(*row[: len(headings)])
    return made


def show(run: Run, console: Console) -> None:
    """Print the table and what has to be said about it."""
    console.print(table(run.results))
    for note in run.notes:
        console.print(f"note: {note}")


def markdown(run: Run) -> str:
    """The run as a page."""
    machine = ", ".join(f"{name} {value}" for name, value in run.machine.items())
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    lines = [
        "# Baseline",
        "",
        f"Measured on {run.date} in {run.seconds:.0f} s by `{run.command}`.",
        "",
        f"- machine: {machine}",
        f"- versions: {versions}",
        *[f"- {note}" for note in run.notes],
        "",
        "A ratio is the time of the subject divided by the time of the base in the same round: the median of",
        "the rounds, and their range. More is slower. Read the ratios; times belong to this machine.",
        "",
    ]
    headings = headings_of(run.results)
    lines += [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    cells = [row[: len(headings)] for measured in run.results for row in rows(measured)]
    lines += [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join(lines) + "\n"
