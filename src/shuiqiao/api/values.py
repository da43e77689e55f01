"""Values of the ledger as JSON has them: bytes in hex, numbers as they are."""

from __future__ import annotations

from typing import Any

import msgspec


def json_value(value: Any) -> Any:
    """Return a body or a state value with its bytes in hex; structs become objects."""
    if isinstance(value, msgspec.Struct):
        return {name: json_value(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(name): json_value(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    return value if isinstance(value, int | float | bool | None) else str(value)
