"""Kinds of objects that take more than pickle's own way: type parameters, aliases, weak references."""

from __future__ import annotations

import sys

import pytest

PARAMETERS = """
import typing
T = typing.TypeVar("T", bound=int)
P = typing.ParamSpec("P")
Ts = typing.TypeVarTuple("Ts")
Call = typing.Callable[P, T]
Shape = tuple[int, *Ts]
def wrap(function: typing.Callable[P, T]) -> typing.Callable[P, T]: return function
"""


def test_type_parameters(again):
    main = again(PARAMETERS)
    assert main.get("[T.__name__, P.__name__, Ts.__name__]") == ["T", "P", "Ts"]
    assert main.get("[p.__module__ for p in (P, Ts)]") == ["__main__", "__main__"]
    assert main.get("Call.__parameters__ == (P, T) and Shape.__parameters__ == (Ts,)")
    assert main.get("T.__bound__") is int
    assert main.get("typing.get_type_hints(wrap)['return'].__parameters__ == (P, T)")


def test_type_parameters_of_a_library_stay_the_librarys(again):
    main = again("import typing\nfrom typing import AnyStr\nmine = [AnyStr, typing.Generic]")
    assert main.get("AnyStr is typing.AnyStr and mine[0] is AnyStr")


@pytest.mark.skipif(sys.version_info < (3, 13), reason="defaults of type parameters are new in 3.13")
def test_type_parameters_keep_their_default(again):
    main = again(
        "import typing\nP = typing.ParamSpec('P', default=[int], covariant=True)\n"
        "Ts = typing.TypeVarTuple('Ts', default=typing.Unpack[tuple[int, str]])\nplain = typing.ParamSpec('plain')"
    )
    assert main.get("P.__default__, P.__covariant__, plain.has_default()") == ([int], True, False)
    assert main.get("typing.get_args(Ts.__default__)[0].__args__") == (int, str)


ALIASES = """
type Number = int | float
type Pairs[K, V] = dict[K, V]
def total(of: Pairs[str, int]) -> Number: return sum(of.values())
class Box[X]:
    def get(self, x: X) -> X: return x
def same[Y](y: Y) -> Y: return y
box = Box[int]()
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type statements are new in 3.12")
def test_type_aliases_and_generics(again):
    main = again(ALIASES)
    assert main.get("Number.__value__") == int | float
    assert main.get("Number.__name__, Number.__module__") == ("Number", "__main__")
    assert main.get("Pairs[str, int].__args__, Pairs.__value__.__args__ == Pairs.__type_params__") == (
        (str, int),
        True,
    )
    assert main.get("total({'a': 1}), box.get(2), same(3), type(box) is Box") == (1, 2, 3, True)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type statements are new in 3.12")
def test_an_alias_that_cannot_be_evaluated_is_left_out(main):
    main.run("type Recursive = list[Recursive]\ntype Bad = 1 / 0\ntype Later = list[nowhere]\nx = 1")
    main.save()
    assert main.checkpoint.header.skipped == {
        "Recursive": "it is nested too deeply",
        "Bad": "ZeroDivisionError: division by zero",
        "Later": "NameError: name 'nowhere' is not defined",
    }


WEAK = """
import weakref
class Node:
    living = weakref.WeakValueDictionary()
    def __init__(self, name, parent=None):
        self.name, self.children = name, []
        self.parent = weakref.ref(parent) if parent else None
        Node.living[name] = self
        if parent: parent.children.append(self)
ref = weakref.ref(Node)
root = Node("root")
leaf = Node("leaf", root)
names = weakref.WeakKeyDictionary({root: "r", leaf: "l"})
seen = weakref.WeakSet([root])
first = weakref.ref(root)
dead = weakref.ref(Node("gone"))
"""


def test_weak_references_point_to_what_is_saved(again):
    main = again(WEAK)
    assert main.get("leaf.parent() is root and root.children[0] is leaf and ref() is Node")
    assert main.get("first() is root and first is leaf.parent and dead() is None")
    assert main.get("sorted(Node.living) == ['leaf', 'root'] and Node.living['leaf'] is leaf")
    assert main.get("names[root] + names[leaf]") == "rl"
    assert main.get("list(seen) == [root]")
    main.run("del root, names, seen, first\nleaf_parent = leaf.parent")
    assert main.get("leaf_parent()") is None


def test_a_weak_reference_to_what_nobody_else_holds_is_dead_afterwards(main, new_main):
    main.run("import weakref\nclass C: pass\nbox = {'kept': C()}\nref = weakref.ref(box['kept'])")
    kept = main.namespace.pop("box")
    blob = main.save()
    assert main.checkpoint.header.skipped == {}
    other = new_main()
    assert other.restore(blob).failed == {}
    assert other.get("ref()") is None
    assert kept


def test_single_dispatch(again):
    main = again("""
import functools
@functools.singledispatch
def show(value): return "object"
@show.register
def _show_int(value: int): return "int"
class Shown:
    @functools.singledispatchmethod
    def of(self, value): return "object"
    @of.register
    def _of_str(self, value: str): return "str"
""")
    assert main.get("show(1), show(True), show('')") == ("int", "int", "object")
    assert main.get("Shown().of(''), Shown().of(1)") == ("str", "object")


STRUCTURES = """
import ctypes
class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int)]
class Either(ctypes.Union):
    _fields_ = [("x", ctypes.c_int)]
point = Point(3)
array = (ctypes.c_int * 3)(1, 2, 3)
number = ctypes.c_int(5)
kept = [1]
"""


def test_K2_what_ctypes_makes_is_left_out_when_it_is_saved_not_when_it_is_loaded(main, new_main):
    main.run(STRUCTURES)
    blob = main.save()
    other = new_main()
    report = other.restore(blob)
    assert report.failed == {}
    assert set(report.skipped) >= {"Point", "Either", "point"}
    assert report.skipped["Point"] == "a class of ctypes: define it again after the restore"
    assert other.get("kept, number.value") == ([1], 5)
    assert "array" in report.skipped or other.get("list(array)") == [1, 2, 3]


def test_K2_a_context_variable_says_what_to_do(main):
    main.run("import contextvars\nvariable = contextvars.ContextVar('variable')")
    main.save()
    assert main.checkpoint.header.skipped == {
        "variable": "a context variable: make it again after the restore"
    }
