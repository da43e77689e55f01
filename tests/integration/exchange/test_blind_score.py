"""A bank's encrypted weights run at the bureau, through the same request and answer as an open card; the bank opens it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from exchange_world import BANK_A, BUREAU, TAXPAYER
from models_world import BANDS, a_card
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.encoding import decode_cbor
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.consent.model import Frequency, FrequencyUnit, Mode, Output, Purpose
from shuiqiao.credit.blind_content import encrypt_card
from shuiqiao.credit.model_content import encode_content, read_outputs
from shuiqiao.credit.store import ClosedCard
from shuiqiao.exchange.messages import open_answer, read_request
from shuiqiao.exchange.modes.score import ScoreOutput
from shuiqiao.models.model import ModelForm
from shuiqiao.privacy.blind.scheme import blind_scheme
from shuiqiao.privacy.budgets import BUDGETS, WINDOW_MS
from shuiqiao.privacy.service import LeakageAccounts
from shuiqiao.privacy.store import ChargeStore

DECLARED = {**BANDS, "points": True}
POINTS = 563
"""600 less 37: a firm that invoices every month."""


def encrypted(world, *, owner=BANK_A, **card):
    """A card's encrypted weights, approved by the bureau; the key is kept by the owner."""
    keys, content = blind_scheme().generate_keys(), read_outputs(DECLARED, card=a_card(**card))
    data = encrypt_card(content, keys=keys)
    key = ClosedCard(secret=keys.secret, card=encode_content(content))
    world.closed_cards[owner].save(key, content=data)
    return world.approved(data, owner=owner, form=ModelForm.BLIND_LINEAR), data, keys


@pytest.fixture(scope="module")
def blind(world):
    return encrypted(world)


@pytest.fixture(autouse=True)
def _a_year_later(world):
    """Each test begins with accounts in which nothing counts any more [LEAK-4]."""
    world.clock.advance(WINDOW_MS + MS_PER_DAY)


def consented(world, *outputs, **changes):
    fields = {"modes": (Mode.DISCLOSE, Mode.SCORE), "outputs": outputs or (Output.BAND, Output.POINTS)}
    return world.granted(**(fields | changes))


def asked(world, consent, model, *outputs):
    return world.banks[BANK_A].request(world.banks[BANK_A].scoring(consent, model, outputs=outputs or (Output.POINTS,)))


def accounts(world, member):
    store = ChargeStore(world.databases[member], cipher=world.cipher)
    now_ms = world.submitters[member].now_ms
    return LeakageAccounts(store, now_ms=now_ms)


def test_the_bank_opens_points_and_band_of_what_the_bureau_cannot_read(world, blind):
    """[BLIND-9] [BLIND-10]"""
    model, _, keys = blind
    sent = asked(world, consented(world), model)
    answer = world.provider.answer(sent.message)
    received = world.banks[BANK_A].receive(sent.request, answer)
    output = received.score.output
    assert abs(output.points - POINTS) <= 1
    assert (output.band, output.yes_no, output.ciphertext) == ("B", False, None)
    assert world.banks[BANK_A].load(received.request).score == received.score
    assert world.entry(received.request)["status"] == "acknowledged"
    assert received.manifest.cells == []

    # What crossed is a ciphertext, which another bank's key opens to nothing that the card can give.
    message = read_request(sent.message, network=world.network, suite=world.suite)
    content, _ = open_answer(
        answer,
        message=message,
        state=world.ledger.state(),
        network=world.network,
        suite=world.suite,
        sealing_key=world.sealing[BANK_A],
    )
    crossed = decode_cbor(content.disclosure)
    assert set(crossed["output"]) == {"ciphertext"}
    with_key = blind_scheme().decrypt(crossed["output"]["ciphertext"], secret=keys.secret, count=1)
    assert abs(with_key[0]) < 30
    other = blind_scheme().generate_keys().secret
    assert abs(blind_scheme().decrypt(crossed["output"]["ciphertext"], secret=other, count=1)[0]) > 2_048


def test_an_answer_is_sent_again_as_it_was_and_two_answers_share_nothing(world, blind):
    """[EXCHANGE-18] [BLIND-5]"""
    model, *_ = blind
    sent = asked(world, consented(world), model)
    assert world.provider.answer(sent.message) == world.provider.answer(sent.message)


@pytest.mark.parametrize(
    ("granted", "outputs", "code"),
    [
        ((Output.BAND,), (Output.POINTS,), "consent.not_covered"),
        ((Output.BAND, Output.POINTS), (Output.BAND,), "exchange.output_undeclared"),
    ],
)
def test_a_consent_for_a_band_is_no_consent_for_what_encrypted_weights_give(world, blind, granted, outputs, code):
    """[BLIND-9]: a band or a yes or no is of a card that runs at source."""
    model, *_ = blind
    with pytest.raises(Denied, match=code.replace(".", r"\.")):
        asked(world, consented(world, *granted), model, *outputs)


def test_each_answer_is_twelve_bits_and_each_ciphertext_one_sum_at_both_ends(world, blind):
    """[BLIND-11] [LEAK-2]"""
    first, *_ = blind
    second, *_ = encrypted(world, name="another")
    consent = consented(world)
    for model in (first, first, second):
        sent = asked(world, consent, model)
        world.banks[BANK_A].receive(sent.request, world.provider.answer(sent.message))
    for member in (BUREAU, BANK_A):
        (line,) = accounts(world, member).of(TAXPAYER).lines
        assert (line.answers, line.millibits, line.rank) == (3, 36_000, 2)


def test_a_vector_of_ciphertexts_is_stopped_at_the_budget(world):
    """[LEAK-4]: a unit vector in each of many registered ciphertexts is bounded by the bits of their answers."""
    consent = consented(world, frequency=Frequency(count=25, unit=FrequencyUnit.YEAR))
    for number in range(BUDGETS[Purpose.UNDERWRITING].each.bits // 12):
        model, *_ = encrypted(world, name=f"unit-{number}")
        world.provider.answer(asked(world, consent, model).message)
    one_more = asked(world, consent, encrypted(world, name="one-more")[0])
    with pytest.raises(Denied, match=r"privacy\.budget_exceeded.*84\.000 bits and 7 independent sums"):
        world.provider.answer(one_more.message)
    account = accounts(world, BUREAU).of(TAXPAYER)
    assert sum(line.millibits for line in account.lines) == 72_000


def test_a_bank_that_lost_its_key_opens_nothing(world):
    """[BLIND-10]"""
    keys = blind_scheme().generate_keys()
    data = encrypt_card(read_outputs(DECLARED, card=a_card(name="lost")), keys=keys)
    sent = asked(world, consented(world), world.approved(data, form=ModelForm.BLIND_LINEAR))
    with pytest.raises(Denied, match=r"credit\.blind_key_missing"):
        world.banks[BANK_A].receive(sent.request, world.provider.answer(sent.message))


def test_what_decrypts_to_no_score_of_the_card_is_refused(world, blind):
    """[BLIND-10]"""
    _, data, keys = blind
    runner = world.runners(BANK_A)[ModelForm.BLIND_LINEAR]
    scheme = blind_scheme()
    weights = scheme.read_weights(scheme.encrypt_weights([1_500], secret=keys.secret), public=keys.public)
    wrong = ScoreOutput(ciphertext=scheme.evaluate(weights, np.ones((1, 1), dtype=np.bool_), entropy=world.entropy))
    with pytest.raises(IntegrityError, match=r"exchange\.output_wrong"):
        runner.opened(data, wrong)
    for bad in (wrong.ciphertext[:-1], b"", None):
        with pytest.raises(InvalidInput, match=r"privacy\.blind_malformed"):
            runner.opened(data, msgspec.structs.replace(wrong, ciphertext=bad))
