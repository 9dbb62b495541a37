from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import math
import struct
import subprocess
import sys
import uuid
import zoneinfo
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateroom.errors import MalformedFrame, NotPlainData
from stateroom.protocol import value_codes as codes
from stateroom.protocol.values import MAX_DEPTH, OUT_OF_BAND_BYTES, decode_value, encode_value

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


# What is not plain


class Number(int):
    pass


class Text(str):
    __slots__ = ()


class Colour(enum.IntEnum):
    RED = 1


class Thing:
    pass


class Zone(dt.tzinfo):
    pass


class HostileMeta(type):
    __hash__ = None

    def __eq__(cls, other):
        return NotImplemented

    def __getattribute__(cls, name):
        raise ZeroDivisionError(name)


class Hostile(metaclass=HostileMeta):
    pass


class Point(NamedTuple):
    x: int
    y: int


NOT_PLAIN = [
    (Thing(), r"^value is a \S*Thing$"),
    (Number(1), r"^value is a \S*Number$"),
    (Text("a"), r"^value is a \S*Text$"),
    (Colour.RED, "Colour$"),
    (Point(1, 2), "Point$"),
    (collections.OrderedDict(a=1), r"^value is a collections\.OrderedDict$"),
    (collections.defaultdict(int), "defaultdict$"),
    (collections.deque(), "deque$"),
    (int, r"^value is a type$"),
    (memoryview(b""), "memoryview$"),
    (NotImplemented, "NotImplementedType$"),
    ([1, 2, Thing()], r"^value\[2\] is a "),
    ({"a": [1, 2, 3, Thing()]}, r"^value\['a'\]\[3\] is a \S*Thing$"),
    (({"k": (0, Number(1))},), r"^value\[0\]\['k'\]\[1\] is a \S*Number$"),
    ({1: 2, Number(5): 1}, r"^value\.keys\(\)\[1\] is a \S*Number$"),
    ({(1, Colour.RED): 1}, r"^value\.keys\(\)\[0\]\[1\] is a \S*Colour$"),
    ({1: {Thing}}, r"^value\[1\]\{…\} is a type$"),
    ({10**5000: Thing()}, r"^value\.values\(\)\[0\] is a \S*Thing$"),
    ({"k" * 1000: Thing()}, r"^value\['k{59}…\] is a "),
    (dt.datetime(2024, 1, 1, tzinfo=Zone()), r"^value\.tzinfo is a \S*Zone$"),
    ([dt.time(1, tzinfo=Zone())], r"^value\[0\]\.tzinfo is a \S*Zone$"),
    (fractions.Fraction(2**9000), "Fraction with a part of 1024 bytes or more"),
    (Hostile(), "^value "),
    ([Hostile()], "^value"),
]


@pytest.mark.parametrize(("value", "message"), NOT_PLAIN, ids=[message for _, message in NOT_PLAIN])
def test_V5_what_is_not_plain_is_named_with_its_path(value, message):
    with pytest.raises(NotPlainData, match=message) as caught:
        encode(value)
    assert len(str(caught.value)) < 500


def test_an_array_of_a_library_is_not_plain():
    numpy = pytest.importorskip("numpy")
    with pytest.raises(NotPlainData, match=r"^value\['a'\]\[3\] is a numpy\.ndarray$"):
        encode({"a": [1, 2, 3, numpy.zeros(3)]})
    with pytest.raises(NotPlainData, match=r"^value is a numpy\.float64$"):
        encode(numpy.float64(1.0))


def test_cycles_are_not_plain():
    in_list: list = [0]
    in_list.append((in_list,))
    in_dict: dict = {}
    in_dict["self"] = [in_dict]
    for value, path in [(in_list, r"value\[1\]\[0\]"), (in_dict, r"value\['self'\]\[0\]")]:
        with pytest.raises(NotPlainData, match=f"^{path} contains itself$"):
            encode(value)


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


def nested(depth, wrap):
    value = 1
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS = {
    "list": lambda value: [value],
    "tuple": lambda value: (value,),
    "dict": lambda value: {"k": value},
    "pairs": lambda value: {2**70: value},
    "frozenset": lambda value: frozenset({value}),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=list(WRAPS))
def test_depth_is_bounded(wrap):
    value = nested(MAX_DEPTH, wrap)
    assert there_and_back(value) == value
    with pytest.raises(NotPlainData, match=f"nested deeper than {MAX_DEPTH}") as caught:
        encode(nested(MAX_DEPTH + 1, wrap))
    assert len(str(caught.value)) < 500
    with pytest.raises(NotPlainData, match="nested deeper"):
        encode(nested(100_000, wrap)) if wrap is WRAPS["list"] else encode(nested(500, wrap))


def test_a_date_with_a_zone_fits_into_the_deepest_container():
    value = nested(MAX_DEPTH, lambda inner: (inner,) if inner != 1 else (dt.time(1, tzinfo=UTC_PLUS_2),))
    assert there_and_back(value) == value


# Sizes


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


# Hostile bytes


def ext(code, data):
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(code, data))


def packed(*items):
    return msgspec.msgpack.encode(items)


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


# Properties

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
