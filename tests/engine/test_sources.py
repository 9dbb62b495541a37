import inspect
import linecache

import pytest

from stateroom.engine.sources import SourceCache, install


@pytest.fixture
def inspecting(cells):
    uninstall = install(cells.sources)
    yield cells
    uninstall()


def test_N4_the_source_of_a_function_of_an_earlier_cell(cells):
    cells.run("x = 1\ndef f():\n    return x")
    cells.run("def g(): pass")
    linecache.checkcache()
    assert inspect.getsource(cells.namespace["f"]) == "def f():\n    return x\n"


@pytest.mark.parametrize(
    "source",
    [
        "class C:\n    def m(self): pass\n",
        "class C:\n    x = 1\n",
        "class C:\n    @classmethod\n    def m(cls): pass\n",
    ],
)
def test_N4_the_source_of_a_class_of_an_earlier_cell(inspecting, source):
    inspecting.run("class C: old = 1")
    inspecting.run(f"y = 1\n{source}z = 2")
    inspecting.run("x = 'class C is mentioned'")
    linecache.checkcache()
    assert inspect.getsource(inspecting.namespace["C"]) == source
    assert inspect.getfile(inspecting.namespace["C"]) == "<cell 2>"


def test_N4_a_class_in_a_class_and_in_a_function(inspecting):
    inspecting.run(
        "class Outer:\n    class Inner:\n        x = 1\ndef f():\n    class Local:\n        y = 2\n    return Local"
    )
    assert inspect.getsource(inspecting.run("Outer.Inner")) == "    class Inner:\n        x = 1\n"
    assert inspect.getsource(inspecting.run("f()")) == "    class Local:\n        y = 2\n"


def test_N4_a_decorated_class_is_shown_with_its_decorator(inspecting):
    inspecting.run("def same(c): return c\n@same\nclass C:\n    x = 1")
    assert inspect.getsource(inspecting.namespace["C"]) == "@same\nclass C:\n    x = 1\n"


def test_N4_methods_name_the_cell_even_if_a_newer_one_defines_the_same_name(inspecting):
    inspecting.run("class C:\n    def m(self): return 1")
    first = inspecting.namespace["C"]
    inspecting.run("class C:\n    def m(self): return 2")
    assert inspect.getfile(first) == "<cell 1>"
    assert "return 1" in inspect.getsource(first)


def test_N4_classes_that_no_cell_defined_are_as_before(inspecting):
    made = type("Made", (), {"__module__": "__main__"})
    with pytest.raises((OSError, TypeError)):
        inspect.getsource(made)
    assert inspect.getsourcefile(SourceCache).endswith("sources.py")


def test_install_can_be_undone():
    original = inspect.getfile
    uninstall = install(SourceCache())
    assert inspect.getfile is not original
    uninstall()
    assert inspect.getfile is original


def test_the_oldest_source_goes_first():
    sources = SourceCache(2)
    for number in range(3):
        sources.add(f"<bounded {number}>", "x")
    assert list(sources) == ["<bounded 1>", "<bounded 2>"]
    assert "<bounded 0>" not in linecache.cache
    assert sources.get("<bounded 0>") is None
    assert repr(sources) == "<SourceCache 2/2>"
    sources.clear()
    assert not {name for name in linecache.cache if name.startswith("<bounded")}


def test_only_line_feeds_end_a_line():
    sources = SourceCache()
    sources.add("<separators>", "a = '\x0c\u2028\x85'\nb")
    assert linecache.getline("<separators>", 2) == "b\n"
    sources.clear()


def test_size_0_keeps_nothing():
    sources = SourceCache(0)
    sources.add("<none>", "x")
    assert "<none>" not in sources
    assert "<none>" not in linecache.cache
