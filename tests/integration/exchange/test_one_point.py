"""[EXCHANGE-9] [VAULT-LIVE-3]: what a manifest counts and the checkpoint it names are of one moment."""

from __future__ import annotations

import threading
from datetime import date
from itertools import count

import pytest

from shuiqiao.base.errors import Denied, IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId, Uscc, owned_id
from shuiqiao.exchange.accusation import WithheldEvidence, prove_withheld
from shuiqiao.vault.contract import AMEND, COMMIT, ERASE
from shuiqiao.vault.model import ErasureReason

BUREAU, BANK_A = MemberId("bureau"), MemberId("bank-a")
GRADES = "tax_credit_grade@1"
ITEMS = {GRADES: ["core"]}
PERIOD = {"period_from": date(2024, 1, 1), "period_to": date(2025, 12, 31)}
_numbers = count(1)


class Interrupted:
    """A bureau's way to the ledger on which something happens at each act of one kind."""

    def __init__(self, world, kind, *, before=None, after=None):
        self._inner, self._kind, self._before, self._after = world.submitters[BUREAU], kind, before, after

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def submit(self, kind, body):
        acts = (self._before, self._after) if kind == self._kind else (None, None)
        if acts[0]:
            acts[0]()
        committed = self._inner.submit(kind, body)
        if acts[1]:
            acts[1]()
        return committed


class Gone(Exception):
    """The process was killed."""


def killed():
    raise Gone


@pytest.fixture
def firm():
    return Uscc(f"91440300MA5POINT{next(_numbers):02d}")


def asked(world, firm):
    consent = world.granted(world.enterprise(60), taxpayer=firm, items=ITEMS)
    return world.asked(consent, items=ITEMS)


def take_in(world, firm, letters, *, anchor=None):
    rows = [{"uscc": firm, "year": year, "grade": letter} for year, letter in letters.items()]
    world.ingest({"tax_credit_grade": rows}, anchor=anchor)


def leaves_of(world, firm):
    return world.vault.live_leaves(uscc=firm, type_id=GRADES, **PERIOD)


def received(world, sent):
    return world.banks[BANK_A].receive(sent.request, world.provider.answer(sent.message))


def delivered(data):
    return data.records.types[GRADES].leaves


def grades(data):
    return sorted(data.records.types[GRADES].rows.column("grade").to_pylist())


def expect_unaccused(world, data, firm):
    """Nobody can prove of any record that the answer left it out."""
    for leaf in set(leaves_of(world, firm)) - set(delivered(data)):
        evidence = WithheldEvidence(
            manifest=data.manifest_bytes,
            delivered=delivered(data),
            record=world.vault.prove_record(leaf, groups=["core"]),
            anchor=world.receipt_of_anchor(leaf.batch),
        )
        with pytest.raises(IntegrityError, match=r"^exchange\.accusation_unproven"):
            prove_withheld(evidence, **world.facts())


def test_an_answer_between_anchoring_a_batch_and_noting_it_waits(world, firm):
    sent = asked(world, firm)
    outcomes = []

    def ask():
        try:
            outcomes.append(world.provider.answer(sent.message))
        except ShuiqiaoError as error:
            outcomes.append(error.code)

    take_in(world, firm, {2024: "A"}, anchor=Interrupted(world, COMMIT, after=ask))
    assert outcomes == ["vault.busy"]
    assert world.entry(sent.request)["status"] == "requested"
    data = received(world, sent)
    assert grades(data) == ["A"]
    expect_unaccused(world, data, firm)


def test_who_is_not_in_the_batch_does_not_wait(world, firm):
    sent = asked(world, firm)
    take_in(world, firm, {2024: "B"})
    answers = []
    anchor = Interrupted(world, COMMIT, after=lambda: answers.append(world.provider.answer(sent.message)))
    take_in(world, Uscc("91440300MA5ANOTHER"), {2024: "A"}, anchor=anchor)
    data = world.banks[BANK_A].receive(sent.request, *answers)
    assert grades(data) == ["B"]


def test_a_batch_that_the_ledger_does_not_have_holds_nobody_up(world, firm):
    take_in(world, firm, {2024: "B"})
    sent = asked(world, firm)
    answers = []
    anchor = Interrupted(world, COMMIT, before=lambda: answers.append(world.provider.answer(sent.message)))
    take_in(world, firm, {2025: "A"}, anchor=anchor)
    data = world.banks[BANK_A].receive(sent.request, *answers)
    assert grades(data) == ["B"]
    expect_unaccused(world, data, firm)


@pytest.mark.parametrize(("kind", "moment"), [(COMMIT, "after"), (AMEND, "before"), (AMEND, "after")])
def test_an_ingest_that_was_killed_is_finished_before_the_answer(world, firm, kind, moment):
    """The newer grade is anchored, the older one superseded or about to be, and the index knows neither."""
    take_in(world, firm, {2024: "B"})
    sent = asked(world, firm)
    with pytest.raises(Gone):
        take_in(world, firm, {2024: "A"}, anchor=Interrupted(world, kind, **{moment: killed}))
    data = received(world, sent)
    assert grades(data) == ["A"]
    expect_unaccused(world, data, firm)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_erasure_that_was_killed_is_told_before_the_answer(world, firm, moment):
    """[VAULT-ERASE-1]: the record is gone from the vault, and live on the ledger until that is told."""
    take_in(world, firm, {2024: "A", 2025: "B"})
    first = leaves_of(world, firm)[0]
    evidence = world.vault.prove_record(first, groups=["core"])
    sent = asked(world, firm)
    with pytest.raises(Gone):
        world.vault.erase(
            first.batch,
            [first.index],
            reason=ErasureReason.TAXPAYER_REQUEST,
            anchor=Interrupted(world, ERASE, **{moment: killed}),
        )
    data = received(world, sent)
    assert grades(data) == ["B"]
    withheld = WithheldEvidence(
        manifest=data.manifest_bytes,
        delivered=delivered(data),
        record=evidence,
        anchor=world.receipt_of_anchor(first.batch),
    )
    with pytest.raises(IntegrityError, match=r"^exchange\.accusation_unproven.*superseded or erased today"):
        prove_withheld(withheld, **world.facts())


def test_an_erasure_that_begins_while_the_vault_is_read_is_told_before_the_answer(world, firm):
    """The reading lacks the record already: the answer waits until the ledger says that it was erased."""
    take_in(world, firm, {2024: "A", 2025: "B"})
    first = leaves_of(world, firm)[0]
    sent = asked(world, firm)

    class ErasesWhileRead:
        begun = False

        def __getattr__(self, name):
            return getattr(world.vault, name)

        def revision(self):
            if not self.begun:
                self.begun = True
                with pytest.raises(Gone):
                    world.vault.erase(
                        first.batch,
                        [first.index],
                        reason=ErasureReason.LEGAL_ORDER,
                        anchor=Interrupted(world, ERASE, before=killed),
                    )
            return world.vault.revision()

    answer = world.provider_with(ErasesWhileRead()).answer(sent.message)
    assert world.facts()["status_of"](first.batch, first.index) == "erased"
    assert grades(world.banks[BANK_A].receive(sent.request, answer)) == ["B"]


def test_what_was_anchored_before_the_checkpoint_is_read_after_it(world, firm, monkeypatch):
    """Else a batch that is anchored between reading and checkpoint makes an honest count provably false."""
    take_in(world, firm, {2024: "A"})
    sent = asked(world, firm)
    ledger = world.submitters[BUREAU]

    class AnchorsBeforeTheCheckpoint:
        anchored = False

        def __getattr__(self, name):
            return getattr(ledger, name)

        def checkpoint(self):
            if not self.anchored:
                self.anchored = True
                take_in(world, firm, {2025: "B"}, anchor=ledger)
            return ledger.checkpoint()

    monkeypatch.setitem(world.submitters, BUREAU, AnchorsBeforeTheCheckpoint())
    data = world.banks[BANK_A].receive(sent.request, world.provider_with(world.vault).answer(sent.message))
    assert len(leaves_of(world, firm)) == 2
    expect_unaccused(world, data, firm)
    assert grades(data) == ["A", "B"]


def test_a_vault_that_cannot_catch_up_is_no_refusal(world, firm):
    """[EXCHANGE-8]"""
    sent = asked(world, firm)

    class CannotCatchUp:
        def __getattr__(self, name):
            return getattr(world.vault, name)

        def settle(self, **_wanted):
            raise Denied("ledger.network_frozen", "the network is frozen")

    with pytest.raises(Unavailable, match=r"^exchange\.vault_unsettled.*ledger\.network_frozen"):
        world.provider_with(CannotCatchUp()).answer(sent.message)
    assert world.entry(sent.request)["status"] == "requested"
    assert world.provider_store.asked(owned_id(BANK_A, sent.request)) is None


def test_answers_beside_an_ingest_accuse_nobody(world, firm):
    """Asked from another thread all the while records come in, are superseded and erased."""
    take_in(world, firm, {2023: "C"})
    consent = world.granted(world.enterprise(60), taxpayer=firm, items=ITEMS)
    consents = [consent, *(world.granted(world.enterprise(60), taxpayer=firm, items=ITEMS) for _ in range(4))]
    done = threading.Event()

    def write():
        for letter in "BAMA":
            take_in(world, firm, {2024: letter, 2025: letter})
        leaf = leaves_of(world, firm)[0]
        world.vault.erase(
            leaf.batch, [leaf.index], reason=ErasureReason.RETENTION_OVER, anchor=world.submitters[BUREAU]
        )
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    held = []
    waiting = [world.asked(each, items=ITEMS) for each in consents for _ in range(3)]
    while waiting:
        try:
            held.append((waiting[0], world.provider.answer(waiting[0].message)))
            waiting.pop(0)
        except Unavailable:
            pass
    writer.join()
    assert done.is_set()
    for sent, answer in held:
        try:
            data = world.banks[BANK_A].receive(sent.request, answer)
        except ShuiqiaoError as error:
            assert error.code in {"vault.superseded", "vault.record_erased"}  # noqa: PT017 - either is an honest end
        else:
            expect_unaccused(world, data, firm)
