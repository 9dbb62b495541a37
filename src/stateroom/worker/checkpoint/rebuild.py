"""What the pickles of a checkpoint call when they are loaded.

Pickles name these functions by module and name: both are part of the checkpoint format.
"""

from __future__ import annotations

import marshal
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

__all__ = ["load_code", "make_cell", "make_function", "make_view", "set_cell", "set_function_state"]


def make_function(
    code: CodeType, home: dict[str, Any] | ModuleType, closure: tuple[CellType, ...] | None
) -> FunctionType:
    """A function whose globals are ``home``, a dict or the dict of a module; its state comes later."""
    namespace = vars(home) if isinstance(home, ModuleType) else home
    return FunctionType(code, namespace, code.co_name, None, closure)


def set_function_state(function: FunctionType, state: tuple[Any, ...]) -> None:
    """Fill the cells that were empty when ``function`` was made, and set its attributes."""
    cells, slots, attributes = state
    for index, value in cells.items():
        set_cell((function.__closure__ or ())[index], value)
    for name, value in slots.items():
        setattr(function, name, value)
    function.__dict__.update(attributes)


def load_code(marshalled: bytes) -> CodeType:
    """A code object; only the Python version that wrote it can run it."""
    code = marshal.loads(marshalled)  # noqa: S302 - the digest was checked, and pickles run code anyway
    assert isinstance(code, CodeType)
    return code


def make_cell() -> CellType:
    """An empty cell; the functions that close over it share it."""
    return CellType()


def set_cell(cell: CellType, value: Any) -> None:
    """Set what a cell holds."""
    cell.cell_contents = value


def make_view(buffer: Any, format: str, shape: tuple[int, ...]) -> memoryview:  # noqa: A002 - its name
    """A memoryview of contiguous data."""
    return memoryview(buffer).cast("B").cast(format, shape) if shape else memoryview(buffer)
