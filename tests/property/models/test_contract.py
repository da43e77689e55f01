"""[MODEL-2] to [MODEL-6]: whoever does what in whatever order, a model is where the table of valid steps says."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from members_world import ROLES, SECOND_BUREAU, World
from shuiqiao.base.errors import Denied
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
from shuiqiao.models.roster import approved_model, model_at, providers_of

BANK_A, BANK_B, BUREAU, REGULATOR = "bank-east", "bank-west", "bureau", "regulator"
EVERYBODY = (BANK_A, BANK_B, BUREAU, SECOND_BUREAU, REGULATOR)
BUREAUS = (BUREAU, SECOND_BUREAU)
STEPS = ("register", "accept", "reject", "approve", "approve_other_report", "retire_here", "retire")
TABLE = KindTable([*members.KINDS, *KINDS])
DIGEST, REPORT = b"d" * 32, b"r" * 32


def body_of(step, *, model, author):
    name = owned_id(BANK_A, model)
    if step == "register":
        return REGISTER, ModelRegisterBody(
            model=model,
            digest=DIGEST,
            form=ModelForm.SCORECARD,
            outputs=[Output.BAND],
            purpose=Purpose.UNDERWRITING,
        )
    if step in {"accept", "reject"}:
        outcome = ReviewOutcome.ACCEPTED if step == "accept" else ReviewOutcome.REJECTED
        return REVIEW, ModelReviewBody(model=name, digest=DIGEST, outcome=outcome, report_digest=REPORT)
    if step.startswith("approve"):
        return APPROVE, ModelApproveBody(model=name, report_digest=REPORT if step == "approve" else b"x" * 32)
    provider = author if step == "retire_here" else None
    return RETIRE, ModelRetireBody(model=name, provider=provider, reason=RetireReason.UNFIT)


class Table:
    """Where one model of the first bank must stand, written as the table of steps and nothing else."""

    def __init__(self) -> None:
        self.model = "absent"
        self.at = dict.fromkeys(BUREAUS, "absent")

    def allows(self, step, author) -> bool:
        if step == "register":
            return author == BANK_A and self.model == "absent"
        if self.model != "registered":
            return False
        if step == "retire":
            return author in {BANK_A, REGULATOR}
        if author not in BUREAUS:
            return False
        return (
            self.at[author]
            in {
                "accept": {"absent"},
                "reject": {"absent"},
                "approve": {"reviewed"},
                "approve_other_report": set(),
                "retire_here": {"reviewed", "approved"},
            }[step]
        )

    def take(self, step, author) -> None:
        if step in {"register", "retire"}:
            self.model = {"register": "registered", "retire": "retired"}[step]
        else:
            after = {"accept": "reviewed", "reject": "rejected", "approve": "approved", "retire_here": "retired"}
            self.at[author] = after[step]


@pytest.fixture(scope="module")
def world():
    """One network for all; each run has a model of its own."""
    return World("intl", names=(*ROLES, SECOND_BUREAU), kinds=TABLE)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(EVERYBODY)), max_size=14))
def test_only_valid_steps_move_a_model_and_only_an_approved_one_may_run(world, steps):
    table, model = Table(), world.height.to_bytes(16, "big")
    name = owned_id(BANK_A, model)
    for step, author in [("register", BANK_A), *steps]:
        kind, body = body_of(step, model=model, author=author)
        is_allowed = table.allows(step, author)
        (code,) = world.block(world.sign(kind, body, author=author))
        # What another bank or bureau registers under the same id is a model of its own.
        assert is_allowed is (code is None) or (step == "register" and author != BANK_A)
        if is_allowed:
            table.take(step, author)
        for bureau in BUREAUS:
            found = model_at(world.state, name, provider=bureau)
            assert (found.status if found else "absent") == table.at[bureau]
            may_run = False
            with suppress(Denied):
                may_run = approved_model(world.state, name, provider=bureau).digest == DIGEST
            assert may_run is (table.model == "registered" and table.at[bureau] == "approved")
        assert [each.provider for each in providers_of(world.state, name)] == [
            bureau for bureau in sorted(BUREAUS) if table.at[bureau] != "absent"
        ]
