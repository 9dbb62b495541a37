"""The limit of a value's size, and large bytes, which travel out of band."""

from __future__ import annotations

import decimal

import pytest
from value_checks import encode, nested, same, there_and_back

from stateroom.errors import MalformedFrame, NotPlainData
from stateroom.protocol.values import MAX_DEPTH, OUT_OF_BAND_BYTES, decode_value, encode_value


@pytest.mark.parametrize("value", ["x" * 1000, b"x" * 1000, bytearray(1000), [0] * 1000, [["x" * 500], ("y" * 500,)],
                                   b"x" * OUT_OF_BAND_BYTES, 1 << 8000, {i: i for i in range(1000)},
                                   decimal.Decimal("1" * 1000), "\ud800" * 400], ids=lambda value: type(value).__name__)  # fmt: skip
def test_a_value_over_the_limit_is_refused_and_at_the_limit_is_sent(value):
    data, buffers = encode(value)
    size = len(data) + sum(map(len, buffers))
    assert encode_value(value, size) == (data, buffers)
    for limit in (size - 1, 900, 0):
        with pytest.raises(NotPlainData, match=f"over the limit of {limit}"):
            encode_value(value, limit)


@pytest.mark.parametrize("wrap", [lambda value: [value, value], lambda value: (value, value),
                                  lambda value: {1: value, (): value}], ids=["list", "tuple", "dict"])  # fmt: skip
def test_sharing_cannot_blow_a_small_value_up(wrap):
    with pytest.raises(NotPlainData, match="over the limit of 100000 bytes"):
        encode_value(nested(MAX_DEPTH - 1, wrap), 100_000)


def test_large_bytes_travel_out_of_band_in_order():
    raws = [bytes([n]) * (OUT_OF_BAND_BYTES + n) for n in range(4)]
    value = [raws[0], {"k": (raws[1], bytearray(raws[2]))}, {raws[3]: 1}, b"small"]
    data, buffers = encode(value)
    assert buffers == raws
    assert buffers[0] is raws[0]
    assert len(data) < 200
    assert same(there_and_back(value), value)


def test_just_under_the_bound_goes_in_band():
    assert encode(b"x" * (OUT_OF_BAND_BYTES - 1))[1] == []
    assert len(encode(b"x" * OUT_OF_BAND_BYTES)[1]) == 1


def test_a_large_bytearray_is_sent_as_it_was():
    value = bytearray(OUT_OF_BAND_BYTES)
    _, (buffer,) = encode(value)
    value.extend(b"more")
    value[0] = 1
    assert buffer == bytes(OUT_OF_BAND_BYTES)


def test_raw_buffers_must_fit_exactly():
    data, (buffer,) = encode([b"x" * OUT_OF_BAND_BYTES])
    for wrong, message in [(buffer[:-1], "needs 65536 raw bytes, 65535 are there"), (buffer + b"y", "1 bytes came"),
                           (None, "0 are there")]:  # fmt: skip
        with pytest.raises(MalformedFrame, match=message):
            decode_value(data, wrong and memoryview(wrong))
