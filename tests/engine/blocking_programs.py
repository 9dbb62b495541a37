"""Programs for the detector that nobody would write, and objects that nobody may touch."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import strategies as st


class _Alarm(BaseException):
    """Raised by whatever of the user's is run: nothing may swallow it."""


def _alarm(*_: object, **__: object) -> Any:
    raise _Alarm


_MAGIC = (
    "__getattr__ __getattribute__ __eq__ __hash__ __bool__ __len__ __iter__ __next__ __call__ __enter__ __exit__"
    " __getitem__ __truediv__ __rtruediv__ __repr__ __str__ __contains__ __instancecheck__ __get__ __set__"
).split()


class _AlarmType(type):
    __getattribute__ = __getattr__ = __eq__ = __hash__ = __call__ = __instancecheck__ = _alarm  # type: ignore[assignment]
    __bool__ = __len__ = __iter__ = __mro_entries__ = __subclasscheck__ = _alarm  # type: ignore[assignment]


def explosives() -> dict[str, Any]:
    """Objects none of whose methods, properties or classes may be touched."""
    body = dict.fromkeys(_MAGIC, _alarm) | {"__class__": property(_alarm), "__dict__": property(_alarm)}
    explosive = type("Explosive", (), body | {"sleep": property(_alarm), "get": property(_alarm)})
    with_type = _AlarmType("WithType", (), {"sleep": property(_alarm), "__getattr__": _alarm})
    module_type = type("Lazy", (type(time),), {"__getattr__": _alarm, "__getattribute__": _alarm})
    return {
        "time": object.__new__(explosive),
        "requests": with_type,
        "s": object.__new__(with_type),
        "lazy": module_type("sqlite3"),
        "f": type("Wrapped", (), {"__wrapped__": property(_alarm), "__call__": property(_alarm)})(),
    }


NAMES = st.sampled_from(["time", "sleep", "requests", "s", "open", "lazy", "f", "socket", "x", "Path"])
ATTRIBUTES = st.sampled_from(
    ["sleep", "get", "recv", "socket", "Session", "__class__", "read_text", "parent"]
)
EXPRESSIONS = st.recursive(
    st.one_of(NAMES, st.just("1"), st.just("'a'")),
    lambda inner: st.one_of(
        st.tuples(inner, ATTRIBUTES).map(lambda p: f"({p[0]}).{p[1]}"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]})({p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]} / {p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]})[{p[1]}]"),
        st.tuples(NAMES, inner).map(lambda p: f"(lambda {p[0]}: {p[1]})"),
        st.tuples(inner, NAMES, inner).map(lambda p: f"[{p[0]} for {p[1]} in {p[2]}]"),
        st.tuples(inner, NAMES, inner).map(lambda p: f"({p[0]} for {p[1]} in {p[2]})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[0]})"),
        st.tuples(NAMES, inner).map(lambda p: f"({p[0]} := {p[1]})"),
    ),
    max_leaves=12,
)
STATEMENTS = st.one_of(
    EXPRESSIONS,
    st.tuples(NAMES, EXPRESSIONS).map(lambda p: f"{p[0]} = {p[1]}"),
    st.tuples(NAMES, EXPRESSIONS).map(lambda p: f"def {p[0]}({p[0]}): return {p[1]}"),
    st.tuples(NAMES, EXPRESSIONS).map(lambda p: f"class {p[0]}({p[1]}): get = {p[1]}"),
    st.tuples(EXPRESSIONS, NAMES, EXPRESSIONS).map(lambda p: f"with {p[0]} as {p[1]}: {p[2]}"),
    st.tuples(NAMES, EXPRESSIONS, EXPRESSIONS).map(lambda p: f"for {p[0]} in {p[1]}: {p[2]}"),
    st.tuples(EXPRESSIONS, EXPRESSIONS).map(lambda p: f"if {p[0]}: {p[1]}"),
    st.sampled_from(["import time", "import requests", "from time import *", "import socket as s", "del x"]),
)
