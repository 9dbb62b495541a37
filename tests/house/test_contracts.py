"""The arrows of the architecture hold, and the contracts that say so would notice if they did not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LINT_IMPORTS = str(Path(sys.executable).with_name("lint-imports"))


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT_IMPORTS, "--no-cache", "--config", str(PROJECT / "pyproject.toml")],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_contracts_are_kept():
    done = lint(PROJECT / "src")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("engine", "import stateroom.session", "stateroom.engine is not allowed to import stateroom.session"),
        ("worker", "import stateroom.session", "stateroom.worker is not allowed to import stateroom.session"),
        ("session", "import stateroom.worker", "stateroom.session is not allowed to import stateroom.worker"),
        (
            "protocol",
            "import stateroom.engine",
            "stateroom.protocol is not allowed to import stateroom.engine",
        ),
        (
            "session",
            "import stateroom.testing",
            "stateroom.session is not allowed to import stateroom.testing",
        ),
        (
            "testing",
            "import stateroom.integration",
            "stateroom.testing is not allowed to import stateroom.integration",
        ),
        ("protocol", "import socket", "stateroom.protocol is not allowed to import socket"),
        ("session", "import resonate", "stateroom.session is not allowed to import resonate"),
        (
            "integration",
            "import stateroom.frontends",
            "stateroom.integration is not allowed to import stateroom.frontends",
        ),
        ("session", "import rich", "stateroom.session is not allowed to import rich"),
    ],
)
def test_a_broken_contract_is_noticed(tmp_path, module, line, broken):
    shutil.copytree(PROJECT / "src" / "stateroom", tmp_path / "stateroom")
    (tmp_path / "stateroom" / module / "wrong.py").write_text(line)
    done = lint(tmp_path)
    assert done.returncode == 1
    assert broken in done.stdout


def test_a_part_without_a_place_is_noticed(tmp_path):
    shutil.copytree(PROJECT / "src" / "stateroom", tmp_path / "stateroom")
    (tmp_path / "stateroom" / "cellar.py").touch()
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "cellar" in done.stdout
