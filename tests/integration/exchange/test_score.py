"""[EXCHANGE-26] to [EXCHANGE-28]: an approved model runs at the bureau, and only the agreed output leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import msgspec
import pytest

from exchange_world import BANK_A, BANK_B, BUREAU, NAME, NEIGHBOUR, TAXPAYER
from models_world import BANDS, a_content
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.consent.model import FieldCode, Frequency, FrequencyUnit, Mode, Output, field_code
from shuiqiao.exchange import provider as provider_module
from shuiqiao.exchange.accusation import WithheldEvidence, prove_withheld
from shuiqiao.exchange.contract import REQUEST, AccessRequestBody
from shuiqiao.exchange.manifest import Computed, names_digest
from shuiqiao.exchange.messages import encode_request, open_answer, read_request
from shuiqiao.exchange.modes.port import Answer
from shuiqiao.exchange.modes.score import MAX_SCORE_BYTES, ReasonCode, ScoreContent, ScoreOutput
from shuiqiao.ledger.transactions.document import to_plain
from shuiqiao.models.contract import RETIRE, ModelRetireBody
from shuiqiao.models.model import RetireReason
from shuiqiao.privacy.budgets import WINDOW_MS
from shuiqiao.privacy.service import LeakageAccounts
from shuiqiao.privacy.store import ChargeStore
from shuiqiao.sandbox.crossing import Secret, found_in, text_secret

ISSUED = "invoice_issued@2"
ALL = {**BANDS, "points": True, "reasons": True}
EVERY = [Output.BAND, Output.POINTS, Output.REASONS, Output.YES_NO]
POINTS = 563
"""600 less 37: a firm that invoices every month."""


def consented(world, *outputs, **changes):
    fields = {"modes": (Mode.DISCLOSE, Mode.SCORE), "outputs": outputs or tuple(EVERY)}
    return world.granted(**(fields | changes))


def asked(world, consent, model, *outputs, bank=BANK_A):
    return world.banks[bank].request(world.banks[bank].scoring(consent, model, outputs=outputs))


def scored(world, consent, model, *outputs):
    sent = asked(world, consent, model, *outputs)
    return world.banks[BANK_A].receive(sent.request, world.provider.answer(sent.message))


@pytest.fixture(autouse=True)
def _a_year_later(world):
    """Each test begins with accounts in which nothing counts any more [LEAK-4]."""
    world.clock.advance(WINDOW_MS + MS_PER_DAY)


@pytest.fixture(scope="module")
def model(world):
    return world.approved(a_content(ALL, name="every-output"))


def forced(world, message):
    """A request on the ledger by a bank that does not check itself first; returns the signed message."""
    raw = encode_request(message, network=world.network, suite=world.suite, key=world.signing[BANK_A])
    body = AccessRequestBody(
        request=message.request,
        consent=message.consent_name,
        purpose=message.purpose,
        mode=message.mode,
        request_digest=world.suite.digest(raw),
    )
    world.submitters[BANK_A].submit(REQUEST, body)
    return raw


def altered(world, sent, **changes):
    message = read_request(sent.message, network=world.network, suite=world.suite)
    return msgspec.structs.replace(message, request=world.entropy(16), **changes)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([Output.BAND], ScoreOutput(band="B")),
        ([Output.YES_NO], ScoreOutput(yes_no=False)),
        (
            EVERY,
            ScoreOutput(
                band="B",
                points=POINTS,
                reasons=[ReasonCode(feature="zero_sales_months_12m", is_known=True)],
                yes_no=False,
            ),
        ),
    ],
)
def test_a_bank_gets_the_outputs_that_it_asked_for_and_no_others(world, model, outputs, expected):
    """[EXCHANGE-26] [EXCHANGE-28]"""
    received = scored(world, consented(world), model, *outputs)
    assert (received.score.output, received.score.model) == (expected, model)
    assert world.entry(received.request)["status"] == "acknowledged"
    assert world.banks[BANK_A].load(received.request).score == received.score
    with pytest.raises(TypeError, match="holds ProvenScore, no records"):
        assert received.tables


def test_bureau_and_bank_mean_the_same_number(world, model):
    consent = consented(world)
    wanted = world.wanted(consent, items={ISSUED: ["core"]})
    sent = world.banks[BANK_A].request(wanted)
    records = world.banks[BANK_A].receive(sent.request, world.provider.answer(sent.message)).tables
    here = world.runner.run(
        a_content(ALL, name="every-output"),
        outputs=EVERY,
        tables=records,
        taxpayer=TAXPAYER,
        as_of=wanted.period_to,
    )
    assert scored(world, consent, model, *EVERY).score.output == here


def test_nothing_of_the_records_crosses(world, model):
    """What is sealed names no record, no amount and no month; the same look finds them in *disclose*."""
    consent = consented(world)

    def opened(sent):
        message = read_request(sent.message, network=world.network, suite=world.suite)
        content, _ = open_answer(
            world.provider.answer(sent.message),
            message=message,
            state=world.ledger.state(),
            network=world.network,
            suite=world.suite,
            sealing_key=world.sealing[BANK_A],
        )
        return content.manifest + content.disclosure

    traces = [f"{24_442_000_000_000_000_000 + number:020d}" for number in range(60)] + ["2024-07", NAME]
    batches = {leaf.batch for leaf in world.vault.live_leaves(uscc=TAXPAYER, type_id=ISSUED, **_whole())}
    given = opened(asked(world, consent, model, Output.BAND))
    shown = opened(world.asked(consent))
    secrets = {trace: text_secret(trace) for trace in traces} | {each.hex(): Secret(ways=(each,)) for each in batches}
    assert found_in(given, secrets) == {}
    assert set(secrets) - set(found_in(shown, secrets)) == {NAME}


def _whole():
    return {"period_from": date(2024, 1, 1), "period_to": date(2025, 12, 31)}


def test_the_manifest_of_a_score_can_be_opened_by_its_provider_alone(world, model):
    """[EXCHANGE-27]"""
    received = scored(world, consented(world), model, Output.BAND)
    leaves = world.vault.live_leaves(uscc=TAXPAYER, type_id=ISSUED, **_whole())
    (entry,) = received.manifest.types
    assert received.manifest.cells == []
    assert entry.names != names_digest(leaves, suite=world.suite)
    opening = world.provider.manifest_opening(_name(received))
    assert opening.leaves[ISSUED] == leaves
    blinding = Computed(result=b"", salt=opening.salt).blinding(ISSUED)
    assert entry.names == names_digest(opening.leaves[ISSUED], suite=world.suite, blinding=blinding)
    disclosed = world.asked(received.artefact.name)
    world.provider.answer(disclosed.message)
    with pytest.raises(Denied, match=r"^exchange\.opening_missing"):
        world.provider.manifest_opening(f"{BANK_A}/{disclosed.request.hex()}")


def _name(received):
    return f"{BANK_A}/{received.request.hex()}"


class Forgets:
    """A vault whose keeper leaves one invoice out of everything."""

    def __init__(self, vault, leaf):
        self._vault, self._leaf = vault, leaf

    def __getattr__(self, name):
        return getattr(self._vault, name)

    def live_leaves(self, **scope):
        return [leaf for leaf in self._vault.live_leaves(**scope) if leaf != self._leaf]


def test_a_record_left_out_of_a_score_is_proven_to_the_regulator(world, model):
    """[EXCHANGE-16] [EXCHANGE-27]"""
    leaf = world.vault.live_leaves(uscc=TAXPAYER, type_id=ISSUED, **_whole())[0]
    bureau = world.provider_with(Forgets(world.vault, leaf))
    sent = asked(world, consented(world), model, Output.BAND)
    received = world.banks[BANK_A].receive(sent.request, bureau.answer(sent.message))
    opening = bureau.manifest_opening(_name(received))
    evidence = WithheldEvidence(
        manifest=received.manifest_bytes,
        delivered=opening.leaves[ISSUED],
        record=world.vault.prove_record(leaf, groups=["core"]),
        anchor=world.receipt_of_anchor(leaf.batch),
        salt=opening.salt,
    )
    accusation = prove_withheld(evidence, **world.facts())
    assert (accusation.provider, accusation.batch, accusation.index) == (BUREAU, leaf.batch, leaf.index)
    with pytest.raises(IntegrityError, match=r"^exchange\.accusation_unproven.*are not those the manifest fixes"):
        prove_withheld(replace(evidence, salt=bytes(32)), **world.facts())


def test_the_enterprise_reads_which_model_was_run_and_what_left(world, model):
    """[EXCHANGE-17]"""
    received = scored(world, consented(world), model, Output.BAND)
    (use,) = [use for use in world.provider.usage_account(TAXPAYER) if use.request == _name(received)]
    assert (use.mode, use.model, use.outputs, use.records) == (Mode.SCORE, model, (Output.BAND,), {ISSUED: 60})


def test_the_account_stops_a_bank_at_its_budget_and_enterprise_and_bank_read_the_same(world, model):
    """[LEAK-1] [LEAK-4] [LEAK-6]"""
    consent = consented(
        world,
        enterprise=world.enterprise(2),
        taxpayer=NEIGHBOUR,
        frequency=Frequency(count=25, unit=FrequencyUnit.YEAR),
    )
    answered = [scored(world, consent, model, *EVERY) for _ in range(20)]
    assert len({received.score.output.points for received in answered}) == 1
    sent = asked(world, consent, model, *EVERY)
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded.*bank-a would know 75\.285 bits") as refusal:
        world.provider.answer(sent.message)
    assert field_code(refusal.value) is FieldCode.CEILING_EXCEEDED
    assert world.entry(sent.request)["status"] == "refused"
    assert world.provider_store.asked(f"{BANK_A}/{sent.request.hex()}").field_code == "412"
    at_bureau, at_bank = (
        LeakageAccounts(
            ChargeStore(world.databases[member], cipher=world.cipher),
            now_ms=world.clock.now_ms,
        ).of(NEIGHBOUR)
        for member in (BUREAU, BANK_A)
    )
    # Four scores are two bits, three lists of reasons 1.585; band and yes or no follow from the points.
    (line,) = at_bureau.lines
    assert (line.recipient, line.mode, line.answers, line.millibits, line.rank) == (
        BANK_A,
        Mode.SCORE,
        20,
        20 * 3585,
        1,
    )
    assert at_bank == at_bureau

    # What is disclosed is counted too, by field, and bounded by the consent alone.
    disclosed = world.asked(consent, items={ISSUED: ["core"]})
    world.provider.answer(disclosed.message)
    store = ChargeStore(world.databases[BUREAU], cipher=world.cipher)
    charges = store.of_taxpayer(NEIGHBOUR, now_ms=world.clock.now_ms())
    (row,) = [each for each in charges if each.mode is Mode.DISCLOSE]
    assert row.revealed.fields >= {"invoice_issued.uscc", "invoice_issued.issue_date"}
    assert row.revealed.millibits > 60 * 8 * 20 * 1000


# What is refused, by the bank before it asks and by the bureau whatever the bank does


def refusals(world, consent, good, **changes):
    """The codes with which bank and bureau refuse a request."""
    asking = {name: changes.get(name, getattr(good, name)) for name in ("items", "model")}
    with pytest.raises(ShuiqiaoError) as early:
        world.asked(consent, mode=Mode.SCORE, **asking)
    raw = forced(world, msgspec.structs.replace(good, request=world.entropy(16), **changes))
    with pytest.raises(ShuiqiaoError) as late:
        world.provider.answer(raw)
    return early.value.code, late.value.code


@pytest.fixture
def good(world, model):
    """A consent for a band, and a request that would be answered."""
    consent = consented(world, Output.BAND)
    return consent, altered(world, asked(world, consent, model, Output.BAND))


def test_more_outputs_than_the_consent_grants_are_refused(world, good):
    consent, message = good
    beyond = msgspec.structs.replace(message.model, outputs=[Output.BAND, Output.POINTS])
    assert refusals(world, consent, message, model=beyond) == ("consent.not_covered",) * 2


def test_outputs_that_the_model_does_not_declare_are_refused(world):
    consent, model = consented(world), world.approved(a_content(BANDS, name="bands-only"))
    message = altered(world, asked(world, consent, model, Output.BAND))
    beyond = msgspec.structs.replace(message.model, outputs=[Output.POINTS])
    assert refusals(world, consent, message, model=beyond) == ("exchange.output_undeclared",) * 2


def test_another_digest_than_the_registered_one_is_refused(world, good):
    consent, message = good
    other = msgspec.structs.replace(message.model, digest=bytes(32))
    assert refusals(world, consent, message, model=other) == ("models.digest_wrong",) * 2


def test_a_model_that_the_bureau_did_not_approve_does_not_run(world, good):
    """[MODEL-6]"""
    consent, message = good
    offered = world.offered(a_content(ALL, name="not-approved"))
    found, _ = world.registries[BANK_A].registered(offered)
    unapproved = msgspec.structs.replace(message.model, model=offered, digest=found.digest)
    assert refusals(world, consent, message, model=unapproved) == ("models.not_approved",) * 2


def test_another_banks_model_does_not_run(world, good):
    consent, message = good
    foreign = world.approved(a_content(ALL, name="of-another"), owner=BANK_B)
    found, _ = world.registries[BUREAU].registered(foreign)
    other = msgspec.structs.replace(message.model, model=foreign, digest=found.digest)
    assert refusals(world, consent, message, model=other) == ("models.party_wrong",) * 2


@pytest.mark.parametrize("items", [{ISSUED: ["amounts", "core"]}, {ISSUED: ["core"], "tax_credit_grade@1": ["core"]}])
def test_a_model_reads_what_it_needs_and_no_more(world, good, items):
    consent, message = good
    assert refusals(world, consent, message, items=items) == ("exchange.model_items_wrong",) * 2


def test_a_model_that_needs_what_is_not_granted_is_not_asked_for(world, model):
    consent = consented(world, items={"tax_credit_grade@1": ["core"]})
    with pytest.raises(Denied, match=r"^consent\.not_covered.*reads invoice_issued"):
        asked(world, consent, model, Output.BAND)


def test_a_score_without_a_model_and_a_model_without_a_score_are_no_requests(world, good):
    _, message = good
    for wrong in ({"model": None}, {"mode": Mode.DISCLOSE}):
        with pytest.raises(InvalidInput, match=r"^exchange\.request_invalid"):
            forced(world, msgspec.structs.replace(message, **wrong))
    twice = msgspec.structs.replace(message.model, outputs=[Output.YES_NO, Output.BAND])
    with pytest.raises(InvalidInput, match=r"^exchange\.request_invalid.*not in order"):
        forced(world, msgspec.structs.replace(message, model=twice))


def test_a_kept_answer_of_a_model_that_was_retired_since_does_not_leave(world):
    """[EXCHANGE-20]"""
    model = world.approved(a_content(ALL, name="soon-retired"))
    consent = consented(world)
    received = scored(world, consent, model, Output.BAND)
    sent = asked(world, consent, model, Output.BAND)
    world.provider.answer(sent.message)
    world.submitters[BANK_A].submit(RETIRE, ModelRetireBody(model=model, provider=None, reason=RetireReason.UNFIT))
    with pytest.raises(Denied, match=r"^models\.retired"):
        world.provider.answer(sent.message)
    # What came before is read still.
    assert world.banks[BANK_A].load(received.request).score.output == ScoreOutput(band="B")


# A bureau that lies


class Says:
    """A mode whose keeper answers with content of its own."""

    def __init__(self, honest, content):
        self._honest, self._content = honest, content

    def __getattr__(self, name):
        return getattr(self._honest, name)

    def answer(self, message, *, uscc, source):
        found = self._honest.answer(message, uscc=uscc, source=source)
        return Answer(content=lambda: self._content, counts=found.counts, leaves={}, is_computed=True)


def lied_to(world, monkeypatch, model, content_of, *outputs):
    sent = asked(world, consented(world), model, *outputs)
    message = read_request(sent.message, network=world.network, suite=world.suite)
    honest = provider_module.answer_modes

    def lying(**parts):
        modes = honest(**parts)
        return {**modes, Mode.SCORE: Says(modes[Mode.SCORE], content_of(message.model))}

    monkeypatch.setattr(provider_module, "answer_modes", lying)
    answer = world.provider_with(world.vault).answer(sent.message)
    with pytest.raises(ShuiqiaoError) as refusal:
        world.banks[BANK_A].receive(sent.request, answer)
    assert world.entry(sent.request)["status"] == "delivered"
    with pytest.raises(Denied, match=r"^exchange\.data_absent"):
        world.banks[BANK_A].load(sent.request)
    return refusal.value.code


def content(asked_for, **changes):
    fields = {"model": asked_for.model, "digest": asked_for.digest, "output": ScoreOutput(band="B")}
    return encode_cbor(to_plain(ScoreContent(**(fields | changes))))


@pytest.mark.parametrize(
    ("outputs", "changes"),
    [
        ([Output.BAND], {"digest": bytes(32)}),
        ([Output.BAND], {"model": "bank-b/" + "00" * 16}),
        ([Output.BAND], {"output": ScoreOutput(band="D")}),
        ([Output.BAND], {"output": ScoreOutput(yes_no=True)}),
        ([Output.BAND], {"output": ScoreOutput(band="B", points=POINTS)}),
        ([Output.POINTS], {"output": ScoreOutput(points=622)}),
        ([Output.POINTS], {"output": ScoreOutput(points=562)}),
        ([Output.BAND, Output.POINTS], {"output": ScoreOutput(band="A", points=POINTS)}),
        ([Output.POINTS, Output.YES_NO], {"output": ScoreOutput(points=POINTS, yes_no=True)}),
        ([Output.REASONS], {"output": ScoreOutput(reasons=[ReasonCode(feature="vat_paid", is_known=True)])}),
        ([Output.REASONS], {"output": ScoreOutput(reasons=[ReasonCode(feature="zero_sales_months_12m", is_known=True)] * 2)}),
    ],
)  # fmt: skip
def test_what_the_model_cannot_give_is_refused_and_not_kept(world, monkeypatch, model, outputs, changes):
    """[EXCHANGE-28]"""
    assert lied_to(world, monkeypatch, model, lambda ask: content(ask, **changes), *outputs) == "exchange.output_wrong"


@pytest.mark.parametrize(
    "damaged",
    [
        lambda ask: b"\xa0",
        lambda ask: encode_cbor({**to_plain(ScoreContent(model=ask.model, digest=ask.digest, output=ScoreOutput())), "x": 1}),
        lambda ask: encode_cbor({"model": ask.model, "digest": ask.digest, "output": {"band": "B", "points": None}}),
        lambda ask: encode_cbor({"model": ask.model, "digest": ask.digest, "output": {"band": "B" * 33}}),
    ],
)  # fmt: skip
def test_what_is_no_result_is_refused(world, monkeypatch, model, damaged):
    assert lied_to(world, monkeypatch, model, damaged, Output.BAND) == "exchange.answer_malformed"


def test_what_is_too_long_is_refused(world, monkeypatch, model):
    code = lied_to(world, monkeypatch, model, lambda _: bytes(MAX_SCORE_BYTES + 1), Output.BAND)
    assert code == "base.cbor_too_large"


def test_a_result_that_the_manifest_was_not_signed_for_is_refused(world, monkeypatch, model):
    """[EXCHANGE-27]"""
    sent = asked(world, consented(world), model, Output.BAND)

    def other(result, salt):
        return Computed(result=world.suite.digest(result), salt=salt)

    monkeypatch.setattr(provider_module, "Computed", other)
    answer = world.provider_with(world.vault).answer(sent.message)
    with pytest.raises(IntegrityError, match=r"^exchange\.result_unsigned"):
        world.banks[BANK_A].receive(sent.request, answer)


def test_a_manifest_that_counts_records_is_refused(world, monkeypatch, model):
    """[EXCHANGE-27]"""
    sent = asked(world, consented(world), model, Output.BAND)
    honest = provider_module.build_manifest

    def telling(message, *, computed, **parts):
        told = honest(message, computed=None, **parts)
        return msgspec.structs.replace(told, result=computed.result)

    monkeypatch.setattr(provider_module, "build_manifest", telling)
    answer = world.provider_with(world.vault).answer(sent.message)
    with pytest.raises(IntegrityError, match=r"^exchange\.manifest_ambiguous.*counts records"):
        world.banks[BANK_A].receive(sent.request, answer)
