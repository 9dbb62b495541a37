"""Classes of cells and their instances come back, into another process too."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

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
