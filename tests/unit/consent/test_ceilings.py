from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.consent.ceilings import (
    CEILINGS,
    ceiling_of,
    longest_period,
    longest_validity_ms,
    period_months,
    verify_items_within,
    verify_within_ceiling,
)
from shuiqiao.consent.model import ConsentArtefact, Frequency, FrequencyUnit, IdentityCheck, Mode, Purpose
from shuiqiao.standards.publication import load_catalogue

SPEC = Path(__file__).resolve().parents[3] / "docs" / "spec" / "consent-exchange.md"


def widest(purpose, **changes):
    """The artefact that asks exactly what the ceiling allows."""
    ceiling = CEILINGS[purpose]
    years, months = divmod(ceiling.max_period_months - 1, 12)
    fields = {
        "consent": bytes(16),
        "taxpayer": "E1",
        "provider": "bureau",
        "recipient": "bank-a",
        "purpose": purpose,
        "items": {f"{type_id}@1": sorted(groups) for type_id, groups in ceiling.groups.items()},
        "period_from": date(2020, 1, 1),
        "period_to": date(2020 + years, 1 + months, 28),
        "modes": sorted(ceiling.modes),
        "frequency": Frequency(count=ceiling.max_answers_per_year, unit=FrequencyUnit.YEAR),
        "data_life_days": ceiling.max_data_life_days,
        "valid_from_ms": 0,
        "valid_to_ms": ceiling.max_validity_days * MS_PER_DAY,
        "product": "p",
        "identity_check": IdentityCheck(reference="r", checked_ms=0),
        "firm": bytes(32),
        "key": bytes(32),
        "salt": bytes(32),
    }
    return ConsentArtefact(**(fields | changes))


@pytest.mark.parametrize("purpose", list(Purpose))
def test_exactly_the_ceiling_is_allowed(purpose):
    """[CONSENT-8]"""
    assert verify_within_ceiling(widest(purpose), ceiling=CEILINGS[purpose]) is None


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize("last", [date(2026, 9, 30), date(2024, 2, 29), date(2025, 12, 1), date(2025, 1, 31)])
def test_the_longest_period_is_what_the_ceiling_allows(purpose, last):
    """[CONSENT-8]"""
    first, end = longest_period(purpose, last=last)
    assert (first.day, end) == (1, last)
    assert period_months(first, end) == CEILINGS[purpose].max_period_months


def test_sixty_months_begin_five_years_before_the_next():
    assert longest_period(Purpose.UNDERWRITING, last=date(2026, 9, 30)) == (date(2021, 10, 1), date(2026, 9, 30))
    assert longest_period(Purpose.UNDERWRITING, last=date(2026, 12, 5)) == (date(2022, 1, 1), date(2026, 12, 5))


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize("field", ["items", "modes", "period_to", "frequency", "data_life_days", "valid_to_ms"])
def test_one_step_above_the_ceiling_is_refused(purpose, field):
    """[CONSENT-8]"""
    top = widest(purpose)
    modes = [Mode.TRAIN] if Mode.TRAIN not in CEILINGS[purpose].modes else [Mode.SCORE]
    last = top.period_to
    above = {
        "items": top.items | {"shareholder@1": ["core", "gossip"]},
        "modes": modes,
        "period_to": date(last.year + last.month // 12, last.month % 12 + 1, 1),
        "frequency": Frequency(count=top.frequency.count + 1, unit=FrequencyUnit.YEAR),
        "data_life_days": top.data_life_days + 1,
        "valid_to_ms": top.valid_to_ms + 1,
    }
    with pytest.raises(Denied, match=r"^consent\.ceiling_exceeded"):
        verify_within_ceiling(widest(purpose, **{field: above[field]}), ceiling=CEILINGS[purpose])


def test_a_type_the_table_does_not_name_is_refused():
    """[CONSENT-8]"""
    with pytest.raises(Denied, match=r"^consent\.ceiling_exceeded.*core of tea_leaves@1"):
        verify_items_within({"tea_leaves@1": ["core"]}, purpose=Purpose.UNDERWRITING)


def test_every_published_type_may_be_asked_for_underwriting_in_full():
    for record_type in load_catalogue():
        verify_items_within({record_type.standard_id: list(record_type.group_ids)}, purpose=Purpose.UNDERWRITING)


def test_who_the_partners_are_is_for_underwriting_alone():
    for purpose in set(Purpose) - {Purpose.UNDERWRITING}:
        with pytest.raises(Denied, match=r"^consent\.ceiling_exceeded"):
            verify_items_within({"invoice_issued@2": ["core", "counterparty"]}, purpose=purpose)


@pytest.mark.parametrize(
    ("first", "last", "months"),
    [
        (date(2024, 1, 31), date(2024, 1, 31), 1),
        (date(2024, 1, 31), date(2024, 2, 1), 2),
        (date(2023, 12, 1), date(2024, 12, 1), 13),
    ],
)
def test_a_period_is_as_long_as_the_months_it_touches(first, last, months):
    assert months == period_months(first, last)


def test_a_reversed_period_is_refused():
    with pytest.raises(InvalidInput, match=r"^consent\.period_reversed"):
        period_months(date(2024, 1, 2), date(2024, 1, 1))


def test_the_specification_shows_the_table_as_it_is():
    rows = re.findall(
        r"^\| (\w+) \| ([\w, ]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", SPEC.read_text("utf-8"), re.MULTILINE
    )
    shown = {Purpose(row[0]): (set(row[1].split(", ")), *map(int, row[2:])) for row in rows}
    table = {
        purpose: (
            {str(mode) for mode in ceiling.modes},
            ceiling.max_period_months,
            ceiling.max_answers_per_year,
            ceiling.max_data_life_days,
            ceiling.max_validity_days,
        )
        for purpose, ceiling in CEILINGS.items()
    }
    assert table == shown


def a_rule(months, *, recipient="", product="", record_type="", days=30):
    about = {"recipient": recipient, "product": product, "record_type": record_type}
    numbers = {"max_answers_per_year": months, "max_data_life_days": months, "max_validity_days": days}
    return about | numbers | {"max_period_months": months}


RULES = [
    a_rule(10),
    a_rule(11, record_type="filing"),
    a_rule(12, product="cloud"),
    a_rule(13, product="cloud", record_type="filing"),
    a_rule(14, recipient="bank-a"),
    a_rule(15, recipient="bank-a", record_type="filing"),
    a_rule(16, recipient="bank-a", product="cloud"),
    a_rule(17, recipient="bank-a", product="cloud", record_type="filing"),
]


@pytest.mark.parametrize("kept", range(9))
def test_the_most_specific_rule_that_fits_is_the_one_that_counts(kept):
    """[CONSENT-30]: a bank before a product, a product before a type; with no rule, the table."""
    filing = widest(Purpose.UNDERWRITING, recipient="bank-a", product="cloud", items={"filing@1": ["core"]})
    state = {"members/ceiling/underwriting": RULES[:kept]}
    expected = CEILINGS[Purpose.UNDERWRITING].max_period_months if kept == 0 else 9 + kept
    assert ceiling_of(filing, state).max_period_months == expected


@pytest.mark.parametrize(
    ("changes", "months"),
    [
        ({"recipient": "bank-b", "product": "other", "items": {"payment@1": ["core"]}}, 10),
        ({"recipient": "bank-b", "product": "other", "items": {"filing@1": ["core"]}}, 11),
        ({"recipient": "bank-b", "product": "cloud", "items": {"payment@1": ["core"]}}, 12),
        ({"recipient": "bank-a", "product": "other", "items": {"payment@1": ["core"], "filing@1": ["core"]}}, 14),
        ({"purpose": Purpose.LOAN_MONITORING}, CEILINGS[Purpose.LOAN_MONITORING].max_period_months),
    ],
)
def test_a_rule_counts_for_what_it_is_about_and_of_several_types_the_least(changes, months):
    """[CONSENT-30]"""
    state = {"members/ceiling/underwriting": RULES}
    made = widest(changes.pop("purpose", Purpose.UNDERWRITING), **changes)
    assert ceiling_of(made, state).max_period_months == months


@pytest.mark.parametrize(
    ("rules", "days"),
    [
        ([], 180),
        ([a_rule(1, days=20)], 20),
        ([a_rule(1, days=20), a_rule(1, recipient="bank-b", days=90)], 20),
        ([a_rule(1, days=20), a_rule(1, recipient="bank-a", days=90)], 90),
        ([a_rule(1, days=20), a_rule(1, product="cloud", days=60)], 60),
        ([a_rule(1, days=20, recipient="bank-a"), a_rule(1, product="cloud", days=60)], 20),
        ([a_rule(1, product="cloud", days=60)], 180),
        ([a_rule(1, product="cloud", days=600)], 600),
    ],
)
def test_the_ledger_takes_a_validity_that_some_product_or_type_could_have(rules, days):
    """[CONSENT-30]"""
    state = {"members/ceiling/underwriting": rules}
    assert longest_validity_ms(state, Purpose.UNDERWRITING, recipient="bank-a") == days * MS_PER_DAY
