"""Where figures were measured: the machine without its name, and the versions of what matters."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import psutil

DISTRIBUTIONS = ("stateroom", "msgspec", "cloudpickle", "numpy", "resonate-sdk", "ipykernel")


def cpu_model() -> str:
    """What the processor calls itself, if it can be read."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine() -> dict[str, str | int | float]:
    """Cores, model, memory, system, and how busy the machine was."""
    return {
        "cores": os.cpu_count() or 0,
        "cpu": cpu_model(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Python's and those of the installed distributions."""
    found = {"python": sys.version.split()[0]}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
