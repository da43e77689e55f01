"""A file of the facts and events of one taxpayer and year, as JSON: what a person or a program asks an explanation of.

Rule: docs/spec/tax-credit.md, [GRADE-9]. Everything in it is bounded and typed, for it comes from outside; whether an
event's rule exists is known when the rules are chosen (``assess_grade``).
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_json, typed
from shuiqiao.base.errors import Conflict, InvalidInput
from shuiqiao.base.money import MAX_FEN
from shuiqiao.standards.tax_credit_grade import Grade
from shuiqiao.tax_credit.model import CreditEvent, GradeFacts, Instalment, PreviousGrade

MAX_FACTS_BYTES = 1 << 19
"""Of a file: two thousand events at 260 bytes."""

MAX_EVENTS = 2_000
MAX_INSTALMENTS = 100
MAX_REFERENCE_CHARS = 80

FIRST_YEAR, LAST_YEAR = 2014, 2099
"""Years that were or can be graded: the rules began in 2014."""

_EARLIEST = date(1900, 1, 1)

Reference = Annotated[str, Meta(max_length=MAX_REFERENCE_CHARS)]
_Fen = Annotated[int, Meta(ge=0, le=MAX_FEN)]
_Months = Annotated[int, Meta(ge=0, le=12)]


class _InstalmentEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    paid_on: date
    paid_fen: _Fen


class _EventEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    rule: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{1,39}\Z")]
    since: date
    corrected_on: date | None = None
    amount_fen: _Fen | None = None
    payments: Annotated[list[_InstalmentEntry], Meta(max_length=MAX_INSTALMENTS)] = []
    first_offence: bool = False
    reference: Reference = ""


class _PreviousEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    grade: Grade
    direct: bool = False
    years: Annotated[int, Meta(ge=1, le=50)] = 1


class FactsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The form of the file. as_of: left out, the day on which it is read. taxpayer: needed to issue a grade."""

    year: Annotated[int, Meta(ge=FIRST_YEAR, le=LAST_YEAR)]
    operating_since: date
    has_income: bool
    has_non_regular_indicators: bool
    is_fee_information_complete: bool
    taxpayer: Annotated[str, Meta(pattern=r"^[0-9A-Z]{1,20}\Z")] | None = None
    as_of: date | None = None
    are_books_to_standard: bool = True
    zero_vat_in_a_row: _Months = 0
    zero_vat_in_total: _Months = 0
    whole_credit_asked_on: date | None = None
    previous: _PreviousEntry | None = None
    events: Annotated[list[_EventEntry], Meta(max_length=MAX_EVENTS)] = []

    def facts(self, *, today: date) -> GradeFacts:
        """Return what is graded. today: the day of grading where the file names none.

        Raises Conflict ``tax_credit.year_not_begun``, InvalidInput ``tax_credit.facts_invalid`` for a year before the
        enterprise began.
        """
        as_of = self.as_of or today
        if self.year > as_of.year:
            raise Conflict("tax_credit.year_not_begun", f"{self.year} has not begun: it is {as_of}")
        if self.operating_since.year > self.year:
            raise InvalidInput(
                "tax_credit.facts_invalid", f"{self.year} is graded, and it operates since {self.operating_since}"
            )
        plain = ("year", "operating_since", "has_income", "has_non_regular_indicators", "is_fee_information_complete")
        rest = ("are_books_to_standard", "zero_vat_in_a_row", "zero_vat_in_total", "whole_credit_asked_on")
        given: dict[str, Any] = {name: getattr(self, name) for name in (*plain, *rest)}
        last = self.previous
        return GradeFacts(
            **given,
            as_of=as_of,
            previous=None
            if last is None
            else PreviousGrade(letter=last.grade, is_direct=last.direct, years=last.years),
            events=tuple(map(_event, self.events)),
        )


def decode_facts(data: bytes) -> FactsFile:
    """Read a file of facts.

    Raises InvalidInput ``base.json_malformed``, ``base.json_too_large``, ``tax_credit.facts_invalid``.

    Example::

        {"year": 2025, "operating_since": "2019-03-01", "has_income": true, "has_non_regular_indicators": false,
         "is_fee_information_complete": true, "events": [{"rule": "late_filing", "since": "2025-06-16"}]}
    """
    try:
        found: FactsFile = typed(decode_json(data, max_bytes=MAX_FACTS_BYTES), FactsFile)
    except msgspec.ValidationError as error:
        raise InvalidInput("tax_credit.facts_invalid", f"not a file of tax credit facts: {error}") from error
    for day in _days_of(found):
        if day < _EARLIEST or day.year > LAST_YEAR:
            raise InvalidInput("tax_credit.facts_invalid", f"{day} is no day of {_EARLIEST.year} to {LAST_YEAR}")
    return found


def _event(entry: _EventEntry) -> CreditEvent:
    return CreditEvent(
        rule=entry.rule,
        since=entry.since,
        corrected_on=entry.corrected_on,
        amount_fen=entry.amount_fen,
        payments=tuple(Instalment(paid_on=part.paid_on, paid_fen=part.paid_fen) for part in entry.payments),
        is_first_offence=entry.first_offence,
        reference=entry.reference,
    )


def _days_of(file: FactsFile) -> list[date]:
    days = [file.operating_since, file.as_of, file.whole_credit_asked_on]
    for event in file.events:
        days += [event.since, event.corrected_on, *(part.paid_on for part in event.payments)]
    return [day for day in days if day is not None]
