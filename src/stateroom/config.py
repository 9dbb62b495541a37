"""All settings, frozen, with their units in their names.

A value comes from, in this order: the keyword given, the environment variable
``STATEROOM_<NAME>`` (the field's name in capitals, read when the object is made), the default.
Sets and tuples are given in the environment as comma-separated words, booleans as 0/1.
"""

from __future__ import annotations

import functools
import os
from typing import Any, ClassVar

import msgspec

from .errors import ConfigError

__all__ = ["EngineConfig", "PoolConfig", "SessionConfig"]


@functools.cache
def settings_of(cls: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """The settings of a class, by name; remembered, since msgspec takes a millisecond to work them out."""
    return {field.name: field for field in msgspec.structs.fields(cls)}


class _Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen struct whose defaults can be overridden by the environment."""

    env_prefix: ClassVar[str] = "STATEROOM_"
    not_from_env: ClassVar[frozenset[str]] = frozenset({"env", "engine"})
    at_least_1: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value, least = getattr(self, name), int(name in self.at_least_1)
            if isinstance(value, int | float) and not value >= least:  # nor is it a number
                raise ConfigError(f"{name}={value}: give {least} or more")

    @classmethod
    def load(cls, **given: Any) -> Any:
        """Build from keywords, then the environment, then the defaults.

        Raises :class:`ConfigError` with the variable or field that cannot be read.
        """
        values: dict[str, Any] = {}
        fields = settings_of(cls)
        for field in fields.values():
            variable = cls.env_prefix + field.name.upper()
            if field.name in given or variable not in os.environ or field.name in cls.not_from_env:
                continue
            text: Any = os.environ[variable]
            if "[" in str(field.type):  # tuple[str, ...]
                text = [word.strip() for word in text.split(",") if word.strip()]
            try:
                values[field.name] = msgspec.convert(text, field.type, strict=False)
            except msgspec.ValidationError as error:
                raise ConfigError(f"{variable}={os.environ[variable]!r}: {error}") from None
        for name in given.keys() & fields.keys():
            given[name] = _checked(name, given[name], fields[name].type)
        try:
            return cls(**values, **given)
        except TypeError as error:
            raise ConfigError(f"{cls.__name__}: {error}") from None


def _checked(name: str, value: Any, kind: Any) -> Any:
    """The value, if it is of the field's type; a dict stands for the settings that it names."""
    if isinstance(kind, type) and issubclass(kind, _Settings):
        if isinstance(value, dict):
            return kind.load(**value)
        if isinstance(value, kind):
            return value
        raise ConfigError(f"{name}={value!r}: give an object of {kind.__name__}")
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}={value!r}: {error}") from None
    return value


class EngineConfig(_Settings, frozen=True, kw_only=True):
    """How code is compiled and run; travels to the worker when it starts."""

    tla_timeout_s: float | None = None
    """How long a cell that awaits may take; then it ends with TimeoutError. None for no limit."""

    code_cache_size: int = 256
    """Compiled cells kept, least recently used out first; 0 turns the cache off."""
    ast_cache_size: int = 64
    """Transformed trees of the fallback wrapper kept; 0 turns the cache off."""
    source_cache_size: int = 4096
    """Cells whose source tracebacks and ``inspect.getsource`` can show."""
    history_size: int = 1000
    """Results kept in ``Out`` and sources in ``In``; 0 keeps none."""

    enable_def_await_rewrite: bool = False
    """Fallback wrapper: turn a ``def`` that contains ``await`` into ``async def``."""
    enable_async_lambda_helper: bool = False
    """Fallback wrapper: turn a zero-argument lambda that contains ``await`` into an async function."""
    enable_symtable_hoisting: bool = False
    """Fallback wrapper: bind safe, unconditional top-level imports and functions first."""

    enable_blocking_detection: bool = True
    """Look for blocking calls before a cell runs, so that the loop moves at once."""
    enable_overshadow_guard: bool = True
    """A name that the user bound to something else (``requests = object()``) does not count."""
    require_import_for_module_calls: bool = True
    """Only names that really are, or are about to be, modules count as modules."""
    warn_on_blocking: bool = False
    """Tell which call made a cell blocking: a warning of the session, or of the executor's log."""
    blocking_modules: tuple[str, ...] = ()
    """Modules all of whose calls block, besides the built-in list."""
    blocking_methods: tuple[str, ...] = ()
    """Further blocking calls, as ``module.function`` or ``module.Class.method``."""

    takeover_after_s: float = 0.004
    """How long a synchronous cell may hold the loop still before the companion thread runs it."""
    loop_lag_warning_s: float = 0.1
    """A loop that stood still for longer is counted and its line named."""

    max_repr_chars: int = 1_000_000
    """Longer texts of a value are cut, with a note."""
    repr_timeout_s: float = 2.0
    """A value whose ``repr`` takes longer is shown without it."""
    max_value_bytes: int = 1 << 30
    """Larger plain values are not sent; the ``repr`` is."""
    max_mime_bytes: int = 16 << 20
    """A representation of a value (its HTML, its PNG, …) that is larger is left out, with a note."""
    max_bundle_bytes: int = 64 << 20
    """All representations of one value together; what would go over it is left out, with a note."""
    max_output_bytes: int | None = 100 << 20
    """What one cell may print; more is left out, and said so. None for no limit."""
    max_output_lines: int | None = None
    """How many lines one cell may print; more are left out, and said so. None for no limit."""
    max_display_bytes: int | None = 100 << 20
    """What one cell may show by ``display`` without clearing or updating it. None for no limit."""
    max_error_chars: int = 100_000
    """Longer traceback texts are cut in the middle."""
    is_terminal: bool = False
    """Who shows the output understands what a terminal does: ``sys.stdout.isatty()`` is true in cells."""


class SessionConfig(_Settings, frozen=True, kw_only=True):
    """How a session starts, watches and ends its worker."""

    at_least_1: ClassVar[frozenset[str]] = frozenset(
        {"checkpoint_every_cells", "max_routing_concurrency", "store_keep"}
    )

    python: str | None = None
    """The interpreter to run; None for the one that runs the session. It must have stateroom installed."""
    python_version: str | None = None
    """The ``major.minor`` that the worker must have; None for the session's own, "any" for no check."""
    cwd: str | None = None
    """The worker's working folder; None for the session's own."""
    env: dict[str, str] | None = None
    """The worker's whole environment; None for the session's own."""
    engine: EngineConfig = EngineConfig()
    """How the worker compiles and runs code."""

    start_timeout_s: float = 30.0
    """From spawn to the worker's Ready."""
    close_grace_s: float = 2.0
    """From the Shutdown message, or end of the transport, to SIGKILL."""
    cancel_resend_s: float = 0.01
    """First pause before the cancel signal is sent again; grows to half a second."""
    cancel_grace_s: float = 3.0
    """How long a cell may take to clean up after the first request to end."""
    insist_grace_s: float = 1.0
    """How long the second request may take, which lets no code of the cell go on."""
    heartbeat_interval_s: float = 2.0
    """Between the worker's signs of life; 0 for none."""
    input_timeout_s: float | None = None
    """Time limit for the answer to ``input()``; None waits for ever."""
    interceptor_budget_s: float = 0.01
    """An interceptor that takes longer is reported."""
    max_routing_concurrency: int = 100
    """Tasks of asynchronous interceptors under way before the session stops reading."""
    store: str | None = None
    """A directory for checkpoints that outlive this process; None for a temporary one."""
    name: str = "session"
    """Under which the session's state is kept in ``store``."""
    store_keep: int = 3
    """Checkpoints kept under one name."""
    checkpoint_every_cells: int | None = None
    """A checkpoint after so many cells; None for none."""
    checkpoint_every_s: float | None = None
    """A checkpoint after a cell, if the last one is older; None for none."""
    checkpoint_timeout_s: float = 60.0
    """A variable that takes longer to save is left out."""
    restore_timeout_s: float = 60.0
    """The last checkpoint comes back to a new worker within this time, or not at all."""
    allow_other_python: bool = False
    """Restore what another Python version saved: data, but no functions and classes of cells."""
    auto_restart: bool = False
    """Replace a worker that died, and restore the last checkpoint, without being told."""
    max_restarts_in_a_row: int = 3
    """Workers replaced without a single cell that ended, before the session gives up."""
    max_frame_bytes: int = (1 << 31) - 1
    """Largest frame that either end sends or accepts."""
    max_outbox_bytes: int = 1 << 20
    """Output that the worker holds for a slow client before ``print`` waits."""
    stderr_tail_bytes: int = 16_384
    """How much of the worker's own stderr is kept for error messages."""

    def __post_init__(self) -> None:
        if not self.restore_timeout_s > 0:
            raise ConfigError(f"restore_timeout_s={self.restore_timeout_s}: give more than 0")
        super().__post_init__()

    @property
    def has_automatic_checkpoints(self) -> bool:
        """Whether a checkpoint may be due after a cell."""
        return self.checkpoint_every_cells is not None or self.checkpoint_every_s is not None


class PoolConfig(_Settings, frozen=True, kw_only=True):
    """How many sessions a pool has, and for how long. In the environment: ``STATEROOM_POOL_<NAME>``."""

    env_prefix: ClassVar[str] = "STATEROOM_POOL_"

    min_size: int | None = None
    """Sessions kept ready to be handed out, as far as ``max_size`` allows; None for ``max_size``."""
    max_size: int = 4
    """Most sessions at once: ready, in use, starting and closing."""
    preload: tuple[str, ...] = ()
    """Modules that the template imports once, so that sessions find them loaded."""
    acquire_timeout_s: float | None = 30.0
    """How long to wait for a session; None for ever."""
    idle_timeout_s: float | None = 60.0
    """Sessions that nobody has used for this long are closed, down to ``min_size``; None for never."""
    max_uses: int = 1
    """How often one session is handed out. More than once only ever to the tenant that had it before."""
    max_memory_bytes: int | None = None
    """A session whose worker holds more is not handed out again."""
    max_age_s: float | None = None
    """A session older than this is not handed out; idle ones are replaced."""

    def __post_init__(self) -> None:
        if self.max_size < 1 or not 0 <= self.ready_size <= self.max_size:
            raise ConfigError(
                f"min_size={self.min_size}, max_size={self.max_size}: give 0 <= min_size <= max_size, "
                "and a max_size of at least 1"
            )
        if self.max_uses < 1:
            raise ConfigError(f"max_uses={self.max_uses}: give at least 1")
        for name in ("acquire_timeout_s", "idle_timeout_s", "max_memory_bytes", "max_age_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}={value}: give more than 0, or None for no limit")

    @property
    def ready_size(self) -> int:
        """``min_size`` with its default worked out."""
        return self.max_size if self.min_size is None else self.min_size
