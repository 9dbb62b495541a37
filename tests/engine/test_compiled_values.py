"""The compile-level part of the rows of semantics.md on values."""

import pytest


@pytest.mark.parametrize(
    "source", ["x = 1\nx + 1", "x = await give(1)\nx + await give(1)", "await give(2)", "2"]
)
def test_V1_the_value_is_that_of_the_last_expression(awaiting, source):
    assert awaiting.run(source) == 2
    assert awaiting.namespace["_"] == 2


def test_V1_the_last_expression_runs_once(cells):
    cells.run("l = []")
    assert cells.run("l.append(1)\nl.append(2) or len(l)") == 2
    assert cells.run("l") == [1, 2]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1;", None),
        ("1 ;", None),
        ("1;\n", None),
        ("1; # note", None),
        ("1 \\\n;", None),
        ("(1);", None),
        ("'é';", None),
        ("'''é\né''';", None),
        ("x = 'é'; x;", None),
        ("await give(1);", None),
        ('"a;"', "a;"),
        ("1 # ;", 1),
        ("1\n# ;", 1),
        ("'''\n;'''", "\n;"),
        ("f';{1}'", ";1"),
        ("1;2", 2),
        ("*[1,2], 3", (1, 2, 3)),
        ("if 1: 5", None),
        ("if 1: 5;", None),
        ("x = 1;", None),
    ],
)
def test_V2_only_a_trailing_semicolon_makes_a_cell_quiet(awaiting, source, value):
    assert awaiting.run(source) == value


@pytest.mark.parametrize("source", ["(x for x in [])", "give(1)", "It(1).__aiter__()"])
def test_V3_a_lazy_value_is_neither_awaited_nor_iterated(awaiting, source):
    value = awaiting.run(source)
    assert type(value).__name__ in ("generator", "coroutine", "async_generator")
    if hasattr(value, "close"):
        value.close()


def test_a_text_alone_is_value_and_docstring_both(cells):
    assert cells.run("'''About.'''") == "About."
    assert cells.namespace["__doc__"] == "About."
