"""What is not plain, or is nested too deep, is named with its path."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import fractions
from typing import NamedTuple

import pytest
from value_checks import UTC_PLUS_2, encode, nested, there_and_back

from stateroom.errors import NotPlainData
from stateroom.protocol.values import MAX_DEPTH


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
