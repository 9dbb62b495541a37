"""From keywords to settings: one name space for those of a session and of its engine."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from ..config import EngineConfig, SessionConfig, settings_of
from ..errors import ConfigError

__all__ = ["load_config"]


def load_config(config: SessionConfig | None, settings: dict[str, Any]) -> SessionConfig:
    """A whole config, or keywords, split between the two classes. Raises :class:`ConfigError`."""
    if config is not None:
        if not isinstance(config, SessionConfig):
            raise ConfigError(
                f"config={config!r}: give an object of SessionConfig, "
                "or settings by their names, as in name='work'"
            )
        if settings:
            raise ConfigError(f"{next(iter(settings))!r} was given besides a config: give one of both")
        return config
    names, engine_names = settings_of(SessionConfig).keys(), settings_of(EngineConfig).keys()
    for name in settings.keys() - names - engine_names:
        near = get_close_matches(name, names | engine_names, 1)
        raise ConfigError(f"there is no setting {name!r}" + (f"; is {near[0]!r} meant?" if near else ""))
    own = {name: value for name, value in settings.items() if name in names}
    engine = {name: value for name, value in settings.items() if name not in names}
    own.setdefault("engine", EngineConfig.load(**engine))
    loaded: SessionConfig = SessionConfig.load(**own)
    return loaded
