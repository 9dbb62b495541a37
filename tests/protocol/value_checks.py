"""How tests send values there and back, compare them, and make them up."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import struct

import msgspec
from hypothesis import strategies as st

from stateroom.protocol.values import decode_value, encode_value

LIMIT = 1 << 30
UTC_PLUS_2 = dt.timezone(dt.timedelta(hours=2), "here")


def encode(value):
    return encode_value(value, LIMIT)


def there_and_back(value):
    data, buffers = encode(value)
    return decode_value(data, memoryview(b"".join(buffers)))


def same(left, right) -> bool:
    """Equal in value and in type all the way down, nan and -0.0 and order of dicts included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right) or (math.isnan(left) and math.isnan(right))
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same([*left.items()], [*right.items()])
    if isinstance(left, set | frozenset):
        return len(left) == len(right) and all(any(same(a, b) for b in right) for a in left)
    if isinstance(left, decimal.Decimal):
        return str(left) == str(right)
    if isinstance(left, dt.datetime | dt.time):
        naive = left.replace(tzinfo=None), right.replace(tzinfo=None)
        return naive[0] == naive[1] and left.fold == right.fold and same(left.tzinfo, right.tzinfo)
    if isinstance(left, dt.timezone):
        return left == right and left.tzname(None) == right.tzname(None)
    return left == right


def nested(depth, wrap):
    value = 1
    for _ in range(depth):
        value = wrap(value)
    return value


def ext(code, data):
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(code, data))


def packed(*items):
    return msgspec.msgpack.encode(items)


zones = st.none() | st.builds(
    dt.timezone, st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)), st.text(max_size=3)
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**200), 2**200), st.floats(), st.complex_numbers(),
    st.text(st.characters()), st.text(st.characters(categories=["Cs", "Lu"])), st.binary(), st.just(...),
    st.datetimes(timezones=zones), st.dates(), st.times(timezones=zones), st.timedeltas(), st.decimals().filter(lambda number: not number.is_snan()), st.uuids(),
    st.fractions(), st.builds(range, st.integers(), st.integers(), st.integers(1, 5)),
)  # fmt: skip
hashables = st.recursive(
    scalars, lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=3), max_leaves=4
)
plain = st.recursive(
    scalars | st.binary().map(bytearray) | st.sets(hashables, max_size=3),
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(hashables, inner, max_size=4)
    ),
    max_leaves=15,
)
