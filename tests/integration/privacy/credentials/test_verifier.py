"""A bank is shown a credential: what it takes, what it refuses, and that nobody asks the bureau."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consent_world import BANK_A, BANK_B, BUREAU, REGULATOR, TAXPAYER
from credentials_world import CredentialsWorld
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.privacy.credentials.presentation import ProveRules, decode_request
from shuiqiao.privacy.credentials.store import ShownStore
from shuiqiao.privacy.credentials.verifier import CredentialVerifier, PublishedRules
from shuiqiao.privacy.sd_jwt import Challenge, issue, jose_profile, present
from shuiqiao.standards.tax_credit_grade import Grade

RULES = PublishedRules(
    product="tax-credit-loan",
    digest=b"r" * 32,
    prove=ProveRules(grades=(Grade.A,), least={"registered_band": 2}, flags=("no_arrears",)),
)


class Bank:
    """A bank's verifier and what it was shown."""

    def __init__(self, world, member):
        self.world, self.member = world, member
        self.store = ShownStore(world.databases[member], cipher=world.cipher)
        self.verifier = CredentialVerifier(
            submitter=world.submitters[member],
            store=self.store,
            key=world.signing[member],
            suite=world.suite,
            entropy=world.entropy,
        )

    def shown(self, credential, *, copy, names=None, request=None, key=None, bank=None):
        """A request and a presentation for it."""
        raw = request or self.verifier.request(RULES)
        body = decode_request(raw, network=self.world.network, suite=self.world.suite).body
        return raw, present(
            credential,
            names=names or body.claims,
            challenge=Challenge(audience=bank or body.bank, nonce=body.request.hex()),
            now_s=self.world.clock.now_ms() // 1000,
            key=key or self.world.holder_key(copy),
            profile=jose_profile(self.world.suite),
        )


@pytest.fixture(params=["intl", "gm"])
def world(request, tmp_path):
    made = CredentialsWorld(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture
def bank(world):
    return Bank(world, BANK_A)


def code_of(act, *arguments, **more):
    with pytest.raises(ShuiqiaoError) as refusal:
        act(*arguments, **more)
    return refusal.value.code


def test_a_bank_sees_what_its_product_asks_for_and_no_more_and_the_bureau_sees_nothing(world, bank):
    """[CREDENTIAL-9] [CREDENTIAL-10]"""
    one, two = world.issued(1, 2).credentials
    before = world.ledger.last_block()
    found = bank.verifier.accept(*bank.shown(one, copy=1), rules=RULES)
    # This bureau takes in no arrears, so it states nothing of them, and null is not taken for a flag.
    assert dict(found.claims) == {"tax_credit_grade": "A", "registered_band": 5, "no_arrears": None}
    assert (found.issuer, found.unmet) == (BUREAU, ("no_arrears",))
    (row,) = bank.store.newest(most=10)
    assert (row.claims, row.is_met, row.issuer) == (found.claims, False, BUREAU)
    raw, presentation = bank.shown(two, copy=2)
    assert TAXPAYER not in presentation
    bank.verifier.accept(raw, presentation, rules=RULES)
    assert world.ledger.last_block() == before


def test_a_request_takes_one_showing_for_the_rules_in_force_for_five_minutes(world, bank):
    """[CREDENTIAL-10]"""
    one, two = world.issued(1, 2).credentials
    raw, presentation = bank.shown(one, copy=1)
    assert (
        code_of(bank.verifier.accept, raw, presentation, rules=replace(RULES, digest=b"n" * 32))
        == "privacy.challenge_old"
    )
    bank.verifier.accept(raw, presentation, rules=RULES)
    assert code_of(bank.verifier.accept, raw, presentation, rules=RULES) == "privacy.challenge_used"
    other = bank.shown(two, copy=2, request=raw)
    assert code_of(bank.verifier.accept, *other, rules=RULES) == "privacy.challenge_used"
    late = bank.shown(two, copy=2)
    world.clock.advance(300_001)
    assert code_of(bank.verifier.accept, *late, rules=RULES) == "privacy.challenge_old"
    nothing = replace(RULES, prove=ProveRules())
    assert code_of(bank.verifier.request, nothing) == "privacy.product_asks_nothing"


def test_what_was_made_for_another_bank_or_by_another_key_is_refused(world, bank):
    """[CREDENTIAL-10]"""
    (credential,) = world.issued(1).credentials
    there = Bank(world, BANK_B)
    raw, presentation = there.shown(credential, copy=1)
    assert code_of(bank.verifier.accept, raw, presentation, rules=RULES) == "ledger.document_signers_wrong"
    own = bank.verifier.request(RULES)
    assert code_of(bank.verifier.accept, own, presentation, rules=RULES) == "privacy.key_binding_wrong"
    # A bank that was shown it cannot show it on: the binding names it, and the key is the holder's.
    assert (
        code_of(bank.verifier.accept, *bank.shown(credential, copy=1, bank=BANK_B), rules=RULES)
        == "privacy.key_binding_wrong"
    )
    stolen = bank.shown(credential, copy=1, key=world.holder_key(2))
    assert code_of(bank.verifier.accept, *stolen, rules=RULES) == "crypto.signature_invalid"
    assert bank.store.newest(most=10) == []


@pytest.mark.parametrize(
    "names",
    [["tax_credit_grade"], ["tax_credit_grade", "registered_band", "no_arrears", "taxpayer"]],
)
def test_fewer_claims_than_asked_for_and_more_are_refused(world, bank, names):
    """[CREDENTIAL-10]"""
    (credential,) = world.issued(1).credentials
    shown = bank.shown(credential, copy=1, names=names)
    assert code_of(bank.verifier.accept, *shown, rules=RULES) == "privacy.claims_differ"


def test_a_revoked_credential_is_refused_at_the_newest_block_and_an_expired_one_by_its_time(world, bank):
    """[CREDENTIAL-7] [CREDENTIAL-10]"""
    (credential,) = world.issued(1).credentials
    bank.verifier.accept(*bank.shown(credential, copy=1), rules=RULES)
    assert world.issuer.revoke(TAXPAYER) == 1
    assert code_of(bank.verifier.accept, *bank.shown(credential, copy=1), rules=RULES) == "privacy.credential_revoked"
    (fresh,) = world.issued(2).credentials
    world.clock.advance(91 * 86_400_000)
    assert code_of(bank.verifier.accept, *bank.shown(fresh, copy=2), rules=RULES) == "privacy.sd_jwt_not_valid_now"


def forged(world, *, member, **changes):
    """A credential that a member signs by itself, and the changes to what it says."""
    seen = {
        "iss": member,
        "network": world.network.hex(),
        "vct": "shuiqiao-tax-facts@1",
        "exp": world.clock.now_ms() // 1000 + 1000,
        "status": {"status_list": {"uri": f"{member}/{'0a' * 16}", "idx": 1}},
    }
    return issue(
        seen | changes,
        {"tax_credit_grade": "A", "registered_band": 5, "no_arrears": True},
        media_type="dc+sd-jwt",
        holder=world.holder_key(1).public_key,
        key=world.signing[member],
        profile=jose_profile(world.suite),
        entropy=world.entropy,
    )


@pytest.mark.parametrize(
    ("member", "changes", "code"),
    [
        (BANK_B, {}, "members.role_wrong"),
        (REGULATOR, {}, "members.role_wrong"),
        (BANK_B, {"iss": BUREAU}, "crypto.signature_invalid"),
        (BUREAU, {"iss": "nobody"}, "members.unknown"),
        (BUREAU, {"network": "00" * 32}, "privacy.credential_foreign"),
        (BUREAU, {"vct": "other@1"}, "privacy.credential_foreign"),
        (BUREAU, {"status": None}, "privacy.credential_foreign"),
        (
            BUREAU,
            {"status": {"status_list": {"uri": "bureau/" + "0a" * 16, "idx": 8192}}},
            "privacy.credential_foreign",
        ),
        (BUREAU, {"status": {"status_list": {"uri": "bank-b/" + "0a" * 16, "idx": 1}}}, "privacy.credential_foreign"),
        (BUREAU, {}, "privacy.status_not_here"),
    ],
)
def test_who_is_no_bureau_states_nothing_and_a_status_must_be_on_the_ledger(world, bank, member, changes, code):
    """[CREDENTIAL-10]"""
    credential = forged(world, member=member, **changes)
    assert code_of(bank.verifier.accept, *bank.shown(credential, copy=1), rules=RULES) == code
    assert bank.store.newest(most=10) == []
