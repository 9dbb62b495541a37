"""What every test starts from: no settings from outside, no deadlines."""

from __future__ import annotations

import os

import hypothesis
import pytest

hypothesis.settings.register_profile("stateroom", deadline=None)
hypothesis.settings.load_profile("stateroom")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("STATEROOM_")]:
        monkeypatch.delenv(name)
