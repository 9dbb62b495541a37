"""The receiving half of :mod:`stateroom.protocol.values`; its input may be hostile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.msgpack import Decoder
from msgspec.msgpack import decode as _decode

from ..errors import MalformedFrame, NotPlainData
from . import value_codes as codes
from .value_codes import MAX_DEPTH, clip

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["decode_value"]


def decode_value(data: bytes | memoryview, buffers: memoryview | bytes | None = None) -> Any:
    """The value that ``encode_value`` made ``data`` of; ``buffers`` is all of its buffers in one.

    Raises :class:`MalformedFrame` for bytes that it cannot have made, :class:`NotPlainData` for a
    time zone that is not known here. Takes memory and stack in proportion to the input at most.
    """
    unpacker = _Unpacker(memoryview(buffers or b""))
    try:
        value = _decode(data, ext_hook=unpacker.unpack)
    except (MalformedFrame, NotPlainData):
        raise
    except Exception as error:
        raise MalformedFrame(f"a value cannot be decoded: {clip(error)}") from error
    if unpacker.buffers:
        raise MalformedFrame(f"{len(unpacker.buffers)} bytes came that belong to no place in the value")
    return value


class _Unpacker:
    """Turns Exts back; ``buffers`` is what no place has taken yet."""

    def __init__(self, buffers: memoryview) -> None:
        self.buffers = buffers
        self._depth = 0
        self._arrays: dict[int, Callable[[memoryview], Any]] = {}

    def unpack(self, code: int, data: memoryview) -> Any:
        if self._depth > MAX_DEPTH + 2:  # a datetime and its time zone inside the deepest container
            raise MalformedFrame(f"a value is nested deeper than {MAX_DEPTH}")
        self._depth += 1
        if decode := self._arrays.get(code):
            value = decode(data)
        elif code in _ARRAY_TYPES:
            decode = self._arrays[code] = Decoder(_ARRAY_TYPES[code], ext_hook=self.unpack).decode
            value = decode(data)
        elif code in _UNPACKERS:
            value = _UNPACKERS[code](self, data)
        else:
            raise MalformedFrame(f"a value holds the unknown extension {code}")
        self._depth -= 1
        return value

    def array(self, data: memoryview) -> list[Any]:
        return _decode(data, type=list, ext_hook=self.unpack)

    def ints(self, data: memoryview, count: int) -> list[int]:
        return _checked_ints(self.array(data), count)

    def pairs(self, data: memoryview) -> dict[Any, Any]:
        flat = self.array(data)
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def raw(self, data: memoryview) -> memoryview:
        (size,) = codes.LENGTH.unpack(data)
        if size > len(self.buffers):
            raise MalformedFrame(f"a value needs {size} raw bytes, {len(self.buffers)} are there")
        taken, self.buffers = self.buffers[:size], self.buffers[size:]
        return taken


def _unpack_datetime(unpacker: _Unpacker, data: memoryview) -> Any:
    import datetime as dt

    *numbers, zone = unpacker.array(data)
    year, month, day, hour, minute, second, microsecond, fold = _checked_ints(numbers, 8)
    return dt.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _unpack_date(unpacker: _Unpacker, data: memoryview) -> Any:
    import datetime as dt

    return dt.date(*unpacker.ints(data, 3))


def _unpack_time(unpacker: _Unpacker, data: memoryview) -> Any:
    import datetime as dt

    *numbers, zone = unpacker.array(data)
    hour, minute, second, microsecond, fold = _checked_ints(numbers, 5)
    return dt.time(hour, minute, second, microsecond, zone, fold=fold)


def _unpack_timedelta(unpacker: _Unpacker, data: memoryview) -> Any:
    import datetime as dt

    return dt.timedelta(*unpacker.ints(data, 3))


def _unpack_timezone(unpacker: _Unpacker, data: memoryview) -> Any:
    import datetime as dt

    fields = unpacker.array(data)
    return dt.timezone(dt.timedelta(*_checked_ints(fields[:3], 3)), *fields[3:])


def _unpack_zone(unpacker: _Unpacker, data: memoryview) -> Any:
    import zoneinfo

    key = _decode(data, type=str)
    try:
        return zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise NotPlainData(f"the time zone {clip(repr(key))} is not known here") from error


def _unpack_decimal(_: _Unpacker, data: memoryview) -> Any:
    import decimal

    return decimal.Decimal(str(data, "ascii"))


def _unpack_uuid(_: _Unpacker, data: memoryview) -> Any:
    import uuid

    return uuid.UUID(bytes=bytes(data))


def _unpack_fraction(unpacker: _Unpacker, data: memoryview) -> Any:
    import fractions

    if len(data) > 3 * codes.FRACTION_BYTES:
        raise MalformedFrame("a value holds a fraction that is too large")
    return fractions.Fraction(*unpacker.ints(data, 2))


_ARRAY_TYPES: dict[int, type] = {codes.TUPLE: tuple, codes.SET: set, codes.FROZENSET: frozenset}

_UNPACKERS: dict[int, Callable[[_Unpacker, memoryview], Any]] = {
    codes.INT: lambda _, data: int.from_bytes(data, "little", signed=True),
    codes.STR: lambda _, data: str(data, "utf-8", "surrogatepass"),
    codes.COMPLEX: lambda _, data: complex(*codes.PAIR.unpack(data)),
    codes.BYTEARRAY: lambda _, data: bytearray(data),
    codes.ELLIPSIS: lambda *_: ...,
    codes.RANGE: lambda unpacker, data: range(*unpacker.ints(data, 3)),
    codes.DICT: _Unpacker.pairs,
    codes.RAW_BYTES: lambda unpacker, data: bytes(unpacker.raw(data)),
    codes.RAW_BYTEARRAY: lambda unpacker, data: bytearray(unpacker.raw(data)),
    codes.DATETIME: _unpack_datetime,
    codes.DATE: _unpack_date,
    codes.TIME: _unpack_time,
    codes.TIMEDELTA: _unpack_timedelta,
    codes.TIMEZONE: _unpack_timezone,
    codes.ZONEINFO: _unpack_zone,
    codes.DECIMAL: _unpack_decimal,
    codes.UUID: _unpack_uuid,
    codes.FRACTION: _unpack_fraction,
}


def _checked_ints(numbers: list[Any], count: int) -> list[int]:
    if len(numbers) != count or any(type(number) is not int for number in numbers):
        raise MalformedFrame(f"a value holds {clip(repr(numbers))} in place of {count} numbers")
    return numbers
