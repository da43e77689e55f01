"""A network of members governed on the real state machine: signed transactions, one block each, gates and replay on.

``World`` signs with the keys that the members hold at the time, so a rotation must be told to it (``keys``).
"""

from __future__ import annotations

from types import SimpleNamespace

from counted_work import require_counted
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.model import BlockContext
from shuiqiao.ledger.state.machine import Candidate, StateMachine
from shuiqiao.ledger.state.overlay import OverlayState, genesis_writes
from shuiqiao.ledger.state.state_map import MemoryState
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.members import action as actions
from shuiqiao.members import contract
from shuiqiao.members.action import act_digest
from shuiqiao.members.genesis import encode_genesis, network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import EngineName, Genesis, Role
from shuiqiao.members.roster import Registration
from shuiqiao.oversight import contract as oversight

START_MS = 1_775_000_000_000
DAY_MS = 86_400_000
ROLES = {
    "bureau": Role.TAX_BUREAU,
    "bank-east": Role.BANK,
    "bank-north": Role.BANK,
    "bank-west": Role.BANK,
    "regulator": Role.REGULATOR,
}
SECOND_BUREAU = "second-bureau"
"""A further bureau, where a test names it."""
KINDS = KindTable([*contract.KINDS, *oversight.KINDS])
DIGEST = b"e" * 32


def signing(name, suite):
    return suite.signing_key_from_seed(suite.digest(b"sign " + name.encode()))


def sealing(name, suite):
    return suite.sealing_key_from_seed(suite.digest(b"seal " + name.encode()))


def validating(name):
    """A CometBFT key: Ed25519 in either suite."""
    suite = get_suite("intl")
    return suite.signing_key_from_seed(suite.digest(b"validate " + name.encode()))


def member(name, suite, *, role=None, validator=False):
    return register(Registration.in_genesis("trial", MemberId(name)), suite, role=role, validator=validator)


def register(registration, suite, *, role=None, validator=False):
    name = registration.member
    return registration.register(
        role=role or (Role.TAX_BUREAU if name == SECOND_BUREAU else ROLES[name]),
        name=f"Example {name}",
        name_zh="示例机构",
        signing=signing(name, suite),
        sealing_key=sealing(name, suite).public_key,
        validator=validating(name) if validator else None,
    )


class Replay:
    def __init__(self):
        self.hours = {}

    def expiry_hour(self, author, transaction_id):
        return self.hours.get((author, transaction_id))


class World:
    """One network. engine cometbft: ``validators`` order it and are its witnesses; else the bureau is its operator."""

    def __init__(
        self, suite_name, *, engine="embedded", witnesses=(), quorum=0, governing=(), names=tuple(ROLES), kinds=KINDS
    ):
        self.suite = get_suite(suite_name)
        self.is_cometbft = engine == "cometbft"
        self.genesis = Genesis(
            name="trial",
            suite=self.suite.name,
            engine=EngineName(engine),
            writer=MemberId("" if self.is_cometbft else "bureau"),
            created_ms=START_MS,
            quorum=quorum,
            witnesses=tuple(sorted(witnesses)),
            governing=tuple(sorted(governing)),
            members=tuple(
                member(name, self.suite, validator=self.is_cometbft and name in witnesses) for name in sorted(names)
            ),
        )
        self.parameters = network_parameters(encode_genesis(self.genesis))
        self.machine = StateMachine(self.parameters, kinds=kinds, key_ring=MemberKeyRing(), suite=self.suite)
        self.state = MemoryState(genesis_writes(self.parameters))
        self.keys = {name: signing(name, self.suite) for name in names}
        self.replay, self.height, self.time_ms, self.count = Replay(), 0, START_MS, 0
        self.blocks, self.entries = [], []

    # ---- blocks

    def sign(self, kind, body, *, author, keys=None, valid_ms=60_000):
        self.count += 1
        draft = TransactionDraft(
            kind=kind,
            version=1,
            body=body,
            author=MemberId(author),
            valid_until_ms=self.time_ms + valid_ms,
            id=self.count.to_bytes(16, "big"),
        )
        signers = [self.keys[author]] if keys is None else keys
        return sign_transaction(draft, network=self.parameters.network, suite=self.suite, keys=signers)

    def block(self, *raws):
        """Execute one block and return an outcome a transaction: None, or the code that refused it."""
        self.time_ms += 1
        overlay = OverlayState(self.state)
        result = self.machine.execute_block(
            [Candidate(transaction=self.machine.decode(raw)) for raw in raws],
            overlay,
            BlockContext(height=self.height + 1, time_ms=self.time_ms),
            previous_time_ms=self.time_ms - 1,
            replay=self.replay,
        )
        require_counted(result)
        self.state.write(overlay.writes)
        self.events = [event for outcome in result.outcomes for event in outcome.events]
        if result.entry is not None:
            self.height += 1
            self.blocks.append((self.time_ms, raws))
            self.entries.append(result.entry)
        self.replay.hours |= {(record.author, record.id): record.expiry_hour for record in result.replay_records}
        faults = [outcome.fault for outcome in result.outcomes if outcome.fault is not None]
        assert faults == []
        return [None if outcome.refusal is None else outcome.refusal.code for outcome in result.outcomes]

    def check(self, kind, body, *, author):
        """Ask the contract's own rule alone; return None or the code that refuses: for strangers, whom no ring knows."""
        raw = self.sign(kind, body, author=author, keys=[signing(author, self.suite)])
        ctx = BlockContext(height=self.height + 1, time_ms=self.time_ms + 1)
        try:
            self.machine.kinds.get(kind, 1).check(self.machine.decode(raw), self.state, ctx)
        except ShuiqiaoError as error:
            return error.code
        return None

    def submit(self, kind, body, *, author, keys=None):
        """Commit one transaction in a block of its own; return None or the code that refused it."""
        try:
            (outcome,) = self.block(self.sign(kind, body, author=author, keys=keys))
        except ShuiqiaoError as error:
            return error.code
        return outcome

    def wait(self, milliseconds):
        self.time_ms += milliseconds

    # ---- acts

    def propose(self, action, *, author="bureau", days=1, deadline_ms=None):
        """Propose; return (code or None, what names the proposal)."""
        until_ms = self.time_ms + int(days * DAY_MS) if deadline_ms is None else deadline_ms
        body = contract.MemberProposeBody(action=action, deadline_ms=until_ms)
        return self.submit(contract.PROPOSE, body, author=author), self.digest(contract.PROPOSE, body, author=author)

    def digest(self, kind, body, *, author):
        return act_digest(body, kind=kind, author=MemberId(author), network=self.parameters.network, suite=self.suite)

    def vote(self, proposal, *, author, approve=True):
        return self.submit(contract.VOTE, contract.MemberVoteBody(proposal=proposal, approve=approve), author=author)

    def pass_action(self, action, *, voters=("bureau", "bank-east", "bank-north", "bank-west")):
        """Propose by the first voter, approve by the others until it passed; return the proposal id."""
        code, proposal = self.propose(action, author=voters[0])
        assert code is None, code
        for voter in voters[1:]:
            if self.proposal(proposal).status == "open":
                assert self.vote(proposal, author=voter) is None
        told = self.proposal(proposal)
        assert (told.status, told.reason) == ("approved", "")
        return proposal

    def proof(self, member, key, *, purpose="validator", network=None):
        """Return the signature by which a key is registered for a member."""
        registration = Registration.on_network(network or self.parameters.network, MemberId(member))
        return registration.prove(key.public_key, purpose=contract.KeyPurpose(purpose), by=key)

    def rotate(self, author, key, *, purpose="signing", keys=None, proof=None):
        if proof is None:
            proof = self.proof(author, key) if purpose == "validator" and hasattr(key, "sign") else b""
        body = contract.MemberRotateKeyBody(
            purpose=contract.KeyPurpose(purpose), new_key=getattr(key, "public_key", key), proof=proof
        )
        signers = [self.keys[author], *([key] if purpose == "signing" else [])] if keys is None else keys
        code = self.submit(contract.ROTATE_KEY, body, author=author, keys=signers)
        if code is None and purpose == "signing":
            self.keys[author] = key
        return code

    def suspend_by_vote(self, name, proposal, *, author="bureau"):
        ground = contract.ByVote(proposal=proposal)
        return self.submit(contract.SUSPEND, contract.MemberSuspendBody(member=name, ground=ground), author=author)

    def suspend_now(self, name, *, days=7, author="regulator", length_ms=None):
        """length_ms: exactly so long from the time of the block on."""
        until_ms = self.time_ms + (int(days * DAY_MS) if length_ms is None else 1 + length_ms)
        ground = contract.Emergency(until_ms=until_ms, evidence_digest=DIGEST)
        return self.submit(contract.SUSPEND, contract.MemberSuspendBody(member=name, ground=ground), author=author)

    def reinstate(self, name, *, proposal=None, suspension_id=None, author="bureau"):
        ground = contract.EmergencyOver() if proposal is None else contract.ByVote(proposal=proposal)
        found = self.gate(name)
        lifted = suspension_id or (found["suspension"] if found else bytes(32))
        body = contract.MemberReinstateBody(member=name, suspension=lifted, ground=ground)
        return self.submit(contract.REINSTATE, body, author=author)

    # ---- what the state says

    def gate(self, name):
        return self.state.get(f"gate/member/{name}")

    @property
    def epoch(self):
        return self.state.get("members/epoch")

    def proposal(self, proposal):
        return SimpleNamespace(**self.state.get(f"members/proposal/{proposal.hex()}"))

    def admission(self, name, /, *, role=Role.BANK, witness=False, governing=False, validator=False, **changes):
        registration = Registration.on_network(self.parameters.network, MemberId(name))
        face = register(registration, self.suite, role=role, validator=validator)
        fields = {
            "member": name,
            "role": role,
            "name": face.name,
            "name_zh": face.name_zh,
            "signing_key": face.signing_key,
            "sealing_key": face.sealing_key,
            "validator_key": face.validator_key or b"",
            "signing_proof": face.signing_proof,
            "sealing_proof": face.sealing_proof,
            "validator_proof": face.validator_proof or b"",
            "witness": witness,
            "governing": governing,
        }
        return actions.Admit(**(fields | changes))
