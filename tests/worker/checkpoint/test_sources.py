"""Restored functions show their own source, whatever the new worker's cells are called."""

from __future__ import annotations

import inspect
import traceback

import pytest

from stateroom.engine.sources import SourceCache, install


class Worker:
    """Runs numbered cells and keeps their sources, as a worker does."""

    def __init__(self, main):
        self.main, self.sources, self.count = main, SourceCache(), 0

    def run(self, source):
        self.count += 1
        self.sources.add(f"<cell {self.count}>", source)
        exec(compile(source, f"<cell {self.count}>", "exec"), self.main.namespace)

    def save(self):
        return self.main.save(sources=self.sources)

    def restore(self, blob):
        return self.main.restore(blob, sources=self.sources)


@pytest.fixture
def new_worker(new_main):
    made = []

    def make():
        made.append(Worker(new_main()))
        return made[-1]

    yield make
    for worker in made:
        worker.sources.clear()


FUNCTION = "def f():\n    def inner(): return 1 / 0  # here\n    return inner()\n"


def told(worker):
    with pytest.raises(ZeroDivisionError) as caught:
        worker.main.get("f()")
    return "".join(traceback.format_exception(caught.value))


def test_a_traceback_shows_the_saved_text(new_worker):
    first = new_worker()
    first.run("pass")
    first.run(FUNCTION)
    blob = first.save()
    first.sources.clear()
    second = new_worker()
    second.run("one = 1")
    second.run("not_this = [\n\n\n\n]")
    second.restore(blob)
    second.run("not_this_either = [\n\n\n\n]")
    assert "return 1 / 0  # here" in told(second)
    assert inspect.getsource(second.main.get("f")) == FUNCTION
    filename = second.main.get("f").__code__.co_filename
    assert filename.startswith("<cell 2, ")
    # and in the third life, under the same name
    blob = second.save()
    second.sources.clear()
    third = new_worker()
    third.restore(blob)
    assert third.main.get("f").__code__.co_filename == filename
    assert "return 1 / 0  # here" in told(third)


def test_cells_of_two_lives_with_one_number_are_kept_apart(new_worker):
    first = new_worker()
    first.run("def f(): return 1  # old")
    second = new_worker()
    second.restore(first.save())
    first.sources.clear()
    second.run("def g(): return 1  # new")
    third = new_worker()
    third.restore(second.save())
    assert "# old" in inspect.getsource(third.main.get("f"))
    assert "# new" in inspect.getsource(third.main.get("g"))


def test_a_class_without_methods_shows_its_source(new_worker):
    first = new_worker()
    first.run("class C:\n    x = 1  # here\n")
    blob = first.save()
    first.sources.clear()
    second = new_worker()
    second.restore(blob)
    uninstall = install(second.sources)
    try:
        assert "# here" in inspect.getsource(second.main.get("C"))
    finally:
        uninstall()


def test_only_sources_of_what_is_saved_go_along(new_worker):
    first = new_worker()
    first.run("x = 1")
    first.run(FUNCTION)
    second = new_worker()
    second.restore(first.save())
    assert len(second.sources) == 1
