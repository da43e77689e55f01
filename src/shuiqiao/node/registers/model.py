"""The types of the registers, and how long each kind of entry may wait.

An *assessment* 安全评估 is made before data are shared with a member, and is good until a day (金规〔2024〕24号).

An *incident* 安全事件 is reported within a time by its severity (网络安全法, 国家网络安全事件报告管理办法).

A *complaint* 投诉 about the use of data is answered within 15 days (个人信息保护法 art. 50); that a record is wrong is
a dispute, which ``exchange.disputes`` has.

LIMIT: the hours are our reading of summaries, and days are calendar days.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_WORDS: Final = 2_000
"""Characters of what an entry says, or of what became of it."""

COMPLAINT_MS: Final = 15 * MS_PER_DAY
MAX_ASSESSMENT_MS: Final = 3 * 366 * MS_PER_DAY
"""For how long an assessment may be good. LIMIT: our choice."""


class RegisterKind(StrEnum):
    """What an entry is about."""

    ASSESSMENT = "assessment"
    INCIDENT = "incident"
    COMPLAINT = "complaint"


class Severity(StrEnum):
    """How grave an incident is."""

    GENERAL = "general"
    SERIOUS = "serious"
    MAJOR = "major"


class Finding(StrEnum):
    """What an assessment found."""

    ACCEPTABLE = "acceptable"
    UNACCEPTABLE = "unacceptable"


REPORT_WITHIN_MS: Final[Mapping[Severity, int]] = {
    Severity.GENERAL: 24 * MS_PER_HOUR,
    Severity.SERIOUS: 4 * MS_PER_HOUR,
    Severity.MAJOR: MS_PER_HOUR,
}
"""Within which time of its discovery an incident is to be reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterEntry:
    """One entry. member: with whom data are shared, empty but for an assessment. grade: severity, or finding.

    due_ms: until when an assessment is good, an incident to be reported, a complaint to be answered. words: scope, what
    happened, what is complained of. outcome: what became of it, None while it is open.
    """

    seq: int
    id: str
    kind: RegisterKind
    member: str
    grade: str
    opened_ms: int
    due_ms: int
    closed_ms: int | None
    words: str
    outcome: str | None

    def is_overdue(self, now_ms: int) -> bool:
        """Tell whether an incident or a complaint is open beyond its time."""
        return self.kind is not RegisterKind.ASSESSMENT and self.closed_ms is None and self.due_ms < now_ms

    def permits(self, member: str, *, now_ms: int) -> bool:
        """Tell whether this is an assessment by which data may be shared with a member now."""
        is_of = self.kind is RegisterKind.ASSESSMENT and self.member == member and self.closed_ms is None
        return is_of and self.grade == Finding.ACCEPTABLE and now_ms <= self.due_ms
