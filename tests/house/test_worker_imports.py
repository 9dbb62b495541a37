"""A worker loads what it needs to run cells, and nothing of the side that started it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import stateroom

FOREIGN = ("stateroom.session", "stateroom.frontends", "stateroom.integration", "stateroom.testing")
HEAVY = {
    "cloudpickle",
    "dataclasses",
    "email",
    "http",
    "psutil",
    "structlog",
    "unittest",
    "urllib.request",
    "xml",
}


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """Names of all modules in a worker that runs its first cell."""
    with stateroom.open_session() as session:
        return set(session.run("import sys\nsorted(sys.modules)", check=True).value)


@pytest.fixture(scope="module")
def loaded_anyway() -> set[str]:
    """Names of all modules that Python, asyncio and msgspec load by themselves."""
    code = "import sys, asyncio, msgspec; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_worker_loads_no_session_code(loaded):
    assert "stateroom.worker" in loaded
    assert [name for name in sorted(loaded) if name.startswith(FOREIGN)] == []


def test_a_worker_loads_nothing_heavy(loaded, loaded_anyway):
    assert sorted((loaded - loaded_anyway) & HEAVY) == []


def test_a_worker_needs_no_package_but_msgspec(loaded, loaded_anyway):
    extra = {name.partition(".")[0] for name in loaded - loaded_anyway}
    assert extra - set(sys.stdlib_module_names) <= {"stateroom", "__main__", "__mp_main__"}
