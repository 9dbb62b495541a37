"""The soak itself, for a short while: `make soak` is the long one, tools/soak/soak.py tells what it does."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "tools" / "soak" / "soak.py"


def soak(seconds, sessions):
    seed = random.randrange(1 << 30)
    options = [f"--minutes={seconds / 60}", f"--sessions={sessions}", f"--seed={seed}"]
    done = subprocess.run([sys.executable, str(SOAK), *options], capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, f"seed {seed}:\n{done.stdout}\n{done.stderr}"


@pytest.mark.timeout(240)
def test_eight_sessions_for_twenty_seconds():
    soak(20, 8)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_twenty_sessions_for_a_minute():
    soak(60, 20)
