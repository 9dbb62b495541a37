"""Any plain value as JSON, and back as itself.

What JSON has a type for stays as it is, so that people and programs in other languages can read it.
Everything else becomes an object with the one key ``$type`` (and ``$value``): ``nan``, bytes, tuples,
sets, dicts with keys that are no strings, integers over 64 bits, strings with lone surrogates; what
is left of :mod:`stateroom.protocol.values` (dates, decimals, …) travels in that encoding, in base64.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

import msgspec

from ..errors import NotPlainData
from ..protocol.values import MAX_DEPTH, decode_value, encode_value

__all__ = ["from_json_safe", "to_json_safe"]

TYPE, VALUE = "$type", "$value"
_INT64 = range(-(1 << 63), 1 << 63)
_MAX_BYTES = (1 << 31) - 1


def to_json_safe(value: Any) -> Any:
    """The value in types that every JSON encoder takes. Raises :class:`NotPlainData` if it is not plain."""
    return _to(value, 0)


def from_json_safe(data: Any) -> Any:
    """The value that :func:`to_json_safe` made ``data`` of. Raises ValueError for what is no such data."""
    if isinstance(data, list):
        return [from_json_safe(item) for item in data]
    if not isinstance(data, dict):
        return data
    if TYPE not in data:
        return {key: from_json_safe(item) for key, item in data.items()}
    try:
        return _FROM[data[TYPE]](data.get(VALUE))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the data
        raise ValueError(f"this is no value that was made JSON-safe: {str(data)[:100]}: {error!r}") from None


def _to(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise NotPlainData(f"value is nested over {MAX_DEPTH} levels deep")
    kind = type(value)
    if value is None or kind is bool:
        return value
    convert = _TO.get(kind)
    return convert(value, depth + 1) if convert is not None else _tagged("plain", _plain(value))


def _tagged(kind: str, value: Any) -> dict[str, Any]:
    return {TYPE: kind, VALUE: value}


def _int(value: int, _depth: int) -> Any:
    return value if value in _INT64 else _tagged("int", hex(value))


def _float(value: float, _depth: int) -> Any:
    return value if math.isfinite(value) else _tagged("float", repr(value))


def _str(value: str, _depth: int) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return _tagged("str", _base64(value.encode("utf-8", "surrogatepass")))
    return value


def _bytes(value: bytes, _depth: int) -> Any:
    return _tagged("bytes", _base64(value))


def _list(value: list[Any], depth: int) -> Any:
    return [_to(item, depth) for item in value]


def _tuple(value: tuple[Any, ...], depth: int) -> Any:
    return _tagged("tuple", [_to(item, depth) for item in value])


def _set(value: set[Any], depth: int) -> Any:
    return _tagged("set", [_to(item, depth) for item in value])


def _dict(value: dict[Any, Any], depth: int) -> Any:
    if TYPE not in value and all(type(key) is str and _str(key, 0) is key for key in value):
        return {key: _to(item, depth) for key, item in value.items()}
    return _tagged("dict", [[_to(key, depth), _to(item, depth)] for key, item in value.items()])


def _plain(value: Any) -> str:
    data, buffers = encode_value(value, _MAX_BYTES)
    return _base64(msgspec.msgpack.encode((data, b"".join(buffers))))


def _from_plain(text: str) -> Any:
    return decode_value(*msgspec.msgpack.decode(_from_base64(text), type=tuple[bytes, bytes]))


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


_TO: dict[type, Callable[[Any, int], Any]] = {
    int: _int,
    float: _float,
    str: _str,
    bytes: _bytes,
    list: _list,
    tuple: _tuple,
    set: _set,
    dict: _dict,
}
_FROM: dict[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "float": float,
    "str": lambda text: _from_base64(text).decode("utf-8", "surrogatepass"),
    "bytes": _from_base64,
    "tuple": lambda items: tuple(map(from_json_safe, items)),
    "set": lambda items: set(map(from_json_safe, items)),
    "dict": lambda items: {from_json_safe(key): from_json_safe(item) for key, item in items},
    "plain": _from_plain,
}
