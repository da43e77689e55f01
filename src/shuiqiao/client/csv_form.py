"""A list as CSV, as the API answers it and the command line prints it.

A cell that a spreadsheet would take for a formula begins with an apostrophe, as the trade does it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, line_end: str = "\r\n") -> str:
    """Return a head and a line for each row; what is neither text nor a number is told as JSON.

    ::

        as_csv(["id", "reason"], [{"id": 1, "reason": "=1+1"}])  # id,reason / 1,'=1+1
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_FORMULA) else text
