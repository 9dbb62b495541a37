"""What is used of ``resonate-sdk``, in one place, and what to do where it is missing.

Importing this module raises ImportError with that advice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from ..errors import DurableError, StoreError
from .new_enough import check_python

check_python()
try:
    from resonate.connections import LocalConnection
    from resonate.context import Context
    from resonate.error import PlatformError, ResonateError, ServerError, StoppedError
    from resonate.resonate import Resonate
    from resonate.retry import Never
    from resonate.types import PromiseRecord, Value
except ModuleNotFoundError as error:
    raise ImportError(
        f"durable executions need resonate-sdk ({error.name} is missing): pip install 'stateroom[durable]'"
    ) from error

__all__ = [
    "EXTERNAL",
    "FAR_FUTURE_MS",
    "NO_TIMEOUT",
    "Context",
    "LocalConnection",
    "Never",
    "PlatformError",
    "PromiseRecord",
    "Resonate",
    "ResonateError",
    "ServerError",
    "StoppedError",
    "Value",
    "told",
    "wait_settled",
]

EXTERNAL: dict[str, str] = {"resonate:external": "true"}
"""The tag of a promise that is settled from outside of any durable function."""
NOT_FOUND = 404
NO_TIMEOUT = timedelta(days=36_500)
"""For what the SDK would give up after a day: a function whose cell waits for a person, say."""
FAR_FUTURE_MS = 253_402_300_799_000
"""The end of the year 9999: a promise without a time limit."""


async def wait_settled(resonate: Resonate, promise_id: str) -> PromiseRecord:
    """Wait until a promise is settled, by whomever, and return its record as plain data.

    ``handle.result()`` would unpickle what a rejection carries, which anybody who can write to the
    store could use to run code here; this waits for the same signal and reads the record as JSON.
    """
    handle = await resonate.get(promise_id)
    await handle._sub.wait()  # the SDK has no public way to wait without decoding
    return await resonate.promises.get(promise_id)


@contextmanager
def told(promise_id: str) -> Iterator[None]:
    """Raise :class:`StoreError` for what the SDK raises: the promise stays as it is, whatever that is.

    A promise that does not exist is a :class:`DurableError`.
    """
    try:
        yield
    except ServerError as error:
        if error.code == NOT_FOUND:
            raise DurableError(f"there is no promise {promise_id!r} in the store") from None
        raise StoreError(f"{promise_id}: the store of promises refuses: {error}") from error
    except (ResonateError, OSError) as error:
        raise StoreError(f"{promise_id}: the store of promises cannot be used: {error}") from error
