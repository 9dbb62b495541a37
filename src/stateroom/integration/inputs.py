"""The open questions of a durable store, for whoever can answer them, in whichever process."""

from __future__ import annotations

import os
import re

import msgspec

from ..errors import InputRefused
from .input_capability import answer_to_data
from .pending import PendingPromise
from .sqlite import answers as sqlite_answers

__all__ = ["OpenInput", "answer_input", "open_inputs"]

_INPUT_ID = re.compile(r"(?P<execution_id>[^:]+):input:(?P<ordinal>\d+)")


class OpenInput(msgspec.Struct, frozen=True, kw_only=True):
    """A question that a durable execution waits with."""

    id: str
    """For :func:`answer_input`."""
    execution_id: str
    """Who asks."""
    prompt: str
    """What is asked."""
    password: bool
    """Whether the answer should not be shown."""
    asked_at: float
    """Seconds since the epoch."""


def open_inputs(store: str | os.PathLike[str]) -> list[OpenInput]:
    """The questions that executions still wait with, oldest first. Raises :class:`StoreError`.

    ``store`` is the file of a durable store, or a database as ``postgresql://…``.
    """
    pending = _pending_promises(store)
    executions = {promise.id for promise in pending}
    found = ((promise, _INPUT_ID.fullmatch(promise.id)) for promise in pending)
    return [
        OpenInput(
            id=promise.id,
            execution_id=match["execution_id"],
            prompt=str((promise.data or {}).get("prompt", "")),
            password=bool((promise.data or {}).get("password")),
            asked_at=promise.created_at,
        )
        for promise, match in found
        if match is not None and f"exec:{match['execution_id']}" in executions
    ]


def answer_input(store: str | os.PathLike[str], input_id: str, text: str | None) -> None:
    """Answer a question by its id; None is the end of the file. Durable when this returns.

    The process that runs the execution need not be alive. Raises :class:`InputRefused` if the question
    is unknown or was answered, :class:`StoreError` if the store cannot be used.
    """
    if _INPUT_ID.fullmatch(input_id) is None:
        raise InputRefused(f"{input_id!r} is not the id of a question: it looks like NAME:input:NUMBER")
    if _is_database(store):
        from .postgres import answers as postgres_answers

        postgres_answers.answer_promise(str(store), input_id, answer_to_data(text))
    else:
        sqlite_answers.answer_promise(store, input_id, answer_to_data(text))


def _pending_promises(store: str | os.PathLike[str]) -> list[PendingPromise]:
    if not _is_database(store):
        return sqlite_answers.pending_promises(store)
    from .postgres import answers as postgres_answers

    return postgres_answers.pending_promises(str(store))


def _is_database(store: str | os.PathLike[str]) -> bool:
    return isinstance(store, str) and store.startswith(("postgresql://", "postgres://"))
