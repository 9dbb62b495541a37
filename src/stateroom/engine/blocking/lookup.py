"""Look-ups that never run user code.

``getattr`` would call properties, ``__getattr__``, ``__getattribute__`` and ``__class__`` of the
user. What is used instead are the descriptors of ``type``, ``object`` and module themselves, and
plain dict reads (the idea of :func:`inspect.getattr_static`, without its cost).
"""

from __future__ import annotations

import types
from typing import Any, Final

__all__ = [
    "MISSING",
    "class_names",
    "dict_of_class",
    "dict_of_module",
    "is_class",
    "is_module",
    "module_value",
    "mro_of",
    "own_dict",
]

MISSING: Final[Any] = object()

mro_of = type.__dict__["__mro__"].__get__
dict_of_class = type.__dict__["__dict__"].__get__
_name_of_class = type.__dict__["__name__"].__get__
_module_of_class = type.__dict__["__module__"].__get__
dict_of_module: Any = vars(types.ModuleType)["__dict__"].__get__


def is_module(value: object) -> bool:
    """Whether ``value`` is a module or of a subclass of it."""
    return issubclass(type(value), types.ModuleType)


def is_class(value: object) -> bool:
    """Whether ``value`` is a class, of whatever metaclass."""
    return issubclass(type(value), type)


def class_names(cls: type) -> tuple[Any, str]:
    """Module (what the class says, checked by nobody) and name of a class."""
    try:
        return _module_of_class(cls), _name_of_class(cls)
    except AttributeError:
        return None, _name_of_class(cls)


def module_value(module: Any, name: str) -> Any:
    """A global of a module, or MISSING; a module's ``__getattr__`` is not asked."""
    return (dict_of_module(module) or {}).get(name, MISSING)


def own_dict(instance: Any) -> dict[str, Any] | None:
    """The ``__dict__`` of an instance, unless its class computes it."""
    for base in mro_of(type(instance)):
        descriptor = dict_of_class(base).get("__dict__")
        if descriptor is None:
            continue
        if type(descriptor) is not types.GetSetDescriptorType:
            return None
        attributes = descriptor.__get__(instance)
        return attributes if type(attributes) is dict else None
    return None
