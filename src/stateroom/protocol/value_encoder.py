"""The sending half of :mod:`stateroom.protocol.values`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.msgpack import Ext

from ..errors import NotPlainData
from . import value_codes as codes
from .value_codes import MAX_DEPTH, OUT_OF_BAND_BYTES, clip

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["encode_value"]

# Types that msgpack brings back as they are; of an int or str it refuses some values.
_SURE = frozenset({type(None), bool, float})
_LEAVES = _SURE | {int, str}

_encode = msgspec.msgpack.Encoder().encode


def encode_value(value: object, max_bytes: int) -> tuple[bytes, list[bytes]]:
    """The value as msgpack, and the buffers that go out of band.

    Raises :class:`NotPlainData` for whatever ``decode_value`` could not bring back just so,
    naming where in the value it is, and for values of more than ``max_bytes``.
    """
    try:
        try:
            packer = _Packer(max_bytes, _LEAVES)
            data = _encode(packer.pack(value))
        except (OverflowError, UnicodeEncodeError):  # an int over 64 bits, or a lone surrogate
            packer = _Packer(max_bytes, _SURE)
            data = _encode(packer.pack(value))
    except _Offence as offence:
        raise NotPlainData(str(offence)) from None
    except Exception as error:
        raise NotPlainData(f"value cannot be sent: {clip(error)}") from error
    size = len(data) + sum(map(len, packer.buffers))
    if size > max_bytes:
        raise NotPlainData(f"value has {size} bytes: over the limit of {max_bytes}")
    return data, packer.buffers


class _Offence(Exception):
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
            raise _Offence(f"is a {_type_name(kind)}")
        return packer(self, value)

    def pack_raw(self, code: int, value: bytes | bytearray) -> Ext:
        self.take(len(value))
        self.buffers.append(bytes(value))  # of a bytearray a copy: it may change before it is sent
        return Ext(code, codes.LENGTH.pack(len(value)))

    def pack_int(self, value: int) -> int | Ext:
        if -(1 << 63) <= value < 1 << 64:
            return value
        size = value.bit_length() // 8 + 1
        self.take(size)
        return Ext(codes.INT, value.to_bytes(size, "little", signed=True))

    def pack_str(self, value: str) -> str | Ext:
        self.take(len(value))
        try:
            value.encode()
        except UnicodeEncodeError:
            return Ext(codes.STR, value.encode("utf-8", "surrogatepass"))
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

    def pack_array(self, code: int, value: Collection[Any]) -> Ext:
        room = self._room
        data = _encode(self.pack_items(value))
        self.take(max(0, len(data) - (room - self._room)))  # the Ext is a copy: count it in full
        return Ext(code, data)

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
            raise _Offence(f"goes over the limit of {self._max_bytes} bytes")

    def _begin(self, value: Collection[Any]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _Offence(f"is nested deeper than {MAX_DEPTH}")
        self.take(len(value))

    def _within(self, value: Any, pack: Callable[[Any], Any]) -> Any:
        """Pack a container of more than leaves, once, unless it is inside itself."""
        key = id(value)
        if key in self._done:
            _, packed, room = self._done[key]
            self.take(room)
            return packed
        if key in self._open:
            raise _Offence("contains itself")
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
                packed.append(item if type(item) in _SURE else self.pack(item))  # noqa: PERF401 - its length is the index
        except _Offence as offence:
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
        except _Offence as offence:
            offence.steps.append(_step(value, len(flat)))
            raise
        if native:
            return dict(zip(flat[::2], flat[1::2], strict=True))
        return Ext(codes.DICT, _encode(flat))

    def _field(self, value: object, name: str) -> Any:
        try:
            return self.pack(getattr(value, name))
        except _Offence as offence:
            offence.steps.append(f".{name}")
            raise


def _pack_bytes(packer: _Packer, value: bytes) -> bytes | Ext:
    if len(value) >= OUT_OF_BAND_BYTES:
        return packer.pack_raw(codes.RAW_BYTES, value)
    packer.take(len(value))
    return value


def _pack_bytearray(packer: _Packer, value: bytearray) -> Ext:
    if len(value) >= OUT_OF_BAND_BYTES:
        return packer.pack_raw(codes.RAW_BYTEARRAY, value)
    packer.take(len(value))
    return Ext(codes.BYTEARRAY, bytes(value))


def _pack_range(packer: _Packer, value: range) -> Ext:
    return Ext(
        codes.RANGE, _encode([packer.pack_int(part) for part in (value.start, value.stop, value.step)])
    )


def _pack_timezone(packer: _Packer, value: Any) -> Ext:
    offset, *name = value.__getinitargs__()
    fields = [offset.days, offset.seconds, offset.microseconds, *map(packer.pack_str, name)]
    return Ext(codes.TIMEZONE, _encode(fields))


def _pack_zone(packer: _Packer, value: Any) -> Ext:
    if type(value.key) is not str:
        raise _Offence("is a zoneinfo.ZoneInfo without a key")
    return Ext(codes.ZONEINFO, _encode(packer.pack_str(value.key)))


def _pack_decimal(packer: _Packer, value: Any) -> Ext:
    digits = str(value).encode()
    packer.take(len(digits))
    return Ext(codes.DECIMAL, digits)


def _pack_fraction(packer: _Packer, value: Any) -> Ext:
    parts = value.numerator, value.denominator
    if max(part.bit_length() for part in parts) >= 8 * codes.FRACTION_BYTES:
        raise _Offence(f"is a fractions.Fraction with a part of {codes.FRACTION_BYTES} bytes or more")
    return Ext(codes.FRACTION, _encode([packer.pack_int(part) for part in parts]))


_PACKERS: dict[type, Callable[[_Packer, Any], Any]] = {
    int: _Packer.pack_int,
    str: _Packer.pack_str,
    complex: lambda _, value: Ext(codes.COMPLEX, codes.PAIR.pack(value.real, value.imag)),
    bytes: _pack_bytes,
    bytearray: _pack_bytearray,
    range: _pack_range,
    type(...): lambda *_: Ext(codes.ELLIPSIS, b""),
    list: _Packer.pack_items,
    tuple: lambda packer, value: packer.pack_array(codes.TUPLE, value),
    set: lambda packer, value: packer.pack_array(codes.SET, value),
    frozenset: lambda packer, value: packer.pack_array(codes.FROZENSET, value),
    dict: _Packer.pack_dict,
}

_DATE_FIELDS = ("year", "month", "day")
_TIME_FIELDS = ("hour", "minute", "second", "microsecond", "fold", "tzinfo")
_DELTA_FIELDS = ("days", "seconds", "microseconds")

_LATE_PACKERS: dict[str, dict[str, Callable[[_Packer, Any], Any]]] = {
    "datetime": {
        "datetime": lambda packer, value: Ext(
            codes.DATETIME, packer.pack_fields(value, *_DATE_FIELDS, *_TIME_FIELDS)
        ),
        "date": lambda packer, value: Ext(codes.DATE, packer.pack_fields(value, *_DATE_FIELDS)),
        "time": lambda packer, value: Ext(codes.TIME, packer.pack_fields(value, *_TIME_FIELDS)),
        "timedelta": lambda packer, value: Ext(codes.TIMEDELTA, packer.pack_fields(value, *_DELTA_FIELDS)),
        "timezone": _pack_timezone,
    },
    "zoneinfo": {"ZoneInfo": _pack_zone},
    "decimal": {"Decimal": _pack_decimal},
    "uuid": {"UUID": lambda _, value: Ext(codes.UUID, value.bytes)},
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


def _text_chars(items: Collection[Any]) -> int:
    return sum([len(item) for item in items if type(item) is str])


def _step(value: dict[Any, Any], packed: int) -> str:
    """Where in a dict packing stopped, if so many keys and values were done."""
    if packed % 2 == 0:
        return f".keys()[{packed // 2}]"
    try:
        return f"[{clip(repr(list(value)[packed // 2]), 60)}]"
    except (IndexError, ValueError):  # changed under our feet; an int of too many digits
        return f".values()[{packed // 2}]"


def _type_name(kind: type) -> str:
    try:
        name = f"{kind.__module__}.{kind.__qualname__}"
    except Exception:  # noqa: BLE001 - a metaclass may do anything
        return "thing without a name"
    return name.removeprefix("builtins.")
