"""Every field of a consent is held at every request: one that breaks it, and what both sides say.

``BROKEN`` has a row for each field of the artefact. ``code`` is what the bank is told, whether it refuses itself or its
provider does; ``field`` the return code that the provider puts on the ledger, None where no entry comes to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec
import pytest

from consent_world import BANK_A, BANK_B, BUREAU, OTHER_BUREAU
from exchange_world import NEIGHBOUR
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.encoding import decode_cbor_strict
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import owned_id, split_owned_id
from shuiqiao.client.problem import status_of
from shuiqiao.consent.artefact import encode_artefact
from shuiqiao.consent.contract import GRANT
from shuiqiao.consent.model import (
    ConsentArtefact,
    Fetch,
    FieldCode,
    Frequency,
    FrequencyUnit,
    JointConsent,
    JointRole,
    Mode,
    Purpose,
    grant_key,
)
from shuiqiao.consent.text import text_digest
from shuiqiao.exchange.contract import REQUEST, AccessRequestBody
from shuiqiao.exchange.messages import encode_request
from shuiqiao.exchange.model import RequestMessage
from shuiqiao.ledger.receipts.verification import verify_receipt
from shuiqiao.members.key_ring import MemberKeyRing


@dataclass(frozen=True, kw_only=True)
class Broken:
    """How a request breaks a field.

    terms: of the consent. asked: what the request changes. before: what happens before it. file: other bytes that
    both sides have on file. bank: whether the bank is stopped by itself already.
    """

    code: str
    field: FieldCode | None
    status: int = 403
    terms: dict[str, Any] | None = None
    asked: dict[str, Any] | None = None
    before: Callable[[Any, Any], None] | None = None
    file: dict[str, Any] | None = None


def wait(days):
    return lambda world, _: world.clock.advance(days * MS_PER_DAY)


def one_answer(world, consent):
    world.provider.answer(world.asked(consent).message)


def renew(world, consent):
    world.granted(world.enterprise(), renews=split_owned_id(consent)[1])


# Bytes on file that the ledger did not commit to are refused whatever they say: nobody widens a consent on file.
ON_FILE = {
    "taxpayer": NEIGHBOUR,
    "product": "another",
    "identity_check": None,
    "firm": b"g" * 32,
    "salt": b"s" * 32,
    "data_life_days": 365,
    "text": None,
}
SUBSTITUTED = {
    name: Broken(code="consent.commitment_mismatch", field=None, status=422, file={name: value})
    for name, value in ON_FILE.items()
}

BROKEN: dict[str, Broken] = SUBSTITUTED | {
    "consent": Broken(code="consent.unknown", field=None, asked={"consent": bytes(16)}),
    "provider": Broken(code="consent.unknown", field=None, asked={"receiver": OTHER_BUREAU}),
    "recipient": Broken(code="consent.recipient_wrong", field=None, asked={"sender": BANK_B}),
    "purpose": Broken(code="consent.purpose_wrong", field=None, asked={"purpose": Purpose.LOAN_MONITORING}),
    "items": Broken(
        code="consent.not_covered",
        field=FieldCode.FAILED,
        asked={"items": {"invoice_issued@2": ["core", "counterparty"]}},
    ),
    "period_from": Broken(
        code="consent.not_covered", field=FieldCode.FAILED, asked={"period_from": date(2023, 12, 31)}
    ),
    "period_to": Broken(code="consent.not_covered", field=FieldCode.FAILED, asked={"period_to": date(2026, 1, 1)}),
    "modes": Broken(code="consent.not_covered", field=FieldCode.FAILED, asked={"mode": Mode.PROVE}),
    "frequency": Broken(
        code="exchange.frequency_exceeded",
        field=FieldCode.CEILING_EXCEEDED,
        status=412,
        terms={"frequency": Frequency(count=1, unit=FrequencyUnit.YEAR)},
        before=one_answer,
    ),
    "fetch": Broken(
        code="exchange.frequency_exceeded",
        field=FieldCode.CEILING_EXCEEDED,
        status=412,
        terms={"fetch": Fetch.ONE_TIME, "frequency": Frequency(count=1, unit=FrequencyUnit.DAY)},
        before=lambda world, consent: (one_answer(world, consent), wait(3)(world, consent)),
    ),
    "valid_from_ms": Broken(code="consent.not_yet_valid", field=None, terms={"starts_in_days": 5}),
    "valid_to_ms": Broken(code="consent.expired", field=None, before=wait(61)),
    "renews": Broken(code="consent.renewed", field=FieldCode.INVALID, before=renew),
    "joint": Broken(
        code="consent.joint_incomplete",
        field=FieldCode.INVALID,
        terms={"joint": JointConsent(id=b"\x05" * 16, role=JointRole.BORROWER, other_provider=BUREAU)},
    ),
    "key": Broken(code="consent.commitment_mismatch", field=None, status=422, file={"key": b"k"}),
}
ELSEWHERE = {"outputs": "tests/integration/exchange/test_score.py"}
"""Fields of one mode, held where the mode is tested."""


def test_every_field_has_its_row():
    """[CONSENT-29]: a field that is added is held by both sides, or this fails."""
    assert set(ConsentArtefact.__struct_fields__) == BROKEN.keys() | ELSEWHERE.keys()


def message_of(world, name, changes):
    fields = {
        "request": world.entropy(16),
        "consent": split_owned_id(name)[1],
        "sender": BANK_A,
        "receiver": BUREAU,
        "purpose": Purpose.UNDERWRITING,
        "mode": Mode.DISCLOSE,
        "items": {"invoice_issued@2": ["amounts", "core"]},
        "period_from": date(2024, 1, 1),
        "period_to": date(2025, 12, 31),
        "made_ms": world.clock.now_ms(),
        "salt": world.entropy(32),
    }
    return RequestMessage(**fields | changes)


def ask_unchecked(world, message):
    """What a bank does that looks at nothing: entry on the ledger, message to the provider."""
    sender = message.sender
    raw = encode_request(message, network=world.network, suite=world.suite, key=world.signing[sender])
    body = AccessRequestBody(
        request=message.request,
        consent=owned_id(message.receiver, message.consent),
        purpose=message.purpose,
        mode=message.mode,
        request_digest=world.suite.digest(raw),
    )
    world.submitters[sender].submit(REQUEST, body)
    return world.provider.answer(raw)


def substitute(world, consent, change):
    """Put other bytes on file at both sides, as somebody could who has their databases and their data keys."""
    artefact = world.consents.artefact(consent)
    key = world.enterprise()._keys.consent_key(artefact.consent, network=world.network)
    if "key" in change:
        key = world.suite.signing_key_from_seed(b"\x09" * 32)
        change = {"key": key.public_key}
    if change.get("identity_check", 0) is None:
        change = {"identity_check": world.identity_check(reference="another")}
    other = msgspec.structs.replace(artefact, **change)
    if "text" not in change:
        other = msgspec.structs.replace(other, text=text_digest(other, suite=world.suite))
    raw = encode_artefact(other, network=world.network, suite=world.suite, key=key)
    for service in (world.consents, world.files[BANK_A]):
        found = service._store.artefact(consent)
        with service._store._engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM consent_artefact WHERE consent = ?", (consent,))
        service._keep(other, raw, endorsement=found.endorsement)


def told(act) -> ShuiqiaoError:
    with pytest.raises(ShuiqiaoError) as refusal:
        act()
    return refusal.value


@pytest.mark.parametrize("name", BROKEN)
def test_a_request_that_breaks_a_field_is_refused_on_both_sides(world, name):
    """[CONSENT-29] [CONSENT-17]: the same code at the bank and at the bureau, its HTTP status, its field code."""
    row = BROKEN[name]
    terms = dict(row.terms or {})
    if "starts_in_days" in terms:
        starts_ms = world.clock.now_ms() + terms.pop("starts_in_days") * MS_PER_DAY
        terms |= {"valid_from_ms": starts_ms, "valid_to_ms": starts_ms + 30 * MS_PER_DAY}
    consent = world.granted(**terms)
    if row.before is not None:
        row.before(world, consent)
    if row.file is not None:
        substitute(world, consent, row.file)
    message = message_of(world, consent, row.asked or {})
    by_bureau = told(lambda: ask_unchecked(world, message))
    assert (by_bureau.code, status_of(by_bureau)) == (row.code, row.status)
    entry = world.entry(message.request, bank=message.sender)
    if row.field is not None:
        assert (entry["status"], world.provider_store.asked(message.name).field_code) == ("refused", row.field)
    if not {"consent", "sender", "receiver", "purpose"} & (row.asked or {}).keys():
        # Those four a bank takes from the artefact on its file: it cannot ask for others.
        by_bank = told(lambda: world.provider.answer(world.asked(consent, **row.asked or {}).message))
        assert (by_bank.code, status_of(by_bank)) == (row.code, row.status)


STEPS = [("active", None), ("paused", "pause"), ("revoked", "revoke"), ("expired", "end")]


@pytest.mark.parametrize(("status", "act"), STEPS)
def test_the_status_at_the_current_checkpoint_is_proven_by_the_state(world, status, act):
    """[CONSENT-29]: what the ledger holds of a consent, by a receipt that anybody verifies with the genesis alone."""
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    if act == "end":
        world.clock.advance(61 * MS_PER_DAY)
        world.granted(world.enterprise(9), taxpayer=NEIGHBOUR)  # Time stands on the ledger with the next block.
    elif act is not None:
        world.consents.relay(getattr(enterprise, act)(consent, now_ms=world.clock.now_ms()).raw)
    index = world.consents._store.artefact(consent).granted_index
    receipt = verify_receipt(
        world.ledger.receipt(index, state_keys=[grant_key(consent)]),
        parameters=world.parameters,
        kinds=world.kinds,
        key_ring=MemberKeyRing(),
        suite=world.suite,
    )
    [claim] = [claim for claim in receipt.state if claim.key == grant_key(consent)]
    held = decode_cbor_strict(claim.value, max_bytes=4096)
    ended = world.ledger.last_block()[1] > held["valid_to_ms"]
    assert (receipt.transaction.kind, "expired" if ended else held["status"]) == (GRANT, status)
