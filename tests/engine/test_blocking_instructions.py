"""The instructions that the detector reads are those that ``dis`` reads."""

from __future__ import annotations

import argparse
import ast
import asyncio.base_events
import dis
import enum
import typing
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from stateroom.engine.blocking.instructions import instructions_of, meaning

LONG = "\n".join(f"name_{n} = other_{n}.attribute_{n} + {n}.5" for n in range(400))
PIECES = {
    "prefixes": f"def f(x):\n for i in x:\n  if i:\n{LONG.replace('name', '   name')}",
    "cells": "def f(a, b):\n c = 1\n def g(): return a, c\n def h(b=b): nonlocal c; c = b\n return g, h",
    "with": "with a as b, c: d\nasync def f():\n async with a: await b",
    "operators": "a / b; a // b; a[b]; a /= b; a @ b; a[b:c]; a[1] = 2",
    "super": "class A(B):\n def f(self): super().f(); return super().g, self.h, self.i()",
    "match": "match a:\n case {'b': c}: c()\n case [d, *e] if d: e()\n case F(g=1): pass",
    "try": "try: a()\nexcept* B as c: d(*e, **f)\nfinally: g(h=1)",
}
MODULES = [argparse, ast, asyncio.base_events, enum, typing]
TOLD = (
    "LOAD_GLOBAL",
    "LOAD_NAME",
    "LOAD_ATTR",
    "LOAD_METHOD",
    "LOAD_FAST",
    "STORE_",
    "LOAD_DEREF",
    "LOAD_CLASSDEREF",
)
TOLD += (
    "LOAD_CONST",
    "LOAD_SMALL_INT",
    "LOAD_SUPER_ATTR",
    "LOAD_FROM_DICT",
    "IMPORT_",
    "POP_JUMP",
    "JUMP_FORWARD",
)
TOLD += ("FOR_ITER", "SEND")


def codes_in(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_in(constant)


def is_told(name: str, opcode: int) -> bool:
    return name.startswith(TOLD) and opcode >= dis.HAVE_ARGUMENT


def read_by_dis(code: CodeType) -> list[tuple[object, ...]]:
    return [
        (each.opname, each.offset, each.arg or 0, each.argval if is_told(each.opname, each.opcode) else None)
        for each in dis.get_instructions(code)
        if each.opname not in ("EXTENDED_ARG", "CACHE")
    ]


def read_here(code: CodeType) -> list[tuple[object, ...]]:
    return [
        (
            each.name,
            each.offset,
            each.arg if each.opcode >= dis.HAVE_ARGUMENT else 0,
            each.value if is_told(each.name, each.opcode) else None,
        )
        for each in instructions_of(code)
    ]


def assert_same(code: CodeType) -> None:
    for each in codes_in(code):
        expected = read_by_dis(each)
        # Where a jump back leads is not asked for.
        assert [row for row in read_here(each) if "BACKWARD" not in str(row[0])] == [
            row for row in expected if "BACKWARD" not in str(row[0])
        ]


@pytest.mark.parametrize("text", PIECES.values(), ids=list(PIECES))
def test_each_kind_of_code_is_read_as_dis_reads_it(text: str) -> None:
    assert_same(compile(text, "<piece>", "exec"))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_whole_modules_are_read_as_dis_reads_them(module: ModuleType) -> None:
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert_same(compile(source, module.__file__, "exec"))


def test_operators_and_special_methods_have_their_names() -> None:
    code = compile("x = a / b\nx /= a\nx = a ** b", "<piece>", "exec")
    found = [meaning(each) for each in instructions_of(code) if each.name == "BINARY_OP"]
    assert found == ["/", "/=", ""]


def test_a_prefix_belongs_to_its_instruction() -> None:
    [code] = [
        each for each in codes_in(compile(PIECES["prefixes"], "<piece>", "exec")) if each.co_name == "f"
    ]
    prefixed = [each for each in instructions_of(code) if each.start != each.offset]
    assert prefixed
    assert all(each.arg > 255 for each in prefixed)
