"""Any stream of transactions, good and bad, gives one state however it was proven, and refusals leave nothing."""

from __future__ import annotations

from typing import Annotated

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.model import BlockContext, Kind, NetworkParameters
from shuiqiao.ledger.state.machine import Candidate, StateMachine
from shuiqiao.ledger.state.overlay import OverlayState, genesis_writes
from shuiqiao.ledger.state.state_map import MemoryState
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction

HOUR_MS = 3_600_000
START_MS = 1_775_000_000_000
SUITE = get_suite("intl")
KEYS = {name: SUITE.signing_key_from_seed(name.encode().ljust(32, b".")) for name in ("alpha", "beta")}


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    slot: Annotated[int, Meta(ge=0, le=3)]
    step: Annotated[int, Meta(ge=-5, le=5)]


def check(tx, state, _ctx):
    if (state.get(f"count/slot/{tx.body.slot}") or 0) + tx.body.step < 0:
        raise Denied("count.negative", "a count below nothing")


def apply(tx, state, _ctx):
    value = (state.get(f"count/slot/{tx.body.slot}") or 0) + tx.body.step
    state.put(f"count/slot/{tx.body.slot}", value)
    if tx.body.step == 5:
        raise ZeroDivisionError
    if value == 0:
        state.delete(f"count/slot/{tx.body.slot}")
    return ()


class Ring:
    def epoch_number(self, state):
        return 0

    def kind_versions(self, state, *, height):
        return {}

    def signing_key(self, state, member):
        return state.get(f"members/member/{member}")["sign"]


PARAMETERS = NetworkParameters(
    network=bytes(32),
    suite=SuiteName.INTL,
    origin="shuiqiao/" + "0" * 64,
    operator=MemberId("alpha"),
    operator_key=KEYS["alpha"].public_key,
    genesis_time_ms=START_MS,
    initial_state={f"members/member/{name}": {"sign": key.public_key} for name, key in KEYS.items()},
)
KINDS = KindTable([Kind(name="count.add", room="count", version=1, body=Body, check=check, apply=apply)])
MACHINE = StateMachine(PARAMETERS, kinds=KINDS, key_ring=Ring(), suite=SUITE)


class Replay:
    def __init__(self):
        self.hours = {}

    def expiry_hour(self, author, transaction_id):
        return self.hours.get((author, transaction_id))


ACTS = st.fixed_dictionaries(
    {
        "author": st.sampled_from(["alpha", "beta"]),
        "signer": st.sampled_from(["alpha", "alpha", "beta"]),
        "slot": st.integers(0, 3),
        "step": st.integers(-5, 5),
        "number": st.integers(0, 12),
        "lead_hours": st.integers(0, 26),
    }
)
BLOCKS = st.lists(st.tuples(st.integers(1, 5 * HOUR_MS), st.lists(ACTS, max_size=6)), min_size=1, max_size=5)


def sign(act, time_ms):
    draft = TransactionDraft(
        kind="count.add",
        version=1,
        body=Body(slot=act["slot"], step=act["step"]),
        author=MemberId(act["author"]),
        valid_until_ms=time_ms + act["lead_hours"] * HOUR_MS,
        id=act["number"].to_bytes(16, "big"),
    )
    return sign_transaction(draft, network=PARAMETERS.network, suite=SUITE, keys=[KEYS[act["signer"]]])


def execute(blocks, *, with_refused):
    """Return what a node that sees every submission, or only those that were accepted, ends up with."""
    state, replay, height, last_ms = MemoryState(genesis_writes(PARAMETERS)), Replay(), 0, START_MS
    entries, accepted = [], []
    for time_ms, raws in blocks:
        overlay = OverlayState(state)
        result = MACHINE.execute_block(
            [Candidate(transaction=MACHINE.decode(raw)) for raw in raws],
            overlay,
            BlockContext(height=height + 1, time_ms=time_ms),
            previous_time_ms=last_ms,
            replay=replay,
        )
        assert with_refused or len(result.accepted) == len(raws)
        state.write(overlay.writes)
        if result.entry is None:
            continue
        height, last_ms = height + 1, time_ms
        replay.hours |= {(record.author, record.id): record.expiry_hour for record in result.replay_records}
        entries.append(result.entry)
        accepted.append((time_ms, [tx.raw for tx in result.accepted]))
    return state.encoded(), entries, accepted


@settings(max_examples=40, deadline=None)
@given(blocks=BLOCKS)
def test_refused_transactions_and_empty_blocks_might_never_have_been_sent(blocks):
    submitted, time_ms = [], START_MS
    for gap_ms, acts in blocks:
        time_ms += gap_ms
        submitted.append((time_ms, [sign(act, time_ms) for act in acts]))
    state, entries, accepted = execute(submitted, with_refused=True)
    again = execute(accepted, with_refused=False)
    assert (state, entries, accepted) == again
    counts = {key: value for key, value in state.items() if key.startswith("count/")}
    assert all(data[0] < 0x20 and data[0] > 0 for data in counts.values())
