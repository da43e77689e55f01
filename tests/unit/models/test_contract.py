"""The ledger's rules for models, each with who or what breaks it; a block a transaction on the real state machine."""

from __future__ import annotations

import pytest

from members_world import ROLES, SECOND_BUREAU, World
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.ids import owned_id
from shuiqiao.consent.model import Output, Purpose
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.members import contract as members
from shuiqiao.models.contract import (
    APPROVE,
    KINDS,
    REGISTER,
    RETIRE,
    REVIEW,
    ModelApproveBody,
    ModelRegisterBody,
    ModelRetireBody,
    ModelReviewBody,
)
from shuiqiao.models.model import ModelForm, RetireReason, ReviewOutcome
from shuiqiao.models.roster import approved_model, registered_model

TABLE = KindTable([*members.KINDS, *KINDS])
OWNER, OTHER, BUREAU, REGULATOR = "bank-east", "bank-west", "bureau", "regulator"
ID, DIGEST, REPORT = b"m" * 16, b"d" * 32, b"r" * 32
NAME = owned_id(OWNER, ID)


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param, names=(*ROLES, SECOND_BUREAU), kinds=TABLE)


@pytest.fixture
def act(world):
    def done(author, kind, body):
        """None, or the code that refused it."""
        return world.block(world.sign(kind, body, author=author))[0]

    return done


def registration(**changes):
    fields = {
        "model": ID,
        "digest": DIGEST,
        "form": ModelForm.SCORECARD,
        "outputs": [Output.BAND, Output.YES_NO],
        "purpose": Purpose.UNDERWRITING,
    }
    return ModelRegisterBody(**(fields | changes))


def review(**changes):
    fields = {"model": NAME, "digest": DIGEST, "outcome": ReviewOutcome.ACCEPTED, "report_digest": REPORT}
    return ModelReviewBody(**(fields | changes))


def retirement(provider=None):
    return ModelRetireBody(model=NAME, provider=provider, reason=RetireReason.UNFIT)


APPROVAL = ModelApproveBody(model=NAME, report_digest=REPORT)


def test_a_bank_or_a_bureau_registers_a_model_once_under_an_id_of_its_own(world, act):
    """[MODEL-2]"""
    assert act(REGULATOR, REGISTER, registration()) == "members.role_wrong"
    for outputs in ([Output.YES_NO, Output.BAND], [Output.BAND, Output.BAND]):
        assert act(OWNER, REGISTER, registration(outputs=outputs)) == "models.outputs_uneven"
    with pytest.raises(InvalidInput, match=r"ledger\.body_invalid"):
        act(OWNER, REGISTER, registration(outputs=[]))
    for author in (OWNER, OTHER, BUREAU):
        assert act(author, REGISTER, registration()) is None
        assert act(author, REGISTER, registration(digest=b"e" * 32)) == "models.already_registered"
        found = registered_model(world.state, owned_id(author, ID))
        assert (found.digest, found.outputs, found.purpose) == (
            DIGEST,
            (Output.BAND, Output.YES_NO),
            Purpose.UNDERWRITING,
        )


def test_a_bureau_reviews_the_content_that_is_registered_once(act):
    """[MODEL-3]"""
    assert act(BUREAU, REVIEW, review()) == "models.unknown"
    act(OWNER, REGISTER, registration())
    for author in (OWNER, REGULATOR):
        assert act(author, REVIEW, review()) == "members.role_wrong"
    assert act(BUREAU, REVIEW, review(digest=b"e" * 32)) == "models.digest_wrong"
    assert act(BUREAU, REVIEW, review(outcome=ReviewOutcome.REJECTED)) is None
    assert act(BUREAU, REVIEW, review()) == "models.step_invalid"
    assert act(BUREAU, APPROVE, APPROVAL) == "models.step_invalid"
    assert act(BUREAU, RETIRE, retirement(BUREAU)) == "models.step_invalid"
    assert act(SECOND_BUREAU, REVIEW, review()) is None


def test_the_provider_that_reviewed_a_model_approves_it_by_that_report_for_itself(world, act):
    """[MODEL-4] [MODEL-6]"""
    act(OWNER, REGISTER, registration())
    assert act(BUREAU, APPROVE, APPROVAL) == "models.step_invalid"
    act(BUREAU, REVIEW, review())
    assert act(SECOND_BUREAU, APPROVE, APPROVAL) == "models.step_invalid"
    assert act(BUREAU, APPROVE, ModelApproveBody(model=NAME, report_digest=b"x" * 32)) == "models.report_wrong"
    assert act(BUREAU, APPROVE, APPROVAL) is None
    assert act(BUREAU, APPROVE, APPROVAL) == "models.step_invalid"
    assert approved_model(world.state, NAME, provider=BUREAU).digest == DIGEST
    with pytest.raises(Denied, match=r"models\.not_approved"):
        approved_model(world.state, NAME, provider=SECOND_BUREAU)


def test_a_provider_retires_a_model_for_itself_and_owner_or_regulator_for_all(world, act):
    """[MODEL-5]"""
    act(OWNER, REGISTER, registration())
    for bureau in (BUREAU, SECOND_BUREAU):
        act(bureau, REVIEW, review())
        act(bureau, APPROVE, APPROVAL)
    assert act(SECOND_BUREAU, RETIRE, retirement(BUREAU)) == "models.party_wrong"
    for author in (OTHER, BUREAU):
        assert act(author, RETIRE, retirement()) == "models.party_wrong"
    assert act(BUREAU, RETIRE, retirement(BUREAU)) is None
    assert act(BUREAU, RETIRE, retirement(BUREAU)) == "models.step_invalid"
    with pytest.raises(Denied, match=r"models\.not_approved"):
        approved_model(world.state, NAME, provider=BUREAU)
    assert approved_model(world.state, NAME, provider=SECOND_BUREAU).digest == DIGEST
    assert act(REGULATOR, RETIRE, retirement()) is None
    with pytest.raises(Denied, match=r"models\.retired"):
        approved_model(world.state, NAME, provider=SECOND_BUREAU)
    for author, kind, body in (
        (OWNER, RETIRE, retirement()),
        (SECOND_BUREAU, RETIRE, retirement(SECOND_BUREAU)),
        (SECOND_BUREAU, REVIEW, review()),
    ):
        assert act(author, kind, body) == "models.retired"
    assert act(OWNER, REGISTER, registration()) == "models.already_registered"
