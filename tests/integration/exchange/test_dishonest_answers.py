"""[EXCHANGE-11] [EXCHANGE-13] [EXCHANGE-14]: a provider that signs whatever it likes is caught by the bank."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest
from sqlalchemy import text

from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import MemberId, Uscc
from shuiqiao.exchange.contract import DELIVER, AccessDeliverBody
from shuiqiao.exchange.manifest import Inventory, build_manifest, encode_manifest, inventories_of
from shuiqiao.exchange.messages import decode_request, seal_answer
from shuiqiao.exchange.model import AnswerContent
from shuiqiao.vault.disclosure import encode_disclosure
from shuiqiao.vault.model import ErasureReason

BUREAU, BANK_A, BANK_B = (MemberId(name) for name in ("bureau", "bank-a", "bank-b"))
TAXPAYER, NEIGHBOUR = Uscc("91440300MA5EXAMPL1"), Uscc("91440300MA5NEIGHB1")
ISSUED = "invoice_issued@2"


class DishonestBureau:
    """Makes answers with the real parts, each of which can be exchanged; its ledger entries fit what it sends."""

    def __init__(self, world, sent):
        self.world, self.sent = world, sent
        self.message = decode_request(
            sent.message, state=world.ledger.state(), network=world.network, suite=world.suite
        )
        self.as_of = world.ledger.checkpoint()
        self.recipient_key = world.sealing[BANK_A].public_key
        self.bound = self.message

    def disclosure(self, **changes):
        scope = {
            "uscc": TAXPAYER,
            "groups": self.message.items,
            "period_from": self.message.period_from,
            "period_to": self.message.period_to,
        }
        return self.world.vault.disclose(**(scope | changes))

    def answer(self, disclosure, *, inventories=None, taxpayer=TAXPAYER, manifest_key=BUREAU, key=BUREAU, message=None):
        world = self.world
        manifest = build_manifest(
            message or self.message,
            taxpayer=taxpayer,
            inventories=inventories or inventories_of(disclosure, catalogue=world.catalogue),
            as_of=self.as_of,
            suite=world.suite,
            made_ms=world.clock.now_ms(),
            salt=world.entropy(32),
        )
        signed = encode_manifest(manifest, network=world.network, suite=world.suite, key=world.signing[manifest_key])
        content = AnswerContent(manifest=signed, disclosure=encode_disclosure(disclosure))
        raw, digest = seal_answer(
            content,
            message=self.bound,
            network=world.network,
            suite=world.suite,
            recipient_key=self.recipient_key,
            key=world.signing[key],
        )
        body = AccessDeliverBody(
            request=self.message.name, answer_digest=digest, manifest_digest=world.suite.digest(signed)
        )
        world.submitters[BUREAU].submit(DELIVER, body)
        return raw

    def refusal(self, raw) -> ShuiqiaoError:
        with pytest.raises(ShuiqiaoError) as refusal:
            self.world.banks[BANK_A].receive(self.message.request, raw)
        assert self.world.entry(self.message.request)["status"] == "delivered"
        assert self.world.recipient_stores[BANK_A].received(self.message.request) is None
        return refusal.value


@pytest.fixture
def bureau(world):
    return DishonestBureau(world, world.asked(world.granted()))


def changed_row(disclosure, column, value):
    """The disclosure with one cell of its first invoice changed."""
    entry = disclosure.types[0]
    values = entry.rows.column(column).to_pylist()
    values[0] = value
    position = entry.rows.schema.get_field_index(column)
    rows = entry.rows.set_column(
        position, entry.rows.schema.field(position), pa.array(values, entry.rows.schema.types[position])
    )
    return replace(disclosure, types=(replace(entry, rows=rows), *disclosure.types[1:]))


def test_the_parts_make_a_good_answer_when_nothing_is_exchanged(world, bureau):
    raw = bureau.answer(bureau.disclosure())
    assert world.banks[BANK_A].receive(bureau.message.request, raw).records.record_count == 62


@pytest.mark.parametrize(
    ("column", "value"),
    [("amount_fen", 1), ("status", "void"), ("issue_date", date(2024, 1, 4)), ("invoice_no", "0" * 20)],
)
def test_a_forged_cell_is_caught_by_its_leaf(bureau, column, value):
    raw = bureau.answer(changed_row(bureau.disclosure(), column, value))
    assert bureau.refusal(raw).code == "vault.leaf_mismatch"


def test_a_group_that_was_not_asked_for_is_caught(bureau):
    """[EXCHANGE-13]"""
    groups = bureau.message.items | {ISSUED: ["core", "amounts", "counterparty"]}
    error = bureau.refusal(bureau.answer(bureau.disclosure(groups=groups)))
    assert error.code == "exchange.group_not_granted"
    assert "counterparty of invoice_issued@2" in error.message


def test_a_type_that_was_not_asked_for_is_caught(bureau):
    """[EXCHANGE-13]"""
    groups = bureau.message.items | {"registration@1": ["core"]}
    disclosure = bureau.disclosure(groups=groups)
    honest = inventories_of(bureau.disclosure(), catalogue=bureau.world.catalogue)
    assert bureau.refusal(bureau.answer(disclosure, inventories=honest)).code == "exchange.group_not_granted"


def test_fewer_groups_than_asked_for_are_caught(bureau):
    groups = bureau.message.items | {ISSUED: ["core"]}
    assert bureau.refusal(bureau.answer(bureau.disclosure(groups=groups))).code == "exchange.group_missing"


def test_another_taxpayers_records_are_caught(bureau):
    """[EXCHANGE-14]: named as the neighbour's, passed off as the taxpayer's, or with a manifest about the neighbour."""
    neighbours = bureau.disclosure(uscc=NEIGHBOUR)
    assert bureau.refusal(bureau.answer(neighbours)).code == "exchange.taxpayer_wrong"


def test_another_taxpayers_records_under_the_taxpayers_name_are_caught(bureau):
    """[EXCHANGE-14]"""
    passed_off = replace(bureau.disclosure(uscc=NEIGHBOUR), uscc=TAXPAYER)
    assert bureau.refusal(bureau.answer(passed_off)).code == "vault.taxpayer_mismatch"


def test_a_manifest_about_another_taxpayer_is_caught(bureau):
    raw = bureau.answer(bureau.disclosure(), taxpayer=NEIGHBOUR)
    assert bureau.refusal(raw).code == "exchange.manifest_misdirected"


def test_records_from_outside_the_period_are_caught(world):
    """[EXCHANGE-14]"""
    bureau = DishonestBureau(world, world.asked(world.granted(), period_from=date(2024, 6, 1)))
    raw = bureau.answer(bureau.disclosure(period_from=date(2024, 1, 1)))
    error = bureau.refusal(raw)
    assert error.code == "exchange.period_not_granted"
    assert "2024-01-03" in error.message


def test_records_from_after_the_period_are_caught(world):
    """[EXCHANGE-14]"""
    bureau = DishonestBureau(world, world.asked(world.granted(), period_to=date(2025, 6, 30)))
    raw = bureau.answer(bureau.disclosure(period_to=date(2025, 12, 31)))
    error = bureau.refusal(raw)
    assert error.code == "exchange.period_not_granted"
    assert "is of 2025-07-" in error.message


def test_a_manifest_that_counts_more_than_was_sent_is_caught(bureau):
    """[EXCHANGE-12]"""
    honest = inventories_of(bureau.disclosure(), catalogue=bureau.world.catalogue)
    shorter = bureau.disclosure(period_from=date(2024, 2, 1))
    error = bureau.refusal(bureau.answer(shorter, inventories=honest))
    assert error.code == "exchange.record_withheld"
    assert "counts 3 records, 0 were received" in error.message


def test_a_manifest_that_names_other_records_than_were_sent_is_caught(bureau):
    """[EXCHANGE-12]"""
    honest = inventories_of(bureau.disclosure(), catalogue=bureau.world.catalogue)
    bent = honest | {ISSUED: Inventory(counts=honest[ISSUED].counts, leaves=honest[ISSUED].leaves[1:])}
    assert bureau.refusal(bureau.answer(bureau.disclosure(), inventories=bent)).code == "exchange.record_exchanged"


def test_a_manifest_from_before_the_request_is_caught(world):
    """[EXCHANGE-11]"""
    consent = world.granted()
    old = world.ledger.checkpoint()
    bureau = DishonestBureau(world, world.asked(consent))
    bureau.as_of = old
    assert bureau.refusal(bureau.answer(bureau.disclosure())).code == "exchange.manifest_stale"


@pytest.mark.parametrize(
    "named",
    [
        lambda own: replace(own, size=2**50, root=bytes(32)),
        lambda own: replace(own, size=own.size + 1),
        lambda own: replace(own, root=bytes(32)),
        lambda own: replace(own, size=own.size - 1),
    ],
    ids=["huge", "next", "root", "size"],
)
def test_a_checkpoint_that_this_ledger_never_had_is_caught(world, bureau, named):
    """[EXCHANGE-11]: a manifest from the future would turn every later record into one that was withheld."""
    bureau.answer(bureau.disclosure())
    ahead = DishonestBureau(world, world.asked(bureau.message.consent_name))
    ahead.as_of = named(ahead.as_of)
    assert ahead.refusal(ahead.answer(ahead.disclosure())).code == "ledger.checkpoint_unproven"


def test_an_older_checkpoint_than_the_newest_is_as_good(world, bureau):
    """[EXCHANGE-9]: what it names is proven against the bank's own log of today."""
    early = world.ledger.checkpoint()
    world.asked(bureau.message.consent_name)
    assert early.size < world.ledger.checkpoint().size
    bureau.as_of = early
    raw = bureau.answer(bureau.disclosure())
    assert world.banks[BANK_A].receive(bureau.message.request, raw).manifest.as_of_size == early.size


@pytest.mark.parametrize("signed", ["manifest_key", "key"])
def test_a_signature_by_another_member_is_caught(bureau, signed):
    raw = bureau.answer(bureau.disclosure(), **{signed: BANK_B})
    assert bureau.refusal(raw).code == "ledger.document_signers_wrong"


def test_an_answer_bound_to_another_request_is_caught(world, bureau):
    """[EXCHANGE-10]"""
    other = DishonestBureau(world, world.asked(bureau.message.consent_name))
    bureau.bound = other.message
    assert bureau.refusal(bureau.answer(bureau.disclosure())).code == "exchange.answer_misdirected"


def test_an_answer_sealed_to_another_bank_does_not_open(world, bureau):
    """[EXCHANGE-10]"""
    bureau.recipient_key = world.sealing[BANK_B].public_key
    assert bureau.refusal(bureau.answer(bureau.disclosure())).code == "crypto.seal_broken"


def test_a_manifest_about_another_request_is_caught(world, bureau):
    other = DishonestBureau(world, world.asked(bureau.message.consent_name))
    raw = bureau.answer(bureau.disclosure(), message=other.message)
    assert bureau.refusal(raw).code == "exchange.manifest_misdirected"


def test_an_answer_that_is_not_on_the_ledger_is_refused(world, bureau):
    """[EXCHANGE-5] [EXCHANGE-11]"""
    sealed_twice = DishonestBureau(world, bureau.sent)
    bureau.answer(bureau.disclosure())
    world.submitters[BUREAU].submit = lambda *_: None
    try:
        second = sealed_twice.answer(sealed_twice.disclosure())
    finally:
        del world.submitters[BUREAU].submit
    assert bureau.refusal(second).code == "exchange.answer_digest_mismatch"


def test_an_answer_before_its_ledger_entry_is_refused(world, bureau):
    """[EXCHANGE-5]"""
    world.submitters[BUREAU].submit = lambda *_: None
    try:
        early = bureau.answer(bureau.disclosure())
    finally:
        del world.submitters[BUREAU].submit
    with pytest.raises(IntegrityError, match=r"^exchange\.answer_unpaired.*requested"):
        world.banks[BANK_A].receive(bureau.message.request, early)


def test_an_answer_to_a_request_that_the_ledger_does_not_have_is_refused(world, bureau):
    """[EXCHANGE-5]: the bank's own copy is older than what it is handed, or the request never arrived."""
    raw = bureau.answer(bureau.disclosure())
    bank = world.recipient(BANK_A)
    bank._submitter = WithoutRequests(world.submitters[BANK_A])
    with pytest.raises(IntegrityError, match=r"^exchange\.answer_unpaired.*absent"):
        bank.receive(bureau.message.request, raw)
    assert world.recipient_stores[BANK_A].received(bureau.message.request) is None


class WithoutRequests:
    """A bank's ledger before its request was committed."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def state(self):
        whole = self._inner.state()

        class Earlier:
            def get(self, key):
                return None if key.startswith("exchange/") else whole.get(key)

        return Earlier()


def test_any_changed_byte_of_an_answer_is_refused(world):
    """[EXCHANGE-10]"""
    sent = world.asked(world.granted(items={"tax_credit_grade@1": ["core"]}), items={"tax_credit_grade@1": ["core"]})
    good = world.provider.answer(sent.message)
    for position in range(0, len(good), 41):
        bad = bytearray(good)
        bad[position] ^= 4
        with pytest.raises((InvalidInput, IntegrityError)):
            world.banks[BANK_A].receive(sent.request, bytes(bad))
    assert world.banks[BANK_A].receive(sent.request, good).records.record_count == 2


def test_a_superseded_grade_passed_off_as_live_is_caught(world):
    """[EXCHANGE-11]: the bureau sends the grade from before the re-rating."""
    items = {"tax_credit_grade@1": ["core"]}
    taxpayer = Uscc("91440300MA5RERATED")
    world.ingest({"tax_credit_grade": [{"uscc": taxpayer, "year": 2024, "grade": "A"}]})
    scope = {"uscc": taxpayer, "groups": items, "period_from": date(2024, 1, 1), "period_to": date(2025, 12, 31)}
    before = world.vault.disclose(**scope)
    world.ingest({"tax_credit_grade": [{"uscc": taxpayer, "year": 2024, "grade": "D"}]})
    consent = world.granted(world.enterprise(50), items=items, taxpayer=taxpayer)
    bureau = DishonestBureau(world, world.asked(consent, items=items))
    raw = bureau.answer(before, taxpayer=taxpayer)
    with pytest.raises(Conflict, match=r"^vault\.superseded"):
        world.banks[BANK_A].receive(bureau.message.request, raw)


def test_a_record_that_was_erased_and_passed_off_as_live_is_caught(world):
    """[EXCHANGE-11]: the bureau kept what it says it destroyed."""
    items = {"tax_credit_grade@1": ["core"]}
    taxpayer = Uscc("91440300MA5ERASED0")
    rows = [{"uscc": taxpayer, "year": year, "grade": "A"} for year in (2024, 2025)]
    world.ingest({"tax_credit_grade": rows})
    scope = {"uscc": taxpayer, "period_from": date(2024, 1, 1), "period_to": date(2025, 12, 31)}
    before = world.vault.disclose(groups=items, **scope)
    leaf = world.vault.live_leaves(type_id="tax_credit_grade@1", **scope)[0]
    world.vault.erase(leaf.batch, [leaf.index], reason=ErasureReason.TAXPAYER_REQUEST, anchor=world.submitters[BUREAU])
    consent = world.granted(world.enterprise(51), items=items, taxpayer=taxpayer)
    bureau = DishonestBureau(world, world.asked(consent, items=items))
    assert bureau.refusal(bureau.answer(before, taxpayer=taxpayer)).code == "vault.record_erased"


def test_a_content_of_another_form_is_refused(world, bureau, monkeypatch):
    """The seal opens and the signature holds; what is inside is not an answer."""
    from shuiqiao.exchange import messages

    monkeypatch.setattr(messages, "to_plain", lambda body: {"gossip": 1} if isinstance(body, AnswerContent) else body)
    raw = bureau.answer(bureau.disclosure())
    monkeypatch.undo()
    assert bureau.refusal(raw).code == "exchange.answer_malformed"


def test_a_kept_answer_that_is_not_the_delivered_one_is_never_sent(world, bureau):
    """[EXCHANGE-18]: the provider's database was restored from an older copy, say."""
    world.provider.answer(bureau.sent.message)
    with world.databases[BUREAU].begin() as connection:
        values = {"request": bureau.message.name, "digest": bytes(32)}
        connection.execute(text("UPDATE exchange_asked SET answer_digest = :digest WHERE request = :request"), values)
    with pytest.raises(IntegrityError, match=r"^exchange\.answer_lost"):
        world.provider.answer(bureau.sent.message)


def test_an_answer_too_large_for_one_message_is_refused_and_says_what_to_do(world, bureau, monkeypatch):
    """[EXCHANGE-8]"""
    from shuiqiao.exchange import provider

    monkeypatch.setattr(provider, "MAX_DISCLOSURE_BYTES", 1_000)
    with pytest.raises(InvalidInput, match=r"^exchange\.answer_too_large") as refusal:
        world.provider.answer(bureau.sent.message)
    assert refusal.value.next_step == "Ask for a shorter period."
    assert world.entry(bureau.message.request)["status"] == "refused"
    assert world.provider_store.asked(bureau.message.name).field_code == "08"


def test_what_never_came_cannot_be_loaded(world, bureau):
    with pytest.raises(Denied, match=r"^exchange\.data_absent"):
        world.banks[BANK_A].load(bureau.message.request)
