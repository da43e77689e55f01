"""What a disclosure group is, written plainly: tests compare the fast ways with it. And records as a file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from shuiqiao.standards.model import RecordType


def group_as_dict(record_type: RecordType, group_id: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return the mapping whose canonical JSON is the group of one row. row: canonical values by name, dates as date."""
    fields = {name: row[name] for name in record_type.group(group_id).fields}
    iso = {name: value.isoformat() if isinstance(value, date) else value for name, value in fields.items()}
    return {"group": group_id, "type": record_type.standard_id, **iso}


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Rows as a CSV file under canonical names."""
    rows = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
