"""A bank, its bureau and the regulator agree over real HTTP on whose records a model is trained."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from types import SimpleNamespace

import msgspec
import pytest

from consortium_world import PERIOD
from peers_world import Doors
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import Uscc
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources.trainings import NewTraining
from shuiqiao.consent.enterprise import Enterprise, EnterpriseKeys
from shuiqiao.consent.model import IdentityCheck, Mode, Purpose
from shuiqiao.exchange.cohorts import encode_proposal
from shuiqiao.exchange.model import training_key
from shuiqiao.node.auditing import audit_institution
from shuiqiao.node.operations.trainings import agree_training, list_trainings
from shuiqiao.node.peers.message import Act

LEAST = 3
GROUPS = ("amounts", "core")


@pytest.fixture(params=["intl", "gm"])
def world(request, tmp_path):
    doors = Doors(tmp_path, request.param)
    with doors.stack:
        made = doors.world
        for each in (made.bureau, made.bank, made.regulator):
            each.settings = msgspec.structs.replace(each.settings, train_least_firms=LEAST)
            # Made with the world, by the settings of then.
            each.__dict__.pop("peer_service", None)
        for each in (made.bureau, made.regulator):
            doors.open(each)
        yield SimpleNamespace(
            bureau=made.bureau,
            bank=made.bank,
            regulator=made.regulator,
            terms=made.terms,
            clock=made.clock,
            consent=made.consent,
        )


def firm(world, number):
    """A firm of the bureau's that lets the bank train on its invoices."""
    bureau, taxpayer = world.bureau, Uscc(f"91440300MA5FIRM{number:03}")
    keys = EnterpriseKeys(bytes([number]) * 32, suite=bureau.suite)
    enterprise = Enterprise(keys, network=bureau.parameters.network, entropy=bureau.dependencies.entropy)
    check = IdentityCheck(reference=f"check-{number}", checked_ms=world.clock.now_ms())
    bureau.consent_service.enrol(taxpayer, enrolment_key=enterprise.enrolment_key(bureau.member), identity_check=check)
    terms = replace(
        world.terms(world.bank),
        taxpayer=taxpayer,
        identity_check=check,
        purpose=Purpose.MODEL_DEVELOPMENT,
        modes=(Mode.TRAIN,),
        items={"invoice_issued@2": list(GROUPS)},
    )
    submission = enterprise.submission(terms, now_ms=world.clock.now_ms())
    granted = bureau.consent_service.receive(submission)
    world.bank.catch_up_with(bureau)
    world.bank.consent_file.receive(submission.artefact)
    return granted.artefact


def wanted(**changes):
    fields = {
        "bureau": "bureau",
        "items": {"invoice_issued@2": GROUPS},
        "period_from": PERIOD[0],
        "period_to": PERIOD[1],
    }
    return NewTraining(**(fields | changes))


def code_of(act, *arguments):
    with pytest.raises(ShuiqiaoError) as refusal:
        act(*arguments)
    return refusal.value.code


def test_all_firms_that_allow_it_are_agreed_on_and_only_the_bureau_is_told_which(world):
    """[COHORT-5] [COHORT-6]"""
    consents = [firm(world, number) for number in range(1, 5)]
    sent, ask = [], world.bank.peer_client.ask

    def listening(member, act, body, **named):
        sent.append((member, act, body))
        return ask(member, act, body, **named)

    world.bank.peer_client.ask = listening
    told = agree_training(world.bank, wanted())
    assert (told.other, told.size, told.ended, told.is_agreed) == (world.bureau.member, 4, 0, True)
    assert world.bank.engine.state().get(training_key(told.training)) is not None
    assert list_trainings(world.bank, PageQuery()).items == (told,)
    (theirs,) = list_trainings(world.bureau, PageQuery()).items
    assert (theirs.training, theirs.other, theirs.size) == (told.training, world.bank.member, 4)
    assert code_of(list_trainings, world.regulator, PageQuery()) == "node.role_wrong"

    # The regulator is sent its share before the bureau, and it is shorter by all of the consents.
    assert [(member, act) for member, act, _ in sent] == [
        (world.regulator.member, Act.TRAIN),
        (world.bureau.member, Act.TRAIN),
    ]
    first, second = (len(body.sealed) for _, _, body in sent)
    assert second - first == 17 * len(consents)
    for artefact in consents:
        for _, _, body in sent:
            assert artefact.consent not in body.sealed + body.transaction
    world.regulator.catch_up_with(world.bureau)
    report = audit_institution(world.regulator, visited=world.bureau, live=world.bureau.engine)
    assert report.problems == ()


def test_a_refusal_reaches_the_bank_and_its_next_proposal_is_not_judged_by_it(world):
    """[COHORT-2] [COHORT-3]"""
    for number in range(1, 4):
        firm(world, number)
    world.bureau.trainings._least_firms = 4
    assert code_of(agree_training, world.bank, wanted()) == "exchange.cohort_too_small"
    assert list_trainings(world.bank, PageQuery()).items == ()
    firm(world, 4)
    assert agree_training(world.bank, wanted()).size == 4
    firm(world, 5)
    assert code_of(agree_training, world.bank, wanted()) == "exchange.cohorts_too_close"
    assert [each.size for each in list_trainings(world.bank, PageQuery()).items] == [4]


def test_what_nobody_can_be_asked_for_is_refused(world):
    """[COHORT-5]"""
    firm(world, 1)
    assert code_of(agree_training, world.bank, wanted()) == "exchange.cohort_too_small"
    assert code_of(agree_training, world.bank, wanted(items={"no type": GROUPS})) == "exchange.plan_malformed"
    assert code_of(agree_training, world.bureau, wanted()) == "node.role_wrong"
    early = wanted(period_from=date(2001, 1, 1), period_to=date(2001, 12, 31))
    assert code_of(agree_training, world.bank, early) == "exchange.cohort_too_small"


def test_a_proposal_in_another_bank_s_name_is_refused(world):
    """[COHORT-5]"""
    for number in range(1, 4):
        firm(world, number)
    bank = world.bank
    signed = bank.trainings.propose(
        world.bureau.member,
        third=world.regulator.member,
        items={"invoice_issued@2": list(GROUPS)},
        period_from=PERIOD[0],
        period_to=PERIOD[1],
    )
    proposal = encode_proposal(signed.proposal)
    for institution in (world.bureau, world.regulator):
        answering = institution._training_answering(institution.settings.role)
        with pytest.raises(ShuiqiaoError) as refusal:
            answering.sign(signed.transaction, proposal, world.regulator.member)
        assert refusal.value.code == "exchange.plan_differs"
