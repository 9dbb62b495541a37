"""The commands and options of ``stateroom``, and where the code of a cell comes from."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
from pathlib import Path
from typing import Annotated

import typer

from .cell import Cell, run_cell
from .durable import run_durable
from .inputs import inputs
from .worker import worker

__all__ = ["app"]

CANNOT_READ = 2
"""Exit status for a FILE that cannot be read; CPython's own."""

app = typer.Typer(
    help="Run Python with top-level await, in a process of its own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(inputs, name="inputs")
app.command()(worker)


def _print_version(wanted: bool) -> None:
    if wanted:
        version = importlib.metadata.version("stateroom")
        typer.echo(f"stateroom {version} (Python {platform.python_version()})")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that come before a command."""


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A Python file, or - for standard input.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGS", help="The file's own sys.argv[1:].")
    ] = None,
    durable: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="Keep what each cell (cut at # %%) leaves in this file, and go on there when run again.",
        ),
    ] = None,
) -> None:
    """Run a file as a script, and print the value of its last expression."""
    filename = "<stdin>" if file == "-" else file
    cell = Cell(_read(file), filename, [file, *(arguments or [])])
    raise typer.Exit(run_cell(cell) if durable is None else run_durable(cell, durable))


@app.command(name="exec")
def exec_(code: Annotated[str, typer.Argument(metavar="CODE", help="Python code.")]) -> None:
    """Run code, and print the value of its last expression."""
    raise typer.Exit(run_cell(Cell(code)))


def _read(file: str) -> str:
    """Read source text the way CPython does: by its BOM or coding comment, else as UTF-8."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return importlib.util.decode_source(data)
    except OSError as error:
        reason = f"can't open file {file!r}: {error.strerror}"
    except (SyntaxError, UnicodeDecodeError) as error:
        reason = f"can't decode {file!r}: {error}"
    typer.echo(f"stateroom: {reason}", err=True)
    raise typer.Exit(CANNOT_READ)
