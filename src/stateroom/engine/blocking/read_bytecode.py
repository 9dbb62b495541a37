"""Reads the steps of a function from its code object.

Bytecode rather than source: it exists for every function (also for those from ``exec``, from a
checkpoint, or whose file has changed), needs no parse of a whole file to look at one function, and
says exactly which names are local. The stack is followed with :func:`dis.stack_effect`, so an
instruction that is not known here costs knowledge of its operands, not correctness.
"""

from __future__ import annotations

import dis
import sys
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_VARARGS, CO_VARKEYWORDS
from types import CodeType, FunctionType
from typing import Any

from . import steps as op
from .instructions import Instruction, instructions_of, meaning
from .steps import NOTHING, Scope, ScopeBuilder

__all__ = ["is_coroutine_function", "parameters_of", "read_function"]

MAX_CODE_BYTES = 16_000
"""Larger functions are not looked into."""

_NULL = -1  # the interpreter's own marker beside a callable
_NULL_FIRST = sys.version_info < (3, 13)

_NO_EFFECT = frozenset(
    {"RESUME", "NOP", "NOT_TAKEN", "CACHE", "EXTENDED_ARG", "PRECALL", "COPY_FREE_VARS", "MAKE_CELL"}
    | {"KW_NAMES", "SETUP_ANNOTATIONS", "TO_BOOL", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"}
)
_ENDS = frozenset(
    {"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"}
    | {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"}
)
_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)


def parameters_of(code: CodeType) -> tuple[str, ...]:
    """The names of all parameters, in the order of ``co_varnames``."""
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & CO_VARARGS) + bool(code.co_flags & CO_VARKEYWORDS)
    return code.co_varnames[:count]


def read_function(code: CodeType) -> Scope:
    """The steps of a function body; none for a body that is too large to look into."""
    reader = _Reader(code)
    if len(code.co_code) <= MAX_CODE_BYTES:
        reader.read(code)
    return reader.build.finish()


class _Reader:
    """Follows the stack through one code object; an entry is a register or ``_NULL``."""

    def __init__(self, code: CodeType) -> None:
        self.build = ScopeBuilder(code.co_name, parameters_of(code))
        self.build.scope.is_coroutine = bool(code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR))
        self.build.scope.is_generator = bool(code.co_flags & CO_GENERATOR)
        self.stack: list[int] = []
        self.constants: dict[int, Any] = {}
        self.waiting: dict[int, list[int]] = {}
        self.entered: set[int] = set()
        self.super_names: set[int] = set()
        self.supers: set[int] = set()

    def read(self, code: CodeType) -> None:
        reachable = True
        for instruction in instructions_of(code):
            merged = self.waiting.pop(instruction.start, None)
            if not reachable:
                self.stack = merged or []
            self.instruction(instruction)
            reachable = instruction.name not in _ENDS

    def instruction(self, instruction: Instruction) -> None:
        name = instruction.name
        if name in _NO_EFFECT:
            return
        handler = _HANDLERS.get(name)
        if handler is not None:
            handler(self, instruction)
        elif name.startswith(("LOAD_FAST", "STORE_FAST")):
            self.fast(name, instruction.value)
        else:
            self.unknown(instruction)
        if instruction.opcode in _JUMPS:
            self.jump(instruction)

    def unknown(self, instruction: Instruction) -> None:
        """What the instruction did to the stack, not what it meant."""
        effect = self.effect_of(instruction)
        if effect >= 0:
            self.stack += [NOTHING] * effect
        else:
            del self.stack[effect:]
        if effect <= 0 and self.stack:
            self.stack[-1] = NOTHING

    def effect_of(self, instruction: Instruction, *, jump: bool = False) -> int:
        argument = instruction.arg if instruction.opcode >= dis.HAVE_ARGUMENT else None
        return dis.stack_effect(instruction.opcode, argument, jump=jump)

    def jump(self, instruction: Instruction) -> None:
        """Keep the stack for the target, which may be reached by this jump only."""
        target = instruction.value
        if type(target) is not int or target <= instruction.offset:
            return
        popped = self.effect_of(instruction) - self.effect_of(instruction, jump=True)
        stack = self.stack[: len(self.stack) - max(popped, 0)]
        self.waiting.setdefault(target, stack + [NOTHING] * max(-popped, 0))

    def pop(self) -> int:
        return self.stack.pop() if self.stack else NOTHING

    def pop_many(self, count: int) -> list[int]:
        items = self.stack[-count:] if count else []
        del self.stack[len(self.stack) - len(items) :]
        return [NOTHING] * (count - len(items)) + items

    def push(self, register: int) -> None:
        self.stack.append(register)

    # Loads

    def fast(self, name: str, argument: str | tuple[str, ...]) -> None:
        names = (argument,) if type(argument) is str else argument
        actions = [part for part in name.split("_") if part in ("LOAD", "STORE")]
        for action, variable in zip(actions, names, strict=False):
            if action == "LOAD":
                self.push(self.build.value(op.NAME, variable))
            else:
                self.build.effect(op.BIND, variable, self.pop())

    def op_load_name(self, instruction: Instruction) -> None:
        self.push(self.build.value(op.NAME, instruction.value))

    op_load_deref = op_load_classderef = op_load_name

    def op_load_from_dict_or_globals(self, instruction: Instruction) -> None:
        self.pop()
        self.op_load_name(instruction)

    op_load_from_dict_or_deref = op_load_from_dict_or_globals

    def op_load_global(self, instruction: Instruction) -> None:
        with_null = self.effect_of(instruction) == 2
        register = self.build.value(op.NAME, instruction.value)
        if with_null and _NULL_FIRST:
            self.push(_NULL)
        if instruction.value == "super":
            self.super_names.add(register)
        self.push_callable(register, with_null=with_null and not _NULL_FIRST)

    def push_callable(self, register: int, *, with_null: bool) -> None:
        """A callable, and the place for the ``self`` that a method would have."""
        self.push(register)
        if with_null:
            self.push(_NULL)

    def op_push_null(self, _: Instruction) -> None:
        self.push(_NULL)

    def op_load_const(self, instruction: Instruction) -> None:
        value = instruction.value
        if type(value) not in (CodeType, str, int, tuple):
            self.push(NOTHING)
            return
        scope = self.build.scope
        register, scope.size = scope.size, scope.size + 1
        self.constants[register] = value
        self.push(register)

    op_load_small_int = op_load_const

    def op_load_attr(self, instruction: Instruction) -> None:
        is_method = self.effect_of(instruction) == 1
        self.attribute(instruction.value, is_method)

    def op_load_method(self, instruction: Instruction) -> None:
        self.attribute(instruction.value, is_method=True)

    def attribute(self, name: str, is_method: bool) -> None:
        base = self.pop()
        if base in self.supers:
            register = self.build.value(op.SUPER, base, name)
        else:
            register = self.build.value(op.ATTRIBUTE, base, name) if base > 0 else NOTHING
        self.push_callable(register, with_null=is_method)

    def op_load_super_attr(self, instruction: Instruction) -> None:
        effect = self.effect_of(instruction)
        _, _, owner = self.pop_many(3)
        self.push_callable(self.build.value(op.SUPER, owner, instruction.value), with_null=effect == -1)

    # Stores

    def op_store_name(self, instruction: Instruction) -> None:
        self.build.effect(op.BIND, instruction.value, max(self.pop(), NOTHING))

    op_store_deref = op_store_name

    def op_store_global(self, instruction: Instruction) -> None:
        self.build.effect(op.BIND_GLOBAL, instruction.value, max(self.pop(), NOTHING))

    def op_store_attr(self, instruction: Instruction) -> None:
        value, base = self.pop_many(2)
        if base > 0:
            self.build.effect(op.SET_ATTRIBUTE, instruction.value, value, on=base)

    # The stack itself

    def op_pop_top(self, _: Instruction) -> None:
        self.pop()

    op_pop_jump_if_true = op_pop_jump_if_false = op_pop_jump_if_none = op_pop_jump_if_not_none = op_pop_top
    op_pop_jump_forward_if_true = op_pop_jump_forward_if_false = op_pop_top
    op_pop_jump_forward_if_none = op_pop_jump_forward_if_not_none = op_pop_top
    op_pop_jump_backward_if_true = op_pop_jump_backward_if_false = op_pop_top
    op_pop_jump_backward_if_none = op_pop_jump_backward_if_not_none = op_pop_top

    def op_copy(self, instruction: Instruction) -> None:
        depth = instruction.arg or 1
        self.push(self.stack[-depth] if depth <= len(self.stack) else NOTHING)

    def op_swap(self, instruction: Instruction) -> None:
        depth = instruction.arg or 1
        if 1 < depth <= len(self.stack):
            self.stack[-1], self.stack[-depth] = self.stack[-depth], self.stack[-1]

    # Calls and what else may wait

    def op_call(self, instruction: Instruction) -> None:
        self.call(self.pop_many((instruction.arg or 0) + 2))

    def op_call_kw(self, instruction: Instruction) -> None:
        self.call(self.pop_many((instruction.arg or 0) + 3)[:-1])

    def op_call_function_ex(self, instruction: Instruction) -> None:
        size = 1 - self.effect_of(instruction)
        self.call(self.pop_many(size)[:2])

    def call(self, items: list[int]) -> None:
        first, second, *arguments = items
        callee = second if first == _NULL else first
        if callee in self.entered:
            self.push(callee)
            return
        if callee in self.super_names and self.build.scope.parameters:
            owner = self.build.value(op.NAME, self.build.scope.parameters[0])
            self.supers.add(owner)
            self.push(owner)
            return
        known = tuple([max(register, NOTHING) for register in arguments])
        self.push(self.build.value(op.CALL, max(callee, NOTHING), (known, (), None)))

    def op_get_iter(self, _: Instruction) -> None:
        self.push(self.build.value(op.ITERATE, max(self.pop(), NOTHING)))

    def op_get_yield_from_iter(self, _: Instruction) -> None:
        source = self.pop()
        self.build.effect(op.YIELD_FROM, source)
        self.push(NOTHING)

    def op_before_with(self, _: Instruction) -> None:
        entered = self.build.value(op.ENTER, self.pop())
        self.push(NOTHING)
        self.push(entered)

    def op_load_special(self, instruction: Instruction) -> None:
        """The form of `with` since 3.14: load `__enter__`, then call it."""
        owner = self.pop()
        if meaning(instruction) != "__enter__":
            self.push_callable(NOTHING, with_null=True)
            return
        register = self.build.value(op.ENTER, owner)
        self.entered.add(register)
        self.push_callable(register, with_null=True)

    def op_binary_op(self, instruction: Instruction) -> None:
        left, right = self.pop_many(2)
        operator = meaning(instruction)
        if operator in ("/", "/="):
            self.push(self.build.value(op.DIVIDE, left, right))
        elif operator == "[]":
            self.item(left, right)
        else:
            self.push(NOTHING)

    def op_binary_subscr(self, _: Instruction) -> None:
        self.item(*self.pop_many(2))

    def item(self, base: int, key: int) -> None:
        constant = self.constants.get(key)
        self.push(self.build.value(op.ITEM, base, constant if type(constant) in (int, str) else None))

    def op_build_list(self, instruction: Instruction) -> None:
        items = self.pop_many(instruction.arg or 0)
        self.push(self.build.value(op.ITEMS, tuple([item for item in items if item > 0])))

    op_build_tuple = op_build_set = op_build_list

    def op_list_append(self, instruction: Instruction) -> None:
        item = self.pop()
        depth = instruction.arg or 1
        container = self.stack[-depth] if depth <= len(self.stack) else NOTHING
        if item > 0 and container > 0:
            self.build.effect(op.ADD_ITEM, item, on=container)

    op_set_add = op_list_append

    # Functions, imports, the end

    def op_make_function(self, instruction: Instruction) -> None:
        count = 1 - self.effect_of(instruction)
        code = self.constants.get(self.pop_many(count)[-1])
        self.push(self.build.value(op.FUNCTION, code) if type(code) is CodeType else NOTHING)

    def op_set_function_attribute(self, _: Instruction) -> None:
        _attribute, function = self.pop_many(2)
        self.push(function)

    def op_import_name(self, instruction: Instruction) -> None:
        _level, names = self.pop_many(2)
        self.push(self.build.value(op.IMPORT, instruction.value, bool(self.constants.get(names))))

    def op_import_from(self, instruction: Instruction) -> None:
        module = self.stack[-1] if self.stack else NOTHING
        self.push(self.build.value(op.ATTRIBUTE, module, instruction.value))

    def op_return_value(self, _: Instruction) -> None:
        self.build.effect(op.RETURN, max(self.pop(), NOTHING))


_HANDLERS = {name[3:].upper(): method for name, method in vars(_Reader).items() if name.startswith("op_")}


def is_coroutine_function(value: object) -> bool:
    """Whether ``value`` is an ``async def`` function (an asynchronous generator included)."""
    return type(value) is FunctionType and bool(value.__code__.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR))
