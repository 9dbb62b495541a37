"""The tables of settings are those of the code."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import stateroom
from stateroom import config

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "settings.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_tables", DOCS / "settings_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(tables: ModuleType) -> None:
    assert tables.page_with_tables(PAGE) == PAGE, "run: python docs/settings_tables.py"


@pytest.mark.parametrize("settings", [config.SessionConfig, config.EngineConfig, config.PoolConfig])
def test_every_setting_has_its_row(settings: type) -> None:
    section = PAGE.partition(f"<!-- table: {settings.__name__} -->")[2].partition("<!-- end")[0]
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", section, re.MULTILINE)
    assert [name for name, _ in rows] == list(settings.__struct_fields__)
    assert all(cell.strip() for _, cells in rows for cell in cells.split(" | "))


def test_parameters_of_the_executor_and_their_defaults() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", PAGE.partition("## `AsyncExecutor`")[2], re.MULTILINE)
    parameters = inspect.signature(stateroom.AsyncExecutor).parameters.values()
    assert rows == [
        (each.name, "required" if each.default is each.empty else f"`{each.default}`") for each in parameters
    ]


def test_a_variable_of_the_page_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATEROOM_POOL_MAX_USES", "7")
    monkeypatch.setenv("STATEROOM_BLOCKING_MODULES", "slowlib, other")
    assert config.PoolConfig.load().max_uses == 7
    assert config.EngineConfig.load().blocking_modules == ("slowlib", "other")
