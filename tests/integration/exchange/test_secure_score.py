"""A bank and a bureau compute a score together: two processes of theirs, each with its own numbers, and one answer."""

from __future__ import annotations

import math
from types import SimpleNamespace

import msgspec
import pytest

from exchange_world import BANK_A, BUREAU, NEIGHBOUR, TAXPAYER
from models_world import BANDS, a_card
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.encoding import decode_cbor, encode_cbor
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import owned_id
from shuiqiao.consent.model import Frequency, FrequencyUnit, Mode, Output, Purpose, Status
from shuiqiao.credit.model_content import decode_content, encode_content, read_outputs
from shuiqiao.credit.secure_content import committed_weights, decode_secure, secure_content
from shuiqiao.credit.secure_runner import SecureRunner
from shuiqiao.credit.store import ClosedCard
from shuiqiao.exchange import recipient as recipient_module
from shuiqiao.exchange.messages import open_answer, read_request
from shuiqiao.exchange.model import ModelAsk
from shuiqiao.exchange.modes.score import ResultShare, ScoreOutput, Session
from shuiqiao.models.model import ModelForm, ReviewOutcome
from shuiqiao.privacy.budgets import BUDGETS, WINDOW_MS
from shuiqiao.privacy.secure.links import SecureLinks
from shuiqiao.privacy.service import LeakageAccounts
from shuiqiao.privacy.store import ChargeStore

DECLARED = {**BANDS, "points": True}
POINTS = 563
"""600 less 37: a firm that invoices every month."""


def secured(world, *, owner=BANK_A, card=None, **named):
    """A card whose weights its owner keeps, approved by the bureau."""
    salt, content = world.entropy(32), read_outputs(DECLARED, card=card or a_card(**named))
    data = secure_content(content, salt=salt)
    kept = ClosedCard(secret=salt, card=encode_content(content))
    world.closed_cards[owner].save(kept, content=data)
    return world.approved(data, owner=owner, form=ModelForm.SECURE_LINEAR), data


@pytest.fixture(scope="module")
def secure(world):
    return secured(world)


@pytest.fixture(autouse=True)
def _a_year_later(world):
    """Each test begins with accounts in which nothing counts any more [LEAK-4]."""
    world.clock.advance(WINDOW_MS + MS_PER_DAY)


def consented(world, *outputs, **changes):
    fields = {
        "modes": (Mode.DISCLOSE, Mode.SCORE),
        "outputs": outputs or (Output.BAND, Output.POINTS, Output.YES_NO),
        "frequency": Frequency(count=25, unit=FrequencyUnit.YEAR),
    }
    return world.granted(**(fields | changes))


def asked(world, consent, model, *outputs):
    return world.banks[BANK_A].request(world.banks[BANK_A].scoring(consent, model, outputs=outputs or (Output.POINTS,)))


def link_to(provider):
    return SimpleNamespace(ask=provider.answer)


def answered(world, sent, *, provider=None):
    return world.banks[BANK_A].ask(sent, provider=link_to(provider or world.provider))


def scored(world, consent, model, *outputs):
    sent = asked(world, consent, model, *outputs)
    return world.banks[BANK_A].receive(sent.request, answered(world, sent))


def opened(world, sent, answer):
    message = read_request(sent.message, network=world.network, suite=world.suite)
    content, _ = open_answer(
        answer,
        message=message,
        state=world.ledger.state(),
        network=world.network,
        suite=world.suite,
        sealing_key=world.sealing[BANK_A],
    )
    return decode_cbor(content.disclosure)


def runner_with(world, member, links):
    """What runs secure models at a member, over links of the test."""
    return SecureRunner(
        features=world.runner,
        cards=world.closed_cards[member],
        links=links,
        open_link=lambda bureau: world.open_link(member, bureau),
        computations=world.computations[member],
    )


@pytest.fixture
def bureau_over(world, monkeypatch):
    """Give the bureau links that do something of the test's in a run; the bank's link is opened to them."""
    made = []

    def replaced(kind):
        links = kind(listen="127.0.0.1:0", timeout_s=60.0)
        made.append(links)
        world.links[BANK_A].give_up(BUREAU)
        runners = {**world.runners(BUREAU), ModelForm.SECURE_LINEAR: runner_with(world, BUREAU, links)}
        monkeypatch.setitem(world.links, BUREAU, links)
        monkeypatch.setitem(world._runners, BUREAU, runners)
        return world.provider_with(world.vault)

    yield replaced
    for links in made:
        links.close()
    world.links[BANK_A].give_up(BUREAU)


def accounts(world, member):
    store = ChargeStore(world.databases[member], cipher=world.cipher)
    return LeakageAccounts(store, now_ms=world.submitters[member].now_ms)


def test_both_ends_give_what_the_plain_card_gives(world, secure):
    """[SECURE-12] [SECURE-14]: points, band and yes or no, of more than one taxpayer and card."""
    other, _ = secured(world, card=a_card(name="other", base=640))
    for number, taxpayer in ((1, TAXPAYER), (2, NEIGHBOUR)):
        consent = consented(world, enterprise=world.enterprise(number), taxpayer=taxpayer)
        for model, points, band, is_yes in ((secure[0], POINTS, "B", False), (other, POINTS + 40, "B", True)):
            every = scored(world, consent, model, Output.POINTS).score.output
            assert (every.points, every.band, every.yes_no) == (points, band, is_yes)
            assert scored(world, consent, model, Output.BAND).score.output == ScoreOutput(band=band)
            assert scored(world, consent, model, Output.YES_NO).score.output == ScoreOutput(yes_no=is_yes)


def test_what_crosses_is_one_share_and_kept_answers_are_read_again(world, secure):
    """[SECURE-13] [SECURE-14] [EXCHANGE-18]"""
    sent = asked(world, consented(world), secure[0], Output.BAND)
    answer = answered(world, sent)
    crossed = opened(world, sent, answer)["output"]
    assert set(crossed) == {"shared"}
    wanted = decode_secure(secure[1]).function(Output.BAND).share_bytes
    assert (crossed["shared"]["output"], len(crossed["shared"]["share"])) == ("band", wanted)
    kept = world.recipient_stores[BANK_A].request(sent.request).share
    assert len(kept) == wanted
    assert kept not in answer

    # A retry computes nothing: no link is there any more, and the answer is the same.
    for links in (world.links[BANK_A], world.links[BUREAU]):
        links.close()
    assert answered(world, sent) == answer
    received = world.banks[BANK_A].receive(sent.request, answer)
    assert received.score.output == ScoreOutput(band="B")
    assert world.banks[BANK_A].load(sent.request).score == received.score
    assert received.manifest.cells == []

    # At the end of its life the share goes with the answer.
    world.clock.advance(2 * WINDOW_MS)
    world.banks[BANK_A].erase_expired()
    assert world.recipient_stores[BANK_A].request(sent.request).share is None


def test_each_request_is_charged_its_bits_and_a_sum_of_its_own_at_both_ends(world, secure):
    """[SECURE-15] [LEAK-2]"""
    consent = consented(world)
    for output in (Output.POINTS, Output.POINTS, Output.BAND, Output.YES_NO):
        scored(world, consent, secure[0], output)
    bits = 12_000 + 12_000 + math.ceil(1_000 * math.log2(3)) + 1_000
    for member in (BUREAU, BANK_A):
        (line,) = accounts(world, member).of(TAXPAYER).lines
        assert (line.answers, line.millibits, line.rank) == (4, bits, 4)


def test_a_bank_that_puts_other_weights_into_each_run_is_stopped_at_the_budget(world, secure):
    """[SECURE-15] [LEAK-4]: nothing binds the weights of a run, so each one counts."""
    consent = consented(world)
    allowed = min(BUDGETS[Purpose.UNDERWRITING].each.bits // 12, 25)
    for _ in range(allowed):
        scored(world, consent, secure[0], Output.POINTS)
    one_more = asked(world, consent, secure[0], Output.POINTS)
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded"):
        answered(world, one_more)
    assert world.entry(one_more.request)["status"] == "refused"
    assert sum(line.millibits for line in accounts(world, BUREAU).of(TAXPAYER).lines) == 12_000 * allowed


def test_a_share_that_was_lost_is_asked_for_anew_and_charged_again(world, secure):
    """[SECURE-14] [SECURE-15]"""
    consent, bank = consented(world), world.banks[BANK_A]
    sent = asked(world, consent, secure[0], Output.YES_NO)
    answer = answered(world, sent)
    world.recipient_stores[BANK_A].keep_share(sent.request, None)
    with pytest.raises(Denied, match=r"^exchange\.share_missing"):
        bank.receive(sent.request, answer)
    with pytest.raises(Denied, match=r"^exchange\.share_missing"):
        answered(world, sent)
    assert scored(world, consent, secure[0], Output.YES_NO).score.output == ScoreOutput(yes_no=False)
    (line,) = accounts(world, BUREAU).of(TAXPAYER).lines
    assert (line.millibits, line.rank) == (2_000, 2)


def test_shares_of_two_runs_are_no_result(world, secure):
    """[SECURE-14]: an answer that is replayed, or a share of another request."""
    consent, store = consented(world), world.recipient_stores[BANK_A]
    first, second = (asked(world, consent, secure[0], Output.POINTS) for _ in range(2))
    answers = [answered(world, sent) for sent in (first, second)]
    with pytest.raises(ShuiqiaoError, match=r"^exchange\.answer_"):
        world.banks[BANK_A].receive(first.request, answers[1])
    store.keep_share(first.request, store.request(second.request).share)
    with pytest.raises(IntegrityError, match=r"^(privacy\.secure_failed|exchange\.output_wrong)"):
        world.banks[BANK_A].receive(first.request, answers[0])
    assert world.banks[BANK_A].receive(second.request, answers[1]).score.output.points == POINTS


@pytest.mark.parametrize("changes", [{"points": POINTS}, {"band": "B"}, {"ciphertext": b"c"}, {"shared": None}])
def test_a_bureau_that_answers_with_something_else_is_found_out(world, secure, changes):
    """[SECURE-14]"""
    asked = ModelAsk(model=secure[0], digest=bytes(32), outputs=[Output.BAND])
    session = Session(peer=BUREAU, request=owned_id(BANK_A, bytes(16)), model=asked, binding=bytes(32), share=bytes(9))
    wrong = ScoreOutput(shared=ResultShare(output=Output.BAND, share=bytes(9)))
    with pytest.raises(IntegrityError, match=r"^exchange\.output_wrong"):
        world.runners(BANK_A)[ModelForm.SECURE_LINEAR].opened(
            secure[1], msgspec.structs.replace(wrong, **changes), session=session
        )


@pytest.mark.parametrize(
    ("granted", "outputs", "code"),
    [
        ((Output.BAND,), (Output.POINTS,), "consent.not_covered"),
        ((Output.BAND, Output.POINTS), (Output.BAND, Output.POINTS), "exchange.outputs_together"),
        ((Output.BAND, Output.REASONS), (Output.REASONS,), "exchange.output_undeclared"),
    ],
)
def test_one_output_of_those_granted_and_declared_is_computed_at_a_time(world, secure, granted, outputs, code):
    """[SECURE-12]"""
    with pytest.raises(Denied, match=f"^{code}".replace(".", r"\.")):
        asked(world, consented(world, *granted), secure[0], *outputs)


def test_a_bank_without_its_card_computes_nothing(world):
    """[SECURE-11]"""
    content = read_outputs(DECLARED, card=a_card(name="lost"))
    data = secure_content(content, salt=bytes(32))
    assert decode_cbor(data)["weights"] == committed_weights(encode_content(content), salt=bytes(32))
    sent = asked(world, consented(world), world.approved(data, form=ModelForm.SECURE_LINEAR))
    with pytest.raises(Denied, match=r"^credit\.secure_card_missing"):
        answered(world, sent)


def test_a_model_of_another_function_is_not_reviewed(world):
    """[SECURE-10]"""
    plain = decode_cbor(secure_content(read_outputs(DECLARED, card=a_card(name="other-version")), salt=bytes(32)))
    plain["outputs"]["band"]["function"] = bytes(32)
    with pytest.raises(InvalidInput, match=r"^privacy\.secure_function_differs"):
        world.registered(encode_cbor(plain), form=ModelForm.SECURE_LINEAR)


# In the middle of a run


def test_one_run_answers_a_request_whose_vault_moved_while_it_was_read(world, secure, bureau_over):
    """[SECURE-13]: the reading is repeated, the run is not."""
    runs = []

    class Counting(SecureLinks):
        def run(self, *args, **named):
            runs.append(args)
            return super().run(*args, **named)

    class Moving:
        moved = 0

        def __getattr__(self, name):
            return getattr(world.vault, name)

        def revision(self):
            self.moved += 1
            return self.moved

        def live_leaves(self, **scope):
            found = world.vault.live_leaves(**scope)
            return found[1:] if self.moved == 1 else found

    bureau_over(Counting)
    sent = asked(world, consented(world), secure[0], Output.YES_NO)
    vault = Moving()
    answered(world, sent, provider=world.provider_with(vault))
    assert (vault.moved > 2, len(runs)) == (True, 1)


def test_a_consent_that_is_withdrawn_in_the_middle_gives_no_part_of_a_result(world, secure, bureau_over):
    """[SECURE-13] [EXCHANGE-20]"""
    enterprise, consent = world.enterprise(1), consented(world)

    class Withdrawn(SecureLinks):
        def run(self, *args, **named):
            found = super().run(*args, **named)
            if world.grant(consent).status is Status.ACTIVE:
                world.consents.relay(enterprise.revoke(consent, now_ms=world.clock.now_ms()).raw)
            return found

    provider = bureau_over(Withdrawn)
    sent = asked(world, consent, secure[0], Output.YES_NO)
    with pytest.raises(Denied, match=r"^consent\.revoked"):
        answered(world, sent, provider=provider)
    assert world.entry(sent.request)["status"] == "refused"
    row = world.provider_store.asked(f"{BANK_A}/{sent.request.hex()}")
    assert (row.answer, row.opening, row.counts) == (None, None, {})
    assert accounts(world, BUREAU).of(TAXPAYER).lines == ()
    # Both go on.
    assert scored(world, consented(world), secure[0], Output.YES_NO).score.output == ScoreOutput(yes_no=False)


def test_a_worker_that_dies_in_a_run_leaves_no_result_and_the_next_try_computes_anew(world, secure, bureau_over):
    """[SECURE-13]"""
    killed = []

    class Killed(SecureLinks):
        def run(self, peer, *args, **named):
            if not killed:
                killed.append(peer)
                self.give_up(peer)
            return super().run(peer, *args, **named)

    provider = bureau_over(Killed)
    sent = asked(world, consented(world), secure[0], Output.YES_NO)
    with pytest.raises(Unavailable, match=r"^privacy\.secure_"):
        answered(world, sent, provider=provider)
    assert world.entry(sent.request)["status"] == "requested"
    assert world.recipient_stores[BANK_A].request(sent.request).share is None
    assert accounts(world, BUREAU).of(TAXPAYER).lines == ()
    answer = answered(world, sent, provider=provider)
    assert world.banks[BANK_A].receive(sent.request, answer).score.output == ScoreOutput(yes_no=False)


def test_a_bureau_that_lost_its_answer_has_the_share_forgotten_and_computes_anew(world, secure):
    """[SECURE-14]: a share that no kept answer belongs to is of no use."""
    sent = asked(world, consented(world), secure[0], Output.YES_NO)
    world.recipient_stores[BANK_A].keep_share(sent.request, bytes(9))
    with pytest.raises(Unavailable, match=r"^privacy\.secure_"):
        answered(world, sent)
    assert world.recipient_stores[BANK_A].request(sent.request).share is None
    answer = answered(world, sent)
    assert world.banks[BANK_A].receive(sent.request, answer).score.output == ScoreOutput(yes_no=False)


def test_an_answer_that_was_computed_before_ends_what_the_bank_waits_for(world, secure, monkeypatch):
    """[SECURE-14]: its copy of the ledger may not say yet that the provider has answered."""
    monkeypatch.setattr(recipient_module, "_BOTH_ENDED_S", 0.2)
    sent = asked(world, consented(world), secure[0], Output.YES_NO)
    with pytest.raises(Unavailable, match=r"^privacy\.secure_"):
        world.banks[BANK_A].ask(sent, provider=SimpleNamespace(ask=lambda _: b"computed before"))
    assert world.recipient_stores[BANK_A].request(sent.request).share is None


def test_a_refusal_ends_what_the_bank_waits_for(world, secure):
    """[SECURE-12]: the bank does not sit out its time, and the next request opens the link again."""
    enterprise, consent = world.enterprise(1), consented(world)
    sent = asked(world, consent, secure[0], Output.YES_NO)
    world.consents.relay(enterprise.revoke(consent, now_ms=world.clock.now_ms()).raw)
    with pytest.raises(Denied, match=r"^consent\.revoked"):
        answered(world, sent)
    assert not world.links[BANK_A].is_open(BUREAU)
    assert scored(world, consented(world), secure[0], Output.YES_NO).score.output == ScoreOutput(yes_no=False)


def test_the_committed_card_is_the_one_that_is_kept(world, secure):
    """[SECURE-11]: what a regulator has shown holds against what was registered."""
    kept = world.closed_cards[BANK_A].find(secure[1])
    digest = world.registries[BANK_A].registered(secure[0])[0].digest
    assert world.banks[BANK_A].model_card(secure[0], digest=digest) == kept.card
    assert decode_content(kept.card).card == a_card()
    assert decode_cbor(secure[1])["weights"] == committed_weights(kept.card, salt=kept.secret)
    assert world.registries[BUREAU].report(secure[0]).outcome is ReviewOutcome.ACCEPTED
