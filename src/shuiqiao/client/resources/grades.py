"""Tax credit grades: an explanation by a bureau's records, and the grade that a bureau issues."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.wire import Count, Id, Name, Wire, example

MAX_FACTS_CHARS: Final = 524_288
"""Of a file of facts that is sent: two thousand events at 260 characters."""

MAX_LINES: Final = 10_000
"""Lines of an explanation: two for each event, and a few."""

Year = Annotated[int, Field(ge=2014, le=2099)]

_Points = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,5}(\.[0-9])?$")]
_Rule = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
_DayText = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]

_RULES = {
    "version": "2025-12",
    "in_force_from": "2025-07-01",
    "name": "Tax and fee credit rules of 2025",
    "name_zh": "纳税缴费信用管理办法",
    "source": "2025 No. 12",
}
_LINE: dict[str, Any] = {
    "kind": "points",
    "rule": "late_filing",
    "name": "A return of taxes or fees was not filed in time",
    "name_zh": "未按规定期限办理纳税缴费申报",
    "source": "2025 No. 12, annex 1, indicator 010101: by month",
    "confirmed": True,
    "points": "-5",
    "references": ["filing vat 2025-05-01 2025-05-31"],
    "since": "2025-06-16",
    "until": None,
}
_OPTION = {
    "by": "2025-07-16",
    "step": "corrected_within_30_days",
    "name": "Corrected within 30 days",
    "name_zh": "3日后30日内纠正",
    "source": "2025 No. 12, annex 6",
    "gives_back": "4",
    "points": "92",
    "grade": "A",
}
_REPAIR: dict[str, Any] = {
    "rule": "late_filing",
    "name": "A return of taxes or fees was not filed in time",
    "name_zh": "未按规定期限办理纳税缴费申报",
    "references": ["filing vat 2025-05-01 2025-05-31"],
    "since": "2025-06-16",
    "options": [_OPTION],
}
_REMARK = {"about": "has_income", "en": "income is assumed", "zh": "假定有生产经营收入"}
_ISSUED = {"grade": "B", "points": "88", "evaluated_on": "2026-04-20"}


class GradeRulesVersion(Wire):
    """By which rules a grade is worked out."""

    model_config = example(**_RULES)

    version: Name
    in_force_from: _DayText
    name: Name
    name_zh: Name
    source: Name


class GradeLine(Wire):
    """One step that led to the grade. kind: points, not_counted, or grade for a rule by which the letter follows.

    points: what it costs or gives. since, until: from which day it counts, and until when a direct D stands.
    """

    model_config = example(**_LINE)

    kind: Name
    rule: _Rule
    name: Name
    name_zh: Name
    source: Name
    confirmed: bool
    points: _Points | None
    references: Annotated[tuple[Name, ...], Field(max_length=MAX_LINES)]
    since: _DayText | None
    until: _DayText | None


class GradeRepairOption(Wire):
    """What a correction until a day gives back, and what follows from it alone. by: nothing, there is no last day."""

    model_config = example(**_OPTION)

    by: _DayText | None
    step: _Rule
    name: Name
    name_zh: Name
    source: Name
    gives_back: _Points
    points: _Points | None
    grade: Name | None


class GradeRepair(Wire):
    """What can still be corrected, and what each delay costs."""

    model_config = example(**_REPAIR)

    rule: _Rule
    name: Name
    name_zh: Name
    references: Annotated[tuple[Name, ...], Field(max_length=MAX_LINES)]
    since: _DayText
    options: Annotated[tuple[GradeRepairOption, ...], Field(max_length=100)]


class GradeOutcome(Wire):
    """A letter, nothing where nobody of this kind is rated, and points, nothing where they do not decide."""

    model_config = example(grade="A", points="92")

    grade: Name | None
    points: _Points | None


class GradeRemark(Wire):
    """What the records do not say: a fact that was assumed, or a record that may cost points."""

    model_config = example(**_REMARK)

    about: Name
    en: Name
    zh: Name


class IssuedGrade(Wire):
    """The grade that the bureau gave, as its record has it."""

    model_config = example(**_ISSUED)

    grade: Name
    points: Name | None
    evaluated_on: _DayText | None


class GradeExplanation(GradeOutcome):
    """How a year's grade follows from the bureau's records, line by line, and what is left to correct.

    It is a working, not the grade: that is what was issued. unconfirmed: rules that it rests on and that no source
    confirms; nothing is advised on them. after_repair: what follows if everything is corrected today.
    """

    model_config = example(
        year=2025,
        as_of="2025-07-01",
        rules=_RULES,
        grade="B",
        points="88",
        direct_d=False,
        lines=[_LINE],
        unconfirmed=[],
        repairs=[_REPAIR],
        after_repair={"grade": "A", "points": "92"},
        remarks=[_REMARK],
        issued=_ISSUED,
    )

    year: Year
    as_of: _DayText
    rules: GradeRulesVersion
    direct_d: bool
    lines: Annotated[tuple[GradeLine, ...], Field(max_length=MAX_LINES)]
    unconfirmed: Annotated[tuple[_Rule, ...], Field(max_length=100)]
    repairs: Annotated[tuple[GradeRepair, ...], Field(max_length=100)]
    after_repair: GradeOutcome
    remarks: Annotated[tuple[GradeRemark, ...], Field(max_length=MAX_LINES)]
    issued: IssuedGrade | None


class OwnGradeQuestion(Wire):
    """Of which year."""

    model_config = example(year=2025)

    year: Year


class GradeQuestion(OwnGradeQuestion):
    """Whose grade of which year."""

    model_config = example(taxpayer="91440300MA5LEAKME7", year=2025)

    taxpayer: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,32}$")]


class GradeIssue(Wire):
    """A file of facts, as ``shuiqiao grade explain`` reads it, whose grade is issued.

    confirmed: rules that no source confirms and that the bureau, whose rules they are, confirms.
    """

    model_config = example(facts='{"taxpayer": "91440300MA5LEAKME7", "year": 2025}', confirmed=["late_payment"])

    facts: Annotated[str, StringConstraints(min_length=2, max_length=MAX_FACTS_CHARS)]
    confirmed: Annotated[tuple[_Rule, ...], Field(max_length=100)] = ()


class GradeRecord(GradeOutcome):
    """A grade that was issued, and its place on the ledger. is_new: nothing is new where it had been issued so."""

    model_config = example(
        taxpayer="91440300MA5LEAKME7",
        year=2025,
        grade="B",
        points="88",
        direct_d=False,
        rules="2025-12",
        batch="5e" * 16,
        leaf=0,
        anchor=12,
        is_new=True,
    )

    taxpayer: Name
    year: Year
    direct_d: bool
    rules: Name
    batch: Id
    leaf: Count
    anchor: Count | None
    is_new: bool


EXPLAIN_GRADE: Final = Operation(
    path="/grades/explanations",
    sent=GradeQuestion,
    told=GradeExplanation,
    act="grades.explain",
    subject=lambda asked: f"taxpayer/{asked.taxpayer}",
    shows_taxpayer=True,
)
ISSUE_GRADE: Final = Operation(
    path="/grades", sent=GradeIssue, told=GradeRecord, act="grades.issue", shows_taxpayer=True
)
EXPLAIN_OWN_GRADE: Final = Operation(method="GET", path="/own/grade", sent=OwnGradeQuestion, told=GradeExplanation)
