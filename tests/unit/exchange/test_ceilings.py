"""[EXCHANGE-7] [EXCHANGE-19]: what a request may ask, at every edge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import owned_id
from shuiqiao.consent import ceilings as table
from shuiqiao.consent.model import ConsentArtefact, Frequency, FrequencyUnit, IdentityCheck, Mode, Output, Purpose
from shuiqiao.exchange.ceilings import (
    PastAnswer,
    counted_from_ms,
    data_life_days,
    verify_answers_within,
    verify_covered,
    verify_request_within_ceiling,
)
from shuiqiao.exchange.model import ModelAsk, RequestMessage

NOW_MS = int(datetime(2026, 3, 31, tzinfo=UTC).timestamp() * 1000)
MINE = b"\x01" * 16
OTHER = owned_id("bureau", b"\x02" * 16)
FILINGS = "filing@1"


def artefact_with(**changes):
    fields = {
        "consent": MINE,
        "taxpayer": "E1",
        "provider": "bureau",
        "recipient": "bank-a",
        "purpose": Purpose.UNDERWRITING,
        "items": {FILINGS: ["amounts", "core"]},
        "period_from": date(2024, 1, 1),
        "period_to": date(2025, 12, 31),
        "modes": [Mode.DISCLOSE, Mode.SCORE],
        "frequency": Frequency(count=2, unit=FrequencyUnit.MONTH),
        "data_life_days": 90,
        "valid_from_ms": 0,
        "valid_to_ms": 1,
        "product": "p",
        "identity_check": IdentityCheck(reference="r", checked_ms=0),
        "firm": bytes(32),
        "key": bytes(32),
        "salt": bytes(32),
        "outputs": [Output.BAND, Output.YES_NO],
    }
    return ConsentArtefact(**(fields | changes))


def message_with(**changes):
    fields = {
        "request": bytes(16),
        "consent": MINE,
        "sender": "bank-a",
        "receiver": "bureau",
        "purpose": Purpose.UNDERWRITING,
        "mode": Mode.DISCLOSE,
        "items": {FILINGS: ["core"]},
        "period_from": date(2024, 1, 1),
        "period_to": date(2025, 12, 31),
        "made_ms": NOW_MS,
        "salt": bytes(32),
    }
    return RequestMessage(**(fields | changes))


def asked_for(*outputs):
    return ModelAsk(model="bank-a/" + "00" * 16, digest=bytes(32), outputs=list(outputs))


def answered(*, ago_ms=0, consent=OTHER, first=date(2024, 1, 1), last=date(2025, 12, 31)):
    return PastAnswer(consent=consent, answered_ms=NOW_MS - ago_ms, period_from=first, period_to=last)


def within(past, *, message=None, **artefact):
    made = artefact_with(**artefact)
    ceiling = table.ceiling_of(made, {})
    return verify_answers_within(message or message_with(), made, now_ms=NOW_MS, past=past, ceiling=ceiling)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"items": {FILINGS: ["amounts", "core"]}},
        {"mode": Mode.SCORE, "model": asked_for(Output.BAND)},
        {"period_from": date(2025, 1, 1), "period_to": date(2025, 1, 1)},
    ],
)
def test_all_that_the_artefact_grants_is_covered(asked):
    assert verify_covered(message_with(**asked), artefact_with()) is None


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"sender": "bank-b"}, "consent.recipient_wrong"),
        ({"purpose": Purpose.ONE_TIME}, "consent.purpose_wrong"),
        ({"items": {FILINGS: ["core", "person"]}}, "consent.not_covered"),
        ({"items": {"payment@1": ["core"]}}, "consent.not_covered"),
        ({"period_from": date(2023, 12, 31)}, "consent.not_covered"),
        ({"period_to": date(2026, 1, 1)}, "consent.not_covered"),
        ({"mode": Mode.PROVE}, "consent.not_covered"),
        ({"mode": Mode.SCORE, "model": asked_for(Output.BAND, Output.POINTS)}, "consent.not_covered"),
    ],
)
def test_one_step_beyond_the_artefact_is_refused(asked, code):
    with pytest.raises(Denied) as refusal:
        verify_covered(message_with(**asked), artefact_with())
    assert refusal.value.code == code


@pytest.mark.parametrize(
    "greedy",
    [
        {"items": {FILINGS: ["core", "counterparty"]}},
        {"mode": Mode.TRAIN},
        {"period_from": date(2020, 12, 31), "period_to": date(2025, 12, 31)},
    ],
)
def test_a_request_beyond_its_purpose_is_refused(greedy):
    ceiling = table.CEILINGS[Purpose.UNDERWRITING]
    assert verify_request_within_ceiling(message_with(period_from=date(2021, 1, 1)), ceiling=ceiling) is None
    with pytest.raises(Denied, match=r"^consent\.ceiling_exceeded"):
        verify_request_within_ceiling(message_with(**greedy), ceiling=ceiling)


@pytest.mark.parametrize(("own", "kept"), [(1, 1), (364, 364), (365, 365), (366, 365)])
def test_data_is_kept_as_long_as_the_artefact_says_and_no_longer_than_its_purpose(own, kept):
    """[EXCHANGE-15]"""
    assert kept == data_life_days(artefact_with(data_life_days=own), ceiling=table.CEILINGS[Purpose.UNDERWRITING])


def test_the_past_is_looked_at_as_far_back_as_any_rule_counts():
    year_ms = 365 * MS_PER_DAY
    assert NOW_MS - year_ms == counted_from_ms(
        artefact_with(), now_ms=NOW_MS, ceiling=table.CEILINGS[Purpose.UNDERWRITING]
    )
    longer = artefact_with(purpose=Purpose.MODEL_DEVELOPMENT)
    assert NOW_MS - 2 * year_ms == counted_from_ms(longer, now_ms=NOW_MS, ceiling=table.ceiling_of(longer, {}))


def test_frequency_is_of_this_consent_and_its_rolling_window():
    window_ms = 30 * MS_PER_DAY
    inside = [
        answered(consent=owned_id("bureau", MINE), ago_ms=window_ms - 1),
        answered(consent=owned_id("bureau", MINE)),
    ]
    with pytest.raises(Denied, match=r"^exchange\.frequency_exceeded.*2 answers.*within a month; it allows 2"):
        within(inside)
    assert within(inside[:1]) is None
    assert within([inside[0], answered(consent=owned_id("bureau", MINE), ago_ms=window_ms)]) is None
    assert within([answered() for _ in range(20)]) is None


@pytest.mark.parametrize(
    ("purpose", "most"),
    [
        (Purpose.UNDERWRITING, 150),
        (Purpose.LOAN_MONITORING, 52),
        (Purpose.MODEL_DEVELOPMENT, 4),
        (Purpose.ONE_TIME, 1),
    ],
)
def test_answers_a_year_are_of_all_consents(purpose, most):
    past = [answered() for _ in range(most - 1)]
    assert within(past, purpose=purpose) is None
    with pytest.raises(Denied, match=rf"^consent\.ceiling_exceeded.*{most + 1} answers.*allows {most}$"):
        within([*past, answered(ago_ms=365 * MS_PER_DAY - 1)], purpose=purpose)
    assert within([*past, answered(ago_ms=365 * MS_PER_DAY)], purpose=purpose) is None


@pytest.mark.parametrize(
    ("first", "last", "ago_days", "allowed"),
    [
        (date(2019, 1, 1), date(2021, 12, 31), 0, True),
        (date(2018, 12, 31), date(2021, 12, 31), 0, False),
        (date(2018, 12, 31), date(2021, 12, 31), 30, False),
        (date(2018, 12, 31), date(2021, 12, 31), 31, True),
        (date(2018, 11, 30), date(2021, 12, 31), 31, False),
        (date(2018, 11, 30), date(2021, 12, 31), 59, True),
        (date(2000, 1, 1), date(2004, 12, 31), 364, False),
        (date(2000, 1, 1), date(2004, 12, 31), 365, True),
        (date(2024, 6, 1), date(2025, 6, 30), 0, True),
    ],
)
def test_months_are_those_the_bank_may_hold_and_the_window_moves(first, last, ago_days, allowed):
    """24 months are asked for on 31 March 2026; the ceiling is 60, one more for each month since the oldest answer."""
    past = [answered(ago_ms=ago_days * MS_PER_DAY, first=first, last=last)]
    if allowed:
        assert within(past) is None
        return
    with pytest.raises(Denied, match=r"^consent\.ceiling_exceeded.*months of data.*underwriting allows [67]\d$"):
        within(past)


def test_the_moving_window_begins_with_the_oldest_answer_that_is_still_held():
    """Answers of long ago do not stretch it."""
    gone = answered(ago_ms=365 * MS_PER_DAY, first=date(2019, 1, 1), last=date(2019, 1, 31))
    held = answered(first=date(2018, 12, 1), last=date(2021, 12, 31))
    with pytest.raises(Denied, match=r"61 months of data.*allows 60$"):
        within([gone, held])


def test_an_answer_by_a_clock_that_ran_ahead_stretches_nothing():
    held = answered(ago_ms=-40 * MS_PER_DAY, first=date(2018, 12, 1), last=date(2021, 12, 31))
    with pytest.raises(Denied, match=r"61 months of data.*allows 60$"):
        within([held])


def test_the_ceilings_are_those_of_today(monkeypatch):
    lower = replace(table.CEILINGS[Purpose.UNDERWRITING], max_answers_per_year=1)
    monkeypatch.setitem(table.CEILINGS, Purpose.UNDERWRITING, lower)
    with pytest.raises(Denied, match=r"2 answers a year.*allows 1$"):
        within([answered()])
