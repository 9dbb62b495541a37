"""``stateroom inputs``: what durable executions ask, and the answers, from any process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

import stateroom

__all__ = ["inputs"]

inputs = typer.Typer(
    help="List and answer the questions of durable executions, while they run or not.",
    no_args_is_help=True,
)

Store = Annotated[
    str, typer.Argument(metavar="STORE", help="The file given to run --durable, or postgresql://…")
]


@inputs.command(name="list")
def list_(store: Store) -> None:
    """Print the open questions, oldest first: id, age in seconds, prompt."""
    with _complaining():
        from ...integration.inputs import open_inputs

        for question in open_inputs(store):
            age_s = max(0.0, time.time() - question.asked_at)
            typer.echo(f"{question.id}\t{age_s:.0f}\t{_one_line(question.prompt)}")


@inputs.command()
def answer(
    store: Store,
    input_id: Annotated[str, typer.Argument(metavar="ID", help="As `inputs list` prints it.")],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The answer; a line of standard input if left out.")
    ] = None,
    eof: Annotated[bool, typer.Option("--eof", help="Answer with the end of the file.")] = False,
) -> None:
    """Answer a question."""
    with _complaining():
        from ...integration.inputs import answer_input, open_inputs

        if text is None and not eof:
            text = _ask(lambda: any(q.password for q in open_inputs(store) if q.id == input_id))
        answer_input(store, input_id, None if eof else text)


def _ask(is_password: Callable[[], bool]) -> str:
    if sys.stdin.isatty():
        answered: Any = typer.prompt("Answer", hide_input=is_password(), default="", show_default=False)
        return str(answered)
    return sys.stdin.readline().removesuffix("\n")


def _one_line(text: str) -> str:
    """Text that cannot move the cursor, or break the columns."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


@contextmanager
def _complaining() -> Iterator[None]:
    try:
        yield
    except (stateroom.StateroomError, ImportError) as error:
        typer.echo(f"stateroom: {error}", err=True)
        raise typer.Exit(1) from None
