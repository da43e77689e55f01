"""An enterprise proves a key by signing a challenge: of this network and institution, in time, once."""

from __future__ import annotations

import pytest

from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Denied, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.consent.login import sign_login
from shuiqiao.crypto.suites import get_suite
from shuiqiao.node.accounts import challenges as subject
from shuiqiao.node.accounts.challenges import CHALLENGE_LIFE_MS, Challenges

NOW_MS = 1_775_001_600_000
NETWORK = b"n" * 32
CLAIM = f"consent:bureau/{'0f' * 16}"


class Door:
    def __init__(self, suite_name):
        self.suite, self.clock = get_suite(suite_name), ManualClock(NOW_MS)
        self.key = self.suite.signing_key_from_seed(b"e" * 32)
        self.known = {CLAIM: self.key.public_key}
        self.challenges = self.at("bank-east")

    def at(self, institution):
        return Challenges(
            self,
            institution=institution,
            network=NETWORK,
            suite=self.suite,
            clock=self.clock,
            entropy=system_entropy,
        )

    def key_of(self, claim):
        return self.known.get(claim)

    def sign(self, challenge, *, claim=CLAIM, institution="bank-east", network=NETWORK, key=None):
        return sign_login(
            challenge, claim=claim, institution=institution, network=network, key=key or self.key, suite=self.suite
        )


@pytest.fixture(params=["intl", "gm"])
def door(request):
    return Door(request.param)


def test_the_holder_of_the_key_is_let_in_once(door):
    signed = door.sign(door.challenges.issue())
    assert door.challenges.proven_claim(signed) == CLAIM
    with pytest.raises(Denied, match=r"^node\.challenge_invalid: the challenge was used already"):
        door.challenges.proven_claim(signed)
    assert door.challenges.proven_claim(door.sign(door.challenges.issue())) == CLAIM


def test_a_key_that_was_replaced_since_proves_the_claim_no_more(door):
    """A token that was made in between is given to nobody."""
    signed = door.sign(door.challenges.issue())
    assert door.challenges.proven_claim(signed) == CLAIM
    door.challenges.require_key(signed)
    door.known[CLAIM] = door.suite.signing_key_from_seed(b"f" * 32).public_key
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        door.challenges.require_key(signed)


def test_the_taxpayers_own_claim_is_another(door):
    door.known["taxpayer:91440300MA5LEAKME7"] = door.key.public_key
    signed = door.sign(door.challenges.issue(), claim="taxpayer:91440300MA5LEAKME7")
    assert door.challenges.proven_claim(signed) == "taxpayer:91440300MA5LEAKME7"


def test_another_key_or_an_unknown_claim_is_refused_in_the_same_words(door):
    other, told = door.suite.signing_key_from_seed(b"o" * 32), set()
    for signed in (
        door.sign(door.challenges.issue(), key=other),
        door.sign(door.challenges.issue(), claim="taxpayer:nobody"),
    ):
        with pytest.raises(Denied, match=r"^node\.login_refused") as caught:
            door.challenges.proven_claim(signed)
        told.add(str(caught.value))
    assert len(told) == 1


def test_a_wrong_signature_does_not_use_the_challenge_up(door):
    challenge, other = door.challenges.issue(), door.suite.signing_key_from_seed(b"o" * 32)
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        door.challenges.proven_claim(door.sign(challenge, key=other))
    assert door.challenges.proven_claim(door.sign(challenge)) == CLAIM


@pytest.mark.parametrize(
    ("ms", "counts"), [(-1, False), (0, True), (CHALLENGE_LIFE_MS - 1, True), (CHALLENGE_LIFE_MS, False)]
)
def test_a_challenge_lasts_two_minutes(door, ms, counts):
    signed = door.sign(door.challenges.issue())
    door.clock._now_ms = NOW_MS + ms
    if counts:
        assert door.challenges.proven_claim(signed) == CLAIM
    else:
        with pytest.raises(Denied, match=r"^node\.challenge_invalid"):
            door.challenges.proven_claim(signed)


def test_a_challenge_is_of_one_institution_and_one_process(door):
    for signed in (
        door.sign(door.at("bank-west").issue(), institution="bank-west"),
        door.sign(door.at("bank-west").issue()),
        door.sign(door.challenges.issue(), institution="bank-west"),
        door.sign(door.at("bank-east").issue()),
        door.sign(bytes(56)),
    ):
        with pytest.raises(Denied, match=r"^node\.challenge_invalid"):
            door.challenges.proven_claim(signed)


def test_another_network_is_refused(door):
    with pytest.raises(InvalidInput, match=r"^ledger\.document_network_wrong"):
        door.challenges.proven_claim(door.sign(door.challenges.issue(), network=b"m" * 32))


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"\xd8\x62" + bytes(2000)])
def test_what_is_no_such_document_is_refused(door, raw):
    with pytest.raises(ShuiqiaoError):
        door.challenges.proven_claim(raw)


@pytest.mark.parametrize("claim", ["king:1", "taxpayer:", "taxpayer:" + "9" * 33, "consent:bureau", CLAIM + "\n"])
def test_a_claim_has_a_form(door, claim):
    with pytest.raises(InvalidInput, match=r"^ledger\.document_body_invalid"):
        door.challenges.proven_claim(door.sign(door.challenges.issue(), claim=claim))


def test_no_more_are_let_in_than_can_be_remembered(door, monkeypatch):
    monkeypatch.setattr(subject, "MAX_USED", 3)
    for _ in range(3):
        door.challenges.proven_claim(door.sign(door.challenges.issue()))
    with pytest.raises(Unavailable, match=r"^node\.login_busy"):
        door.challenges.proven_claim(door.sign(door.challenges.issue()))
    door.clock.advance(CHALLENGE_LIFE_MS)
    assert door.challenges.proven_claim(door.sign(door.challenges.issue())) == CLAIM
