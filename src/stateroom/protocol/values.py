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

import sys
from struct import Struct
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.msgpack import Ext

from ..errors import MalformedFrame, NotPlainData

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = ["MAX_DEPTH", "OUT_OF_BAND_BYTES", "decode_value", "encode_value"]

MAX_DEPTH = 100
"""Containers inside containers, the outermost one included."""

OUT_OF_BAND_BYTES = 64 * 1024
"""Bytes and bytearrays from this size on are not copied into the msgpack."""

_FRACTION_BYTES = 1024  # of each part: reducing a hostile one takes time quadratic in its size
_CLIP_CHARS = 200
_PAIR = Struct(">dd")
_LENGTH = Struct(">Q")

# Types that msgpack brings back as they are; of an int or str it refuses some values.
_SURE = frozenset({type(None), bool, float})
_LEAVES = _SURE | {int, str}

# The Ext codes are the wire format: never give one a new meaning.
_INT, _STR, _COMPLEX, _BYTEARRAY, _ELLIPSIS, _RANGE = range(1, 7)
_TUPLE, _SET, _FROZENSET, _DICT = range(10, 14)
_RAW_BYTES, _RAW_BYTEARRAY = 20, 21
_DATETIME, _DATE, _TIME, _TIMEDELTA, _TIMEZONE, _ZONEINFO = range(30, 36)
_DECIMAL, _UUID, _FRACTION = range(40, 43)

_encode = msgspec.msgpack.Encoder().encode


def encode_value(value: object, max_bytes: int) -> tuple[bytes, list[bytes]]:
    """The value as msgpack, and the buffers that go out of band.

    Raises :class:`NotPlainData` for whatever :func:`decode_value` could not bring back just so,
    naming where in the value it is, and for values of more than ``max_bytes``.
    """
    try:
        try:
            packer = _Packer(max_bytes, _LEAVES)
            data = _encode(packer.pack(value))
        except (OverflowError, UnicodeEncodeError):  # an int over 64 bits, or a lone surrogate
            packer = _Packer(max_bytes, _SURE)
            data = _encode(packer.pack(value))
    except _OffenceError as offence:
        raise NotPlainData(str(offence)) from None
    except Exception as error:
        raise NotPlainData(f"value cannot be sent: {_clip(error)}") from error
    size = len(data) + sum(map(len, packer.buffers))
    if size > max_bytes:
        raise NotPlainData(f"value has {size} bytes: over the limit of {max_bytes}")
    return data, packer.buffers


def decode_value(data: bytes | memoryview, buffers: memoryview | bytes | None = None) -> Any:
    """The value that :func:`encode_value` made ``data`` of; ``buffers`` is all of its buffers in one.

    Raises :class:`MalformedFrame` for bytes that it cannot have made, :class:`NotPlainData` for a
    time zone that is not known here. Takes memory and stack in proportion to the input at most.
    """
    unpacker = _Unpacker(memoryview(buffers or b""))
    try:
        value = msgspec.msgpack.decode(data, ext_hook=unpacker.unpack)
    except (MalformedFrame, NotPlainData):
        raise
    except Exception as error:
        raise MalformedFrame(f"a value cannot be decoded: {_clip(error)}") from error
    if unpacker.buffers:
        raise MalformedFrame(f"{len(unpacker.buffers)} bytes came that belong to no place in the value")
    return value


class _OffenceError(Exception):
    """Something that is not plain; learns its path from the containers it passes on its way out."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.steps: list[str] = []

    def __str__(self) -> str:
        steps = self.steps[::-1]
        if len(steps) > 12:
            steps[6:-6] = ["…"]
        return f"value{''.join(steps)} {self.reason}"


class _Packer:
    """Replaces what msgpack would change by Exts, and leaves all else as it is."""

    def __init__(self, max_bytes: int, leaves: frozenset[type]) -> None:
        self.buffers: list[bytes] = []
        self._leaves = leaves
        self._max_bytes = max_bytes
        self._room = max_bytes  # what is left if every item takes one byte: a lower bound
        self._open: set[int] = set()  # ids of the containers around what is packed
        self._done: dict[int, tuple[object, Any, int]] = {}  # containers met: itself, packed, room taken

    def pack(self, value: Any) -> Any:
        kind = type(value)
        if kind in self._leaves:
            if kind is str:
                self.take(len(value))
            return value
        packer = _PACKERS.get(kind) or _late_packer(kind)
        if packer is None:
            raise _OffenceError(f"is a {_type_name(kind)}")
        return packer(self, value)

    def pack_raw(self, code: int, value: bytes | bytearray) -> Ext:
        self.take(len(value))
        self.buffers.append(bytes(value))  # of a bytearray a copy: it may change before it is sent
        return Ext(code, _LENGTH.pack(len(value)))

    def pack_int(self, value: int) -> int | Ext:
        if -(1 << 63) <= value < 1 << 64:
            return value
        size = value.bit_length() // 8 + 1
        self.take(size)
        return Ext(_INT, value.to_bytes(size, "little", signed=True))

    def pack_str(self, value: str) -> str | Ext:
        self.take(len(value))
        try:
            value.encode()
        except UnicodeEncodeError:
            return Ext(_STR, value.encode("utf-8", "surrogatepass"))
        return value

    def pack_items(self, value: Collection[Any]) -> Any:
        """A list, tuple or set as something that msgpack writes as an array."""
        kinds = set(map(type, value))
        self._begin(value)
        if kinds <= self._leaves:
            if str in kinds:
                self.take(_text_chars(value))
            return value
        return self._within(value, self._each)

    def pack_dict(self, value: dict[Any, Any]) -> Any:
        kinds = {*map(type, value), *map(type, value.values())}
        self._begin(value)
        if kinds <= self._leaves:
            if str in kinds:
                self.take(_text_chars(value) + _text_chars(value.values()))
            return value
        return self._within(value, self._pairs)

    def pack_fields(self, value: object, *fields: str) -> Any:
        """Attributes of a date or time, the last of which may be a tzinfo."""
        return _encode([self._field(value, name) for name in fields])

    def take(self, room: int) -> None:
        self._room -= room
        if self._room < 0:
            raise _OffenceError(f"goes over the limit of {self._max_bytes} bytes")

    def _begin(self, value: Collection[Any]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _OffenceError(f"is nested deeper than {MAX_DEPTH}")
        self.take(len(value))

    def _within(self, value: Any, pack: Callable[[Any], Any]) -> Any:
        """Pack a container of more than leaves, once, unless it is inside itself."""
        key = id(value)
        if key in self._done:
            _, packed, room = self._done[key]
            self.take(room)
            return packed
        if key in self._open:
            raise _OffenceError("contains itself")
        self._open.add(key)
        room, buffers = self._room, len(self.buffers)
        packed = pack(value)
        if len(self.buffers) == buffers:  # each place of a raw buffer takes a buffer of its own
            self._done[key] = value, packed, room - self._room
        self._open.remove(key)
        return packed

    def _each(self, value: Collection[Any]) -> list[Any]:
        packed: list[Any] = []
        try:
            for item in value:
                packed.append(item if type(item) in _SURE else self.pack(item))
        except _OffenceError as offence:
            offence.steps.append("{…}" if isinstance(value, set | frozenset) else f"[{len(packed)}]")
            raise
        return packed

    def _pairs(self, value: dict[Any, Any]) -> dict[Any, Any] | Ext:
        flat: list[Any] = []
        native = True
        try:
            for key, item in value.items():
                packed_key = self.pack(key)
                native = native and type(packed_key) is not Ext
                flat.append(packed_key)
                flat.append(item if type(item) in _SURE else self.pack(item))
        except _OffenceError as offence:
            offence.steps.append(_step(value, len(flat)))
            raise
        if native:
            return dict(zip(flat[::2], flat[1::2], strict=True))
        return Ext(_DICT, _encode(flat))

    def _field(self, value: object, name: str) -> Any:
        try:
            return self.pack(getattr(value, name))
        except _OffenceError as offence:
            offence.steps.append(f".{name}")
            raise


class _Unpacker:
    """Turns Exts back; ``buffers`` is what no place has taken yet."""

    def __init__(self, buffers: memoryview) -> None:
        self.buffers = buffers
        self._depth = 0

    def unpack(self, code: int, data: memoryview) -> Any:
        unpacker = _UNPACKERS.get(code)
        if unpacker is None:
            raise MalformedFrame(f"a value holds the unknown extension {code}")
        if self._depth > MAX_DEPTH + 2:  # a datetime and its time zone inside the deepest container
            raise MalformedFrame(f"a value is nested deeper than {MAX_DEPTH}")
        self._depth += 1
        value = unpacker(self, data)
        self._depth -= 1
        return value

    def array(self, data: memoryview) -> list[Any]:
        return msgspec.msgpack.decode(data, type=list, ext_hook=self.unpack)

    def ints(self, data: memoryview, count: int) -> list[int]:
        return _checked_ints(self.array(data), count)

    def pairs(self, data: memoryview) -> dict[Any, Any]:
        flat = self.array(data)
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def raw(self, data: memoryview) -> memoryview:
        (size,) = _LENGTH.unpack(data)
        if size > len(self.buffers):
            raise MalformedFrame(f"a value needs {size} raw bytes, {len(self.buffers)} are there")
        taken, self.buffers = self.buffers[:size], self.buffers[size:]
        return taken


def _pack_bytes(packer: _Packer, value: bytes) -> bytes | Ext:
    if len(value) >= OUT_OF_BAND_BYTES:
        return packer.pack_raw(_RAW_BYTES, value)
    packer.take(len(value))
    return value


def _pack_bytearray(packer: _Packer, value: bytearray) -> Ext:
    if len(value) >= OUT_OF_BAND_BYTES:
        return packer.pack_raw(_RAW_BYTEARRAY, value)
    packer.take(len(value))
    return Ext(_BYTEARRAY, bytes(value))


def _pack_range(packer: _Packer, value: range) -> Ext:
    return Ext(_RANGE, _encode([packer.pack_int(part) for part in (value.start, value.stop, value.step)]))


def _pack_timezone(packer: _Packer, value: Any) -> Ext:
    offset, *name = value.__getinitargs__()
    fields = [offset.days, offset.seconds, offset.microseconds, *map(packer.pack_str, name)]
    return Ext(_TIMEZONE, _encode(fields))


def _pack_zone(packer: _Packer, value: Any) -> Ext:
    if type(value.key) is not str:
        raise _OffenceError("is a zoneinfo.ZoneInfo without a key")
    return Ext(_ZONEINFO, _encode(packer.pack_str(value.key)))


def _pack_decimal(packer: _Packer, value: Any) -> Ext:
    digits = str(value).encode()
    packer.take(len(digits))
    return Ext(_DECIMAL, digits)


def _pack_fraction(packer: _Packer, value: Any) -> Ext:
    parts = value.numerator, value.denominator
    if max(part.bit_length() for part in parts) >= 8 * _FRACTION_BYTES:
        raise _OffenceError(f"is a fractions.Fraction with a part of {_FRACTION_BYTES} bytes or more")
    return Ext(_FRACTION, _encode([packer.pack_int(part) for part in parts]))


_Pack = "Callable[[_Packer, Any], Any]"

_PACKERS: dict[type, Callable[[_Packer, Any], Any]] = {
    int: _Packer.pack_int,
    str: _Packer.pack_str,
    complex: lambda _, value: Ext(_COMPLEX, _PAIR.pack(value.real, value.imag)),
    bytes: _pack_bytes,
    bytearray: _pack_bytearray,
    range: _pack_range,
    type(...): lambda *_: Ext(_ELLIPSIS, b""),
    list: _Packer.pack_items,
    tuple: lambda packer, value: Ext(_TUPLE, _encode(packer.pack_items(value))),
    set: lambda packer, value: Ext(_SET, _encode(packer.pack_items(value))),
    frozenset: lambda packer, value: Ext(_FROZENSET, _encode(packer.pack_items(value))),
    dict: _Packer.pack_dict,
}

_DATE_FIELDS = ("year", "month", "day")
_TIME_FIELDS = ("hour", "minute", "second", "microsecond", "fold", "tzinfo")
_DELTA_FIELDS = ("days", "seconds", "microseconds")

_LATE_PACKERS: dict[str, dict[str, Callable[[_Packer, Any], Any]]] = {
    "datetime": {
        "datetime": lambda packer, value: Ext(
            _DATETIME, packer.pack_fields(value, *_DATE_FIELDS, *_TIME_FIELDS)
        ),
        "date": lambda packer, value: Ext(_DATE, packer.pack_fields(value, *_DATE_FIELDS)),
        "time": lambda packer, value: Ext(_TIME, packer.pack_fields(value, *_TIME_FIELDS)),
        "timedelta": lambda packer, value: Ext(_TIMEDELTA, packer.pack_fields(value, *_DELTA_FIELDS)),
        "timezone": _pack_timezone,
    },
    "zoneinfo": {"ZoneInfo": _pack_zone},
    "decimal": {"Decimal": _pack_decimal},
    "uuid": {"UUID": lambda _, value: Ext(_UUID, value.bytes)},
    "fractions": {"Fraction": _pack_fraction},
}


def _late_packer(kind: type) -> Callable[[_Packer, Any], Any] | None:
    """Look again at the modules that were not loaded so far: only then can their types occur."""
    for module_name, packers in _LATE_PACKERS.items():
        module = sys.modules.get(module_name)
        for name, packer in packers.items():
            if isinstance(late := getattr(module, name, None), type):
                _PACKERS[late] = packer
    return _PACKERS.get(kind)


def _unpack_datetime(unpacker: _Unpacker, data: memoryview) -> Any:
    import datetime

    *numbers, zone = unpacker.array(data)
    *numbers, fold = _checked_ints(numbers, 8)
    return datetime.datetime(*numbers, tzinfo=zone, fold=fold)


def _unpack_date(unpacker: _Unpacker, data: memoryview) -> Any:
    import datetime

    return datetime.date(*unpacker.ints(data, 3))


def _unpack_time(unpacker: _Unpacker, data: memoryview) -> Any:
    import datetime

    *numbers, zone = unpacker.array(data)
    *numbers, fold = _checked_ints(numbers, 5)
    return datetime.time(*numbers, tzinfo=zone, fold=fold)


def _unpack_timedelta(unpacker: _Unpacker, data: memoryview) -> Any:
    import datetime

    return datetime.timedelta(*unpacker.ints(data, 3))


def _unpack_timezone(unpacker: _Unpacker, data: memoryview) -> Any:
    import datetime

    fields = unpacker.array(data)
    return datetime.timezone(datetime.timedelta(*_checked_ints(fields[:3], 3)), *fields[3:])


def _unpack_zone(unpacker: _Unpacker, data: memoryview) -> Any:
    import zoneinfo

    key = msgspec.msgpack.decode(data, type=str)
    try:
        return zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise NotPlainData(f"the time zone {_clip(repr(key))} is not known here") from error


def _unpack_decimal(_: _Unpacker, data: memoryview) -> Any:
    import decimal

    return decimal.Decimal(str(data, "ascii"))


def _unpack_uuid(_: _Unpacker, data: memoryview) -> Any:
    import uuid

    return uuid.UUID(bytes=bytes(data))


def _unpack_fraction(unpacker: _Unpacker, data: memoryview) -> Any:
    import fractions

    if len(data) > 3 * _FRACTION_BYTES:
        raise MalformedFrame("a value holds a fraction that is too large")
    return fractions.Fraction(*unpacker.ints(data, 2))


_UNPACKERS: dict[int, Callable[[_Unpacker, memoryview], Any]] = {
    _INT: lambda _, data: int.from_bytes(data, "little", signed=True),
    _STR: lambda _, data: str(data, "utf-8", "surrogatepass"),
    _COMPLEX: lambda _, data: complex(*_PAIR.unpack(data)),
    _BYTEARRAY: lambda _, data: bytearray(data),
    _ELLIPSIS: lambda *_: ...,
    _RANGE: lambda unpacker, data: range(*unpacker.ints(data, 3)),
    _TUPLE: lambda unpacker, data: tuple(unpacker.array(data)),
    _SET: lambda unpacker, data: set(unpacker.array(data)),
    _FROZENSET: lambda unpacker, data: frozenset(unpacker.array(data)),
    _DICT: _Unpacker.pairs,
    _RAW_BYTES: lambda unpacker, data: bytes(unpacker.raw(data)),
    _RAW_BYTEARRAY: lambda unpacker, data: bytearray(unpacker.raw(data)),
    _DATETIME: _unpack_datetime,
    _DATE: _unpack_date,
    _TIME: _unpack_time,
    _TIMEDELTA: _unpack_timedelta,
    _TIMEZONE: _unpack_timezone,
    _ZONEINFO: _unpack_zone,
    _DECIMAL: _unpack_decimal,
    _UUID: _unpack_uuid,
    _FRACTION: _unpack_fraction,
}


def _checked_ints(numbers: list[Any], count: int) -> list[int]:
    if len(numbers) != count or any(type(number) is not int for number in numbers):
        raise MalformedFrame(f"a value holds {_clip(repr(numbers))} in place of {count} numbers")
    return numbers


def _text_chars(items: Collection[Any]) -> int:
    return sum([len(item) for item in items if type(item) is str])


def _step(value: dict[Any, Any], packed: int) -> str:
    """Where in a dict packing stopped, if so many keys and values were done."""
    if packed % 2 == 0:
        return f".keys()[{packed // 2}]"
    try:
        return f"[{_clip(repr(list(value)[packed // 2]), 60)}]"
    except (IndexError, ValueError):  # changed under our feet; an int of too many digits
        return f".values()[{packed // 2}]"


def _type_name(kind: type) -> str:
    try:
        name = f"{kind.__module__}.{kind.__qualname__}"
    except Exception:  # a metaclass may do anything
        return "thing without a name"
    return name.removeprefix("builtins.")


def _clip(text: object, chars: int = _CLIP_CHARS) -> str:
    text = str(text)
    return text if len(text) <= chars else text[:chars] + "…"
