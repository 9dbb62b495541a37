"""Bytes that nobody encoded are decoded or refused, and cost nothing else."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from value_checks import encode, ext, packed, plain

from stateroom.errors import MalformedFrame, NotPlainData
from stateroom.protocol import value_codes as codes
from stateroom.protocol.values import MAX_DEPTH, decode_value

HOSTILE = {
    "nothing": b"",
    "reserved byte": b"\xc1",
    "cut short": b"\x92\x01",
    "trailing": b"\x01\x02",
    "list too long": b"\xdd\xff\xff\xff\xff",
    "map too long": b"\xdf\xff\xff\xff\xff",
    "bytes too long": b"\xc6\xff\xff\xff\xff",
    "too deep": b"\x91" * 1_000_000,
    "too deep and complete": b"\x91" * 1_000_000 + b"\xc0",
    "not utf-8": b"\xa1\xff",
    "unhashable key": b"\x81" + ext(codes.SET, packed()) + b"\x01",
    "unhashable item": ext(codes.SET, packed(msgspec.msgpack.Ext(codes.SET, packed()))),
    "unknown code": ext(99, b""),
    "negative code": ext(-5, b""),
    "bad timestamp": b"\xc7\x0c\xff" + b"\xff" * 12,
    "raw without buffer": ext(codes.RAW_BYTES, struct.pack(">Q", 1 << 60)),
    "raw of wrong form": ext(codes.RAW_BYTES, b"x"),
    "tuple is no array": ext(codes.TUPLE, b"\x01"),
    "tuple with rest": ext(codes.TUPLE, packed() + b"\x01"),
    "pairs without value": ext(codes.DICT, packed(1)),
    "complex too short": ext(codes.COMPLEX, b"1234"),
    "range of text": ext(codes.RANGE, packed("a", "b", "c")),
    "range of bools": ext(codes.RANGE, packed(True, True, True)),
    "range step 0": ext(codes.RANGE, packed(0, 1, 0)),
    "datetime from state": ext(codes.DATETIME, packed(b"\xff" * 10, None)),
    "datetime out of range": ext(codes.DATETIME, packed(2024, 13, 1, 0, 0, 0, 0, 0, None)),
    "datetime of huge ints": ext(codes.DATETIME, packed(2**63, 1, 1, 0, 0, 0, 0, 0, None)),
    "datetime with text zone": ext(codes.DATETIME, packed(2024, 1, 1, 0, 0, 0, 0, 0, "x")),
    "datetime with fold 2": ext(codes.DATETIME, packed(2024, 1, 1, 0, 0, 0, 0, 2, None)),
    "datetime empty": ext(codes.DATETIME, packed()),
    "date from state": ext(codes.DATE, packed(b"\xff\xff\xff\xff")),
    "time from state": ext(codes.TIME, packed(b"\xff" * 6, None)),
    "timedelta too large": ext(codes.TIMEDELTA, packed(2**62, 0, 0)),
    "timezone too far": ext(codes.TIMEZONE, packed(2, 0, 0)),
    "timezone with two names": ext(codes.TIMEZONE, packed(0, 0, 0, "a", "b")),
    "decimal of words": ext(codes.DECIMAL, b"one"),
    "decimal not ascii": ext(codes.DECIMAL, b"\xff"),
    "uuid too short": ext(codes.UUID, b"1"),
    "fraction by zero": ext(codes.FRACTION, packed(1, 0)),
    "fraction too large": ext(codes.FRACTION, packed(msgspec.msgpack.Ext(codes.INT, b"\x01" * 10_000), 1)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused(name):
    for data in (HOSTILE[name], b"\x91" + HOSTILE[name]):
        with pytest.raises(MalformedFrame) as caught:
            decode_value(data)
        assert len(str(caught.value)) < 500


def test_extensions_inside_extensions_are_bounded():
    data = packed()
    for _ in range(2 * MAX_DEPTH):
        data = b"\x91" + ext(codes.TUPLE, data)
    with pytest.raises(MalformedFrame, match="nested deeper"):
        decode_value(data)


def decode_hostile(data, buffers=None):
    try:
        decode_value(data, buffers)
    except (MalformedFrame, NotPlainData) as error:
        assert len(str(error)) < 500  # noqa: PT017


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_random_bytes_are_decoded_or_refused(data, buffers):
    decode_hostile(data, memoryview(buffers))


all_codes = [
    value for name, value in vars(codes).items() if name.isupper() and isinstance(value, int) and value < 100
]


@given(st.sampled_from(all_codes), st.binary(max_size=40) | st.lists(st.integers() .filter(lambda n: -(2**63) <= n < 2**64) | st.none() | st.binary(max_size=9) | st.text(max_size=5), max_size=10).map(msgspec.msgpack.encode))  # fmt: skip
def test_random_extensions_are_decoded_or_refused(code, data):
    decode_hostile(ext(code, data))


@given(plain, st.data())
def test_altered_values_are_decoded_or_refused(value, data):
    raw = bytearray(encode(value)[0])
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    decode_hostile(bytes(raw))
    decode_hostile(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
