"""Plain values come back as they were."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import math
import subprocess
import sys
import uuid
import zoneinfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from value_checks import UTC_PLUS_2, encode, plain, same, there_and_back

from stateroom.errors import NotPlainData
from stateroom.protocol import value_codes as codes
from stateroom.protocol.values import MAX_DEPTH, OUT_OF_BAND_BYTES, decode_value

# ruff: noqa: DTZ001, DTZ901 - naive moments are plain too
PLAIN = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 10**5000, -(10**5000),
    0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 5e-324, 1j, complex(-0.0, math.nan),
    "", "ü", "\0", "\U0001f600", "\ud800", "a\udfffb", "\ud83d\ude00", b"", b"\xff\0", bytearray(), bytearray(b"ab"),
    [], (), {}, set(), frozenset(), [()], ([],), {1: {2: (3, [4])}}, {(1, (2,)): frozenset({(3,)})},
    [1, True, 1.0, "1", b"1", None], {None: 1, True: 2, 1.5: 3, "x": 4, b"x": 5, 2**70: 6, "\ud800": 7, (): 8},
    {"z": 1, "a": 2, "m": 3}, [2**70, "\ud800", [2**70]], {2**64: 2**65}, {"a": (), 2: [b"x"]},
    ..., [...], range(0), range(5), range(10, -3, -2), range(2**70),
    dt.datetime(2024, 2, 29, 1, 2, 3, 456789), dt.datetime.max, dt.datetime.min,
    dt.datetime(2024, 10, 27, 2, 30, fold=1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2024, 1, 1, tzinfo=UTC_PLUS_2),
    dt.date(1, 1, 1), dt.time(23, 59, 59, 999999), dt.time(1, fold=1, tzinfo=UTC_PLUS_2),
    dt.timedelta.min, dt.timedelta.max, dt.timedelta(-1, 5, 7), dt.UTC, UTC_PLUS_2,
    dt.timezone(dt.timedelta(hours=-5, microseconds=3)), dt.timezone(dt.timedelta(0), "\ud800"),
    decimal.Decimal("1.10"), decimal.Decimal("-0E+10"), decimal.Decimal("Infinity"), decimal.Decimal("NaN"),
    decimal.Decimal("sNaN123"), decimal.Decimal("9" * 5000), uuid.UUID(int=2**128 - 1), fractions.Fraction(-1, 3),
    fractions.Fraction(2**8000, 3**5000),
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
def test_V5_plain_data_comes_back_as_it_was(value):
    assert same(there_and_back(value), value)
    assert same(there_and_back([value, {"k": (value,)}]), [value, {"k": (value,)}])


def test_the_check_of_these_tests_can_fail():
    for left, right in [
        (1, True),
        (0.0, -0.0),
        ([1], (1,)),
        ({1: 2, 3: 4}, {3: 4, 1: 2}),
        ({1}, {True}),
        ("a", "b"),
    ]:
        assert not same(left, right)


def zone(key):
    try:
        return zoneinfo.ZoneInfo(key)
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip(f"no time zone data for {key} on this machine")


def test_a_zone_goes_by_its_key():
    moment = dt.datetime(2024, 10, 27, 2, 30, tzinfo=zone("Europe/Berlin"), fold=1)
    back = there_and_back(moment)
    assert back.tzinfo is moment.tzinfo
    assert (back, back.fold) == (moment, 1)


@pytest.mark.parametrize("key", ["No/Such", "../etc/passwd", "/etc/passwd", "", ".", "a\0b", "x" * 10_000])
def test_a_zone_that_is_not_known_here_is_refused(key):
    data = msgspec.msgpack.encode(msgspec.msgpack.Ext(codes.ZONEINFO, msgspec.msgpack.encode(key)))
    with pytest.raises(NotPlainData, match=r"time zone .* is not known here") as caught:
        decode_value(data)
    assert len(str(caught.value)) < 500


def test_what_is_there_twice_arrives_twice():
    inner = [1, (2,)]
    raw = b"r" * OUT_OF_BAND_BYTES
    shared = [raw, []]
    back = there_and_back([inner, inner, shared, {"k": shared}])
    assert back == [inner, inner, shared, {"k": shared}]
    assert back[0] is not back[1]


def test_containers_side_by_side_are_not_deep():
    value = [[(n,)] for n in range(3 * MAX_DEPTH)]
    assert there_and_back(value) == value


def test_nothing_is_unpickled_or_imported_for_plain_values():
    code = (
        "import sys; from stateroom.protocol.values import decode_value, encode_value\n"
        "before = {'datetime', 'decimal', 'uuid', 'fractions', 'zoneinfo', 'pickle', 'inspect', 'dataclasses'}\n"
        "assert decode_value(encode_value([1, ('a', {2: b'x'})], 1000)[0]) == [1, ('a', {2: b'x'})]\n"
        "print(sorted(before & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    bare = "import sys, msgspec; print(sorted({'datetime', 'decimal', 'uuid', 'fractions', 'zoneinfo', 'pickle', 'inspect', 'dataclasses'} & set(sys.modules)))"
    msgspec_alone = subprocess.run([sys.executable, "-c", bare], capture_output=True, text=True, check=True)
    assert done.stdout == msgspec_alone.stdout


@given(plain)
def test_V5_any_plain_value_round_trips(value):
    assert same(there_and_back(value), value)


@given(
    st.lists(st.binary(min_size=4, max_size=12) | st.binary(min_size=4, max_size=12).map(bytearray)),
    st.data(),
)
def test_any_arrangement_of_raw_buffers_round_trips(raws, data):
    value = [data.draw(st.sampled_from([raw, (raw,), {"k": raw}])) for raw in raws]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stateroom.protocol.value_encoder.OUT_OF_BAND_BYTES", 4)
        packed_value, buffers = encode(value)
    assert buffers == [bytes(raw) for raw in raws]
    assert same(decode_value(packed_value, memoryview(b"".join(buffers))), value)
