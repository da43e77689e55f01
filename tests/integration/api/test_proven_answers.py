"""What held and who read what as of a day, with proofs that an outsider checks with the genesis alone [API-15].

The outsider here has the genesis, the suite's hash from the standard library, and the verifier of receipts.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

import consortium_world as worlds
from api_world import NOTHING, asked
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.encoding import decode_cbor_strict
from shuiqiao.client.resources.consents import ConsentPage
from shuiqiao.client.resources.journal import JournalPage, JournalProof
from shuiqiao.client.resources.ledger import Entry, EntryPage
from shuiqiao.client.resources.oversight import PastPage, PastUsePage
from shuiqiao.client.resources.requests import UsePage
from shuiqiao.node.published.verification import ReceiptVerifier
from shuiqiao.node.server import RunningInstitution
from shuiqiao.sandbox.scenario.consortium import BUREAU, home_of


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """A bureau that answered one bank on one day and another one a day later, and whose first day is anchored."""
    folder = tmp_path_factory.mktemp("proven")
    world = worlds.ConsortiumWorld(folder, "intl")
    with ExitStack() as stack:
        stack.callback(world.close)
        found = stack.enter_context(asked(RunningInstitution(world.bureau, stack=stack)))
        first = world.consent()
        world.evidence(first)
        for _ in range(5):
            found.search("/api/v1/usage/searches", taxpayer=worlds.TAXPAYER)
        day = datetime.fromtimestamp(world.clock.now_ms() / 1000, tz=UTC).date()
        world.clock.advance(MS_PER_DAY)
        world.evidence(world.consent())
        found.running.accounts.journal.anchor(world.bureau.outbox)
        bank = stack.enter_context(asked(RunningInstitution(world.bank, stack=stack)))
        yield {
            "bank": bank,
            "asked": found,
            "day": str(day),
            "first": first,
            "genesis": home_of(folder, BUREAU).genesis,
        }


@pytest.fixture(scope="module")
def outsider(story):
    return ReceiptVerifier.from_genesis(genesis=story["genesis"], home=None)


def answer(story, path, form, **parameters):
    asked_at = story["asked"]
    found = (asked_at.search if "taxpayer" in parameters else asked_at.get)(f"/api/v1/{path}", **parameters)
    assert found.status_code == 200, found.text
    return form.model_validate_json(found.content)


def test_who_had_used_a_taxpayers_data_is_told_as_of_a_day_and_proven(story, outsider):
    uses = answer(story, "past/usage/searches", PastUsePage, taxpayer=worlds.TAXPAYER, day=story["day"], proof=True)
    [use] = uses.items
    assert (use.consent, use.status) == (story["first"], "acknowledged")
    receipt = outsider.verify(bytes.fromhex(use.receipt))
    assert (receipt.index, receipt.transaction.kind, receipt.transaction.author) == (
        use.index,
        "access.deliver",
        BUREAU,
    )
    assert f"{use.recipient}/" in use.request
    assert held(receipt)[f"exchange/request/{use.request}"]["consent"] == use.consent
    now = answer(story, "past/usage/searches", PastUsePage, taxpayer=worlds.TAXPAYER)
    assert [row.receipt for row in now.items] == [None, None]
    assert now.items[0].model_copy(update={"receipt": use.receipt}) == use
    page = answer(story, "past/usage/searches", PastUsePage, taxpayer=worlds.TAXPAYER, limit=1)
    rest = answer(story, "past/usage/searches", PastUsePage, taxpayer=worlds.TAXPAYER, limit=1, cursor=page.next)
    assert (*page.items, *rest.items) == now.items
    assert answer(story, "past/usage/searches", PastUsePage, taxpayer="91440300MA5NOBODY1").items == ()
    rows = answer(story, "journal", JournalPage, act="usage.read", limit=500).items
    assert {row.object for row in rows} == {f"taxpayer/{worlds.TAXPAYER}", "taxpayer/91440300MA5NOBODY1"}


@pytest.mark.parametrize("subject", ["consents", "anchors", "given"])
def test_what_held_comes_with_the_receipt_of_each_row(story, outsider, subject):
    page = answer(story, f"past/{subject}", PastPage, day=story["day"], proof=True)
    assert page.items
    for row in page.items:
        receipt = outsider.verify(bytes.fromhex(row.receipt))
        assert (receipt.index, receipt.transaction.author) == (row.index, row.author)
        assert all(claim.value is not None for claim in receipt.state)


def test_the_list_of_uses_takes_a_day_and_proofs(story, outsider):
    whole = answer(story, "usage/searches", UsePage, taxpayer=worlds.TAXPAYER).items
    assert [(use.status, use.index, use.receipt) for use in whole] == [(None, None, None)] * 2
    [past] = answer(story, "usage/searches", UsePage, taxpayer=worlds.TAXPAYER, day=story["day"], proof=True).items
    assert past.consent == story["first"]
    receipt = outsider.verify(bytes.fromhex(past.receipt))
    assert (receipt.index, receipt.transaction.kind) == (past.index, "access.deliver")
    assert held(receipt)[f"exchange/request/{past.request}"]["consent"] == past.consent
    proven = answer(story, "usage/searches", UsePage, taxpayer=worlds.TAXPAYER, proof=True).items
    assert [outsider.verify(bytes.fromhex(use.receipt)).index for use in proven] == [use.index for use in proven]
    nothing = {"status": None, "index": None, "receipt": None}
    assert tuple(use.model_copy(update=nothing) for use in proven) == whole
    found = story["asked"].search("/api/v1/usage/searches", taxpayer=worlds.TAXPAYER, size=10**9)
    assert (found.status_code, found.json()["code"]) == (404, "ledger.size_unknown")


def test_entries_and_consents_are_listed_with_their_receipts(story, outsider):
    page = answer(story, "ledger/entries", EntryPage, proof=True, limit=500)
    assert page.items
    for entry in page.items:
        raw = leaf_of(story, entry.index)
        assert proves(bytes.fromhex(entry.receipt), raw)
        receipt = outsider.verify(bytes.fromhex(entry.receipt))
        assert (receipt.index, receipt.transaction.kind) == (entry.index, entry.kind)
    plain = answer(story, "ledger/entries", EntryPage, limit=500)
    assert plain.items == tuple(entry.model_copy(update={"receipt": None}) for entry in page.items)
    for consent in answer(story, "consents", ConsentPage, proof=True).items:
        receipt = outsider.verify(bytes.fromhex(consent.receipt))
        assert (receipt.index, receipt.transaction.kind) == (consent.granted_index, "consent.grant")
        assert held(receipt)[f"consent/grant/{consent.consent}"]["recipient"] == consent.recipient


def test_a_bank_proves_how_its_consents_stand(story, outsider):
    """[CONSENT-29]: what the state holds of each at the newest checkpoint."""
    found = story["bank"].get("/api/v1/consents", proof=True)
    assert found.status_code == 200, found.text
    page = ConsentPage.model_validate_json(found.content)
    assert story["first"] in {consent.consent for consent in page.items}
    for consent in page.items:
        assert consent.granted_index is None
        value = held(outsider.verify(bytes.fromhex(consent.receipt)))[f"consent/grant/{consent.consent}"]
        assert (value["status"], value["valid_to_ms"]) == ("active", consent.valid_to_ms)


def leaf_of(story, index):
    """The bytes of an entry, as the API tells them."""
    return bytes.fromhex(answer(story, f"ledger/entries/{index}", Entry).raw)


def proves(receipt, raw):
    """Whether a receipt leads from an entry's bytes to the root in its checkpoint, by hashlib alone."""
    told = decode_cbor_strict(receipt, max_bytes=10**6)
    _, size, root = told["checkpoint"].decode().split("\n")[:3]
    return led_to(raw, told["index"], int(size), told["path"]) == base64.b64decode(root)


def test_an_entry_of_the_journal_is_proven_by_the_root_of_its_day(story, outsider):
    rows = answer(story, "journal", JournalPage, limit=500).items
    entry = next(row for row in rows if row.act == "usage.read" and row.time.startswith(story["day"]))
    proof = answer(story, f"journal/{entry.seq}/proof", JournalProof)
    raw = bytes.fromhex(proof.entry)
    told = decode_cbor_strict(raw, max_bytes=4096)
    assert (told["seq"], told["act"], told["object"]) == (entry.seq, "usage.read", f"taxpayer/{worlds.TAXPAYER}")
    assert root_of(raw, proof) == bytes.fromhex(proof.root)
    claims = held(outsider.verify(bytes.fromhex(proof.receipt)))
    assert proof.state_key.startswith(f"members/journal/{BUREAU}/")
    assert claims[proof.state_key] == {"count": proof.count, "root": bytes.fromhex(proof.root)}
    # Another entry in its place leads elsewhere.
    assert root_of(raw[:-1] + bytes([raw[-1] ^ 1]), proof) != bytes.fromhex(proof.root)


def held(receipt):
    """What a receipt proves that the state holds."""
    return {claim.key: decode_cbor_strict(claim.value, max_bytes=4096) for claim in receipt.state}


def root_of(raw, proof):
    """The root of a day to which the path of an entry of the journal leads."""
    return led_to(raw, proof.place, proof.count, [bytes.fromhex(step) for step in proof.path])


def led_to(raw, place, count, path):
    """The root to which a path leads, by RFC 9162 section 2.1.3.2, in a few lines of an outsider's own."""
    found, last = hashlib.sha256(b"\0" + raw).digest(), count - 1
    for step in path:
        if place % 2 or place == last:
            found = hashlib.sha256(b"\1" + step + found).digest()
            while place % 2 == 0 and place:
                place, last = place // 2, last // 2
        else:
            found = hashlib.sha256(b"\1" + found + step).digest()
        place, last = place // 2, last // 2
    return found


def test_what_cannot_be_proven_is_said(story):
    rows = answer(story, "journal", JournalPage, limit=1).items
    for seq, status, code in [(rows[0].seq, 409, "node.journal_day_open"), (10**9, 404, "node.journal_entry_unknown")]:
        found = story["asked"].get(f"/api/v1/journal/{seq}/proof")
        assert (found.status_code, found.json()["code"]) == (status, code)
    for path in ("past/given", "journal/1/proof"):
        assert story["asked"].get(f"/api/v1/{path}", token=NOTHING).status_code == 403
