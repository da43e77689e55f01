"""What ``shuiqiao audit --obligations`` prints: each rule that binds this institution, its control, live evidence.

The rules stand in ``obligations.toml``; what looks at a home is in ``checks``. A rule without a check has no control in
this release, and is unmet: silence would read as a promise.

LIMIT: it tells what this home shows. Whether people keep to what software cannot see, no check of a home can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_toml, typed
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.members.model import Role
from shuiqiao.node.obligations.checks import CHECKS, Evidence, Facts

_Text = Annotated[str, Meta(min_length=1, max_length=300)]


class Standing(StrEnum):
    """How a rule stands at a home, the worst first."""

    UNMET = "unmet"
    UNSEEN = "unseen"
    """What would show it cannot be read: the passphrase is not at hand, a database is away."""
    MET = "met"


class Obligation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule. asks: what it wants. control: what does it here. check: of ``CHECKS``; empty where nothing does it."""

    id: Annotated[str, Meta(pattern=r"^[a-z_]{1,40}\Z")]
    rule: _Text
    asks: _Text
    asks_zh: _Text
    control: _Text
    control_zh: _Text
    check: str = ""
    roles: list[Role] = msgspec.field(default_factory=lambda: [*Role])


class _ObligationsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    obligation: list[Obligation]


@cache
def obligations() -> tuple[Obligation, ...]:
    """Return every rule, in the order of ``obligations.toml``."""
    text = files("shuiqiao.node.obligations").joinpath("obligations.toml").read_text(encoding="utf-8")
    return tuple(typed(decode_toml(text), _ObligationsFile).obligation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedObligation:
    """A rule as it stands at a home."""

    obligation: Obligation
    standing: Standing
    evidence: Evidence

    def as_json(self) -> dict[str, Any]:
        """Return one object of ``obligations`` in the JSON contract of ``shuiqiao audit --obligations``."""
        rule = {name: getattr(self.obligation, name) for name in _SHOWN}
        return {
            **rule,
            "standing": str(self.standing),
            "evidence": self.evidence.evidence,
            "evidence_zh": self.evidence.evidence_zh,
        }


_SHOWN = ("id", "rule", "asks", "asks_zh", "control", "control_zh")
_NO_CONTROL = Evidence(is_met=False, evidence="no control in this release", evidence_zh="本版本无此控制")


def review_obligations(facts: Facts) -> Sequence[ReviewedObligation]:
    """Return every rule that binds an institution, unmet ones first; nothing is written.

    E.g. ``[each.obligation.id for each in review_obligations(facts) if each.standing is Standing.UNMET]``.
    """
    bound = [each for each in obligations() if facts.copy.settings.role in each.roles]
    order = [*Standing]
    return sorted((_reviewed(each, facts) for each in bound), key=lambda each: order.index(each.standing))


def _reviewed(obligation: Obligation, facts: Facts) -> ReviewedObligation:
    if not obligation.check:
        return ReviewedObligation(obligation=obligation, standing=Standing.UNMET, evidence=_NO_CONTROL)
    try:
        found = CHECKS[obligation.check](facts)
    except ShuiqiaoError as error:
        unseen = Evidence(is_met=False, evidence=str(error), evidence_zh="证据无法读取")
        return ReviewedObligation(obligation=obligation, standing=Standing.UNSEEN, evidence=unseen)
    standing = Standing.MET if found.is_met else Standing.UNMET
    return ReviewedObligation(obligation=obligation, standing=standing, evidence=found)
