"""Models at their owner and at a provider: kept before they are registered, opened, reviewed, approved, run."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from consent_world import BANK_A, BANK_B, BUREAU, OTHER_BUREAU, REGULATOR
from models_world import BANDS, a_content
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.ids import owned_id
from shuiqiao.consent.model import Output, Purpose
from shuiqiao.ledger.transactions.document import decode_document, verify_document
from shuiqiao.models import service
from shuiqiao.models.contract import APPROVE, ModelRegisterBody
from shuiqiao.models.model import (
    MAX_CONTENT_BYTES,
    MAX_REPORT_BYTES,
    ModelForm,
    RetireReason,
    ReviewOutcome,
    ReviewReport,
)
from shuiqiao.models.store import KeptContent

FINDINGS = "Bands are wide; no counterparty is read."
PERSON = "9a" * 16


def test_a_model_is_registered_handed_over_reviewed_approved_and_run(world):
    """[MODEL-1] [MODEL-3] [MODEL-6] [MODEL-7]"""
    content = a_content()
    bank, bureau = world.registries[BANK_A], world.registries[BUREAU]
    model, body = world.registered(content)
    assert (body.outputs, body.purpose) == ([Output.BAND, Output.YES_NO], Purpose.UNDERWRITING)
    with pytest.raises(Denied, match=r"models\.content_missing"):
        bureau.review(model, outcome=ReviewOutcome.ACCEPTED, findings=FINDINGS, reviewer=PERSON)
    bureau.receive(model, bank.handed(model), sender=BANK_A)
    bureau.receive(model, bank.handed(model), sender=BANK_A)
    assert model in bureau.names()
    with pytest.raises(Denied, match=r"models\.not_approved"):
        bureau.runnable(model, digest=body.digest, provider=BUREAU)

    kept = bureau.review(model, outcome=ReviewOutcome.ACCEPTED, findings=FINDINGS, reviewer=PERSON)
    assert bureau.review(model, outcome=ReviewOutcome.ACCEPTED, findings=FINDINGS, reviewer="other") == kept
    with pytest.raises(Conflict, match=r"models\.step_invalid"):
        bureau.review(model, outcome=ReviewOutcome.ACCEPTED, findings="something else", reviewer=PERSON)
    report = bureau.report(model)
    assert (report.output_values, report.rank, report.findings) == ({Output.BAND: 3, Output.YES_NO: 2}, 1, FINDINGS)
    assert kept.reviewer == PERSON
    document = decode_document(
        kept.report,
        ReviewReport,
        name=service.REPORT,
        network=world.network,
        suite=world.suite,
        max_bytes=MAX_REPORT_BYTES,
    )
    verify_document(document, public_keys=(world.signing[BUREAU].public_key,), suite=world.suite)

    world.submitters[BUREAU].submit(APPROVE, bureau.approval_of(model))
    assert bureau.runnable(model, digest=body.digest, provider=BUREAU)[1] == content
    with pytest.raises(InvalidInput, match=r"models\.digest_wrong"):
        bureau.runnable(model, digest=bytes(32), provider=BUREAU)
    with pytest.raises(Conflict, match=r"models\.step_invalid: .* is approved here"):
        bureau.approval_of(model)
    with pytest.raises(Denied, match=r"models\.not_approved"):
        world.registries[OTHER_BUREAU].runnable(model, digest=body.digest, provider=OTHER_BUREAU)

    bureau.retire(model, reason=RetireReason.UNFIT, here_only=True)
    with pytest.raises(Denied, match=r"models\.not_approved: .* is retired at"):
        bureau.runnable(model, digest=body.digest, provider=BUREAU)
    world.registries[REGULATOR].retire(model, reason=RetireReason.ORDERED, here_only=False)
    with pytest.raises(Denied, match=r"models\.retired"):
        bureau.runnable(model, digest=body.digest, provider=BUREAU)


def test_nothing_of_a_content_stands_on_the_ledger_or_in_clear_in_a_database(world):
    """[MODEL-1]: the same card is found by whoever looks where it must not be."""
    content = a_content(name="leak-me-7")
    model = world.offered(content)
    world.registries[BUREAU].review(model, outcome=ReviewOutcome.ACCEPTED, findings="leak me too", reviewer=PERSON)
    on_ledger = b"".join(world.raw_transactions())
    for secret in (b"leak-me-7", b"leak me too", content[:40], world.suite.digest(content)):
        assert secret not in on_ledger
        for member in (BANK_A, BUREAU):
            file = world.databases[member].url.database
            with world.databases[member].connect() as connection:
                connection.execute(text("PRAGMA wal_checkpoint"))
            assert secret not in Path(file).read_bytes()
    assert b"leak-me-7" in world.registries[BANK_A].handed(model)


def test_only_what_opens_the_commitment_is_taken_in_and_only_from_the_owner(world):
    """[MODEL-7]"""
    bank, bureau = world.registries[BANK_A], world.registries[BUREAU]
    model, _ = world.registered(a_content(name="opened"))
    handed = bank.handed(model)
    for sender, given, code in (
        (BANK_B, handed, r"models\.party_wrong"),
        (BANK_A, handed[:-1], r"models\.content_malformed"),
        (BANK_A, encode_cbor({"content": b"x"}), r"models\.content_malformed"),
        (BANK_A, encode_cbor({"content": b"", "salt": bytes(32)}), r"models\.content_malformed"),
        (BANK_A, encode_cbor({"content": a_content(name="opened"), "salt": bytes(32)}), r"models\.digest_differs"),
        (BANK_A, encode_cbor({"content": bytes(MAX_CONTENT_BYTES + 1), "salt": bytes(32)}), r"models\.content_mal"),
    ):
        with pytest.raises((Denied, InvalidInput, IntegrityError), match=code):
            bureau.receive(model, given, sender=sender)
    assert model not in bureau.names()
    with pytest.raises(Denied, match=r"models\.unknown"):
        bureau.receive(owned_id(BANK_A, b"n" * 16), handed, sender=BANK_A)
    bank.retire(model, reason=RetireReason.SUPERSEDED, here_only=False)
    with pytest.raises(Denied, match=r"models\.retired"):
        bureau.receive(model, handed, sender=BANK_A)


def test_the_same_model_is_prepared_once_and_anew_once_it_was_retired(world):
    bank, content = world.registries[BANK_A], a_content(name="prepared")
    prepared = bank.prepare(content, form=ModelForm.SCORECARD, purpose=Purpose.UNDERWRITING)
    assert bank.prepare(content, form=ModelForm.SCORECARD, purpose=Purpose.UNDERWRITING) == prepared
    assert not bank.is_registered(prepared)
    model, body = world.registered(content)
    assert body == prepared
    other = bank.prepare(content, form=ModelForm.SCORECARD, purpose=Purpose.LOAN_MONITORING)
    assert other.digest != body.digest
    bank.retire(model, reason=RetireReason.SUPERSEDED, here_only=False)
    anew = bank.prepare(content, form=ModelForm.SCORECARD, purpose=Purpose.UNDERWRITING)
    assert anew.model != body.model
    with pytest.raises(InvalidInput, match=r"models\.content_too_large"):
        bank.prepare(bytes(MAX_CONTENT_BYTES + 1), form=ModelForm.SCORECARD, purpose=Purpose.UNDERWRITING)
    with pytest.raises(InvalidInput, match=r"models\.content_too_large"):
        bank.prepare(b"", form=ModelForm.SCORECARD, purpose=Purpose.UNDERWRITING)


def test_a_content_that_declares_other_outputs_than_registered_is_rejected_and_not_accepted(world):
    """[MODEL-3]: the owner is not believed, what it registered is held against what runs."""
    bank, bureau = world.registries[BANK_A], world.registries[BUREAU]
    honest = bank.prepare(a_content(name="sly"), form=ModelForm.SCORECARD, purpose=Purpose.UNDERWRITING)
    sly = ModelRegisterBody(
        model=honest.model, digest=honest.digest, form=honest.form, outputs=[Output.YES_NO], purpose=honest.purpose
    )
    world.submitters[BANK_A].submit("model.register", sly)
    model = owned_id(BANK_A, sly.model)
    bureau.receive(model, bank.handed(model), sender=BANK_A)
    with pytest.raises(Denied, match=r"models\.outputs_differ"):
        bureau.review(model, outcome=ReviewOutcome.ACCEPTED, findings=FINDINGS, reviewer=PERSON)
    kept = bureau.review(model, outcome=ReviewOutcome.REJECTED, findings="Other outputs.", reviewer=PERSON)
    assert bureau.read_report(kept).output_values == {}
    with pytest.raises(Conflict, match=r"models\.step_invalid: .* is rejected here"):
        bureau.approval_of(model)


def test_a_provider_that_cannot_read_a_form_accepts_none_of_it(world):
    model = world.offered(a_content(name="unread"))
    blind = world.registry(BUREAU, readers={})
    with pytest.raises(Unavailable, match=r"models\.form_unknown"):
        blind.review(model, outcome=ReviewOutcome.ACCEPTED, findings=FINDINGS, reviewer=PERSON)


def test_a_provider_keeps_so_many_models_of_one_owner_and_retired_ones_make_room(world, monkeypatch):
    provider = world.registries[OTHER_BUREAU]
    first, second = (
        world.offered(a_content({**BANDS, "yes_from": cut}), owner=BANK_B, provider=OTHER_BUREAU) for cut in (501, 502)
    )
    third, _ = world.registered(a_content({**BANDS, "yes_from": 503}), owner=BUREAU)
    handed = world.registries[BUREAU].handed(third)
    # Another owner's take no room.
    provider.receive(third, handed, sender=BUREAU)
    fourth = world.registry(BANK_B).prepare(
        a_content({**BANDS, "yes_from": 504}), form=ModelForm.SCORECARD, purpose=Purpose.UNDERWRITING
    )
    world.submitters[BANK_B].submit("model.register", fourth)
    model = owned_id(BANK_B, fourth.model)
    monkeypatch.setattr(service, "MAX_KEPT_OF_OWNER", 2)
    with pytest.raises(Denied, match=r"models\.too_many_kept"):
        provider.receive(model, world.registries[BANK_B].handed(model), sender=BANK_B)
    world.registries[BANK_B].retire(first, reason=RetireReason.SUPERSEDED, here_only=False)
    provider.receive(model, world.registries[BANK_B].handed(model), sender=BANK_B)
    assert {second, third, model} <= {*provider.names()}
    assert first not in provider.names()


def test_a_content_that_was_changed_in_its_store_does_not_run(world):
    """[MODEL-6]"""
    bureau, store = world.registries[BUREAU], world.registries[BUREAU]._store
    model = world.offered(a_content(name="damaged"))
    bureau.review(model, outcome=ReviewOutcome.ACCEPTED, findings=FINDINGS, reviewer=PERSON)
    kept = store.content(model)
    store.forget(model)
    store.save(KeptContent(digest=kept.digest, model=model, salt=kept.salt, content=b"other", kept_ms=kept.kept_ms))
    with pytest.raises(IntegrityError, match=r"models\.digest_differs"):
        bureau.approval_of(model)
