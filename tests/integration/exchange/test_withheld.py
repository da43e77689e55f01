"""[EXCHANGE-12] [EXCHANGE-16]: a record left out is seen at once, or proven afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import msgspec
import pytest

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId, Uscc
from shuiqiao.exchange.accusation import WithheldEvidence, accuse_of_withholding, prove_withheld
from shuiqiao.exchange.manifest import encode_manifest
from shuiqiao.vault import service
from shuiqiao.vault.evidence import RecordProof, ShownGroup, record_leaf
from shuiqiao.vault.model import ErasureReason, LeafRef

BUREAU, BANK_A, BANK_B = MemberId("bureau"), MemberId("bank-a"), MemberId("bank-b")
TAXPAYER, NEIGHBOUR = Uscc("91440300MA5EXAMPL1"), Uscc("91440300MA5NEIGHB1")
ISSUED = "invoice_issued@2"


class Withholds:
    """A vault whose keeper leaves one invoice out of what is sent; ``lies`` also of what is counted."""

    def __init__(self, world, leaf, *, lies):
        self._world, self._leaf, self._lies = world, leaf, lies

    def disclose(self, *, uscc, groups, period_from, period_to):
        return self._honest_without_leaf(uscc, groups, period_from, period_to)

    def settle(self, **wanted):
        self._world.vault.settle(**wanted)

    def revision(self):
        return self._world.vault.revision()

    def count_live(self, **scope):
        counts = dict(self._world.vault.count_live(**scope))
        if self._lies and scope["type_id"] == ISSUED:
            counts["2024-01"] -= 1
        return counts

    def live_leaves(self, **scope):
        leaves = self._world.vault.live_leaves(**scope)
        return [leaf for leaf in leaves if leaf != self._leaf] if self._lies else leaves

    def _honest_without_leaf(self, uscc, groups, period_from, period_to):
        """Run the vault's own code over an index with the record hidden: whoever keeps a vault can do that."""
        honest = service.live_entries

        def hiding(view, record_type, **scope):
            return [
                entry
                for entry in honest(view, record_type, **scope)
                if LeafRef(batch=view.batch(entry.batch).id, index=entry.index) != self._leaf
            ]

        service.live_entries = hiding
        try:
            return self._world.vault.disclose(uscc=uscc, groups=groups, period_from=period_from, period_to=period_to)
        finally:
            service.live_entries = honest


def january_invoice(world):
    return world.vault.live_leaves(uscc=TAXPAYER, type_id=ISSUED, **january())[0]


def one_more(world, number):
    """Take in one January invoice more; where it is kept. Whoever asks for it erases it, so that others count as before."""
    row = {
        "uscc": TAXPAYER, "invoice_no": number, "issue_date": "2024-01-30", "status": "valid",
        "is_red_letter": "false", "amount_fen": 100, "tax_fen": 13, "total_fen": 113, "counterparty_id": "9144",
    }  # fmt: skip
    before = set(world.vault.live_leaves(uscc=TAXPAYER, type_id=ISSUED, **january()))
    world.ingest({"invoice_issued": [row]})
    (leaf,) = set(world.vault.live_leaves(uscc=TAXPAYER, type_id=ISSUED, **january())) - before
    return leaf


def answered_without(world, leaf, *, lies):
    sent = world.asked(world.granted())
    return sent, world.provider_with(Withholds(world, leaf, lies=lies)).answer(sent.message)


@pytest.fixture
def lied(world):
    """A consistent lie: the bank accepted an answer and a manifest that both lack one invoice."""
    leaf = january_invoice(world)
    sent, answer = answered_without(world, leaf, lies=True)
    return leaf, world.banks[BANK_A].receive(sent.request, answer)


def evidence_of(world, received, leaf, *, groups=("core",)):
    return WithheldEvidence(
        manifest=received.manifest_bytes,
        delivered=received.records.types[ISSUED].leaves,
        record=world.vault.prove_record(leaf, groups=groups),
        anchor=world.receipt_of_anchor(leaf.batch),
    )


def test_a_record_missing_from_the_answer_is_seen_at_once(world):
    """[EXCHANGE-12]"""
    sent, answer = answered_without(world, january_invoice(world), lies=False)
    with pytest.raises(IntegrityError) as refusal:
        world.banks[BANK_A].receive(sent.request, answer)
    assert refusal.value.code == "exchange.record_withheld"
    assert "invoice_issued@2 in 2024-01: the signed manifest counts 3 records, 2 were received" in refusal.value.message
    assert world.entry(sent.request)["status"] == "delivered"
    assert world.recipient_stores[BANK_A].received(sent.request) is None


def test_a_consistent_lie_is_proven_afterwards(world, lied):
    """[EXCHANGE-16]"""
    leaf, received = lied
    accusation = prove_withheld(evidence_of(world, received, leaf), **world.facts())
    assert (accusation.provider, accusation.type_id, accusation.month) == (BUREAU, ISSUED, "2024-01")
    assert (accusation.counted, accusation.batch, accusation.index) == (2, leaf.batch, leaf.index)
    assert (accusation.request, accusation.consent) == (received.request, received.artefact.consent)
    assert accusation.anchored_index < accusation.as_of_size


def accused(world, received, record):
    return accuse_of_withholding(
        received.manifest_bytes,
        delivered=received.records.types[ISSUED].leaves,
        record=record,
        provider=BUREAU,
        ledger=world.ledger,
        submitter=world.submitters[BANK_B],
        kinds=world.kinds,
        suite=world.suite,
        catalogue=world.catalogue,
    )


def test_any_member_proves_it_on_its_own_copy_of_the_ledger(world, lied):
    """[EXCHANGE-16]"""
    leaf, received = lied
    expected = prove_withheld(evidence_of(world, received, leaf), **world.facts())
    assert expected == accused(world, received, world.vault.prove_record(leaf, groups=("core",)))


def test_a_record_of_a_batch_that_nobody_anchored_accuses_nobody(world, lied):
    """[EXCHANGE-16]"""
    leaf, received = lied
    record = msgspec.structs.replace(world.vault.prove_record(leaf, groups=("core",)), batch=bytes(16))
    with pytest.raises(IntegrityError, match=r"^vault\.batch_unanchored"):
        accused(world, received, record)


def test_a_lie_is_proven_after_the_liar_replaced_its_key(world, lied):
    """[MEMBER-26]: the ledger holds the manifest's digest, delivered by the provider itself."""
    leaf, received = lied
    world.rotate(BUREAU)
    assert prove_withheld(evidence_of(world, received, leaf), **world.facts()).provider == BUREAU


def test_a_key_that_was_replaced_accuses_nobody(world, lied):
    """[MEMBER-26]: a manifest that its provider never delivered, signed by whoever stole the key it had."""
    leaf, received = lied
    stolen, named = world.rotate(BUREAU), msgspec.structs.replace(received.manifest, cells=[])
    forged = encode_manifest(named, network=world.network, suite=world.suite, key=stolen)
    with pytest.raises(IntegrityError, match=r"^ledger\.document_signers_wrong"):
        prove_withheld(replace(evidence_of(world, received, leaf), manifest=forged), **world.facts())


def unproven(world, evidence, reason, **changes):
    with pytest.raises(IntegrityError, match=rf"^exchange\.accusation_unproven.*{reason}"):
        prove_withheld(evidence, **(world.facts() | changes))


def test_an_honest_provider_is_not_accused(world):
    leaf = january_invoice(world)
    sent = world.asked(world.granted())
    received = world.banks[BANK_A].receive(sent.request, world.provider.answer(sent.message))
    unproven(world, evidence_of(world, received, leaf), "was delivered")


def test_an_accuser_cannot_hide_what_was_delivered(world, lied):
    leaf, received = lied
    evidence = evidence_of(world, received, leaf)
    for delivered in (evidence.delivered[1:], [], [*evidence.delivered, leaf]):
        unproven(world, replace(evidence, delivered=delivered), "not those the manifest fixes")


def test_a_record_of_another_taxpayer_accuses_nobody(world, lied):
    _, received = lied
    wanted = world.wanted(bytes(16))
    other = world.vault.live_leaves(
        uscc=NEIGHBOUR, type_id=ISSUED, period_from=wanted.period_from, period_to=wanted.period_to
    )[0]
    unproven(world, evidence_of(world, received, other), "another taxpayer")


def test_a_record_outside_type_or_period_accuses_nobody(world):
    leaf = january_invoice(world)
    sent = world.asked(world.granted(), period_from=date(2024, 2, 1))
    received = world.banks[BANK_A].receive(sent.request, world.provider.answer(sent.message))
    unproven(world, evidence_of(world, received, leaf), "the record is of 2024-01-")
    items = {"tax_credit_grade@1": ["core"]}
    sent = world.asked(world.granted(items=items), items=items)
    only_grades = world.banks[BANK_A].receive(sent.request, world.provider.answer(sent.message))
    evidence = replace(evidence_of(world, received, leaf), manifest=only_grades.manifest_bytes)
    unproven(world, evidence, "does not speak for invoice_issued@2")


def test_a_record_that_does_not_show_whose_it_is_accuses_nobody(world, lied):
    leaf, received = lied
    unproven(world, evidence_of(world, received, leaf, groups=("amounts",)), "does not show its group core")


@pytest.mark.parametrize("day", ["2024-13-01", "January", 19_727, None, ["2024-01-05"]])
def test_a_record_that_was_anchored_without_a_day_accuses_nobody(world, lied, day):
    """[EXCHANGE-16]: a number is no date, though it counts days well."""
    leaf, received = lied
    core = encode_json({"type": ISSUED, "group": "core", "uscc": TAXPAYER, "issue_date": day})
    part = ShownGroup(group="core", salt=bytes(16), content=core)
    record = RecordProof(standard=ISSUED, batch=leaf.batch, index=0, groups=[part], path=[])
    fact = replace(world.facts()["batch_of"](leaf.batch), count=1, root=record_leaf(record, suite=world.suite))
    evidence = replace(evidence_of(world, received, leaf), record=record)
    unproven(world, evidence, "the record's issue_date is", batch_of=lambda _: fact)


def test_a_record_anchored_after_the_manifest_accuses_nobody(world, lied):
    _, received = lied
    leaf = one_more(world, "24442000000000099999")
    unproven(world, evidence_of(world, received, leaf), "as of size")
    world.vault.erase(leaf.batch, [leaf.index], reason=ErasureReason.LEGAL_ORDER, anchor=world.submitters[BUREAU])


@pytest.mark.parametrize(("size", "root"), [(2**50, bytes(32)), (None, bytes(32))], ids=["huge", "root"])
def test_a_manifest_of_a_ledger_that_never_was_accuses_nobody(world, lied, size, root):
    """[EXCHANGE-16]: what was anchored before its checkpoint is not known, whoever signed it."""
    leaf, received = lied
    named = msgspec.structs.replace(received.manifest, as_of_size=size or received.manifest.as_of_size, as_of_root=root)
    signed = encode_manifest(named, network=world.network, suite=world.suite, key=world.signing[BUREAU])
    with pytest.raises(IntegrityError, match=r"^ledger\.checkpoint_unproven"):
        prove_withheld(replace(evidence_of(world, received, leaf), manifest=signed), **world.facts())


def january():
    return {"period_from": date(2024, 1, 1), "period_to": date(2024, 1, 31)}


def test_a_receipt_of_another_batch_accuses_nobody(world, lied):
    leaf, received = lied
    evidence = evidence_of(world, received, leaf)
    other = next(found for found in evidence.delivered if found.batch != leaf.batch)
    unproven(world, replace(evidence, anchor=world.receipt_of_anchor(other.batch)), "not of the anchor")


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (lambda anchor: replace(anchor, network=bytes(32)), "not of the anchor of the record's batch on this network"),
        (lambda anchor: replace(anchor, transaction=of_another_kind(anchor)), "not of the anchor"),
        (lambda anchor: replace(anchor, transaction=by(anchor, BANK_A)), "anchored by bank-a, the manifest is signed"),
    ],
    ids=["network", "kind", "author"],
)
def test_a_receipt_of_something_else_accuses_nobody(world, lied, bend, reason):
    """[EXCHANGE-16]: only what the accused itself anchored, on this network, shows that it knew of the record."""
    leaf, received = lied
    evidence = evidence_of(world, received, leaf)
    unproven(world, replace(evidence, anchor=bend(evidence.anchor)), reason)


def of_another_kind(anchor):
    return msgspec.structs.replace(anchor.transaction, kind="anchor.erase")


def by(anchor, author):
    return msgspec.structs.replace(anchor.transaction, author=author)


def test_the_anchor_is_before_the_checkpoint_and_not_beside_it(world, lied):
    """[EXCHANGE-16]: of a log of n leaves the last is leaf n - 1."""
    leaf, received = lied
    evidence = evidence_of(world, received, leaf)
    size = received.manifest.as_of_size
    assert prove_withheld(replace(evidence, anchor=replace(evidence.anchor, index=size - 1)), **world.facts())
    unproven(world, replace(evidence, anchor=replace(evidence.anchor, index=size)), f"as of size {size}")


def test_a_group_that_is_not_the_core_of_its_type_accuses_nobody(world, lied):
    """The content's own words count, not the label it is shown under."""
    leaf, received = lied
    evidence = evidence_of(world, received, leaf, groups=("core", "amounts"))
    first, second, *rest = evidence.record.groups
    swapped = [msgspec.structs.replace(first, group="amounts"), msgspec.structs.replace(second, group="core"), *rest]
    record = msgspec.structs.replace(evidence.record, groups=swapped)
    with pytest.raises(IntegrityError, match=r"^vault\.leaf_mismatch.*is shown as"):
        prove_withheld(replace(evidence, record=record), **world.facts())


def test_a_manifest_by_anybody_else_accuses_nobody(world, lied):
    """[EXCHANGE-9]: only the provider's own signature binds it."""
    leaf, received = lied
    forged = encode_manifest(received.manifest, network=world.network, suite=world.suite, key=world.signing[BANK_A])
    with pytest.raises(IntegrityError, match=r"^ledger\.document_signers_wrong"):
        prove_withheld(replace(evidence_of(world, received, leaf), manifest=forged), **world.facts())


def test_a_record_whose_bytes_were_changed_accuses_nobody(world, lied):
    leaf, received = lied
    evidence = evidence_of(world, received, leaf)
    core = evidence.record.groups[0]
    bent = msgspec.structs.replace(core, content=core.content.replace(b"2024-01", b"2024-02"))
    record = msgspec.structs.replace(evidence.record, groups=[bent, *evidence.record.groups[1:]])
    with pytest.raises((IntegrityError, InvalidInput), match=r"^ledger\.inclusion"):
        prove_withheld(replace(evidence, record=record), **world.facts())


def test_a_record_erased_since_accuses_nobody(world):
    """LIMIT of [EXCHANGE-16]: the state of today no longer shows that it was live."""
    leaf = one_more(world, "24442000000000099998")
    sent, answer = answered_without(world, leaf, lies=True)
    received = world.banks[BANK_A].receive(sent.request, answer)
    evidence = evidence_of(world, received, leaf)
    world.clock.advance(MS_PER_DAY)
    world.vault.erase(leaf.batch, [leaf.index], reason=ErasureReason.TAXPAYER_REQUEST, anchor=world.submitters[BUREAU])
    unproven(world, evidence, "superseded or erased today")
