"""Which versions of which packages a checkpoint depends on."""

from __future__ import annotations

import sys
from collections.abc import Iterable

__all__ = ["package_versions"]

_IGNORED = frozenset({"", "__main__", "__mp_main__", "stateroom"})


def package_versions(modules: Iterable[str]) -> dict[str, str]:
    """The versions of the packages among ``modules``; those of the standard library have none."""
    names = {name.partition(".")[0] for name in modules} - _IGNORED - sys.stdlib_module_names
    versions = {name: _version_of(name) for name in sorted(names)}
    return {name: version for name, version in versions.items() if version}


def _version_of(name: str) -> str:
    version = getattr(sys.modules.get(name), "__version__", None)
    if isinstance(version, str):
        return version
    from importlib import metadata

    try:
        return metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        return ""
