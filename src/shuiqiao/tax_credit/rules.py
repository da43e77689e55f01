"""The rules of tax credit as data: ``rules.toml``, one row a rule with its source, under one version or several.

The table is [GRADE-1]. A version is chosen by the day on which a grade is determined [GRADE-2]. A row that is not
``confirmed`` has no source that says so; it is counted and marked, and nothing is advised on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Annotated

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_toml, typed
from shuiqiao.base.errors import InvalidInput

TENTHS = 10
"""Points are counted in tenths, so that partial repair stays exact."""

_FEN_A_YUAN = 100


class RuleKind(StrEnum):
    """What a rule says, in the order in which rules are shown."""

    START = "start"
    DEDUCTION = "deduction"
    WAIVER = "waiver"
    STEP = "step"
    """What a correction gives back."""
    BONUS = "bonus"
    DIRECT_D = "direct_d"
    KEPT = "kept"
    """For how many years a D stands."""
    CARRY = "carry"
    LIFT = "lift"
    """What ends a direct D."""
    WAIT = "wait"
    BAR = "bar"
    """What bars an A."""
    LETTER = "letter"


class Per(StrEnum):
    """How often a deduction counts."""

    TIME = "time"
    MONTH = "month"
    ONCE = "once"


class Repair(StrEnum):
    """How a correction gives points back: by steps, by steps for each share that was paid, or not at all."""

    STEPS = "steps"
    GRADUAL = "gradual"
    NONE = "none"


class Within(StrEnum):
    """By when a correction counts, where no number of days says it: counted from the year of the event."""

    YEAR = "year"
    NEXT_YEAR = "next_year"
    ANY = "any"


_Text = Annotated[str, Meta(min_length=1, max_length=160)]
_RuleId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{1,39}\Z")]
_VersionId = Annotated[str, Meta(pattern=r"^20[0-9]{2}-[0-9]{1,2}\Z")]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule.

    points: whole points that it sets, costs or gives at most. small_yuan: up to which amount a step gives back
    everything. months, years: a length that it names. lifts: the direct D that it ends. code: of the indicator.
    """

    id: _RuleId
    kind: RuleKind
    name: _Text
    name_zh: _Text
    versions: Annotated[list[_VersionId], Meta(min_length=1)]
    source: _Text
    confirmed: bool = True
    code: str = ""
    points: Annotated[int, Meta(ge=0, le=100)] = 0
    per: Per = Per.TIME
    repair: Repair = Repair.NONE
    small: bool = False
    days: int | None = None
    within: Within | None = None
    percent: Annotated[int, Meta(ge=0, le=100)] = 0
    small_yuan: int = 0
    months: int = 0
    years: int = 0
    lifts: str = ""

    @property
    def tenths(self) -> int:
        """Its points in tenths."""
        return self.points * TENTHS

    @property
    def small_fen(self) -> int:
        """``small_yuan`` in fen."""
        return self.small_yuan * _FEN_A_YUAN

    def last_day(self, since: date) -> date | None:
        """Return the last day on which a correction of what happened on a day still fits; None: it fits on any."""
        if self.days is not None:
            return since + timedelta(days=self.days)
        if self.within in (Within.YEAR, Within.NEXT_YEAR):
            return date(since.year + (self.within is Within.NEXT_YEAR), 12, 31)
        return None


class RulesVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rules that are in force together, from a day on until the next version."""

    id: _VersionId
    in_force_from: date
    name: _Text
    name_zh: _Text
    source: _Text


class _RulesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: list[RulesVersion]
    rule: list[Rule]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """The rules of one version, by id; ids of one kind stand in the order of the table."""

    version: RulesVersion
    rules: Mapping[str, Rule]

    def of(self, kind: RuleKind) -> Iterator[Rule]:
        """Iterate over the rules of a kind."""
        return (rule for rule in self.rules.values() if rule.kind is kind)

    def event_rule(self, name: str) -> Rule:
        """Return the deduction or direct D that an event names; raises InvalidInput ``tax_credit.rule_unknown``."""
        rule = self.rules.get(name)
        if rule is None or rule.kind not in (RuleKind.DEDUCTION, RuleKind.DIRECT_D):
            raise InvalidInput(
                "tax_credit.rule_unknown",
                f"{name[:40]!r} is no indicator and no direct D of the rules {self.version.id}",
            )
        return rule


@cache
def all_rules() -> tuple[tuple[RulesVersion, ...], tuple[Rule, ...]]:
    """Return every version, oldest first, and every row of the table."""
    text = files("shuiqiao.tax_credit").joinpath("rules.toml").read_text(encoding="utf-8")
    table = typed(decode_toml(text), _RulesFile, builtin_types=(date,))
    return tuple(table.version), tuple(table.rule)


@cache
def rule_set(version: str) -> RuleSet:
    """Return the rules of a version; raises InvalidInput ``tax_credit.version_unknown``."""
    versions, rules = all_rules()
    found = [each for each in versions if each.id == version]
    if not found:
        known = ", ".join(each.id for each in versions)
        raise InvalidInput("tax_credit.version_unknown", f"no rules {version[:20]!r}; there are {known}")
    return RuleSet(version=found[0], rules={rule.id: rule for rule in rules if version in rule.versions})


def rules_in_force(day: date) -> RuleSet:
    """Return the rules under which a grade is determined on a day; before October 2014 the oldest ones.

    Example: ``rules_in_force(date(2026, 4, 20)).version.id`` is ``"2025-12"``.
    """
    versions = sorted(all_rules()[0], key=lambda each: each.in_force_from)
    in_force = [each for each in versions if each.in_force_from <= day]
    return rule_set((in_force or versions)[-1 if in_force else 0].id)
