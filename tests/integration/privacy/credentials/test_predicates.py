"""From a bureau's vault to a bank by predicates: what is issued, proven, refused, revoked, and who learns what.

The signature of predicates is the same in both suites; all around it, the ledger and the requests, is each suite's.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sqlalchemy import delete

from absence import without
from anoncreds_world import leaves
from consent_world import BANK_A, BANK_B, BUREAU, TAXPAYER
from credentials_world import CredentialsWorld
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import owned_id
from shuiqiao.crypto.model import SuiteName
from shuiqiao.privacy.credentials.anoncreds import (
    blind,
    claims_of,
    decode_definition,
    decode_text,
    encode_shown,
    place_of,
    present,
    take,
)
from shuiqiao.privacy.credentials.claims import BITS
from shuiqiao.privacy.credentials.contract import STATUS, CredentialStatusBody
from shuiqiao.privacy.credentials.model import BlindedRequestBody, encode_blinded, find_bits, find_registry, is_set
from shuiqiao.privacy.credentials.presentation import ProveRules, decode_request, verify_bounds
from shuiqiao.privacy.credentials.registries import HELD_DAYS, ISSUED_DAYS
from shuiqiao.privacy.credentials.store import ShownStore
from shuiqiao.privacy.credentials.verifier import CredentialVerifier, PublishedRules
from shuiqiao.privacy.store import metadata as charges
from shuiqiao.standards.tax_credit_grade import Grade

RULES = PublishedRules(
    product="tax-credit-loan",
    digest=b"r" * 32,
    prove=ProveRules(grades=(Grade.A, Grade.B), least={"registered_band": 2}),
)
"""What this world's taxpayer meets."""

PLACES = 16


class Bank:
    """A bank's verifier and what it was shown."""

    def __init__(self, world, member):
        self.store = ShownStore(world.databases[member], cipher=world.cipher)
        self.verifier = CredentialVerifier(
            submitter=world.submitters[member],
            store=self.store,
            key=world.signing[member],
            suite=world.suite,
            entropy=world.entropy,
        )


class Predicates(CredentialsWorld):
    """A bureau with a registry of few places, and the wallet of its taxpayer."""

    def __init__(self, folder, suite_name):
        super().__init__(folder, suite_name)
        self.issuer = self.issuer_with(places=PLACES)
        self.banks = {member: Bank(self, member) for member in (BANK_A, BANK_B)}
        self.tails = folder / "tails"

    def blinded(self, *, key=None, definition=None, **changes):
        """A signed request, and what its credential is taken with."""
        row = self.issuer.definition()
        self.tails.write_bytes(row.tails)
        found, request = decode_definition(row.content), self.entropy(16)
        secret = self.keys.link_secret(request, network=self.network)
        blinded, metadata = blind(found, request=request, link_secret=secret)
        fields = {
            "request": request,
            "bureau": BUREAU,
            "taxpayer": TAXPAYER,
            "definition": definition or self.suite.digest(row.content),
            "blinded": blinded,
            "made_ms": self.clock.now_ms(),
        }
        signer = key or self.keys.enrolment_key(BUREAU, network=self.network)
        raw = encode_blinded(
            BlindedRequestBody(**(fields | changes)), network=self.network, suite=self.suite, key=signer
        )
        return raw, {"definition": found, "metadata": metadata, "link_secret": secret}

    def held(self):
        """A credential as its holder keeps it, with its definition and secret."""
        raw, parts = self.blinded()
        (issued,) = self.issuer.issue_blinded(raw).credentials
        credential = take(
            parts["definition"], decode_text(issued), metadata=parts["metadata"], link_secret=parts["link_secret"]
        )
        return {"definition": parts["definition"], "credential": credential, "link_secret": parts["link_secret"]}

    def asked(self, member=BANK_A, *, rules=RULES, of=None):
        """A bank's request for predicates by the definition that is issued by now."""
        name = owned_id(BUREAU, self.issuer.definition().status_list) if of is None else of
        return self.banks[member].verifier.request(rules, status_list=name)

    def standing(self, held):
        """What the ledger has."""
        return find_registry(self.submitters[BUREAU].state(), held["definition"].status_list)

    def shown(self, held, raw, *, rules=RULES, registry=None):
        """What a holder shows for a request."""
        proof = present(
            held["definition"],
            held["credential"],
            rules=rules.prove,
            challenge=raw,
            registry=registry or self.standing(held),
            link_secret=held["link_secret"],
            tails=self.tails,
        )
        return encode_shown(held["definition"], proof)

    def accept(self, raw, presentation, *, member=BANK_A, rules=RULES):
        """What the bank takes."""
        return self.banks[member].verifier.accept(raw, presentation, rules=rules)

    def code(self, raw, presentation, **more):
        """The code with which the bank refuses."""
        return code_of(self.accept, raw, presentation, **more)


def code_of(act, *arguments, **more):
    with pytest.raises(ShuiqiaoError) as refusal:
        act(*arguments, **more)
    return refusal.value.code


@pytest.fixture(scope="module", params=["intl", "gm"])
def world(request, tmp_path_factory):
    made = Predicates(tmp_path_factory.mktemp("predicates"), request.param)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _new_account(world):
    """Each test has the whole budget: five issues use it up."""
    with world.databases[BUREAU].begin() as connection:
        connection.execute(delete(charges.tables["privacy_charge"]))


@pytest.fixture(scope="module")
def held(world):
    return world.held()


def test_a_bank_learns_the_bounds_of_its_product_and_the_bureau_nothing(world, held):
    """[CREDENTIAL-13] [CREDENTIAL-15]"""
    before = world.ledger.last_block()
    raw = world.asked()
    presentation = world.shown(held, raw)
    found = world.accept(raw, presentation)
    assert dict(found.claims) == {"registered_band": ">= 2", "tax_credit_grade": "A B"}
    assert (found.issuer, found.unmet) == (BUREAU, ())
    (row,) = [row for row in world.banks[BANK_A].store.newest(most=100) if row.request.hex() == request_of(world, raw)]
    assert (row.claims, row.is_met, row.issuer) == (found.claims, True, BUREAU)
    assert world.ledger.last_block() == before
    assert TAXPAYER.encode() not in decode_text(presentation.partition("~")[2])
    assert claims_of(held["credential"])["registered_band"] == 5


def request_of(world, raw):
    return decode_request(raw, network=world.network, suite=world.suite).body.request.hex()


def test_two_banks_that_compare_what_they_were_shown_find_nothing_in_common_but_what_all_have(world, held):
    """[CREDENTIAL-16]"""
    other = world.held()
    proofs = []
    for who, member in ((held, BANK_A), (held, BANK_B), (other, BANK_B)):
        raw = world.asked(member)
        presentation = world.shown(who, raw)
        world.accept(raw, presentation, member=member)
        proofs.append(set(leaves(json.loads(decode_text(presentation.partition("~")[2])))))
    once, again, of_another = proofs
    assert once & again == once & of_another == again & of_another
    name = held["definition"].status_list
    assert {leaf for leaf in once & again if len(leaf) > 24} == {f'"shuiqiao:{name}"', f'"shuiqiao:{name}/keys"'}


def test_a_request_takes_one_proof_by_its_own_bank_for_the_rules_in_force(world, held):
    """[CREDENTIAL-10] [CREDENTIAL-15]"""
    raw = world.asked()
    presentation = world.shown(held, raw)
    assert world.code(raw, presentation, rules=replace(RULES, digest=b"n" * 32)) == "privacy.challenge_old"
    world.accept(raw, presentation)
    assert world.code(raw, presentation) == "privacy.challenge_used"
    # Replayed for a request of its own, or to another bank.
    assert world.code(world.asked(), presentation) == "privacy.proof_invalid"
    assert world.code(world.asked(BANK_B), presentation, member=BANK_B) == "privacy.proof_invalid"
    assert world.code(raw, presentation, member=BANK_B) == "ledger.document_signers_wrong"
    # A request for claims as they are takes no proof, and one for predicates no SD-JWT.
    whole = world.banks[BANK_A].verifier.request(RULES)
    assert world.code(whole, presentation) == "privacy.sd_jwt_malformed"
    assert world.code(world.asked(), "eyJh.eyJi.c2ln~") in {"privacy.proof_malformed", "base.json_malformed"}


def test_what_is_issued_is_charged_against_every_recipient_and_given_back_where_nothing_is(world):
    """[CREDENTIAL-8] [CREDENTIAL-14]"""
    raw, _ = world.blinded()
    world.issuer.issue_blinded(raw)
    (line,) = world.account.of(TAXPAYER).lines
    assert (line.recipient, line.mode, line.answers, line.millibits) == (None, None, 1, BITS * 1000)
    assert code_of(world.issuer.issue_blinded, raw) == "privacy.request_repeated"
    broken, _ = world.blinded(blinded=b"{}")
    assert code_of(world.issuer.issue_blinded, broken) == "privacy.blinded_malformed"
    assert world.account.of(TAXPAYER).lines == (line,)


def test_who_asks_for_a_credential_is_the_enrolled_taxpayer_just_now_of_the_definition_in_use(world):
    """[CREDENTIAL-5] [CREDENTIAL-14]"""
    issue = world.issuer.issue_blinded
    assert code_of(issue, world.blinded(key=world.signing[BANK_A])[0]) == "ledger.document_signers_wrong"
    assert code_of(issue, world.blinded(bureau="other-bureau")[0]) == "consent.provider_wrong"
    assert code_of(issue, world.blinded(made_ms=world.clock.now_ms() - 600_001)[0]) == "privacy.request_old"
    assert code_of(issue, world.blinded(definition=b"d" * 32)[0]) == "privacy.definition_replaced"
    assert code_of(issue, world.request(1)) == "ledger.document_body_invalid"


def test_a_definition_that_the_ledger_does_not_have_is_refused(world, held):
    """[CREDENTIAL-15]: one of the holder's own keys, under the bureau's name."""
    raw = world.asked()
    own = json.loads(held["definition"].raw)
    own["expires_s"] += 1
    other = decode_definition(json.dumps(own).encode())
    assert world.code(raw, encode_shown(other, b"{}")) == "privacy.credential_foreign"
    for name, code in (
        (f"{BANK_B}/{'0b' * 16}", "members.role_wrong"),
        (f"{BUREAU}/{'0b' * 16}", "privacy.status_not_here"),
    ):
        own["status_list"] = name
        assert world.code(raw, encode_shown(decode_definition(json.dumps(own).encode()), b"{}")) == code
        assert code_of(world.asked, of=name) == "privacy.status_not_here"


def test_bounds_are_asked_for_where_they_are_wanted_and_by_their_claims(world):
    """[CREDENTIAL-16]"""
    body = decode_request(world.asked(), network=world.network, suite=world.suite).body
    assert body.bounds.rules == RULES.prove
    verify_bounds(body, are_wanted=True)
    assert code_of(verify_bounds, body, are_wanted=False) == "privacy.claims_differ"
    whole = decode_request(world.banks[BANK_A].verifier.request(RULES), network=world.network, suite=world.suite).body
    assert code_of(verify_bounds, whole, are_wanted=True) == "privacy.claims_differ"
    unprovable = replace(RULES, prove=ProveRules(grades=(Grade.C,)))
    assert code_of(world.asked, rules=unprovable) == "privacy.rules_not_provable"


def test_proofs_are_verified_one_at_a_time(world, held):
    """[CREDENTIAL-15]"""
    raw = world.asked()
    presentation = world.shown(held, raw)
    with world.banks[BANK_A].verifier._proving:
        assert world.code(raw, presentation) == "privacy.proofs_busy"
    assert world.accept(raw, presentation).unmet == ()


def test_a_bureau_without_the_extra_revokes_what_is_shown_whole(world, monkeypatch):
    """[CREDENTIAL-7]: and says what it lacks for the rest."""
    world.held()
    (copy,) = world.issued(4).credentials
    found = world.read(copy)["status"]["status_list"]
    with monkeypatch.context() as patch:
        without("anoncreds", patch)
        assert code_of(world.issuer.revoke, TAXPAYER) == "privacy.extra_missing"
        assert is_set(find_bits(world.submitters[BUREAU].state(), found["uri"]), found["idx"])


def test_revoking_ends_what_a_taxpayer_holds_and_others_go_on(world, held):
    """[CREDENTIAL-7] [CREDENTIAL-12] [CREDENTIAL-15]"""
    early = world.asked()
    presentation, old = world.shown(held, early), world.standing(held)
    (copy,) = world.issued(1).credentials
    assert world.read(copy)["iss"] == BUREAU
    assert world.issuer.revoke(TAXPAYER) >= 2, "copies of both formats"
    # Made before, shown after: by the accumulator of before.
    assert world.code(early, presentation) == "privacy.status_changed"
    raw = world.asked()
    assert code_of(world.shown, held, raw) == "privacy.credential_revoked"
    forged = world.shown(held, raw, registry=old)
    found = json.loads(decode_text(forged.partition("~")[2]))
    found["identifiers"][0]["timestamp"] = world.standing(held).revision
    again = encode_shown(held["definition"], json.dumps(found).encode())
    assert world.code(raw, again) == "privacy.proof_invalid"
    assert world.issuer.revoke(TAXPAYER) == 0
    # Who is issued one afterwards has a place that was never taken.
    fresh = world.held()
    assert place_of(fresh["credential"]) != place_of(held["credential"])
    raw = world.asked()
    world.accept(raw, world.shown(fresh, raw))


def later(world, *, days):
    """Days go by, and the ledger goes on."""
    world.clock.advance(days * MS_PER_DAY)
    body = CredentialStatusBody(status_list=world.entropy(16), revoked=[])
    world.submitters[BUREAU].submit(STATUS, body)


def test_a_definition_is_issued_by_for_a_month_and_holds_for_a_quarter(world):
    """[CREDENTIAL-12]"""
    held = world.held()
    first = world.issuer.definition()
    later(world, days=ISSUED_DAYS - 1)
    assert world.issuer.definition() == first
    raw = world.asked()
    world.accept(raw, world.shown(held, raw))
    later(world, days=HELD_DAYS - ISSUED_DAYS + 1)
    raw = world.asked(of=held["definition"].status_list)
    assert world.code(raw, world.shown(held, raw)) == "privacy.credential_expired"
    if (
        world.suite.name is SuiteName.INTL
    ):  # Once is enough: finding primes takes seconds, and no suite has a part in it.
        assert world.issuer.definition().status_list != first.status_list
        assert find_registry(world.submitters[BUREAU].state(), world.held()["definition"].status_list) is not None
