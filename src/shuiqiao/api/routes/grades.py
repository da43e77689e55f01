"""``/grades``: a bureau explains a taxpayer's tax credit grade by its records, and issues grades as records."""

from __future__ import annotations

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources import grades as api

grades = Routes("grades")


@grades.perform(
    api.EXPLAIN_GRADE,
    permission="records.read",
    codes=("node.role_wrong", "tax_credit.year_not_begun", "tax_credit.registration_missing", "tax_credit.events_many"),
)
def explain_grade(asked: api.GradeQuestion, running: Running, caller: Caller) -> api.GradeExplanation:
    """Work a taxpayer's grade of a year out by the bureau's records, line by line, beside the grade that was issued."""
    return performed(running, caller, api.EXPLAIN_GRADE, asked)


@grades.perform(
    api.ISSUE_GRADE,
    permission="ingest.write",
    codes=(
        "node.role_wrong",
        "base.json_malformed",
        "tax_credit.facts_invalid",
        "tax_credit.not_issued",
        "tax_credit.not_rated",
        "tax_credit.rule_unconfirmed",
        "tax_credit.rule_unknown",
        "tax_credit.taxpayer_missing",
        "vault.busy",
    ),
)
def issue_grade(asked: api.GradeIssue, running: Running, caller: Caller) -> api.GradeRecord:
    """Issue the grade that follows from a file of facts as an anchored record; the same again changes nothing."""
    return performed(running, caller, api.ISSUE_GRADE, asked)
