"""What is saved comes back, bound to the namespace that it comes back to."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from stateroom.engine.namespace import ENGINE_INTERNALS


def test_K1_a_restored_function_sees_what_is_bound_later(again):
    main = again("x = 1\ndef f(): return x")
    assert main.get("f()") == 1
    main.run("x = 2")
    assert main.get("f()") == 2
    assert main.get("f.__globals__") is main.namespace


def test_K1_in_the_same_worker(main):
    main.run("x = 1\ndef f(): return x")
    old = main.get("f")
    main.restore(main.save())
    main.run("x = 2")
    assert main.get("f()") == 2
    assert main.get("f") is not old


def test_K1_a_function_sees_a_name_that_did_not_exist(again):
    main = again("def f(): return later")
    main.run("later = 3")
    assert main.get("f()") == 3


def test_K1_a_function_assigns_to_the_namespace(again):
    main = again("n = 0\ndef count():\n    global n\n    n += 1")
    main.run("count(); count()")
    assert main.namespace["n"] == 2


SHARING = [
    ("l = [1]\nd = {'l': l}", "d['l'] is l"),
    ("d = {}\nd['me'] = d", "d['me'] is d"),
    ("a = []\nb = (a, a)", "b[0] is b[1] is a"),
    ("g = globals()", "g is globals()"),
    ("n = {'g': globals()}", "n['g'] is globals()"),
    ("def f(): pass\nfs = [f]", "fs[0] is f"),
    ("l = []\ndef f(x=l): return x", "f() is l"),
    ("class C: pass\nc = C()\nC.one = c", "C.one is c and type(c) is C"),
    ("l = []\nf = lambda: l", "f() is l"),
    ("def make():\n    def r(): return r\n    return r\nr = make()", "r() is r"),
    ("class C:\n    def m(self): return __class__\nm = C.m\ndel C", "m(0)().m() is m(0) and m(0).m is m"),
    ("import sys\nout = sys.stdout", "out is sys.stdout"),
    ("import sys\nh = {'out': sys.stderr}", "h['out'] is sys.stderr"),
    ("b = vars(__import__('builtins'))", "b is vars(__import__('builtins'))"),
]


@pytest.mark.parametrize(("source", "expression"), SHARING)
def test_what_is_one_object_stays_one_object(again, source, expression):
    assert again(source).get(expression)


def test_order_of_the_namespace_stays(again):
    main = again("z = [1]\ndef a(): pass\nimport math\nb = 2")
    assert list(main.variables) == ["z", "a", "math", "b"]


def test_closures_share_their_variable(again):
    main = again("""
def make():
    n = 0
    def increase():
        nonlocal n
        n += 1
        return n
    def get(): return n
    return increase, get
increase, get = make()
increase()
""")
    assert main.get("increase()") == 2
    assert main.get("get()") == 2


def test_a_cell_that_is_met_before_and_after_its_function(again):
    main = again("""
def make():
    value = []
    def get(): return value
    return get
get = make()
first = [get.__closure__[0]]
also = make()
last = also.__closure__[0]
""")
    assert main.get("first[0] is get.__closure__[0] and last is also.__closure__[0]")
    assert main.get("first[0].cell_contents is get()")


FUNCTIONS = [
    ("def fact(n): return 1 if n < 2 else n * fact(n - 1)", "fact(5)", 120),
    ("def make():\n    def r(n): return n and r(n - 1)\n    return r\nr = make()", "r(3)", 0),
    ("f = lambda x, *a, k=2, **kw: (x, a, k, kw)", "f(1, 3, q=4)", (1, (3,), 2, {"q": 4})),
    ("def odd(n): return n and even(n - 1)\ndef even(n): return not n or odd(n - 1)", "even(10)", True),
    ("def f(x: int = 1) -> str:\n    'doc'\nf.tag = 5", "f.__doc__, f.__annotations__, f.tag", ("doc", {"x": int, "return": str}, 5)),
    ("import functools\ndef deco(f):\n    @functools.wraps(f)\n    def w(*a): return ['w', f(*a)]\n    return w\n@deco\ndef g(x): return x", "g(1), g.__name__", (["w", 1], "g")),
    ("import functools\n@functools.lru_cache(maxsize=9)\ndef fib(n): return n if n < 2 else fib(n-1) + fib(n-2)", "fib(20), fib.cache_info().maxsize", (6765, 9)),
    ("import functools\np = functools.partial(pow, 2)", "p(3)", 8),
    ("from math import sqrt", "sqrt(4)", 2.0),
    ("import os.path as osp", "osp.join('a', 'b')", "a/b"),
    ("async def co(): return 1\nimport inspect", "inspect.iscoroutinefunction(co)", True),
    ("def empty():\n    def f(): return later\n    if 0: later = 1\n    return f\nf = empty()", "f.__closure__[0] == type(f.__closure__[0])()", True),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expression", "expected"), FUNCTIONS)
def test_functions(again, source, expression, expected):
    assert again(source).get(expression) == expected


CLASSES = """
import abc, collections, dataclasses, enum, functools, typing
x = 1
class Base:
    kind = "base"
    def hi(self): return "Base" + str(x)
class Child(Base):
    __slots__ = ("value",)
    def hi(self): return "Child " + super().hi()
    @property
    def prop(self): return x
    @staticmethod
    def static(): return x
    @classmethod
    def make(cls): return cls()
    @functools.cached_property
    def cached(self): return x
    class Inner: pass
child = Child()
child.value = 7
bound = child.hi
@dataclasses.dataclass
class Point:
    a: int
    b: list = dataclasses.field(default_factory=list)
point = Point(1, [2])
@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: int = 0
frozen = Frozen(3)
class Colour(enum.Enum):
    RED = 1
    BLUE = "b"
red = Colour.RED
class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
Pair = collections.namedtuple("Pair", "a b")
pair = Pair(1, 2)
class Typed(typing.NamedTuple):
    a: int = 4
T = typing.TypeVar("T")
class Box(typing.Generic[T]):
    pass
UserId = typing.NewType("UserId", int)
class Meta(type):
    def __call__(cls): return ("made", super().__call__())
class Made(metaclass=Meta): pass
class Error(ValueError): pass
error = Error("text", 3)
"""

ABOUT_CLASSES = [
    ("child.hi()", "Child Base1"),
    ("bound() == child.hi() and bound.__self__ is child", True),
    ("(child.value, child.prop, child.static(), child.cached, type(child.make()) is Child)", (7, 1, 1, 1, True)),
    ("isinstance(child, Base) and Child.Inner.__qualname__", "Child.Inner"),
    ("point == Point(1, [2]) and Point(5)", "Point(a=5, b=[])"),
    ("frozen == Frozen(3)", True),
    ("Colour.RED is red and Colour('b') is Colour.BLUE and len(Colour)", 2),
    ("Shape.__abstractmethods__", frozenset({"area"})),
    ("pair == Pair(1, 2) and pair._asdict()", {"a": 1, "b": 2}),
    ("Typed()", (4,)),
    ("Box[int].__args__", (int,)),
    ("UserId(5), UserId.__supertype__", (5, int)),
    ("Made()[0]", "made"),
    ("error.args, type(error) is Error", (("text", 3), True)),
    ("Base.__module__", "__main__"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "expected"), ABOUT_CLASSES)
def test_classes_of_cells(again, expression, expected):
    value = again(CLASSES).get(expression)
    assert value == expected or repr(value) == expected


ANNOTATED = """
import dataclasses, typing
class Plain:
    a: int = 1
class Child(Plain): ...
class Tuple(typing.NamedTuple):
    b: str
class Dict(typing.TypedDict):
    c: float
@dataclasses.dataclass
class Data:
    d: bytes
"""


def test_classes_keep_their_annotations(again):
    main = again(ANNOTATED)
    hints = "[typing.get_type_hints(c) for c in (Plain, Child, Tuple, Dict, Data)]"
    assert main.get(hints) == [{"a": int}, {"a": int}, {"b": str}, {"c": float}, {"d": bytes}]
    assert main.get("Child.__dict__.get('__annotations__', {})") == {}


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated late since 3.14")
def test_annotations_that_name_what_is_not_there_yet_are_kept_as_text(again):
    main = again("import typing\nclass C:\n    a: list[Later]\nclass Bad:\n    a: 1 / 0")
    assert main.get("C.__annotations__, Bad.__annotations__") == ({"a": "list[Later]"}, {})
    main.run("Later = int")
    assert main.get("typing.get_type_hints(C)") == {"a": list[int]}


def test_methods_see_the_live_namespace(again):
    main = again(CLASSES)
    main.run("x = 2")
    assert main.get("child.hi(), child.prop, Child.static()") == ("Child Base2", 2, 2)


def test_a_restored_dataclass_can_be_built_upon(again):
    main = again(CLASSES)
    assert main.get("dataclasses.fields(Point)[0].default") is dataclasses.MISSING
    main.run("@dataclasses.dataclass\nclass More(Point):\n    c: int = 0\nmore = More(1)")
    assert main.get("more.b, more.c") == ([], 0)


def test_restoring_leaves_the_classes_that_exist_alone(main):
    main.run("class C: v = 1\nkept = C")
    old = main.get("C")
    blob = main.save()
    old.v, old.more = 2, 3
    main.restore(blob)
    assert (main.get("C.v"), hasattr(main.get("C"), "more")) == (1, False)
    assert (old.v, old.more) == (2, 3)


def test_a_restored_function_of_a_library_uses_the_library(again):
    main = again("from contextlib import contextmanager\n@contextmanager\ndef cm(): yield 5")
    import contextlib

    assert main.get("cm.__globals__") is vars(contextlib)
    main.run("with cm() as five: pass")
    assert main.get("five") == 5


def test_functions_of_a_dict_of_their_own_stay_together(again):
    main = again("space = {}\nexec('y = 1\\ndef f(): return y', space)\nf = space['f']")
    main.run("space['y'] = 2")
    assert main.get("f()") == 2
    assert main.get("f.__globals__ is space")


def test_a_value_may_need_others_while_it_is_loaded(again):
    main = again("""
early = None
DEFAULT = 5
def helper(): return DEFAULT
class Key:
    def __init__(self, n): self.n = n
    def __hash__(self): return helper() + self.n
    def __eq__(self, other): return self.n == other.n
    def __setstate__(self, state): self.__dict__.update(state, seen=helper())
early = {Key(1): "one"}
""")
    assert main.get("early[Key(1)]") == "one"
    assert main.get("next(iter(early)).seen") == 5


def test_K3_the_same_dict_and_the_engines_names_stay(main):
    main.run("x = 1")
    main.manager.record_input("x")
    main.manager.record_expression_result(42)
    blob = main.save()
    before = {name: main.namespace[name] for name in ENGINE_INTERNALS if name in main.namespace}
    namespace = main.namespace
    main.run("x = 2\ny = 3")
    main.restore(blob)
    assert main.module.__dict__ is namespace
    assert main.variables == {"x": 1}
    assert {name: namespace[name] for name in before} == before
    assert namespace["_"] == 42


def test_K3_without_clear_existing_other_names_stay(main):
    main.run("x = 1")
    blob = main.save()
    main.run("x = 2\ny = 3")
    report = main.restore(blob, clear_existing=False)
    assert main.variables == {"x": 1, "y": 3}
    assert report.restored == ["x"]


def test_K3_imports_come_back_as_imports(main, new_main):
    main.run("import json as j, xml.dom.minidom, os.path\nfrom math import pi\nimport __main__ as me")
    blob = main.save()
    entries = {entry.name: entry.module for entry in main.checkpoint.header.entries}
    assert entries == {"j": "json", "xml": "xml", "os": "os", "pi": None, "me": "__main__"}
    other = new_main()
    other.restore(blob)
    assert other.get("j") is sys.modules["json"]
    assert other.get("xml.dom.minidom") is sys.modules["xml.dom.minidom"]
    assert other.get("me") is other.module


def test_the_engines_names_are_not_saved(main):
    main.run("x = 1\n_ = 5\nOut[1] = lambda: 0")
    main.save()
    assert [entry.name for entry in main.checkpoint.header.entries] == ["x"]
    assert main.checkpoint.header.skipped == {}


def test_what_python_keeps_of_warnings_is_not_saved(main):
    with pytest.warns(UserWarning, match="careful"):
        main.run("import warnings; warnings.warn('careful'); x = 1")
    assert "__warningregistry__" in main.namespace
    main.save()
    assert set(main.checkpoint.header.order) == {"warnings", "x"}


def test_an_empty_namespace(main):
    report = main.restore(main.save())
    assert report.restored == []
    assert main.variables == {}


def test_live_objects_of_the_worker_are_named(main, new_main):
    loop = object()
    main.namespace["loop"] = loop
    main.namespace["held"] = {"loop": loop}
    blob = main.save(live={"loop": loop})
    other, new_loop = new_main(), object()
    other.restore(blob, live={"loop": new_loop})
    assert other.get("loop") is new_loop
    assert other.get("held['loop']") is new_loop


def test_a_checkpoint_is_sent_once(main):
    main.save()
    with pytest.raises(Exception, match="write another one"):
        list(main.checkpoint.chunks())


SAVE = """
import sys
from types import ModuleType
from stateroom.engine.namespace import NamespaceManager
from stateroom.worker.checkpoint import write_checkpoint, restore_checkpoint
module = sys.modules["__main__"] = ModuleType("__main__")
manager = NamespaceManager(vars(module))
"""
WRITE = 'exec(sys.argv[2], manager.namespace)\nwith open(sys.argv[1], "wb") as f: f.writelines(write_checkpoint(manager).chunks())'
READ = """
with open(sys.argv[1], "rb") as f: report = restore_checkpoint(f, manager)
assert not report.failed, report.failed
exec(sys.argv[2], manager.namespace)
"""


def python(*arguments):
    return subprocess.run(
        [sys.executable, "-c", *arguments], capture_output=True, text=True, check=True
    ).stdout


def test_K1_from_one_process_to_another(tmp_path):
    path = str(tmp_path / "one.checkpoint")
    python(SAVE + WRITE, path, CLASSES + "\nimport xml.dom.minidom\ndef f(): return x, child.hi()")
    ask = "x = 2\nprint(f(), xml.dom.minidom.__name__, Colour.RED is red, point, UserId(1))"
    said = python(SAVE + READ, path, ask)
    assert said == "(2, 'Child Base2') xml.dom.minidom True Point(a=1, b=[2]) 1\n"
    # and once more, from what was restored
    second = str(tmp_path / "two.checkpoint")
    save_again = (
        SAVE + READ + f'with open({second!r}, "wb") as f: f.writelines(write_checkpoint(manager).chunks())'
    )
    python(save_again, path, "pass")
    assert python(SAVE + READ, second, ask) == said


def test_instances_of_a_restored_nested_class_pickle(again):
    main = again("import pickle\nclass A:\n    class B:\n        def __eq__(self, o): return type(o) is A.B")
    assert main.get("pickle.loads(pickle.dumps(A.B())) == A.B()")
