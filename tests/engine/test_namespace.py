import builtins

import pytest

from stateroom.engine.namespace import ENGINE_INTERNALS, NamespaceManager


def test_N1_the_namespace_is_one_dict_for_life(awaiting):
    before = id(awaiting.namespace)
    assert awaiting.run("await give(1)\nlocals() is globals()") is True
    for number in range(50):
        awaiting.run(("x = 1", "x", "await give(1)", "def f(): pass", "class C: pass")[number % 5])
    assert id(awaiting.manager.namespace) == before
    given = {"x": 1}
    assert NamespaceManager(given).namespace is given


DESTROYERS = [
    "del __builtins__",
    "globals().clear()",
    "__builtins__ = {}",
    "__builtins__ = 5",
    "del __name__",
    "del In, Out",
    "print = _ = asyncio = __name__ = None",
    "Out = In = 5",
]


@pytest.mark.parametrize("source", DESTROYERS)
def test_N6_the_next_cell_runs_whatever_a_cell_destroys(cells, source):
    cells.run("x = 1")
    cells.run(source)
    assert cells.run("import math\nmath.floor(len([1]) + 0.5)") == 1
    assert cells.run("str(4)") == "4"
    assert cells.namespace["__builtins__"] is builtins


def test_N6_what_the_user_rebinds_on_purpose_stays(cells):
    cells.run("__name__ = 'mine'")
    assert cells.run("__name__") == "mine"


def test_restricted_builtins_of_an_embedder_stay():
    restricted = {"len": len}
    manager = NamespaceManager({"__builtins__": restricted})
    manager.namespace["__builtins__"] = builtins
    manager.prepare()
    assert manager.namespace["__builtins__"] is restricted


def test_results_move_down_the_underscores(cells):
    for source in ("1", "2", "None", "3"):
        cells.run(source)
    assert [cells.namespace[name] for name in ("_", "__", "___")] == [3, 2, 1]
    assert cells.namespace["Out"] == {1: 1, 2: 2, 4: 3}
    assert cells.namespace["In"] == ["", "1", "2", "None", "3"]
    assert cells.namespace["_i"] == "3"
    assert cells.namespace["_iii"] == "2"


def test_an_underscore_of_the_users_own_stays_until_it_is_deleted(cells):
    cells.run("1")
    cells.run("_ = len")
    cells.run("2")
    assert cells.namespace["_"] is len
    cells.run("del _")
    cells.run("3")
    assert [cells.namespace[name] for name in ("_", "__")] == [3, 2]


def test_history_is_bounded_and_numbers_stay(cells):
    manager = NamespaceManager(history_size=2)
    for number in range(1, 5):
        assert manager.record_input(f"cell {number}") == number
        manager.record_expression_result(number)
    assert manager.namespace["In"] == ["", "", "", "cell 3", "cell 4"]
    assert manager.namespace["Out"] == {3: 3, 4: 4}


def test_history_size_0_keeps_none():
    manager = NamespaceManager(history_size=0)
    manager.record_input("x")
    manager.record_expression_result(5)
    assert manager.namespace["Out"] == {}
    assert manager.namespace["In"] == ["", ""]
    assert manager.namespace["_"] == 5
    with pytest.raises(ValueError, match="history_size is -1"):
        NamespaceManager(history_size=-1)


def test_out_does_not_hold_itself(cells):
    cells.run("1")
    cells.run("Out")
    assert cells.namespace["Out"] == {1: 1}


@pytest.mark.parametrize(
    ("context", "strategy", "expected"),
    [
        ("user", "overwrite", {"x": 2, "y": 2}),
        ("user", "preserve", {"y": 2}),
        ("engine", "overwrite", {"x": 2, "y": 2, "_": 2}),
        ("engine", "preserve", {"y": 2, "_": 2}),
    ],
)
def test_update_namespace(context, strategy, expected):
    manager = NamespaceManager({"x": 1})
    changed = manager.update_namespace({"x": 2, "y": 2, "_": 2}, context, strategy)
    assert changed == expected
    assert manager.namespace["x"] == expected.get("x", 1)
    assert ("_" in manager.namespace) is (context == "engine")


@pytest.mark.parametrize("words", [("nobody", "overwrite"), ("user", "replace")])
def test_an_unknown_word_changes_nothing(words):
    manager = NamespaceManager()
    with pytest.raises(ValueError, match=r"give one of '\w+'"):
        manager.update_namespace({"x": 1}, *words)
    assert manager.user_names() == []


def test_locals_are_merged_first_then_what_changed_in_the_globals():
    manager = NamespaceManager({"kept": 1, "both": 1})
    before = manager.snapshot()
    manager.namespace["both"] = "global"
    manager.namespace["new"] = "global"
    merged = manager.merge_locals_then_globals({"both": "local", "mine": "local", "_": 0}, before)
    assert merged == {"both": "global", "mine": "local", "new": "global"}
    assert {name: manager.namespace[name] for name in manager.user_names()} == {"kept": 1, **merged}


def test_snapshot_names_and_repr():
    manager = NamespaceManager({"b": 1})
    copy = manager.snapshot()
    manager.namespace["a"] = 2
    assert "a" not in copy
    assert manager.user_names() == ["b", "a"]
    assert {"In", "Out", "_", "__builtins__"} <= ENGINE_INTERNALS
    assert repr(manager) == "<NamespaceManager names=2 inputs=0 results=0/1000>"
