"""What both directions of :mod:`stateroom.protocol.values` share: limits and the wire's Ext codes."""

from __future__ import annotations

from struct import Struct

MAX_DEPTH = 100
"""Containers inside containers, the outermost one included."""

OUT_OF_BAND_BYTES = 64 * 1024
"""Bytes and bytearrays from this size on are not copied into the msgpack."""

FRACTION_BYTES = 1024
"""Of each part: to reduce a hostile fraction takes time quadratic in its size."""

PAIR = Struct(">dd")
LENGTH = Struct(">Q")

# Never give a code a new meaning: raise PROTOCOL_VERSION instead.
INT, STR, COMPLEX, BYTEARRAY, ELLIPSIS, RANGE = range(1, 7)
TUPLE, SET, FROZENSET, DICT = range(10, 14)
RAW_BYTES, RAW_BYTEARRAY = 20, 21
DATETIME, DATE, TIME, TIMEDELTA, TIMEZONE, ZONEINFO = range(30, 36)
DECIMAL, UUID, FRACTION = range(40, 43)


def clip(text: object, chars: int = 200) -> str:
    """The text, cut so that an error message stays one to read."""
    text = str(text)
    return text if len(text) <= chars else text[:chars] + "…"
