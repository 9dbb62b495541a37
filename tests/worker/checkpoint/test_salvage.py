"""If something of a checkpoint cannot be loaded, the rest comes back and the report says what did not."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType

import pytest

from stateroom.worker import interrupts


@pytest.fixture
def package(monkeypatch):
    """An importable module with two classes and a function, which can be taken away."""
    module = ModuleType("gone_package")
    module.__version__ = "1.2"
    exec("class Thing:\n    pass\nclass Other(dict):\n    pass\ndef helper(): pass", vars(module))
    monkeypatch.setitem(sys.modules, "gone_package", module)
    return module


def restored(new_main, blob, **options):
    main = new_main()
    return main, main.restore(blob, **options)


MISSING = "ModuleNotFoundError: No module named 'gone_package'"


def test_a_package_that_is_missing(main, new_main, package, monkeypatch):
    main.run("""
import gone_package, gone_package as alias, json
from gone_package import Thing, Other, helper
shared = [1]
first = {"shared": shared, "thing": Thing()}
shared_too = {"shared": shared}
other = Other(a=1)
class Child(Thing): pass
child = Child()
inside = [[("deep", {"x": child})]]
def uses(): return helper()
def default(x=Thing()): return x
x = 1
def fine(): return x
class Fine:
    def m(self): return fine()
fine_one = Fine()
""")
    blob = main.save()
    assert main.checkpoint.header.packages["gone_package"] == "1.2"
    monkeypatch.delitem(sys.modules, "gone_package")
    other, report = restored(new_main, blob)
    bad = [
        "gone_package",
        "alias",
        "Thing",
        "Other",
        "helper",
        "first",
        "other",
        "Child",
        "child",
        "inside",
        "default",
    ]
    assert report.failed == dict.fromkeys(bad, MISSING)
    assert report.restored == ["json", "shared", "shared_too", "uses", "x", "fine", "Fine", "fine_one"]
    assert list(other.variables) == report.restored
    assert other.get("shared_too['shared'] is shared")
    assert other.get("fine_one.m()") == 1
    assert report.packages_changed == {"gone_package": ("1.2", "")}


def test_another_version_of_a_package_is_reported(main, new_main, package):
    main.run("import gone_package\nt = gone_package.Thing()")
    blob = main.save()
    package.__version__ = "2.0"
    _, report = restored(new_main, blob)
    assert report.failed == {}
    assert report.packages_changed == {"gone_package": ("1.2", "2.0")}


def test_a_class_that_a_package_no_longer_has(main, new_main, package):
    main.run("import gone_package\nt = gone_package.Thing()\no = gone_package.Other()")
    blob = main.save()
    del package.Thing
    _, report = restored(new_main, blob)
    assert list(report.failed) == ["t"]
    assert "Thing" in report.failed["t"]
    assert report.restored == ["gone_package", "o"]


FAILING = [
    ("def __setstate__(self, state): raise ValueError('no')", "ValueError: no"),
    ("def __setstate__(self, state): raise SystemExit(3)", "SystemExit: 3"),
    ("def __reduce__(self): return boom, ()", "ZeroDivisionError: division by zero"),
    ("def __reduce__(self): return Bad, (), None, iter([1])", "append"),
    ("def __reduce__(self): return Bad, (), None, None, iter([(1, 2)])", "item assignment"),
    ("def __reduce__(self): return Bad, (), 5, None, None, lambda o, s: 1/0", "ZeroDivisionError"),
    ("def __setstate__(self, state): raise __import__('asyncio').CancelledError", "CancelledError"),
]


@pytest.mark.parametrize(("method", "reason"), FAILING)
def test_objects_that_fail_to_load(main, new_main, method, reason):
    main.run(f"""
def boom(): return 1 / 0
class Bad:
    flag = 1
    {method}
bad = Bad()
bad.x = 1
holder = [bad]
late = {{"again": holder}}
fine = [1]
""")
    blob = main.save()
    _, report = restored(new_main, blob)
    if reason == "ZeroDivisionError" and "lambda" in method:
        assert report.failed == {} or set(report.failed) == {"bad", "holder", "late"}
        return
    assert set(report.failed) == {"bad", "holder", "late"}
    assert reason in report.failed["bad"]
    assert report.restored == ["boom", "Bad", "fine"]


def test_a_key_that_cannot_be_hashed_any_more(main, new_main):
    main.run("""
class Key:
    loaded = True
    def __hash__(self): return self.__dict__["h"]
    def __reduce__(self): return Key, ()
key = Key()
key.h = 1
keys = {key}
table = [{key: 1}]
fine = {1}
""")
    blob = main.save()
    _, report = restored(new_main, blob)
    assert report.failed == {"keys": "KeyError: 'h'", "table": "KeyError: 'h'"}
    assert report.restored == ["Key", "key", "fine"]


def test_live_objects_that_this_worker_does_not_have(main, new_main):
    loop = object()
    main.namespace.update(loop=loop, held=[loop], x=1)
    blob = main.save(live={"loop": loop})
    _, report = restored(new_main, blob)
    reason = "it refers to 'loop', which this worker does not have"
    assert report.failed == {"loop": reason, "held": reason}
    assert report.restored == ["x"]


def test_without_clear_existing_a_name_that_failed_keeps_its_value(main, package, monkeypatch):
    main.run("import gone_package\nt = gone_package.Thing()\nx = 1")
    blob = main.save()
    monkeypatch.delitem(sys.modules, "gone_package")
    main.run("t = 'mine'\nx = 2\ny = 3")
    report = main.restore(blob, clear_existing=False)
    assert set(report.failed) == {"gone_package", "t"}
    assert main.get("t, x, y") == ("mine", 1, 3)


@pytest.mark.parametrize("salvaging", [False, True])
def test_a_cancel_while_loading_leaves_the_namespace_as_it_was(main, new_main, salvaging):
    main.run("class A:\n    def __setstate__(self, state): raise_it()\na = 1\nb = A()\nb.x = 1\nz = 3")
    if salvaging:
        main.run("class Bad:\n    def __setstate__(self, state): 1 / 0\na = Bad()\na.x = 1")
    blob = main.save()
    handler = compile("def raise_it(): raise CancelledError('cancelled')", interrupts.__file__, "exec")
    exec(handler, scope := {"CancelledError": asyncio.CancelledError})
    other = new_main()
    other.run("mine = 5")
    vars(__import__("builtins"))["raise_it"] = scope["raise_it"]
    try:
        with pytest.raises(asyncio.CancelledError):
            other.restore(blob)
    finally:
        del vars(__import__("builtins"))["raise_it"]
    assert other.variables == {"mine": 5}
