"""Plain data across the process boundary, as equal values of the same types.

Plain is: None, bool, int of any size, float, complex, str (lone surrogates too), bytes,
bytearray, list, tuple, dict, set, frozenset, range, Ellipsis, datetime, date, time, timedelta,
timezone, ZoneInfo by key, Decimal, UUID, Fraction; nested up to ``MAX_DEPTH``. Subclasses are not
plain, for they would arrive as something else. An object that is in a value twice arrives as two.

What msgpack has no type for is an Ext whose data is msgpack again. Bytes of ``OUT_OF_BAND_BYTES``
and more stay out of the msgpack: their Ext holds the length, and they travel as raw buffers in
order of their places, each used once, so what is decoded is never much more than what came.
Nothing is ever unpickled. Modules such as ``decimal`` are loaded only where such a value is met.
"""

from __future__ import annotations

from .value_codes import MAX_DEPTH, OUT_OF_BAND_BYTES
from .value_decoder import decode_value
from .value_encoder import encode_value

__all__ = ["MAX_DEPTH", "OUT_OF_BAND_BYTES", "decode_value", "encode_value"]
