"""Work is bounded in a transaction and in a block, by counts that are the same everywhere."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import pytest

from kinds_world import KeyBody, ManyBody, NoteBody
from shuiqiao.ledger.engine.admission import Admission, Intake
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES
from shuiqiao.ledger.state.machine import _refused_work
from shuiqiao.ledger.state.overlay import VALUE_BYTES_A_UNIT, OverlayState
from shuiqiao.ledger.transactions.kinds import ITEM_WORK, MAX_BLOCK_WORK, SIGNATURE_WORK, body_work, expected_work
from shuiqiao.ledger.transactions.verifiers import InlineVerifier

MANY = 4_096
FIT = MAX_BLOCK_WORK // (SIGNATURE_WORK + ITEM_WORK * MANY)
"""How many transactions of 4,096 items fit a block."""


def many(network, count=MANY):
    return network.write("note.many", body=ManyBody(id=network.new_id(), numbers=list(range(count))))


def codes(result):
    return [outcome.refusal and outcome.refusal.code for outcome in result.outcomes]


def test_what_a_transaction_is_charged_follows_from_its_bytes(intl):  # [LEDGER-WORK-1]
    def work_of(raw):
        return expected_work(intl.machine.decode(raw))

    other = intl.suite.signing_key_from_seed(bytes(32))
    body = KeyBody(id=intl.new_id(), key=other.public_key)
    pair = intl.sign(intl.draft("note.pair", body=body), keys=[other, intl.keys["bureau"]])
    assert [work_of(raw) for raw in (intl.write(), pair, many(intl, 10))] == [64, 128, 64 + 80]


def test_every_transaction_fits_an_empty_block():  # [LEDGER-WORK-1]
    assert MAX_TRANSACTION_BYTES * ITEM_WORK <= MAX_BLOCK_WORK


def test_a_cheap_block_forces_no_unbounded_work(intl):  # [LEDGER-WORK-1]
    """48 transactions of 12 kB each would write 196,608 keys."""
    raws = [many(intl) for _ in range(48)]
    first = intl.run(*raws)
    assert codes(first) == [None] * FIT + ["ledger.block_full"] * (48 - FIT)
    assert sum(key.startswith("note/many/") for key in intl.state._encoded) == FIT * MANY
    # What found no room changed nothing, and its very bytes find room later.
    assert codes(intl.run(*raws[FIT:])) == [None] * FIT + ["ledger.block_full"] * (48 - 2 * FIT)


def test_a_block_is_full_at_half_a_million_units(intl):  # [LEDGER-WORK-1]
    tx = intl.machine.decode(intl.write())
    assert _refused_work(tx, 524_288) is None
    refused = _refused_work(tx, 524_289)
    assert refused is not None
    assert (refused.code, refused.retry_after_s) == ("ledger.block_full", 0.5)


def test_what_the_rules_did_is_charged_where_it_was_more(intl):  # [LEDGER-WORK-2]
    greedy = intl.write("note.greedy", body=NoteBody(id=intl.new_id(), number=MAX_BLOCK_WORK - 100))
    assert codes(intl.run(greedy, intl.write(), intl.write())) == [None, None, "ledger.block_full"]


def test_a_transaction_that_does_more_than_a_block_may_leaves_no_trace(intl):  # [LEDGER-WORK-2]
    before = dict(intl.state._encoded)
    assert intl.refusal_of(intl.write("note.greedy", body=NoteBody(id=intl.new_id(), number=10**9))) == (
        "ledger.work_exceeded"
    )
    assert intl.state._encoded == before
    # Nor does what it did take room from who comes after it in a later block.
    assert intl.refusal_of(intl.write()) == ""


def test_keys_read_and_written_are_counted_however_often(intl):  # [LEDGER-WORK-2]
    state = OverlayState(intl.state)
    state.get("note/a")
    state.begin()
    state.open_room("note")
    state.get("note/a")
    state.get("note/a")
    state.put("note/a", "x" * (2 * VALUE_BYTES_A_UNIT))
    state.delete("note/a")
    assert state.work == 2 + 3 + 1
    state.keep()
    state.get("note/a")
    assert state.work == 6


def test_a_writer_fills_a_block_up_to_its_work(intl):  # [LEDGER-WORK-1]
    intake = Intake(max_waiting=100)
    verifier = InlineVerifier(intl.suite)
    admission = Admission(machine=intl.machine, verifier=verifier, intake=intake)
    for _ in range(FIT + 2):
        intake.put(many(intl))
    admission.admit(intake.take(100), intl.state)
    while admission.is_checking():
        admission.start_checks()
        admission.receive(verifier.finished(wake=intake.wake_descriptor, timeout_s=0))
    taken = [len(admission.take_block(max_transactions=100, max_bytes=10**9)) for _ in range(2)]
    intake.close()
    assert taken == [FIT, 2]


@pytest.mark.parametrize("depth", [1, 2])
def test_items_of_lists_in_lists_count(depth):
    assert body_work([[1, 2, 3]] * depth) == 4 * ITEM_WORK * depth


def test_what_a_part_of_a_body_declares_is_charged_besides():  # [LEDGER-WORK-1]
    class Costly(msgspec.Struct):
        WORK: ClassVar[int] = 100
        names: list[str]

    class Body(msgspec.Struct):
        parts: list[Costly]
        one: Costly

    costly = Costly(names=["a"])
    assert body_work(Body(parts=[costly, costly], one=costly)) == 3 * 100 + 5 * ITEM_WORK
