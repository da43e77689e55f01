"""The ledger's rules of applications and decisions, on a state in memory."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest

from shuiqiao.base.errors import Conflict, Denied
from shuiqiao.ledger.model import BlockContext, first_version
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.lending.contract import KINDS, ApplicationSubmitBody, DecisionRecordBody, application_key, decision_key

NOW_MS = 1_000_000
CTX = BlockContext(height=1, time_ms=NOW_MS)
APPLICATION, CONSENT, REQUEST = b"a" * 16, "bureau/" + "0c" * 16, b"r" * 16
REQUEST_KEY = f"exchange/request/bank/{REQUEST.hex()}"
KIND_OF = {kind.name: kind for kind in KINDS}


class DictState(dict):
    """A state that is a dictionary."""

    def put(self, key, value):
        assert key.startswith("lending/")
        self[key] = value


@pytest.fixture
def state():
    members = {"bureau": "tax_bureau", "bank": "bank", "other-bank": "bank", "regulator": "regulator"}
    grant = {
        "recipient": "bank",
        "purpose": "underwriting",
        "valid_from_ms": 0,
        "valid_to_ms": NOW_MS,
        "status": "active",
        "key": b"k" * 32,
        "commitment": b"m" * 32,
    }
    request = {"consent": CONSENT, "status": "acknowledged"}
    return DictState(
        {f"members/member/{name}": {"role": role} for name, role in members.items()}
        | {f"consent/grant/{CONSENT}": grant, REQUEST_KEY: request}
    )


def application(**changes):
    fields = {
        "application": APPLICATION,
        "consent": CONSENT,
        "commitment": bytes(32),
    }
    return ApplicationSubmitBody(**(fields | changes))


def decision(**changes):
    fields = {
        "application": APPLICATION,
        "request": REQUEST,
        "regulator": "regulator",
        "commitment": b"x" * 32,
        "opening_digest": b"y" * 32,
        "reasons_digest": bytes(32),
    }
    return DecisionRecordBody(**(fields | changes))


def run(state, kind, body, *, author="bank", ctx=CTX):
    tx = SimpleNamespace(author=author, body=body)
    KIND_OF[kind].check(tx, state, ctx)
    return KIND_OF[kind].apply(tx, state, ctx)


def refused(expected, state, kind, body, *, author="bank", ctx=CTX):
    before = dict(state)
    with pytest.raises((Denied, Conflict)) as caught:
        run(state, kind, body, author=author, ctx=ctx)
    assert caught.value.code == expected
    assert dict(state) == before


def test_an_application_and_its_decision_leave_ids_and_commitments_alone(state):
    """[LENDING-2] [LENDING-3]"""
    (submitted,) = run(state, "application.submit", application())
    assert (submitted.name, submitted.attributes["bank"]) == ("application.submitted", "bank")
    (recorded,) = run(state, "decision.record", decision())
    assert recorded.name == "decision.recorded"
    assert state[application_key("bank", APPLICATION)] == {
        "consent": CONSENT,
        "status": "decided",
    }
    assert state[decision_key("bank", APPLICATION)] == {
        "regulator": "regulator",
        "commitment": b"x" * 32,
        "opening_digest": b"y" * 32,
    }


def test_no_body_has_room_for_what_is_known_of_a_firm():
    """[LENDING-2] [LENDING-3]: every field is an id, a member, or 32 bytes that commit."""
    names = {*ApplicationSubmitBody.__struct_fields__, *DecisionRecordBody.__struct_fields__}
    commitments = {"commitment", "opening_digest", "reasons_digest"}
    assert names == {"application", "consent", "request", "regulator"} | commitments


@pytest.mark.parametrize("member", ["bureau", "bank", "other-bank"])
def test_an_opening_goes_to_a_regulator(state, member):
    """[LENDING-4]"""
    run(state, "application.submit", application())
    refused("members.role_wrong", state, "decision.record", decision(regulator=member))
    refused("members.unknown", state, "decision.record", decision(regulator="stranger"))


def test_an_application_is_a_banks_alone(state):
    refused("members.role_wrong", state, "application.submit", application(), author="bureau")
    refused("members.unknown", state, "application.submit", application(), author="stranger")


def test_an_application_needs_a_consent_given_to_this_bank(state):
    refused("lending.consent_not_ours", state, "application.submit", application(), author="other-bank")
    refused("consent.unknown", state, "application.submit", application(consent="other-bureau/" + "0c" * 16))


@pytest.mark.parametrize("status", ["paused", "revoked"])
def test_an_application_needs_a_consent_that_is_active(state, status):
    state[f"consent/grant/{CONSENT}"]["status"] = status
    refused(f"consent.{status}", state, "application.submit", application())


def test_an_application_needs_a_consent_that_has_begun_and_not_ended(state):
    late = BlockContext(height=1, time_ms=NOW_MS + 1)
    refused("consent.expired", state, "application.submit", application(), ctx=late)
    state[f"consent/grant/{CONSENT}"]["valid_from_ms"] = NOW_MS + 1
    refused("consent.not_yet_valid", state, "application.submit", application())


def test_an_application_is_made_once(state):
    run(state, "application.submit", application())
    refused("lending.application_repeated", state, "application.submit", application())


def test_a_decision_closes_an_application_of_this_bank_once(state):
    """[LENDING-1]"""
    refused("lending.application_unknown", state, "decision.record", decision())
    run(state, "application.submit", application())
    refused("lending.application_unknown", state, "decision.record", decision(), author="other-bank")
    run(state, "decision.record", decision())
    refused("lending.decision_repeated", state, "decision.record", decision(commitment=bytes(32)))


@pytest.mark.parametrize("status", ["requested", "delivered", "refused"])
def test_a_decision_rests_on_an_acknowledged_answer(state, status):
    run(state, "application.submit", application())
    state[REQUEST_KEY]["status"] = status
    refused("lending.evidence_missing", state, "decision.record", decision())


def test_a_decision_rests_on_an_answer_of_this_bank_under_this_consent(state):
    run(state, "application.submit", application())
    refused("lending.evidence_missing", state, "decision.record", decision(request=bytes(16)))
    theirs = REQUEST_KEY.replace("/bank/", "/other-bank/")
    state[theirs] = state.pop(REQUEST_KEY)
    refused("lending.evidence_missing", state, "decision.record", decision())
    state[REQUEST_KEY] = state[theirs] | {"consent": "bureau/" + "00" * 16}
    refused("lending.evidence_foreign", state, "decision.record", decision())


def test_one_answer_carries_one_decision(state):
    applications = [bytes([number]) * 16 for number in range(5)]
    for each in applications:
        run(state, "application.submit", application(application=each))
    run(state, "decision.record", decision(application=applications[0]))
    for each in applications[1:]:
        refused("lending.evidence_used", state, "decision.record", decision(application=each))
    state[f"exchange/request/bank/{'07' * 16}"] = state[REQUEST_KEY]
    run(state, "decision.record", decision(application=applications[1], request=b"\x07" * 16))


def test_an_application_id_belongs_to_its_bank(state):
    state[f"consent/grant/{CONSENT}"]["recipient"] = "other-bank"
    run(state, "application.submit", application(), author="other-bank")
    state[f"consent/grant/{CONSENT}"]["recipient"] = "bank"
    run(state, "application.submit", application())
    run(state, "decision.record", decision())
    assert state[application_key("other-bank", APPLICATION)]["status"] == "submitted"


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "approved"},
        {"grade": "A"},
        {"industry": "C"},
        {"province": "44"},
        {"amount_fen": 100},
        {"application": b"short"},
        {"request": bytes(17)},
        {"regulator": "Regulator"},
        {"commitment": bytes(31)},
        {"opening_digest": b""},
        {"reasons_digest": bytes(33)},
    ],
)
def test_a_body_is_closed_and_bounded(change):
    fields = msgspec.to_builtins(decision(), builtin_types=(bytes,)) | change
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, DecisionRecordBody, strict=True, builtin_types=(bytes,))


def test_the_kinds_are_fit_for_a_network():
    kinds = [(kind.name, kind.version) for kind in KindTable(KINDS)]
    assert kinds == [("application.submit", 2), ("decision.record", 2)]
    assert all(first_version(name) == version for name, version in kinds)
