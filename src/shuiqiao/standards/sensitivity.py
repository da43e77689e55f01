"""What of a record may leave an institution by its level of sensitivity (JR/T 0197-2020) [STD-70].

Every field has a level. What an official shows or exports of records is judged by the highest level among the fields
that it shows, or is found by: up to OPEN_LEVEL the permission to read records is enough; above, a reason from a closed
list is asked for, which stands in the journal. What leaves under a consent is judged by that; statistics and the
published log hold no field of a record. ::

    require_reason(catalogue.get("registration"), ["legal_rep_id"], reason=ExportReason.DISPUTE)
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import Denied

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shuiqiao.standards.model import RecordType

OPEN_LEVEL: Final = 3
"""Highest level that is shown without a reason."""

HIDDEN_VALUE: Final = "***"
"""Stands where a value above OPEN_LEVEL was kept out of a report."""


class ExportReason(StrEnum):
    """Why somebody needs to see a field above OPEN_LEVEL."""

    TAXPAYER_REQUEST = "taxpayer_request"
    DISPUTE = "dispute"
    LEGAL_ORDER = "legal_order"
    AUDIT = "audit"


def guarded_fields(record_type: RecordType) -> frozenset[str]:
    """Return the fields of a type above OPEN_LEVEL."""
    return frozenset(field.name for field in record_type.fields if field.level > OPEN_LEVEL)


def require_reason(record_type: RecordType, names: Iterable[str], *, reason: ExportReason | str | None) -> None:
    """Return if fields of a type may be shown; raises Denied ``standards.reason_needed``."""
    guarded = sorted(guarded_fields(record_type) & set(names))
    if guarded and reason is None:
        named = ", ".join(f"{name} (level {record_type.field(name).level})" for name in guarded)
        raise Denied(
            "standards.reason_needed",
            f"{record_type.standard_id} would show {named}; above level {OPEN_LEVEL} a reason is needed: "
            f"{', '.join(ExportReason)}",
        )
