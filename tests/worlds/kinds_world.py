"""A small network of three members whose kinds try every road through the state machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor
from shuiqiao.base.errors import Conflict, Denied, IntegrityError
from shuiqiao.base.ids import MemberId, owned_id
from shuiqiao.crypto.model import CipherSuite, SigningKey, SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.model import (
    BlockContext,
    Event,
    Kind,
    NetworkParameters,
    State,
    StateView,
    Transaction,
)
from shuiqiao.ledger.state.machine import BlockResult, Candidate, StateMachine, verify_claims
from shuiqiao.ledger.state.overlay import OverlayState, genesis_writes
from shuiqiao.ledger.state.state_map import MemoryState
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction

GENESIS_MS = 1_775_000_000_000
HOUR_MS = 3_600_000
NETWORK = bytes(range(32))
MEMBERS = ("bureau", "first-bank", "second-bank")

Id16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
PublicKey = Annotated[bytes, Meta(min_length=1, max_length=65)]


def no_events(_tx: Transaction, _state: Any, _ctx: BlockContext) -> tuple[Event, ...]:
    """Apply nothing: for kinds that only leave their trace in the log."""
    return ()


class NoteBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: Id16
    text: Annotated[str, Meta(max_length=60_000)] = ""
    number: Annotated[int, Meta(ge=0, le=2**53)] = 0


class ManyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: Id16
    numbers: Annotated[list[Annotated[int, Meta(ge=0, le=2**16)]], Meta(max_length=4096)]


class KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: Id16
    key: PublicKey


class EpochBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    number: Annotated[int, Meta(ge=0, le=2**53)]
    operator_key: PublicKey
    witness_key: PublicKey
    quorum: Annotated[int, Meta(ge=0, le=1)]


def change_epoch(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body = tx.body
    state.put("note/epoch", epoch_value(body.number, body.operator_key, {"first-bank": body.witness_key}, body.quorum))
    return ()


def epoch_value(number: int, operator_key: bytes, witnesses: dict[str, bytes], quorum: int) -> dict[str, Any]:
    return {
        "number": number,
        "operator": "bureau",
        "operator_key": operator_key,
        "quorum": quorum,
        "witnesses": witnesses,
    }


def note_key(body: Any) -> str:
    return f"note/entry/{body.id.hex()}"


def check_new(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    if state.get(note_key(tx.body)) is not None:
        raise Conflict("note.repeated", f"note {tx.body.id.hex()} exists")


def check_nothing(_tx: Transaction, _state: StateView, _ctx: BlockContext) -> None:
    return


def write_note(tx: Transaction, state: State, ctx: BlockContext) -> Sequence[Event]:
    state.put(note_key(tx.body), {"author": tx.author, "height": ctx.height})
    return (Event(name="note.written", attributes={"id": tx.body.id}),)


def write_then_break(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    state.put(note_key(tx.body), 1)
    raise KeyError("a defect")


def write_then_deny(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    state.put(note_key(tx.body), 1)
    raise Denied("note.denied", "too late")


def write_elsewhere(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    state.put("members/member/bureau", {"sign": b""})
    return ()


def check_by_writing(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    state.put(note_key(tx.body), 1)  # type: ignore[attr-defined]


def swallow_errors(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    try:
        state.get(note_key(tx.body))
    except OSError:
        return


def write_many(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    for number in tx.body.numbers:
        state.put(f"note/many/{tx.body.id.hex()}/{number}", {"number": number})
    return ()


def write_up_to_a_number(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    """What a transaction of a few bytes may bring about, if its rules let it."""
    for number in range(tx.body.number):
        state.put(f"note/greedy/{number}", tx.body.text)
    return ()


def remember_key(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    state.put(f"note/key/{tx.body.id.hex()}", tx.body.key)
    return ()


def freeze(_tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    state.put("gate/network", {"since": _ctx.height})
    return ()


def thaw(_tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    state.delete("gate/network")
    return ()


def suspend_second_bank(_tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    state.put("gate/member/second-bank", {"until_ms": 0})
    return ()


def pause_second_bank(_tx: Transaction, state: State, ctx: BlockContext) -> Sequence[Event]:
    state.put("gate/member/second-bank", {"until_ms": ctx.time_ms})
    return ()


class SimpleKeyRing:
    def signing_key(self, state: StateView, member: MemberId) -> bytes:
        record = state.get(f"members/member/{member}")
        if record is None:
            raise Denied("members.unknown", f"{member} is not a member")
        key: bytes = record["sign"]
        return key

    def kind_versions(self, state: StateView, *, height: int) -> dict[str, int]:
        """Version 2 of a kind from the height that the state names."""
        return {name: 2 for name, begins in (state.get("note/versions") or {}).items() if height >= begins}

    # Epochs as plainly as they can be told: a number, the operator, and witnesses of whom a quorum must cosign.
    epoch_key = "note/epoch"

    def epoch_number(self, state: StateView) -> int:
        number: int = state.get(self.epoch_key)["number"]
        return number

    def next_policy(self, epoch: bytes, *, previous: bytes, origin: str) -> CheckpointPolicy:
        later, earlier = decode_cbor(epoch), decode_cbor(previous)
        if later["number"] <= earlier["number"]:
            raise IntegrityError("members.epoch_not_later", "not later")
        return CheckpointPolicy(
            origin=origin,
            operator=MemberId(later["operator"]),
            operator_key=later["operator_key"],
            witnesses={MemberId(member): key for member, key in later["witnesses"].items()},
            quorum=later["quorum"],
            epoch=later["number"],
        )


def body_key(tx: Transaction, _state: StateView) -> Sequence[bytes]:
    return (tx.body.key,)


def body_key_and_author(tx: Transaction, state: StateView) -> Sequence[bytes]:
    return (tx.body.key, SimpleKeyRing().signing_key(state, tx.author))


def remembered_key(tx: Transaction, state: StateView) -> Sequence[bytes]:
    key = state.get(f"note/key/{tx.body.id.hex()}")
    if key is None:
        raise Denied("note.key_unknown", "no key is remembered")
    return (key,)


def body_author(tx: Transaction) -> str:
    return owned_id("bureau", tx.body.id)


def broken_signers(_tx: Transaction, _state: StateView) -> Sequence[bytes]:
    raise ZeroDivisionError


def kind(name: str, body: type[msgspec.Struct] = NoteBody, **more: Any) -> Kind:
    rules = {"room": "note", "version": 1, "check": check_nothing, "apply": no_events, **more}
    return Kind(name=name, body=body, **rules)


KINDS = (
    kind("note.write", check=check_new, apply=write_note),
    kind("note.trace"),
    kind("note.govern", governance=True),
    kind("note.break", apply=write_then_break),
    kind("note.deny", apply=write_then_deny),
    kind("note.many", ManyBody, apply=write_many),
    kind("note.greedy", apply=write_up_to_a_number),
    kind("note.stray", apply=write_elsewhere),
    kind("note.peek", check=check_by_writing),
    kind("note.swallow", check=swallow_errors),
    kind("note.pair", KeyBody, signers=body_key_and_author, apply=remember_key),
    kind("note.relay", KeyBody, signers=body_key, author=body_author),
    kind("note.alone", KeyBody, signers=body_key),
    kind("note.later", KeyBody, signers=remembered_key, author=body_author),
    kind("note.dizzy", signers=broken_signers),
    kind("note.epoch", EpochBody, apply=change_epoch),
    kind("note.vote", governance=True, is_vote=True),
    kind("watch.freeze", room="gate", apply=freeze, governance=True),
    kind("watch.thaw", room="gate", apply=thaw, governance=True),
    kind("watch.suspend", room="gate", apply=suspend_second_bank, governance=True),
    kind("watch.pause", room="gate", apply=pause_second_bank, governance=True),
)


SPOKEN_FOR = frozenset(each.name for each in KINDS if each.author is not None)
"""Kinds that no member authors."""


class ReplayMemory:
    """A replay index in memory."""

    def __init__(self) -> None:
        self.hours: dict[tuple[str, bytes], int] = {}

    def expiry_hour(self, author: MemberId, transaction_id: bytes) -> int | None:
        return self.hours.get((author, transaction_id))


@dataclass
class Network:
    """A network with its keys and, kept by hand, the committed state that an engine would keep."""

    suite: CipherSuite
    machine: StateMachine
    keys: dict[str, SigningKey]
    state: MemoryState
    replay: ReplayMemory = field(default_factory=ReplayMemory)
    height: int = 0
    time_ms: int = GENESIS_MS
    made: int = 0

    @property
    def parameters(self) -> NetworkParameters:
        return self.machine.parameters

    def new_id(self) -> bytes:
        self.made += 1
        return self.made.to_bytes(16, "big")

    def draft(
        self, name: str = "note.write", *, author: str | None = None, body: Any = None, **more: Any
    ) -> TransactionDraft:
        if author is None:
            author = owned_id("bureau", body.id) if name in SPOKEN_FOR else "bureau"
        fields = {"version": 1, "valid_until_ms": self.time_ms + HOUR_MS, "id": self.new_id(), **more}
        return TransactionDraft(
            kind=name, body=NoteBody(id=self.new_id()) if body is None else body, author=MemberId(author), **fields
        )

    def sign(
        self, draft: TransactionDraft, *names: str, keys: Sequence[SigningKey] = (), network: bytes = NETWORK
    ) -> bytes:
        signers = [self.keys[name] for name in names] + list(keys) or [self.keys[draft.author]]
        return sign_transaction(draft, network=network, suite=self.suite, keys=signers)

    def write(self, name: str = "note.write", **more: Any) -> bytes:
        return self.sign(self.draft(name, **more))

    def candidate(self, raw: bytes, *, prove: bool = False) -> Candidate:
        tx = self.machine.decode(raw)
        if not prove:
            return Candidate(transaction=tx)
        claims = self.machine.plan_verification(tx, self.state)
        verify_claims(claims, suite=self.suite)
        return Candidate(transaction=tx, proven_keys=tuple(claim[0] for claim in claims))

    def run(self, *raws: bytes, time_ms: int | None = None, prove: bool = False) -> BlockResult:
        """Execute one block and, if anything was accepted, commit it."""
        candidates = [self.candidate(raw, prove=prove) for raw in raws]
        overlay = OverlayState(self.state)
        ctx = BlockContext(height=self.height + 1, time_ms=self.time_ms + 1 if time_ms is None else time_ms)
        result = self.machine.execute_block(candidates, overlay, ctx, previous_time_ms=self.time_ms, replay=self.replay)
        self.state.write(overlay.writes)
        if result.entry is not None:
            self.height, self.time_ms = ctx.height, ctx.time_ms
        for record in result.replay_records:
            self.replay.hours[record.author, record.id] = record.expiry_hour
        return result

    def refusal_of(self, raw: bytes, **more: Any) -> str:
        """Return the code with which the only transaction of a block is refused, or an empty string."""
        refusal = self.run(raw, **more).outcomes[0].refusal
        return "" if refusal is None else refusal.code


def build_network(suite_name: str) -> Network:
    suite = get_suite(suite_name)
    keys = {name: suite.signing_key_from_seed(name.encode().ljust(32, b".")) for name in MEMBERS}
    parameters = NetworkParameters(
        network=NETWORK,
        suite=SuiteName(suite_name),
        origin=f"shuiqiao/{NETWORK.hex()}",
        operator=MemberId("bureau"),
        operator_key=keys["bureau"].public_key,
        genesis_time_ms=GENESIS_MS,
        initial_state={
            **{f"members/member/{name}": {"sign": key.public_key} for name, key in keys.items()},
            "note/epoch": epoch_value(0, keys["bureau"].public_key, {}, 0),
        },
    )
    machine = StateMachine(parameters, kinds=KindTable(KINDS), key_ring=SimpleKeyRing(), suite=suite)
    return Network(suite=suite, machine=machine, keys=keys, state=MemoryState(genesis_writes(parameters)))
