"""An explanation of a grade in one JSON form: what led to it, what it rests on, what is left to correct.

Every door shows this form: a command as text or JSON, the API as a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from shuiqiao.tax_credit.assessment import after_repair, assess_grade, repair_advice
from shuiqiao.tax_credit.model import (
    GradeAssessment,
    GradeFacts,
    Line,
    LineKind,
    RepairAdvice,
    points_text,
)
from shuiqiao.tax_credit.rules import RuleSet, rules_in_force


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What the records of a taxpayer do not say: a fact that was assumed, or a record that may cost points."""

    about: str
    en: str
    zh: str

    def as_json(self) -> dict[str, str]:
        """Return it as a JSON object."""
        return {"about": self.about, "en": self.en, "zh": self.zh}


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedGrade:
    """The grade that the bureau gave: a record. points: None where the record has none."""

    grade: str
    points: str | None
    evaluated_on: date | None

    def as_json(self) -> dict[str, str | None]:
        """Return it as a JSON object."""
        return {
            "grade": self.grade,
            "points": self.points,
            "evaluated_on": None if self.evaluated_on is None else self.evaluated_on.isoformat(),
        }


def explain_grade(
    facts: GradeFacts,
    *,
    rules: RuleSet | None = None,
    remarks: tuple[Remark, ...] = (),
    issued: IssuedGrade | None = None,
) -> dict[str, Any]:
    """Return the explanation of a year's grade as a JSON object; raises InvalidInput ``tax_credit.rule_unknown``.

    rules: left out, those in force on the day of grading.
    """
    chosen = rules or rules_in_force(facts.as_of)
    assessment = assess_grade(facts, chosen)
    version = assessment.version
    return {
        "year": facts.year,
        "as_of": facts.as_of.isoformat(),
        "rules": {
            "version": version.id,
            "in_force_from": version.in_force_from.isoformat(),
            "name": version.name,
            "name_zh": version.name_zh,
            "source": version.source,
        },
        **_outcome(assessment),
        "direct_d": assessment.is_direct_d,
        "lines": [_line(line) for line in assessment.lines],
        "unconfirmed": list(assessment.unconfirmed),
        "repairs": [_repair(advice) for advice in repair_advice(facts, chosen)],
        "after_repair": _outcome(after_repair(facts, chosen)),
        "remarks": [remark.as_json() for remark in remarks],
        "issued": None if issued is None else issued.as_json(),
    }


def _outcome(assessment: GradeAssessment) -> dict[str, str | None]:
    points = assessment.points_tenths
    return {
        "grade": None if assessment.letter is None else assessment.letter.value,
        "points": None if points is None else points_text(points),
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "kind": line.kind.value,
        "rule": line.rule.id,
        "name": line.rule.name,
        "name_zh": line.rule.name_zh,
        "source": line.rule.source,
        "confirmed": line.rule.confirmed,
        "points": points_text(line.tenths) if line.kind is LineKind.POINTS else None,
        "references": [reference for reference in line.references if reference],
        "since": _day(line.since),
        "until": _day(line.until),
    }


def _repair(advice: RepairAdvice) -> dict[str, Any]:
    return {
        "rule": advice.rule.id,
        "name": advice.rule.name,
        "name_zh": advice.rule.name_zh,
        "references": list(advice.references),
        "since": _day(advice.since),
        "options": [
            {
                "by": _day(option.by),
                "step": option.step.id,
                "name": option.step.name,
                "name_zh": option.step.name_zh,
                "source": option.step.source,
                "gives_back": points_text(option.tenths),
                "points": None if option.points_tenths is None else points_text(option.points_tenths),
                "grade": None if option.letter is None else option.letter.value,
            }
            for option in advice.options
        ],
    }


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
