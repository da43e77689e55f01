"""[EXCHANGE-19]: several consents of a taxpayer to a bank for a purpose are worth no more than the ceiling of one."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import count

import pytest
from sqlalchemy import create_engine

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import MemberId, Uscc, owned_id
from shuiqiao.consent.model import FieldCode, Frequency, FrequencyUnit, Purpose, field_code
from shuiqiao.exchange.store import ProviderStore

BANK_A, BANK_B = MemberId("bank-a"), MemberId("bank-b")
ITEMS = {"tax_credit_grade@1": ["core"]}
ONCE = {
    "purpose": Purpose.ONE_TIME,
    "frequency": Frequency(count=1, unit=FrequencyUnit.YEAR),
    "data_life_days": 30,
    "items": ITEMS,
}
_numbers = count(1)


@pytest.fixture
def firm():
    return Uscc(f"91440300MA5CEILIN{next(_numbers):01d}")


def asked(world, firm, *, bank=BANK_A, **terms):
    """A request under a consent of its own."""
    window = {"valid_to_ms": world.clock.now_ms() + 20 * MS_PER_DAY}
    consent = world.granted(world.enterprise(80), taxpayer=firm, recipient=bank, **{"items": ITEMS} | window | terms)
    period = {name: terms[name] for name in ("period_from", "period_to") if name in terms}
    return world.asked(consent, bank=bank, items=ITEMS, **period)


def years(first, last):
    return {"period_from": date(first, 1, 1), "period_to": date(last, 12, 31)}


def refusal(world, sent):
    with pytest.raises(Denied) as refused:
        world.provider.answer(sent.message)
    assert (refused.value.code, field_code(refused.value)) == ("consent.ceiling_exceeded", FieldCode.CEILING_EXCEEDED)
    assert world.entry(sent.request)["status"] == "refused"
    assert world.provider_store.asked(owned_id(BANK_A, sent.request)).field_code == "412"
    return refused.value.message


def test_five_one_time_consents_in_one_instant_give_one_answer(world, firm):
    requests = [asked(world, firm, **ONCE) for _ in range(5)]
    assert len(world.provider.answer(requests[0].message)) > 0
    for sent in requests[1:]:
        assert "2 answers a year" in (message := refusal(world, sent))
        assert "one_time allows 1" in message


def test_the_place_is_free_again_after_a_year(world, firm):
    world.provider.answer(asked(world, firm, **ONCE).message)
    world.clock.advance(365 * MS_PER_DAY - 1)
    refusal(world, asked(world, firm, **ONCE))
    world.clock.advance(1)
    assert len(world.provider.answer(asked(world, firm, **ONCE).message)) > 0


def test_three_consents_of_sixty_months_are_not_a_hundred_and_eighty(world, firm):
    world.provider.answer(asked(world, firm, **years(2021, 2025)).message)
    for first in (2011, 2016):
        message = refusal(world, asked(world, firm, **years(first, first + 4)))
        assert "120 months of data" in message
        assert "underwriting allows 60" in message


def test_months_that_are_asked_for_again_are_no_new_months(world, firm):
    for first, last in ((2021, 2025), (2022, 2024), (2021, 2021)):
        assert len(world.provider.answer(asked(world, firm, **years(first, last)).message)) > 0
    assert "61 months" in refusal(world, asked(world, firm, period_from=date(2020, 12, 31), period_to=date(2021, 1, 1)))


def test_the_window_of_months_moves_with_the_calendar(world, firm):
    """Who watches the last sixty months sees two months more after two months, and no more than that."""
    world.provider.answer(asked(world, firm, period_from=date(2021, 4, 1), period_to=date(2026, 3, 31)).message)
    world.clock.advance(61 * MS_PER_DAY)
    later = {"period_from": date(2021, 6, 1), "period_to": date(2026, 5, 31)}
    assert len(world.provider.answer(asked(world, firm, **later).message)) > 0
    earlier = asked(world, firm, period_from=date(2021, 3, 1), period_to=date(2021, 3, 31))
    assert "63 months" in (message := refusal(world, earlier))
    assert "allows 62" in message


def test_what_the_bank_must_have_erased_counts_no_more(world, firm):
    world.provider.answer(asked(world, firm, **years(2016, 2020)).message)
    world.clock.advance(365 * MS_PER_DAY - 1)
    refusal(world, asked(world, firm, **years(2021, 2025)))
    world.clock.advance(1)
    assert len(world.provider.answer(asked(world, firm, **years(2021, 2025)).message)) > 0


@pytest.mark.parametrize("other", ["taxpayer", "recipient", "purpose"])
def test_another_taxpayer_recipient_or_purpose_has_a_ceiling_of_its_own(world, firm, other):
    world.provider.answer(asked(world, firm, **ONCE).message)
    terms = dict(ONCE)
    if other == "purpose":
        terms["purpose"] = Purpose.MODEL_DEVELOPMENT
    bank = BANK_B if other == "recipient" else BANK_A
    about = Uscc(f"{firm}X") if other == "taxpayer" else firm
    assert len(world.provider.answer(asked(world, about, bank=bank, **terms).message)) > 0


def test_a_refused_request_takes_no_place(world, firm):
    waiting = asked(world, firm, **ONCE)
    world.provider.answer(waiting.message)
    refusal(world, asked(world, firm, **ONCE))
    world.clock.advance(365 * MS_PER_DAY)
    assert len(world.provider.answer(asked(world, firm, **ONCE).message)) > 0


def test_a_retry_takes_no_second_place(world, firm):
    """[EXCHANGE-18]"""
    sent = asked(world, firm, **ONCE)
    assert len({world.provider.answer(sent.message) for _ in range(3)}) == 1


def test_answers_at_once_take_one_place_each(world, firm):
    """Two processes over one database, four threads each: one of eight one-time consents is answered."""
    stores = [world.provider_store, ProviderStore(create_engine(world.databases["bureau"].url), cipher=world.cipher)]
    requests = [asked(world, firm, **ONCE) for _ in range(8)]
    providers = [world.provider_with(world.vault) for _ in stores]
    for provider, store in zip(providers, stores, strict=True):
        provider._store = store
    with ThreadPoolExecutor(max_workers=8) as pool:
        outcomes = [pool.submit(providers[number % 2].answer, sent.message) for number, sent in enumerate(requests)]
    codes = Counter(outcome.exception().code if outcome.exception() else "ok" for outcome in outcomes)
    stores[1]._engine.dispose()
    assert codes == {"ok": 1, "consent.ceiling_exceeded": 7}
