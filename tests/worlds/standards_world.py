"""What a disclosure group is, written plainly: tests compare the fast ways with it."""

from __future__ import annotations

from datetime import date
from typing import Any

from shuiqiao.standards.model import RecordType


def group_as_dict(record_type: RecordType, group_id: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return the mapping whose canonical JSON is the group of one row. row: canonical values by name, dates as date."""
    fields = {name: row[name] for name in record_type.group(group_id).fields}
    iso = {name: value.isoformat() if isinstance(value, date) else value for name, value in fields.items()}
    return {"group": group_id, "type": record_type.standard_id, **iso}
