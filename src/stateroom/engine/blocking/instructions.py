"""The instructions of a code object, with what their arguments stand for.

What :func:`dis.get_instructions` says, as far as it is asked here, without the positions, labels and
representations that take most of its time. The layout of the arguments is that of :mod:`dis`.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any

__all__ = ["Instruction", "instructions_of", "meaning"]

_CACHE = dis.opmap["CACHE"]
_EXTENDED_ARG = dis.opmap["EXTENDED_ARG"]
_CONSTANT, _NAME, _VARIABLE, _VARIABLES, _JUMP = range(1, 6)

# How many low bits of the argument are flags, before the index of the name.
_FLAG_BITS = {"LOAD_GLOBAL": 1, "LOAD_ATTR": int(sys.version_info >= (3, 12)), "LOAD_SUPER_ATTR": 2}
_EXAMPLES = "a / b; a /= b; a[b]\nwith a: pass"


class Instruction:
    """``start`` is where its prefixes begin, ``arg`` the number in it, ``value`` what that stands for."""

    __slots__ = ("arg", "name", "offset", "opcode", "start", "value")

    def __init__(self, name: str, opcode: int, arg: int, value: Any, *, offset: int, start: int) -> None:
        self.name = name
        self.opcode = opcode
        self.arg = arg
        self.value = value
        self.offset = offset
        self.start = start

    def __repr__(self) -> str:
        return f"<Instruction {self.offset}: {self.name} {self.value!r}>"


def instructions_of(code: CodeType) -> Iterator[Instruction]:
    """All instructions but the prefixes and caches, which other instructions have in them."""
    raw = code.co_code
    variables = _variables(code)
    prefix, start = 0, -1
    for offset in range(0, len(raw), 2):
        opcode = raw[offset]
        if opcode == _CACHE:
            continue
        arg = raw[offset + 1] | prefix
        if start < 0:
            start = offset
        if opcode == _EXTENDED_ARG:
            prefix = arg << 8
            continue
        kind, name, bits = _OPCODES[opcode]
        value: Any = arg
        if kind == _CONSTANT:
            value = code.co_consts[arg]
        elif kind == _NAME:
            value = code.co_names[arg >> bits]
        elif kind == _VARIABLE:
            value = variables[arg]
        elif kind == _VARIABLES:
            value = (variables[arg >> 4], variables[arg & 15])
        elif kind == _JUMP:
            value = offset + 2 * (arg + 1 + _caches_after(raw, offset))
        yield Instruction(name, opcode, arg, value, offset=offset, start=start)
        prefix, start = 0, -1


def meaning(instruction: Instruction) -> str:
    """The operator of a BINARY_OP, the method of a LOAD_SPECIAL; ``""`` if it is of no interest here."""
    return _meanings().get((instruction.opcode, instruction.arg), "")


def _variables(code: CodeType) -> tuple[str, ...]:
    """Names by index: the locals, the cells that are not locals as well, what is closed over."""
    if not code.co_cellvars and not code.co_freevars:
        return code.co_varnames
    local = set(code.co_varnames)
    cells = tuple([name for name in code.co_cellvars if name not in local])
    return code.co_varnames + cells + code.co_freevars


def _caches_after(raw: bytes, offset: int) -> int:
    end = offset + 2
    while end < len(raw) and raw[end] == _CACHE:
        end += 2
    return (end - offset) // 2 - 1


def _kind_of(opcode: int) -> int:
    name = dis.opname[opcode]
    if opcode in dis.hasconst:
        return _CONSTANT
    if opcode in dis.hasname:
        return _NAME
    if opcode in dis.haslocal or opcode in dis.hasfree:
        return _VARIABLES if name.count("_FAST") == 2 else _VARIABLE
    return _JUMP if opcode in dis.hasjrel and "BACKWARD" not in name else 0


_OPCODES = [
    (_kind_of(number), dis.opname[number], _FLAG_BITS.get(dis.opname[number], 0)) for number in range(256)
]


@functools.cache
def _meanings() -> dict[tuple[int, int], str]:
    """Taken from code that has them: the numbers differ between versions and are not public."""
    found = dis.get_instructions(compile(_EXAMPLES, "<examples>", "exec"))
    special = [each for each in found if each.opname in ("BINARY_OP", "LOAD_SPECIAL")]
    return {(each.opcode, each.arg or 0): each.argrepr for each in special}
