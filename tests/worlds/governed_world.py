"""A consortium of validators governed as real ones are: by the rules of members, with epochs, and notes to write."""

from __future__ import annotations

import hashlib

from consensus_world import KINDS, Roster
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import SuiteName
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.model import StateView
from shuiqiao.ledger.receipts.verification import VerifiedReceipt, verify_receipt
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.members import action as actions
from shuiqiao.members import contract
from shuiqiao.members.epoch import checkpoint_policy, read_epoch
from shuiqiao.members.genesis import encode_genesis, network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import EngineName, Genesis, Role
from shuiqiao.members.roster import Registration


class GovernedRoster(Roster):
    """Validators of which the first one governs alone, so that an epoch closes with one transaction."""

    kinds = KindTable([*contract.KINDS, next(kind for kind in KINDS if kind.name == "note.write")])
    key_ring = MemberKeyRing()

    def __init__(self, validators: int = 4, **more) -> None:
        super().__init__(validators, **more)
        members = tuple(
            Registration.in_genesis("trial", name).register(
                role=Role.TAX_BUREAU if name == "node0" else Role.BANK,
                name=f"Example {name}",
                name_zh="示例机构",
                signing=key,
                sealing_key=self.suite.sealing_key_from_seed(hashlib.sha256(name.encode()).digest()).public_key,
                validator=self.comet_keys[name].validator,
            )
            for name, key in self.keys.items()
        )
        genesis = Genesis(
            name="trial",
            suite=SuiteName(self.suite.name),
            engine=EngineName.COMETBFT,
            writer=MemberId(""),
            created_ms=self.genesis_ms,
            quorum=2 * validators // 3 + 1,
            witnesses=tuple(self.members),
            governing=(self.members[0],),
            members=members,
        )
        self.parameters = network_parameters(encode_genesis(genesis))
        self.policy = self.parameters.policy
        self.proposals = 0

    def policy_of(self, state: StateView) -> CheckpointPolicy:
        return checkpoint_policy(read_epoch(state), origin=self.parameters.origin)

    def new_quorum(self, quorum: int) -> bytes:
        """Return the act by which the epoch closes."""
        self.proposals += 1
        body = contract.MemberProposeBody(
            action=actions.SetQuorum(quorum_count=quorum), deadline_ms=self.genesis_ms + 86_400_000 + self.proposals
        )
        return self.sign(contract.PROPOSE, body)

    def verify(self, receipt: bytes) -> VerifiedReceipt:
        return verify_receipt(
            receipt, parameters=self.parameters, kinds=self.kinds, key_ring=self.key_ring, suite=self.suite
        )
