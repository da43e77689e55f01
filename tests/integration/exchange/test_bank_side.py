"""[EXCHANGE-11] [EXCHANGE-15]: what a bank asks itself, keeps, and believes of its own ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import count

import pytest

from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.ids import MemberId, Uscc, owned_id
from shuiqiao.consent import ceilings
from shuiqiao.consent.model import Purpose
from shuiqiao.vault.model import ErasureReason

BUREAU, BANK_A = MemberId("bureau"), MemberId("bank-a")
GRADES = "tax_credit_grade@1"
ITEMS = {GRADES: ["core"]}
PERIOD = {"period_from": date(2024, 1, 1), "period_to": date(2025, 12, 31)}
_numbers = count(1)


class Standing:
    """A bank's way to the ledger, with one thing about it changed."""

    def __init__(self, inner, **changed):
        self._inner, self._changed = inner, changed

    def __getattr__(self, name):
        return self._changed.get(name) or getattr(self._inner, name)


@pytest.fixture
def firm(world):
    found = Uscc(f"91440300MA5BANKS{next(_numbers):02d}")
    world.ingest({"tax_credit_grade": [{"uscc": found, "year": 2024, "grade": "A"}]})
    return found


def granted(world, firm):
    return world.granted(world.enterprise(90), taxpayer=firm, items=ITEMS)


def received(world, firm):
    sent = world.asked(granted(world, firm), items=ITEMS)
    return world.banks[BANK_A].receive(sent.request, world.provider.answer(sent.message))


def requests_on_file(world):
    with world.databases[BANK_A].connect() as connection:
        return set(connection.exec_driver_sql("SELECT request FROM exchange_request").scalars())


def test_a_bank_asks_no_more_than_the_purpose_allows_today(world, firm, monkeypatch):
    """[EXCHANGE-7]: an artefact of yesterday may grant more than the table of today; nothing is put on the ledger."""
    consent = granted(world, firm)
    lower = replace(ceilings.CEILINGS[Purpose.UNDERWRITING], max_period_months=12)
    monkeypatch.setitem(ceilings.CEILINGS, Purpose.UNDERWRITING, lower)
    before = len(world.raw_transactions())
    with pytest.raises(Denied, match=r"^consent\.ceiling_exceeded"):
        world.asked(consent, items=ITEMS)
    assert before == len(world.raw_transactions())


@pytest.mark.parametrize(
    ("failure", "is_kept"),
    [(Unavailable("ledger.commit_late", "later", retry_after_s=1), True), (Denied("consent.paused", "no"), False)],
    ids=["unknown", "refused"],
)
def test_a_request_stays_on_file_while_it_may_be_on_the_ledger(world, firm, failure, is_kept):
    """[EXCHANGE-5]"""

    def fail(*_):
        raise failure

    consent, before = granted(world, firm), requests_on_file(world)
    bank = world.recipient(BANK_A)
    bank._submitter = Standing(world.submitters[BANK_A], submit=fail)
    with pytest.raises(type(failure)):
        bank.request(world.wanted(consent, items=ITEMS))
    assert is_kept == bool(requests_on_file(world) - before)


def test_an_answer_is_accepted_where_the_place_of_the_request_was_never_learnt(world, firm):
    """LIMIT of [EXCHANGE-11]: all but the age of the manifest is checked."""
    consent = granted(world, firm)
    bank = world.recipient(BANK_A)
    committed_late = Unavailable("ledger.commit_late", "later", retry_after_s=1)

    def commit_and_fail(*acts):
        world.submitters[BANK_A].submit(*acts)
        raise committed_late

    bank._submitter = Standing(world.submitters[BANK_A], submit=commit_and_fail)
    before = requests_on_file(world)
    with pytest.raises(Unavailable):
        bank.request(world.wanted(consent, items=ITEMS))
    (request,) = requests_on_file(world) - before
    asked = world.recipient_stores[BANK_A].request(request)
    assert asked.index is None
    data = world.banks[BANK_A].receive(request, world.provider.answer(asked.message))
    assert data.records.record_count == 1


def test_records_that_another_bureau_anchored_are_not_the_providers(world, firm):
    """[EXCHANGE-11]: by the bank's own ledger."""

    class Reassigned:
        def __init__(self):
            self._whole = world.ledger.state()

        def get(self, key):
            return None if key.startswith("vault/batch/bureau/") else self._whole.get(key)

    sent = world.asked(granted(world, firm), items=ITEMS)
    answer = world.provider.answer(sent.message)
    bank = world.recipient(BANK_A)
    bank._submitter = Standing(world.submitters[BANK_A], state=Reassigned)
    with pytest.raises(IntegrityError, match=r"^vault\.batch_unanchored"):
        bank.receive(sent.request, answer)


def test_what_the_bank_knew_stays_readable_when_it_is_superseded(world, firm):
    """[EXCHANGE-15]"""
    data = received(world, firm)
    world.ingest({"tax_credit_grade": [{"uscc": firm, "year": 2024, "grade": "B"}]})
    again = world.banks[BANK_A].load(data.request)
    assert again.records.types[GRADES].rows.column("grade").to_pylist() == ["A"]
    assert again.manifest == data.manifest


def test_a_batch_that_was_erased_is_read_no_more(world, firm):
    """[EXCHANGE-15]"""
    data = received(world, firm)
    (leaf,) = world.vault.live_leaves(uscc=firm, type_id=GRADES, **PERIOD)
    world.vault.erase(leaf.batch, [], reason=ErasureReason.LEGAL_ORDER, anchor=world.submitters[BUREAU])
    with pytest.raises(Conflict, match=r"^vault\.batch_erased"):
        world.banks[BANK_A].load(data.request)


def test_a_request_that_was_never_made_has_no_answer(world):
    for act in (lambda: world.banks[BANK_A].load(bytes(16)), lambda: world.banks[BANK_A].receive(bytes(16), b"")):
        with pytest.raises(InvalidInput, match=r"^exchange\.request_not_ours"):
            act()


def test_a_delivered_answer_keeps_its_place(world, firm):
    """[EXCHANGE-18]: only what was not answered gives its place back."""
    data = received(world, firm)
    kept = world.provider_store.asked(owned_id(BANK_A, data.request))
    world.provider_store.release(kept)
    assert world.provider_store.asked(kept.request) == kept
    assert kept.taxpayer == firm
