"""A bank gets its proposal of a training signed by a regulator and by the bureau; each is sent it sealed [COHORT-5].

The regulator is told plan and size and no consent; the bureau has the consents on file and is told which. Where one of
them refuses, the bank forgets the cohort, so that its next proposal is not judged by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.exchange.cohorts import decode_proposal, encode_proposal
from shuiqiao.members.roster import member_record
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.message import Act
from shuiqiao.node.peers.service import seal_binding

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.exchange.cohorts import TrainingPlan, TrainingProposal
    from shuiqiao.exchange.training import SignedProposal, Trainings, TrainingThird
    from shuiqiao.ledger.model import LedgerEngine
    from shuiqiao.node.peers.asking import PeerClient

AGREEMENT_TIMEOUT_S = 120.0
"""How long a bureau may take to look at 20,000 consents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSide:
    """In whose name, and by which copy of the ledger, a training is agreed on."""

    member: MemberId
    engine: LedgerEngine
    suite: CipherSuite


def agree_on_training(
    signed: SignedProposal, *, trainings: Trainings, client: PeerClient, side: TrainingSide
) -> TrainingPlan:
    """Return the plan of a training that regulator and bureau signed and the ledger has.

    Raises what either refuses with, and what ``PeerClient.ask`` and ``wait_for_block`` raise::

        agree_on_training(bank.trainings.propose(bureau, ...), trainings=bank.trainings, client=client, side=side)
    """
    plan = signed.proposal.plan
    try:
        without = msgspec.structs.replace(signed.proposal, cohort=[])
        told = _ask(MemberId(plan.third), replace(signed, proposal=without), client=client, side=side)
        with_both = replace(signed, transaction=told.transaction)
        told = _ask(MemberId(plan.bureau), with_both, client=client, side=side)
    except (Denied, IntegrityError, InvalidInput):
        trainings.withdraw(plan.name)
        raise
    side.engine.wait_for_block(told.height)
    return plan


def _ask(member: MemberId, signed: SignedProposal, *, client: PeerClient, side: TrainingSide) -> acts.TrainingSigned:
    sealed = side.suite.seal(
        encode_proposal(signed.proposal),
        recipient=member_record(side.engine.state(), member)["seal"],
        associated_data=seal_binding(
            Act.TRAIN, sender=side.member, receiver=member, network=side.engine.parameters.network
        ),
    )
    asked = acts.TrainingProposed(transaction=signed.transaction, sealed=sealed, height=side.engine.last_block()[0])
    return client.ask(member, Act.TRAIN, asked, answer=acts.TrainingSigned, timeout_s=AGREEMENT_TIMEOUT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingAnswering:
    """A bureau or a regulator that signs proposals of banks. trainings: of a bureau; third: of a regulator."""

    side: TrainingSide
    trainings: Trainings | None = None
    third: TrainingThird | None = None

    def sign(self, raw: bytes, proposal: bytes, bank: MemberId) -> acts.TrainingSigned:
        """Return a bank's proposal with this member's signature; a bureau's is on the ledger then.

        Raises InvalidInput ``exchange.plan_malformed``, ``exchange.plan_differs``, what ``Trainings.agree`` and
        ``TrainingThird.sign`` raise.
        """
        found = _proposal_of(bank, proposal)
        if self.third is not None:
            raw = self.third.sign(raw, found.plan)
        if self.trainings is not None:
            self.trainings.agree(raw, found)
        return acts.TrainingSigned(transaction=raw, height=self.side.engine.last_block()[0])


def _proposal_of(bank: MemberId, data: bytes) -> TrainingProposal:
    found = decode_proposal(data)
    if found.plan.bank != bank:
        raise InvalidInput("exchange.plan_differs", f"{bank} proposes a training of {found.plan.bank}")
    return found
