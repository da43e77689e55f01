"""Whether a field of a body, a message or a document takes a value."""

from __future__ import annotations

from typing import Any

import msgspec


def is_held(value: object, field_type: Any) -> bool:
    try:
        msgspec.convert(value, field_type, strict=True, builtin_types=(bytes,))
    except msgspec.ValidationError:
        return False
    return True
