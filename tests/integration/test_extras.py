"""Without its extra, each way to durable work says which one to install."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no extra is for this Python")
@pytest.mark.parametrize(
    ("module", "extra"),
    [("durable_client", "postgres"), ("durable_worker", "postgres"), ("resonate_init", "durable")],
)
def test_it_says_which_extra_to_install(module, extra, tmp_path):
    for name in ("resonate", "resonate_pg", "psycopg"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no', name={name!r})")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", f"import stateroom.integration.{module}"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"pip install 'stateroom[{extra}]'" in done.stderr.splitlines()[-1]
