"""An enterprise proves a key by signing a challenge: of this network and institution, in time, once."""

from __future__ import annotations

import msgspec
import pytest

from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Denied, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.consent.login import LOGIN_DOCUMENT, sign_login
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.transactions.document import sign_document
from shuiqiao.node.accounts import challenges as subject
from shuiqiao.node.accounts.challenges import CHALLENGE_LIFE_MS, Challenges

NOW_MS = 1_775_001_600_000
NETWORK = b"n" * 32
ORIGINS = ("https://bank-east.example:443", "http://127.0.0.1:8600")
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

    def sign(self, challenge, *, claim=CLAIM, institution="bank-east", origin=ORIGINS[0], network=NETWORK, key=None):
        return sign_login(
            challenge,
            claim=claim,
            institution=institution,
            origin=origin,
            network=network,
            key=key or self.key,
            suite=self.suite,
        )

    def claim(self, signed, *, origins=ORIGINS):
        return self.challenges.proven_claim(signed, origins=origins)


@pytest.fixture(params=["intl", "gm"])
def door(request):
    return Door(request.param)


def test_the_holder_of_the_key_is_let_in_once(door):
    signed = door.sign(door.challenges.issue())
    assert door.claim(signed) == CLAIM
    with pytest.raises(Denied, match=r"^node\.challenge_invalid: the challenge was used already"):
        door.claim(signed)
    assert door.claim(door.sign(door.challenges.issue())) == CLAIM


def test_a_key_that_was_replaced_since_proves_the_claim_no_more(door):
    """A token that was made in between is given to nobody."""
    signed = door.sign(door.challenges.issue())
    assert door.claim(signed) == CLAIM
    door.challenges.require_key(signed)
    door.known[CLAIM] = door.suite.signing_key_from_seed(b"f" * 32).public_key
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        door.challenges.require_key(signed)


def test_the_taxpayers_own_claim_is_another(door):
    door.known["taxpayer:91440300MA5LEAKME7"] = door.key.public_key
    signed = door.sign(door.challenges.issue(), claim="taxpayer:91440300MA5LEAKME7")
    assert door.claim(signed) == "taxpayer:91440300MA5LEAKME7"


def test_another_key_or_an_unknown_claim_is_refused_in_the_same_words(door):
    other, told = door.suite.signing_key_from_seed(b"o" * 32), set()
    for signed in (
        door.sign(door.challenges.issue(), key=other),
        door.sign(door.challenges.issue(), claim="taxpayer:nobody"),
    ):
        with pytest.raises(Denied, match=r"^node\.login_refused") as caught:
            door.claim(signed)
        told.add(str(caught.value))
    assert len(told) == 1


def test_a_wrong_signature_does_not_use_the_challenge_up(door):
    challenge, other = door.challenges.issue(), door.suite.signing_key_from_seed(b"o" * 32)
    with pytest.raises(Denied, match=r"^node\.login_refused"):
        door.claim(door.sign(challenge, key=other))
    assert door.claim(door.sign(challenge)) == CLAIM


@pytest.mark.parametrize(
    ("ms", "counts"), [(-1, False), (0, True), (CHALLENGE_LIFE_MS - 1, True), (CHALLENGE_LIFE_MS, False)]
)
def test_a_challenge_lasts_two_minutes(door, ms, counts):
    signed = door.sign(door.challenges.issue())
    door.clock._now_ms = NOW_MS + ms
    if counts:
        assert door.claim(signed) == CLAIM
    else:
        with pytest.raises(Denied, match=r"^node\.challenge_invalid"):
            door.claim(signed)


def test_a_challenge_is_of_one_institution_and_one_process(door):
    for signed in (
        door.sign(door.at("bank-west").issue(), institution="bank-west"),
        door.sign(door.at("bank-west").issue()),
        door.sign(door.challenges.issue(), institution="bank-west"),
        door.sign(door.at("bank-east").issue()),
        door.sign(bytes(56)),
    ):
        with pytest.raises(Denied, match=r"^node\.challenge_invalid"):
            door.claim(signed)


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_log_in_counts_at_each_address_of_the_server(door, origin):
    """[API-24]"""
    assert door.claim(door.sign(door.challenges.issue(), origin=origin)) == CLAIM


@pytest.mark.parametrize(
    "origin",
    [
        "https://bank-south.example:443",
        "http://bank-east.example:443",
        "https://bank-east.example:8443",
        "https://bank-east.example.bank-south.example:443",
        "http://localhost:8600",
    ],
)
def test_a_log_in_that_was_signed_for_another_address_is_refused(door, origin):
    """[API-24]: both addresses are named, whoever the server said to be; the challenge is not used up by it."""
    challenge = door.challenges.issue()
    with pytest.raises(Denied, match=r"^node\.origin_foreign") as caught:
        door.claim(door.sign(challenge, origin=origin))
    assert all(each in caught.value.message for each in (origin, *ORIGINS))
    with pytest.raises(Denied, match=r"^node\.origin_foreign"):
        door.claim(door.sign(challenge), origins=())
    assert door.claim(door.sign(challenge)) == CLAIM


def test_a_refusal_names_few_of_many_addresses(door):
    many = [f"https://n{number}.example:443" for number in range(100)]
    with pytest.raises(Denied, match=r"^node\.origin_foreign") as caught:
        door.claim(door.sign(door.challenges.issue()), origins=many)
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    "origin", ["", "bank:443", "https://bank", "https://Bank:443", "https://bank:443/x", "https://a:1\n", "ftp://a:1"]
)
def test_an_origin_has_a_form(door, origin):
    with pytest.raises(InvalidInput, match=r"^ledger\.document_body_invalid"):
        door.claim(door.sign(door.challenges.issue(), origin=origin))


def test_a_log_in_of_the_form_that_held_no_address_is_refused(door):
    """[API-24]"""

    class Before(msgspec.Struct, frozen=True, kw_only=True):
        institution: str
        claim: str
        challenge: bytes

    body = Before(institution="bank-east", claim=CLAIM, challenge=door.challenges.issue())
    for name in ("node.enterprise_login/1", LOGIN_DOCUMENT):
        signed = sign_document(body, name=name, network=NETWORK, suite=door.suite, keys=(door.key,))
        with pytest.raises(InvalidInput, match=r"^ledger\.document_"):
            door.claim(signed)


def test_another_network_is_refused(door):
    with pytest.raises(InvalidInput, match=r"^ledger\.document_network_wrong"):
        door.claim(door.sign(door.challenges.issue(), network=b"m" * 32))


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"\xd8\x62" + bytes(2000)])
def test_what_is_no_such_document_is_refused(door, raw):
    with pytest.raises(ShuiqiaoError):
        door.claim(raw)


@pytest.mark.parametrize("claim", ["king:1", "taxpayer:", "taxpayer:" + "9" * 33, "consent:bureau", CLAIM + "\n"])
def test_a_claim_has_a_form(door, claim):
    with pytest.raises(InvalidInput, match=r"^ledger\.document_body_invalid"):
        door.claim(door.sign(door.challenges.issue(), claim=claim))


def test_no_more_are_let_in_than_can_be_remembered(door, monkeypatch):
    monkeypatch.setattr(subject, "MAX_USED", 3)
    for _ in range(3):
        door.claim(door.sign(door.challenges.issue()))
    with pytest.raises(Unavailable, match=r"^node\.login_busy"):
        door.claim(door.sign(door.challenges.issue()))
    door.clock.advance(CHALLENGE_LIFE_MS)
    assert door.claim(door.sign(door.challenges.issue())) == CLAIM
