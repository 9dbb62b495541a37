"""Keeps pickles out of what the SDK decodes.

The SDK puts a pickle of the exception beside the message of a rejection, and loads whatever stands in its
place when it reads one: whoever can write to the store could run code here.
"""

from __future__ import annotations

import msgspec

__all__ = ["PickleFree"]

PICKLE_KEY = "__py_pickle"


class PickleFree:
    """An encryptor for Resonate that encrypts nothing; it only takes pickles out, on both ways."""

    def __repr__(self) -> str:
        return "<PickleFree>"

    def encrypt(self, data: bytes) -> bytes:
        """What goes to the store."""
        return _without_pickle(data)

    def decrypt(self, data: bytes) -> bytes:
        """What comes from it."""
        return _without_pickle(data)


def _without_pickle(data: bytes) -> bytes:
    if PICKLE_KEY.encode() not in data and b"\\u" not in data:  # the key may be written in escapes
        return data
    try:
        value = msgspec.json.decode(data)
    except msgspec.MsgspecError:
        return data  # the SDK will say so
    if not isinstance(value, dict) or PICKLE_KEY not in value:
        return data
    del value[PICKLE_KEY]
    return msgspec.json.encode(value)
