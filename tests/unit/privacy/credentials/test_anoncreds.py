"""Predicate proofs: what they show and hide, and what the library would take that is refused here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from absence import without
from anoncreds_world import CLAIMS, PLACES, RULES, STATUS_LIST, TAXPAYER, AnonCredsWorld, leaves
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.privacy.credentials.anoncreds import (
    ATTRIBUTES,
    Asked,
    attributes_of,
    claims_of,
    decode_definition,
    decode_shown,
    encode_shown,
    encoded,
    make_definition,
    sign,
    take,
    unmet,
    values_of,
    verify,
)
from shuiqiao.privacy.credentials.anoncreds import blind as blind_secret
from shuiqiao.privacy.credentials.presentation import ProveRules
from shuiqiao.standards.tax_credit_grade import Grade

ASKED = b"the signed request of a bank"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return AnonCredsWorld(tmp_path_factory.mktemp("anoncreds"))


@pytest.fixture(scope="module")
def holder(world):
    return world.holder(place=3)


@pytest.fixture(scope="module")
def proof(world, holder):
    return world.proof(holder, challenge=ASKED)


def code_of(act, *arguments, **more):
    with pytest.raises(ShuiqiaoError) as refusal:
        act(*arguments, **more)
    return refusal.value.code


def verified(world, proof, *, rules=RULES, challenge=ASKED, registry=None):
    return verify(world.definition, proof, rules=rules, challenge=challenge, registry=registry or world.registry)


def refused(world, found, **more):
    """The code of the refusal of a proof, given as its JSON."""
    return code_of(verified, world, json.dumps(found).encode(), **more)


def taken_by_the_library(world, found, *, rules=RULES):
    """Whether the library by itself takes a proof."""
    import anoncreds

    definition, asked = world.definition, Asked.of(rules)
    return anoncreds.Presentation.load(json.dumps(found)).verify(
        json.dumps(asked.request(definition, challenge=ASKED, registry=world.registry)),
        {"shuiqiao:tax-facts@1": json.dumps(definition.body.schema)},
        {definition.keys_id: json.dumps(definition.body.keys)},
        {definition.registry_id: json.dumps(definition.body.registry)},
        [json.dumps(definition.status(world.registry))],
    )


def test_bounds_flags_and_a_set_of_grades_are_proven_and_nothing_finer(world, proof):
    """[CREDENTIAL-13] [CREDENTIAL-15]"""
    assert verified(world, proof) == {
        "tax_paid_12m_band": ">= 4",
        "registered_band": ">= 2",
        "no_arrears": True,
        "tax_credit_grade": "A B M",
    }
    assert TAXPAYER.encode() not in proof


def test_the_taxpayer_is_shown_where_it_is_asked_for(world, holder):
    """[CREDENTIAL-9]"""
    rules = ProveRules(flags=("no_arrears",), names_taxpayer=True)
    proof = world.proof(holder, challenge=ASKED, rules=rules)
    assert verified(world, proof, rules=rules) == {"no_arrears": True, "taxpayer": TAXPAYER}


def test_two_proofs_of_one_credential_have_nothing_in_common_but_what_is_public(world, holder, proof):
    """[CREDENTIAL-16]: every text and number of both, however small, of one holder and of two."""
    definition, first = world.definition, set(leaves(json.loads(proof)))
    names = [definition.registry_id, definition.keys_id, "shuiqiao:tax-facts@1", "GE", *RULES.least, "1"]
    public = {json.dumps(each) for each in [*names, 0, 1, *RULES.least.values()]}
    for who, challenge in ((holder, ASKED), (holder, b"of another bank"), (world.holder(place=5), ASKED)):
        assert first & set(leaves(json.loads(world.proof(who, challenge=challenge)))) == public


def test_a_value_that_says_other_than_is_signed_is_refused_though_the_library_takes_it(world, proof):
    """[CREDENTIAL-15]: the recomputed encoding."""
    found = json.loads(proof)
    found["requested_proof"]["revealed_attrs"]["no_arrears"]["raw"] = "0"
    assert taken_by_the_library(world, found)
    assert refused(world, found) == "privacy.proof_invalid"


def test_a_flag_that_is_not_shown_is_refused_though_the_library_takes_it(world, holder):
    """[CREDENTIAL-15]"""
    import anoncreds

    definition, asked = world.definition, Asked.of(RULES)
    credential = anoncreds.Credential.load(holder.credential)
    state = anoncreds.CredentialRevocationState.create(
        json.dumps(definition.body.registry), json.dumps(definition.status(world.registry)), 3, str(world.tails)
    )
    chosen = anoncreds.PresentCredentials()
    chosen.add_attributes(credential, *asked.revealed, reveal=False, timestamp=1, rev_state=state)
    chosen.add_predicates(credential, *asked.least, timestamp=1, rev_state=state)
    found = anoncreds.Presentation.create(
        json.dumps(asked.request(definition, challenge=ASKED, registry=world.registry)),
        chosen,
        None,
        str(int.from_bytes(holder.link_secret, "big")),
        {"shuiqiao:tax-facts@1": json.dumps(definition.body.schema)},
        {definition.keys_id: json.dumps(definition.body.keys)},
    ).to_dict()
    assert taken_by_the_library(world, found)
    assert refused(world, found) == "privacy.claims_differ"


@pytest.mark.parametrize("left_out", [("rev_reg_id",), ("timestamp",), ("rev_reg_id", "timestamp")])
def test_a_proof_without_its_status_is_refused(world, proof, left_out):
    """[CREDENTIAL-15]"""
    found = json.loads(proof)
    for name in left_out:
        del found["identifiers"][0][name]
    assert refused(world, found) in {"privacy.claims_differ", "privacy.status_changed"}
    found = json.loads(proof)
    found["proof"]["proofs"][0]["non_revoc_proof"] = None
    assert refused(world, found) == "privacy.claims_differ"


def test_a_proof_is_of_one_request(world, proof):
    """[CREDENTIAL-15]"""
    assert code_of(verified, world, proof, challenge=ASKED + b" again") == "privacy.proof_invalid"


def test_a_proof_of_lower_bounds_is_refused_though_the_library_takes_it(world, proof):
    """[CREDENTIAL-15]: it compares the names of predicates alone."""
    higher = ProveRules(grades=RULES.grades, least={**RULES.least, "tax_paid_12m_band": 7}, flags=RULES.flags)
    assert CLAIMS["tax_paid_12m_band"] < 7
    assert taken_by_the_library(world, json.loads(proof), rules=higher)
    assert code_of(verified, world, proof, rules=higher) == "privacy.claims_differ"
    more = ProveRules(grades=RULES.grades, least={**RULES.least, "sales_12m_band": 1}, flags=RULES.flags)
    assert code_of(verified, world, proof, rules=more) == "privacy.claims_differ"
    said = json.loads(proof)
    said["proof"]["proofs"][0]["primary_proof"]["ge_proofs"][0]["predicate"]["value"] += 1
    assert refused(world, said).startswith("privacy.")


def test_another_holders_credential_does_not_fit_ones_own_secret(world, holder):
    """[CREDENTIAL-14]: who copies a credential without the seed shows nothing by it."""
    thief = replace(holder, link_secret=bytes(31) + b"\x07")
    found = world.proof(thief, challenge=ASKED)
    assert code_of(verified, world, found) == "privacy.proof_invalid"


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        (ProveRules(least={"tax_paid_12m_band": 5}), ("tax_paid_12m_band",)),
        # What the bureau does not state is not met.
        (ProveRules(least={"sales_12m_band": 1}), ("sales_12m_band",)),
        (ProveRules(flags=("no_serious_violation_36m", "no_arrears")), ("no_serious_violation_36m",)),
        (ProveRules(grades=(Grade.A,)), ("tax_credit_grade",)),
    ],
)
def test_what_does_not_hold_is_not_shown(world, holder, rules, names):
    """[CREDENTIAL-16]"""
    assert unmet(rules, values_of(holder.credential)) == names
    assert code_of(world.proof, holder, challenge=ASKED, rules=rules) == "privacy.rules_unmet"


def test_a_set_of_grades_without_a_flag_cannot_be_proven(world, proof):
    """[CREDENTIAL-13]"""
    rules = ProveRules(grades=(Grade.B, Grade.M))
    assert code_of(verified, world, proof, rules=rules) == "privacy.rules_not_provable"


def test_who_is_revoked_proves_nothing_and_everybody_else_goes_on(world, holder, proof):
    """[CREDENTIAL-12] [CREDENTIAL-15]"""
    other, after = world.holder(place=PLACES - 1), world.revoked(3)
    assert code_of(world.proof, holder, challenge=ASKED, registry=after) == "privacy.credential_revoked"
    assert code_of(verified, world, proof, registry=after) == "privacy.status_changed"
    # Who forges the number of the registry's state has still proven by the accumulator of before.
    found = json.loads(proof)
    found["identifiers"][0]["timestamp"] = after.revision
    assert refused(world, found, registry=after) == "privacy.proof_invalid"
    assert verified(world, world.proof(other, challenge=ASKED, registry=after), registry=after)["no_arrears"] is True


def test_no_part_of_a_proof_can_be_changed(world, proof):
    """[CREDENTIAL-15]: one text or number in each sort of place, lists of bytes by their first."""
    paths = {
        tuple("" if isinstance(step, int) else step for step in path): path for path in paths_of(json.loads(proof))
    }
    assert len(paths) > 30
    for path in paths.values():
        found = json.loads(proof)
        part = found
        for step in path[:-1]:
            part = part[step]
        value = part[path[-1]]
        part[path[-1]] = (value + 1) % 256 if isinstance(value, int) else altered(value)
        assert refused(world, found).startswith("privacy."), path


def paths_of(value, path=()):
    """The way to each text and number, and to the first of a list of bytes."""
    if isinstance(value, dict):
        return [found for name, each in value.items() for found in paths_of(each, (*path, name))]
    if isinstance(value, list):
        return [found for at, each in enumerate(value[:2]) for found in paths_of(each, (*path, at))]
    return [] if value is None else [path]


def altered(text):
    """A text with its last sign another one."""
    return text[:-1] + ("1" if text[-1] != "1" else "2")


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b'{"proof":1}', b"\xff", b'{"a":' * 50, b'"' + b"1" * 200_000 + b'"']
)
def test_what_is_no_proof_is_refused_with_a_code(world, raw):
    assert code_of(verified, world, raw).startswith(("base.json", "privacy.proof_malformed"))


def test_a_blinded_secret_counts_for_its_own_request_and_definition(world):
    """[CREDENTIAL-14]"""
    blinded, metadata = blind_secret(world.definition, request=b"r" * 16, link_secret=b"\x01" * 32)
    parts = {"secret": world.made.secret, "claims": CLAIMS, "place": 7, "registry": world.registry}
    wrong = code_of(sign, world.definition, blinded, request=b"s" * 16, **parts)
    assert wrong == "privacy.blinded_malformed"
    for raw in (b"{}", b"[" * 100, b"\x00" * 9_000):
        assert code_of(sign, world.definition, raw, request=b"r" * 16, **parts).startswith(("privacy.bl", "base.json"))
    signed = sign(world.definition, blinded, request=b"r" * 16, **parts)
    for wrong_secret, what in ((b"\x02" * 32, signed), (b"\x01" * 32, changed(signed))):
        assert (
            code_of(take, world.definition, what, metadata=metadata, link_secret=wrong_secret)
            == "privacy.credential_malformed"
        )


def changed(credential):
    """A credential that says a higher band than is signed."""
    found = json.loads(credential)
    found["values"]["tax_paid_12m_band"]["raw"] = "7"
    return json.dumps(found).encode()


def test_attributes_are_bands_flags_and_whose_they_are():
    """[CREDENTIAL-13]"""
    found = attributes_of(CLAIMS)
    assert found == {
        "tax_paid_12m_band": "4",
        "sales_12m_band": "0",
        "registered_band": "3",
        "no_arrears": "1",
        "no_serious_violation_36m": "0",
        "grade_a": "0",
        "grade_ab": "1",
        "grade_abm": "1",
        "grade_abmc": "1",
        "taxpayer": TAXPAYER,
    }
    assert found.keys() == set(ATTRIBUTES)
    nothing = attributes_of(dict.fromkeys(CLAIMS) | {"taxpayer": TAXPAYER})
    assert {value for name, value in nothing.items() if name != "taxpayer"} == {"0"}


def test_a_credential_is_read_under_the_names_of_claims(holder):
    assert claims_of(holder.credential) == {
        "tax_credit_grade": "B",
        "tax_paid_12m_band": 4,
        "sales_12m_band": 0,
        "registered_band": 3,
        "no_arrears": True,
        "no_serious_violation_36m": False,
    }


@pytest.mark.parametrize("raw", ["", "a", "01", "+1", " 1", "1 ", "2147483648", "-2147483649", "１"])
def test_what_is_no_plain_number_of_32_bits_is_signed_by_its_digest(raw):
    """[CREDENTIAL-15]"""
    assert encoded(raw) == str(int(hashlib.sha256(raw.encode()).hexdigest(), 16))


@pytest.mark.parametrize("raw", ["0", "-1", "2147483647", "-2147483648"])
def test_a_plain_number_of_32_bits_stands_for_itself(raw):
    """[CREDENTIAL-15]"""
    assert encoded(raw) == raw


def test_a_definition_is_read_as_it_was_made_and_no_other_way(world, proof):
    """[CREDENTIAL-12]"""
    raw = world.definition.raw
    assert decode_definition(raw) == world.definition
    assert hashlib.sha256(world.made.tails).hexdigest() == world.definition.body.tails
    assert b"tmp" not in raw, "no path of this machine"
    assert (world.definition.issuer, world.definition.status_list) == ("bureau", STATUS_LIST)
    for field in ("network", "keys", "places"):
        broken = json.dumps({name: value for name, value in json.loads(raw).items() if name != field}).encode()
        assert code_of(decode_definition, broken) == "privacy.definition_malformed"
    assert decode_shown(encode_shown(world.definition, proof)) == (world.definition, proof)
    assert code_of(decode_shown, "e30~!!") in {"privacy.proof_malformed", "privacy.definition_malformed"}


def test_without_the_extra_it_says_what_to_install(world, proof, monkeypatch):
    """[CREDENTIAL-12]"""
    without("anoncreds", monkeypatch)
    with pytest.raises(ShuiqiaoError, match=r"privacy\.extra_missing") as refusal:
        verified(world, proof)
    assert "anoncreds==0.2.3" in refusal.value.next_step
    made = code_of(make_definition, network=bytes(32), status_list=STATUS_LIST, closes_s=1, expires_s=2)
    assert made == "privacy.extra_missing"
