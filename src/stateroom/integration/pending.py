"""Promises that somebody waits for, as other processes see and answer them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import msgspec

from ..errors import InputRefused, NotPlainData

__all__ = ["PendingPromise", "describe_pending", "encode_answer", "refusal"]

_EXTERNAL = "resonate:external"


class PendingPromise(msgspec.Struct, kw_only=True, frozen=True):
    """A promise that somebody waits for."""

    id: str
    data: Any
    """What it was made with."""
    tags: dict[str, str]
    created_at: float
    """Seconds since the epoch."""
    timeout_at: float
    """Seconds since the epoch."""


def describe_pending(
    records: Iterable[dict[str, Any]], now_ms: int, *, external: bool
) -> list[PendingPromise]:
    """Those of ``records`` that are not out of time, oldest first; with ``external`` only those so tagged."""
    found = [_describe(record) for record in records if record["timeoutAt"] > now_ms]
    wanted = [promise for promise in found if not external or promise.tags.get(_EXTERNAL) == "true"]
    return sorted(wanted, key=lambda promise: (promise.created_at, promise.id))


def encode_answer(value: Any) -> dict[str, Any]:
    """``value`` in the form of the protocol. Raises :class:`NotPlainData` if JSON has none for it."""
    if value is None:
        return {}
    try:
        return {"data": base64.b64encode(msgspec.json.encode(value)).decode()}
    except (TypeError, ValueError) as error:
        raise NotPlainData(f"a promise is answered with JSON data: {error}") from error


def refusal(promise_id: str, state: str | None, where: str) -> InputRefused:
    """Why a promise in this state, or None for there is none, cannot be answered."""
    if state is None:
        return InputRefused(f"there is no promise {promise_id!r} in {where}")
    how = {"resolved": "answered already", "rejected_timedout": "out of time"}
    return InputRefused(f"the promise {promise_id!r} is {how.get(state, 'not waited for any more')}")


def _describe(record: dict[str, Any]) -> PendingPromise:
    return PendingPromise(
        id=record["id"],
        data=_decode(record["param"]),
        tags=record["tags"],
        created_at=record["createdAt"] / 1000,
        timeout_at=record["timeoutAt"] / 1000,
    )


def _decode(param: Any) -> Any:
    """The data of a promise as it was given; encrypted data is given as it is."""
    data = (param or {}).get("data")
    if not data:
        return None
    try:
        return msgspec.json.decode(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return data
