"""The tables of settings are those of the code."""

from __future__ import annotations

import dataclasses
import enum
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from api_page import PLACES, shown

from stateroom import config

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "settings.md").read_text(encoding="utf-8")
CONSTRUCTORS = [
    "stateroom.Session",
    "stateroom.SessionPool",
    "stateroom.AsyncExecutor",
    "stateroom.NamespaceManager",
    "stateroom.engine.cache.LRUCache",
    "stateroom.session.checkpoint_store.CheckpointStore",
    "stateroom.integration.resonate_init.initialize_resonate_local",
    "stateroom.integration.resonate_init.initialize_resonate_postgres",
    "stateroom.integration.durable_worker.DurableWorker",
    "stateroom.integration.durable_client.DurableClient",
    "stateroom.integration.durable_cells.DurableCells",
    "stateroom.integration.resonate_bridge.ResonateProtocolBridge",
    "stateroom.integration.sqlite_store.SqliteConnection",
    "stateroom.integration.sqlite.cell_store.SqliteCellStore",
    "stateroom.integration.directory_store.DirectoryCellStore",
    "stateroom.integration.postgres.cell_store.PostgresCellStore",
]
"""All that is built with parameters rather than settings."""
MADE_FOR_THE_USER = {"Checkpoint", "CompiledCell", "DurableRuntime", "ScriptedLauncher", "Verdict"}
"""They have a choice in their constructors, which is not the user's, or is told in the reference."""
UNSHOWN = {"settings", "clock"}
"""Those of :class:`SessionConfig`, which have a table; and what only tests replace."""


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


@pytest.mark.parametrize("settings", [config.SessionConfig, config.EngineConfig, config.PoolConfig])
def test_every_number_has_a_unit(settings: type[msgspec.Struct], tables: ModuleType) -> None:
    numbers = [each for each in msgspec.structs.fields(settings) if re.search(r"int|float", str(each.type))]
    assert numbers
    assert not [each.name for each in numbers if tables.unit_of(each.name, str(each.type)) == "-"]


@pytest.mark.parametrize("place", PLACES)
def test_what_is_built_with_a_choice_has_a_table(place: str) -> None:
    made = shown(place)
    if has_a_choice(made) and made.__name__ not in MADE_FOR_THE_USER:
        assert made.__name__ in {each.rpartition(".")[2] for each in CONSTRUCTORS}


def has_a_choice(made: object) -> bool:
    """Whether it is a class, but none of plain data, whose constructor can do without something."""
    data = (msgspec.Struct, tuple, enum.Enum, BaseException)
    if not isinstance(made, type) or issubclass(made, data) or dataclasses.is_dataclass(made):
        return False
    return any(each.default is not each.empty for each in inspect.signature(made).parameters.values())


@pytest.mark.parametrize("place", CONSTRUCTORS)
def test_parameters_of_a_constructor_and_their_defaults(place: str) -> None:
    module, name = place.rsplit(".", 1)
    if module.startswith("stateroom.integration"):
        pytest.importorskip("resonate_pg" if "ostgres" in place or "durable_" in place else "resonate")
    made = getattr(importlib.import_module(module), name)
    parameters = inspect.signature(made).parameters.values()
    assert rows_of(name) == [
        (each.name, shown_default(each)) for each in parameters if each.name not in UNSHOWN
    ]


def rows_of(name: str) -> list[tuple[str, str]]:
    section = re.search(rf"^#+ `{name}`$(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None, f"no section `{name}`"
    return re.findall(r"^\| `(\w+)` \| (\S+) \|", section[1], re.MULTILINE)


def shown_default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return "required"
    return f"`{getattr(parameter.default, '__name__', repr(parameter.default))}`"


def test_a_variable_of_the_page_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATEROOM_POOL_MAX_USES", "7")
    monkeypatch.setenv("STATEROOM_BLOCKING_MODULES", "slowlib, other")
    assert config.PoolConfig.load().max_uses == 7
    assert config.EngineConfig.load().blocking_modules == ("slowlib", "other")
