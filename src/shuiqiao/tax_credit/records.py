"""What a bureau's records of one taxpayer say of a year's tax credit, and what they leave open [GRADE-10].

Records tell what was filed or paid late, who is an abnormal household, which frauds were found, and the grades before.
They do not tell audits, whether payment information is complete, or how books are kept: those are assumed as it is
usual, and named (``Remark``). A violation is no indicator of the rules by itself: which one it falls under is the
bureau's to say, so it is named and not counted.

LIMIT: a return that was corrected later no longer shows when it was first filed; it is not counted as late.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from shuiqiao.base.errors import Conflict
from shuiqiao.standards.tax_credit_grade import Grade
from shuiqiao.tax_credit.explanation import IssuedGrade, Remark
from shuiqiao.tax_credit.facts_file import MAX_EVENTS
from shuiqiao.tax_credit.model import CreditEvent, GradeFacts, PreviousGrade

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "registration": ("core",),
    "filing": ("core", "amounts"),
    "arrears": ("core", "amounts"),
    "violation": ("core",),
    "tax_credit_grade": ("core",),
}
"""Record types that are read, with their groups."""

YEARS_BEFORE: Final = 3
"""How many years of records before the graded one are read: a D may have stood for so long."""

_FRAUDS: Final = ("arrears_evasion", "refund_fraud", "false_invoice")

Rows = Mapping[str, Sequence[Mapping[str, Any]]]

_ASSUMED = (
    Remark(
        about="has_non_regular_indicators",
        en="no audit or assessment is assumed: points begin below 100",
        zh="假定无非经常性指标,不从100分起评",
    ),
    Remark(
        about="is_fee_information_complete",
        en="complete payment information is assumed",
        zh="假定纳税缴费信息齐全",
    ),
    Remark(about="are_books_to_standard", en="books to standard are assumed", zh="假定账簿设置与核算符合规定"),
    Remark(
        about="zero_vat",
        en="months of zero VAT are assumed to have normal reasons",
        zh="假定增值税应纳税额为0属正常原因",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFacts:
    """What the records say of a year. issued: the grade that the bureau gave for it, None while there is none."""

    facts: GradeFacts
    remarks: tuple[Remark, ...]
    issued: IssuedGrade | None


def facts_of_records(rows: Rows, *, year: int, as_of: date) -> RecordedFacts:
    """Return what a taxpayer's live records say. rows: by record type, the granted fields by name.

    Raises Conflict ``tax_credit.registration_missing``, ``tax_credit.events_many``.
    """
    registered = [row["registered_on"] for row in rows["registration"]]
    if not registered:
        raise Conflict(
            "tax_credit.registration_missing", "the bureau holds no registration of this taxpayer: nothing to grade"
        )
    events = (*_filed_late(rows, year), *_owed(rows, year), *_direct(rows, year, as_of))
    if len(events) > MAX_EVENTS:
        raise Conflict(
            "tax_credit.events_many", f"{len(events)} events in {year} where at most {MAX_EVENTS} are worked out"
        )
    has_income, of_income = _income(rows, year)
    issued = {row["year"]: row for row in rows["tax_credit_grade"]}
    facts = GradeFacts(
        year=year,
        as_of=as_of,
        operating_since=min(registered),
        has_income=has_income,
        has_non_regular_indicators=False,
        is_fee_information_complete=True,
        previous=_previous(issued, year - 1),
        events=events,
    )
    remarks = (*of_income, *_ASSUMED, *_undetermined(rows, year))
    return RecordedFacts(facts=facts, remarks=remarks, issued=_issued(issued.get(year)))


def _filed_late(rows: Rows, year: int) -> Iterator[CreditEvent]:
    for row in rows["filing"]:
        is_first = row["filing_kind"] in (None, "original") and not row["is_void"]
        if is_first and row["due_on"].year == year and row["filed_on"] > row["due_on"]:
            yield CreditEvent(
                rule="late_filing",
                since=row["due_on"],
                corrected_on=row["filed_on"],
                amount_fen=None if row["tax_due_fen"] is None else max(0, row["tax_due_fen"]),
                reference=f"filing {row['tax_code']} {row['period_from']} {row['period_to']}",
            )


def _owed(rows: Rows, year: int) -> Iterator[CreditEvent]:
    """Yield what was not paid in time: as arrears what was still owed at the end of the year, else as paid late."""
    for row in rows["arrears"]:
        due, cleared = row["due_on"], row["cleared_on"]
        if row["payment_kind"] != "tax" or due.year != year or (cleared is not None and cleared <= due):
            continue
        is_unpaid = cleared is None or cleared.year > year
        owed = row["due_fen"] if row["due_fen"] is not None else row["owed_fen"]
        yield CreditEvent(
            rule="arrears_unpaid" if is_unpaid else "late_payment",
            since=due,
            corrected_on=cleared,
            amount_fen=None if owed is None else max(0, owed),
            reference=f"arrears {row['arrears_no']}",
        )


def _direct(rows: Rows, year: int, as_of: date) -> Iterator[CreditEvent]:
    for row in rows["registration"]:
        if row["status"] == "abnormal" and as_of.year >= year:
            # The record says that it is one, not since when: it counts for the year that is graded.
            yield CreditEvent(rule="abnormal_household", since=min(as_of, date(year, 12, 31)), reference="registration")
    for row in _violations(rows, year):
        if row["violation_kind"] in _FRAUDS and row["state"] == "closed":
            yield CreditEvent(
                rule="tax_fraud", since=row["registered_on"], reference=f"violation {row['violation_no']}"
            )


def _violations(rows: Rows, year: int) -> Iterator[Mapping[str, Any]]:
    return (row for row in rows["violation"] if row["registered_on"].year == year and not row["is_void"])


def _undetermined(rows: Rows, year: int) -> Iterator[Remark]:
    for row in _violations(rows, year):
        is_counted = row["violation_kind"] in _FRAUDS and row["state"] == "closed"
        if not is_counted and not row["first_offence_no_penalty"]:
            yield Remark(
                about=f"violation {row['violation_no']}",
                en=f"a violation of {row['registered_on']} ({row['violation_kind']}) may cost points; ask the bureau",
                zh=f"{row['registered_on']}登记的违法行为可能扣分,请向税务机关核实",
            )


def _income(rows: Rows, year: int) -> tuple[bool, tuple[Remark, ...]]:
    """Return whether a year had business income by what was declared, and a remark where nothing declares it."""
    declared = [
        row["revenue_fen"]
        for row in rows["filing"]
        if row["period_to"].year == year and not row["is_void"] and row["revenue_fen"] is not None
    ]
    if declared:
        return any(revenue > 0 for revenue in declared), ()
    assumed = Remark(
        about="has_income", en="no return declares revenue: income is assumed", zh="申报中无收入信息,假定有生产经营收入"
    )
    return True, (assumed,)


def _previous(issued: Mapping[int, Mapping[str, Any]], year: int) -> PreviousGrade | None:
    row = issued.get(year)
    if row is None:
        return None
    letter, is_direct, years = Grade(row["grade"]), bool(row["direct_d"]), 1
    while letter is Grade.D and years < YEARS_BEFORE:
        before = issued.get(year - years)
        if before is None or before["grade"] != Grade.D or bool(before["direct_d"]) != is_direct:
            break
        years += 1
    return PreviousGrade(letter=letter, is_direct=is_direct, years=years)


def _issued(row: Mapping[str, Any] | None) -> IssuedGrade | None:
    if row is None:
        return None
    return IssuedGrade(grade=row["grade"], points=row["score"], evaluated_on=row["evaluated_on"])
