"""The result of an execution as JSON-safe data, and back: the shapes of ``ExecutionResult``."""

from __future__ import annotations

from typing import Any

import msgspec

from ..protocol.messages import DisplayMessage, ErrorInfo
from ..session.execution import ExecutionResult
from .json_safe import from_json_safe, to_json_safe

__all__ = ["outcome_to_data", "outcome_to_result"]

_PLAIN_FIELDS = (
    "execution_id value has_value mime metadata stdout stderr mode duration_s cancelled notes repr_text"
).split()


def outcome_to_data(result: ExecutionResult) -> dict[str, Any]:
    """All fields of a result, and ``ok``, as data that any JSON encoder takes."""
    data = {name: to_json_safe(getattr(result, name)) for name in _PLAIN_FIELDS}
    data["ok"] = result.ok
    data["error"] = None if result.error is None else to_json_safe(msgspec.to_builtins(result.error))
    data["displays"] = [to_json_safe(_display_to_data(display)) for display in result.displays]
    return data


def outcome_to_result(data: dict[str, Any]) -> ExecutionResult:
    """The result that ``data`` was made of. Raises ValueError if it was not made of one."""
    try:
        result = ExecutionResult(**{name: from_json_safe(data[name]) for name in _PLAIN_FIELDS})
        if data["error"] is not None:
            result.error = msgspec.convert(from_json_safe(data["error"]), ErrorInfo)
        result.displays = [DisplayMessage(**from_json_safe(display)) for display in data["displays"]]
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise ValueError(f"this is not the outcome of an execution: {error!r}") from error
    return result


def _display_to_data(display: DisplayMessage) -> dict[str, Any]:
    return {name: getattr(display, name) for name in DisplayMessage.__struct_fields__}
