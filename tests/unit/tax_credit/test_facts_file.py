"""A file of facts is typed and bounded [GRADE-9]."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from shuiqiao.base.errors import Conflict, InvalidInput
from shuiqiao.standards.tax_credit_grade import Grade
from shuiqiao.tax_credit.facts_file import MAX_EVENTS, MAX_FACTS_BYTES, decode_facts
from shuiqiao.tax_credit.model import CreditEvent, GradeFacts, Instalment, PreviousGrade

TODAY = date(2026, 4, 20)
PLAIN: dict[str, Any] = {
    "year": 2025,
    "operating_since": "2019-03-01",
    "has_income": True,
    "has_non_regular_indicators": False,
    "is_fee_information_complete": True,
}
EVENT = {"rule": "late_filing", "since": "2025-06-16"}


def file_of(**changes: Any) -> bytes:
    return json.dumps({**PLAIN, **changes}).encode()


def test_the_least_file_is_read_with_what_is_usual() -> None:
    assert decode_facts(file_of()).facts(today=TODAY) == GradeFacts(
        year=2025,
        as_of=TODAY,
        operating_since=date(2019, 3, 1),
        has_income=True,
        has_non_regular_indicators=False,
        is_fee_information_complete=True,
    )


def test_a_year_that_cannot_be_graded_is_refused() -> None:
    with pytest.raises(Conflict, match=r"^tax_credit\.year_not_begun"):
        decode_facts(file_of(year=TODAY.year + 1)).facts(today=TODAY)
    with pytest.raises(InvalidInput, match=r"^tax_credit\.facts_invalid: 2018 is graded"):
        decode_facts(file_of(year=2018)).facts(today=TODAY)


def test_every_field_is_read() -> None:
    data = file_of(
        as_of="2026-01-05",
        are_books_to_standard=False,
        zero_vat_in_a_row=2,
        zero_vat_in_total=3,
        whole_credit_asked_on="2025-12-01",
        taxpayer="91330100MA00000000",
        previous={"grade": "D", "direct": True, "years": 2},
        events=[
            {
                "rule": "arrears_unpaid",
                "since": "2025-06-16",
                "corrected_on": "2025-07-01",
                "amount_fen": 100,
                "payments": [{"paid_on": "2025-06-17", "paid_fen": 40}],
                "first_offence": True,
                "reference": "欠税 1",
            }
        ],
    )
    read = decode_facts(data)

    assert read.taxpayer == "91330100MA00000000"
    assert read.facts(today=TODAY) == GradeFacts(
        year=2025,
        as_of=date(2026, 1, 5),
        operating_since=date(2019, 3, 1),
        has_income=True,
        has_non_regular_indicators=False,
        is_fee_information_complete=True,
        are_books_to_standard=False,
        zero_vat_in_a_row=2,
        zero_vat_in_total=3,
        whole_credit_asked_on=date(2025, 12, 1),
        previous=PreviousGrade(letter=Grade.D, is_direct=True, years=2),
        events=(
            CreditEvent(
                rule="arrears_unpaid",
                since=date(2025, 6, 16),
                corrected_on=date(2025, 7, 1),
                amount_fen=100,
                payments=(Instalment(paid_on=date(2025, 6, 17), paid_fen=40),),
                is_first_offence=True,
                reference="欠税 1",
            ),
        ),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"year": 2013},
        {"year": 2100},
        {"year": "2025"},
        {"year": True},
        {"operating_since": "2025-02-30"},
        {"operating_since": "1899-12-31"},
        {"as_of": "2100-01-01"},
        {"whole_credit_asked_on": "9999-12-31"},
        {"has_income": 1},
        {"has_income": None},
        {"zero_vat_in_a_row": 13},
        {"zero_vat_in_total": -1},
        {"taxpayer": "91330100 MA"},
        {"taxpayer": "9" * 21},
        {"previous": {"grade": "E"}},
        {"previous": {"grade": "D", "years": 0}},
        {"unknown": 1},
        {"events": {}},
        {"events": [{"rule": "late_filing"}]},
        {"events": [{**EVENT, "rule": "LATE"}]},
        {"events": [{**EVENT, "since": "2100-01-01"}]},
        {"events": [{**EVENT, "corrected_on": "0001-01-01"}]},
        {"events": [{**EVENT, "amount_fen": -1}]},
        {"events": [{**EVENT, "amount_fen": 10**18}]},
        {"events": [{**EVENT, "reference": "x" * 81}]},
        {"events": [{**EVENT, "payments": [{"paid_on": "2025-06-17", "paid_fen": 1}] * 101}]},
        {"events": [{**EVENT, "payments": [{"paid_on": "2025-06-17"}]}]},
        {"events": [{**EVENT, "more": 1}]},
        {"events": [EVENT] * (MAX_EVENTS + 1)},
    ],
    ids=str,
)
def test_a_file_of_another_form_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode_facts(file_of(**changes))

    assert refused.value.code == "tax_credit.facts_invalid"


@pytest.mark.parametrize("left_out", PLAIN)
def test_what_must_be_known_is_asked_for(left_out: str) -> None:
    with pytest.raises(InvalidInput, match=left_out):
        decode_facts(json.dumps({name: value for name, value in PLAIN.items() if name != left_out}).encode())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "base.json_malformed"),
        (b"[]", "tax_credit.facts_invalid"),
        (b'{"year": 2025.0}', "base.json_malformed"),
        (b'{"year": 1, "year": 2}', "base.json_malformed"),
        (b"\xff", "base.json_malformed"),
        (b" " * (MAX_FACTS_BYTES + 1), "base.json_too_large"),
    ],
)
def test_bytes_of_no_file_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode_facts(data)

    assert code == refused.value.code
