"""Violations, and the yearly grades that follow from conduct by the rules of ``tax_credit``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np

from shuiqiao.sandbox.economy.behaviour import Plan
from shuiqiao.sandbox.economy.filings import Returns
from shuiqiao.sandbox.economy.model import (
    MONTHS_PER_YEAR,
    HiddenLife,
    Taxpayer,
    Violation,
    Window,
    YearlyGrade,
    first_day,
    month_of,
    year_of,
)
from shuiqiao.sandbox.economy.seeds import BoolArray
from shuiqiao.tax_credit.assessment import assess_grade
from shuiqiao.tax_credit.model import CreditEvent, GradeFacts, PreviousGrade
from shuiqiao.tax_credit.rules import rules_in_force

_KINDS: tuple[tuple[str, str, float], ...] = (
    ("filing", "未按规定期限办理纳税申报", 0.34),
    ("invoice", "未按规定开具发票", 0.30),
    ("books", "未按规定报送财务会计制度", 0.15),
    ("registration", "未按规定办理变更登记", 0.16),
    ("other", "其他税收违法", 0.05),
)
_SEVERE: tuple[tuple[str, str], ...] = (("evasion", "逃避缴纳税款"), ("false_invoice", "虚开增值税专用发票"))
_WAIVABLE = ("filing", "registration")
_PENALTY_FEN = {"filing": 20_000, "invoice": 200_000, "books": 100_000, "registration": 50_000, "other": 100_000}
_SEVERE_SHARE = 0.04
_SEVERE_PENALTY_FEN = 20_000_000
_VIOLATION_AFTER_DAYS = 30
_ARREARS_BREACH_DAYS = 90
_AUDITS_PER_MONTH = 0.012
"""Audits, inspections or assessments: about one firm in three within three years has one."""
_PUBLICATION_MONTH, _PUBLICATION_DAY = 4, 20
"""Grades are published each April."""


def register_violations(
    generator: np.random.Generator, *, taxpayer: int, plan: Plan, window: Window, returns: Returns, first_month: int
) -> tuple[Violation, ...]:
    """Draw the violations of the window, and add one for each return that was over thirty days late."""
    found = [
        *_drawn(generator, plan, window, first_month),
        *_overdue_returns(returns, window.as_of),
    ]
    found.sort(key=lambda entry: entry[0])
    return tuple(_registered(taxpayer, number, entry, window.as_of) for number, entry in enumerate(found))


def _drawn(
    generator: np.random.Generator, plan: Plan, window: Window, first_month: int
) -> Iterator[tuple[date, str, str]]:
    hits = np.flatnonzero(generator.random(window.months) < plan.violation)
    edges = np.cumsum([share for _, _, share in _KINDS])
    for month in hits[hits >= first_month].tolist():
        day = first_day(window.first_month + month) + timedelta(days=int(generator.integers(28)))
        kind, name, _ = _KINDS[min(int(np.searchsorted(edges, generator.random())), len(_KINDS) - 1)]
        if generator.random() < _SEVERE_SHARE:
            kind, name = _SEVERE[int(generator.integers(len(_SEVERE)))]
        yield day, kind, name


def _overdue_returns(returns: Returns, as_of: date) -> Iterator[tuple[date, str, str]]:
    kind, name, _ = _KINDS[0]
    for filing in returns.filings:
        day = filing.due_on + timedelta(days=_VIOLATION_AFTER_DAYS + 1)
        if day <= as_of and (filing.filed_on is None or filing.filed_on > day):
            yield day, kind, name


def _registered(taxpayer: int, number: int, entry: tuple[date, str, str], as_of: date) -> Violation:
    day, kind, name = entry
    waived = number == 0 and kind in _WAIVABLE
    penalty = 0 if waived else _PENALTY_FEN.get(kind, _SEVERE_PENALTY_FEN)
    return Violation(
        violation_no=f"W{taxpayer:07d}{number:04d}",
        kind=kind,
        name=name,
        state="closed" if (as_of - day).days > 60 else "handling",  # noqa: PLR2004  (days to handle a case)
        registered_on=day,
        first_offence_no_penalty=waived,
        penalty_fen=penalty,
    )


def grade_years(
    generator: np.random.Generator,
    *,
    taxpayer: Taxpayer,
    life: HiddenLife,
    window: Window,
    is_active: BoolArray,
    returns: Returns,
    violations: tuple[Violation, ...],
) -> tuple[YearlyGrade, ...]:
    """Return the grades that were published by ``as_of`` for the calendar years that end in the window.

    The window's first year is graded on the events seen, even where the window begins within it.
    """
    grades: list[YearlyGrade] = []
    previous: PreviousGrade | None = None
    fees_complete = bool(generator.random() < 1 / (1 + np.exp(-2.6 - 0.8 * life.firm)))
    was_checked = generator.random(window.months) < _AUDITS_PER_MONTH
    for year in range(year_of(window.first_month), window.as_of.year):
        evaluated_on = date(year + 1, _PUBLICATION_MONTH, _PUBLICATION_DAY)
        months_operating = _months_operating(taxpayer.registered_on, year)
        if evaluated_on > window.as_of or months_operating <= 0:
            continue
        active = is_active[_months_of(year, window)]
        operating = active[-months_operating:]
        rules = rules_in_force(evaluated_on)
        direct = _direct(year, taxpayer, violations, is_last=year == window.as_of.year - 1)
        facts = GradeFacts(
            year=year,
            as_of=evaluated_on,
            operating_since=taxpayer.registered_on,
            has_income=bool(active.any()),
            has_non_regular_indicators=bool(was_checked[: _months_of(year, window).stop].any()),
            is_fee_information_complete=fees_complete,
            zero_vat_in_a_row=_longest_gap(operating),
            zero_vat_in_total=int((~operating).sum()),
            events=(*_events(year, returns, violations), *direct),
            previous=previous,
        )
        assessment = assess_grade(facts, rules)
        previous = assessment.as_previous()
        if assessment.letter is not None:
            grades.append(
                YearlyGrade(year=year, evaluated_on=evaluated_on, letter=assessment.letter, assessment=assessment)
            )
    return tuple(grades)


def _months_operating(registered_on: date, year: int) -> int:
    """Return the whole months from registration to the end of a year."""
    begun = 0 if registered_on.day == 1 else 1
    return month_of(date(year + 1, 1, 1)) - month_of(registered_on) - begun


def _months_of(year: int, window: Window) -> slice:
    start = month_of(date(year, 1, 1)) - window.first_month
    return slice(max(0, start), min(start + MONTHS_PER_YEAR, window.months))


def _longest_gap(active: BoolArray) -> int:
    longest = run = 0
    for month in active.tolist():
        run = 0 if month else run + 1
        longest = max(longest, run)
    return longest


def _events(year: int, returns: Returns, violations: tuple[Violation, ...]) -> Iterator[CreditEvent]:
    """Yield the breaches of a year; what was corrected after the day of evaluation is not known on it."""
    for filing in returns.filings:
        if filing.due_on.year == year:
            yield from _late("late_filing", filing.due_on, filing.filed_on)
    for case in returns.arrears:
        if case.due_on.year == year:
            days = (case.cleared_on - case.due_on).days if case.cleared_on else None
            is_grave = days is None or days > _ARREARS_BREACH_DAYS
            yield from _late("arrears_unpaid" if is_grave else "late_payment", case.due_on, case.cleared_on)
    breaches = {"invoice": "serious_invoice_matter", "books": "accounting_method_not_filed"}
    for violation in violations:
        if violation.registered_on.year == year and violation.kind in breaches:
            yield CreditEvent(
                rule=breaches[violation.kind],
                since=violation.registered_on,
                is_first_offence=violation.first_offence_no_penalty,
            )


def _late(rule: str, due_on: date, done_on: date | None) -> Iterator[CreditEvent]:
    if done_on is None or done_on > due_on:
        yield CreditEvent(rule=rule, since=due_on, corrected_on=done_on)


def _direct(
    year: int, taxpayer: Taxpayer, violations: tuple[Violation, ...], *, is_last: bool
) -> Iterator[CreditEvent]:
    reasons = {"evasion": "evasion", "false_invoice": "invoice_breach_with_loss"}
    for violation in violations:
        if violation.registered_on.year == year and violation.kind in reasons:
            yield CreditEvent(rule=reasons[violation.kind], since=violation.registered_on)
    if is_last and taxpayer.is_abnormal:
        yield CreditEvent(rule="abnormal_household", since=date(year, 12, 31))
