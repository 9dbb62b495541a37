"""The API reference shows every public name, what these are made of, and a text for each field."""

from __future__ import annotations

import ast
import enum
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from api_page import DOCS, PAGE, PLACES, SHOWN, shown

import stateroom
import stateroom.testing
from stateroom import config, errors
from stateroom.engine.blocking import CallSites
from stateroom.session import launcher

PROTOCOL = re.findall(
    r"^::: ([\w.]+)$", PAGE.partition("\n## Protocol\n")[2].partition("\n## ")[0], re.MULTILINE
)
"""Messages that users seldom meet: their fields are shown, with no text of their own."""
SETTINGS = set(
    re.findall(r"^<!-- table: (\w+) -->$", (DOCS / "settings.md").read_text(encoding="utf-8"), re.MULTILINE)
)
ERRORS = {name for name in vars(errors) if name[0].isupper()}
"""They are shown by the page as one module."""
FOR_CHECKERS = {"CallSites": CallSites, "ScriptedWorker": stateroom.testing.ScriptedWorker}
"""Names that a module imports for type checkers only."""
OPAQUE = {"CallSites"}
"""Made and read by one part only."""
UNITS = re.compile(r"_(?:s|bytes|chars|lines|cells)$")


@pytest.mark.parametrize("name", [*stateroom.__all__, *launcher.__all__, *stateroom.testing.__all__])
def test_a_public_name_is_in_the_reference(name: str) -> None:
    assert name in SHOWN | SETTINGS | ERRORS


def test_the_errors_are_shown_as_a_whole() -> None:
    assert "::: stateroom.errors\n" in PAGE


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_what_a_page_imports_is_in_the_reference(page: Path) -> None:
    lines = re.findall(
        r"^\s*from stateroom[\w.]* import (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {name.strip() for line in lines for name in line.split(",")} <= SHOWN | SETTINGS | ERRORS


@pytest.mark.parametrize("place", PLACES)
def test_what_a_shown_name_is_made_of_is_in_the_reference(place: str) -> None:
    made_of = {each for hint in hints_of(shown(place)) for each in classes_in(hint)}
    assert {each.__name__ for each in made_of} <= SHOWN | SETTINGS | ERRORS | OPAQUE


@pytest.mark.parametrize("place", sorted(set(PLACES) - set(PROTOCOL)))
def test_a_field_of_a_shown_class_has_its_text(place: str) -> None:
    """Without one, the page leaves it out."""
    made = shown(place)
    if isinstance(made, type) and not getattr(made, "_is_protocol", False):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(made))).body
        assert isinstance(tree, ast.ClassDef)
        assert not [name for name, text in fields_of(tree) if not text]


@pytest.mark.parametrize("place", PLACES)
def test_a_number_has_its_unit_in_its_name_or_is_told_of(place: str) -> None:
    made = shown(place)
    for name, function in functions_of(made):
        text = f"{inspect.getdoc(made)} {inspect.getdoc(function)}"
        numbers = [
            each.name
            for each in inspect.signature(function).parameters.values()
            if is_number(each.annotation)
        ]
        untold = [each for each in numbers if not UNITS.search(each) and f"``{each}``" not in text]
        assert not untold or text.partition(" As :")[1], f"{place}.{name}"


def functions_of(made: Any) -> Iterator[tuple[str, Any]]:
    """Those that the page shows with it: itself, or its public methods and its constructor."""
    if isinstance(made, FunctionType):
        yield made.__name__, made
    elif isinstance(made, type) and not issubclass(made, enum.Enum):
        for name, value in vars(made).items():
            function = getattr(value, "__func__", value)
            if isinstance(function, FunctionType) and (name == "__init__" or is_public(made, name)):
                yield name, function


def is_public(made: type, name: str) -> bool:
    return name[0] != "_" and bool(getattr(vars(made)[name], "__doc__", None))


def is_number(annotation: object) -> bool:
    return re.fullmatch(r"(int|float)( \| (float|None|EllipsisType))*", str(annotation)) is not None


def fields_of(tree: ast.ClassDef) -> Iterator[tuple[str, bool]]:
    """The public fields in the body of a class, and whether a text follows."""
    for statement, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            if name[0] != "_" and not ast.unparse(statement.annotation).startswith("ClassVar"):
                yield name, isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)


def hints_of(made: Any) -> Iterator[object]:
    """The annotations that the page shows: of fields, parameters, results and properties."""
    if isinstance(made, type):
        yield from public_hints(made)
        for name, value in vars(made).items():
            if isinstance(value, property) and is_public(made, name):
                yield from public_hints(value.fget)
    for _, function in functions_of(made):
        yield from public_hints(function)


def public_hints(made: Any) -> Iterator[object]:
    hints = typing.get_type_hints(made, localns=FOR_CHECKERS)
    yield from (hint for name, hint in hints.items() if name[0] != "_")


def classes_in(hint: Any) -> Iterator[type]:
    """The classes of this package in an annotation, however deep."""
    for part in hint if isinstance(hint, list) else (typing.get_origin(hint), *typing.get_args(hint), hint):
        if part is not hint and part is not None:
            yield from classes_in(part)
        elif isinstance(part, type) and part.__module__.startswith("stateroom."):
            yield part


def test_the_settings_of_the_page_of_settings_are_public() -> None:
    assert set(config.__all__) <= SETTINGS
