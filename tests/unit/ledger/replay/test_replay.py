"""A log executed again: what each level asks, and what it leads to."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.log.tree import Frontier, leaf_hashes
from shuiqiao.ledger.model import Block
from shuiqiao.ledger.replay.replay import Level, MemoryLedger, prove_signatures, replay_block, replay_transactions
from shuiqiao.ledger.transactions.verifiers import open_verifier


def logged(network, *raws):
    """The next block of a network that executes these transactions."""
    result = network.run(*raws)
    assert result.entry is not None
    return Block(
        height=network.height,
        time_ms=network.time_ms,
        first_index=2 * (network.height - 1),
        transactions=tuple(tx.raw for tx in result.accepted),
        entry=result.entry,
    )


@pytest.mark.parametrize("level", Level)
def test_the_same_blocks_give_the_same_entries_state_and_root(network, level):
    blocks = [logged(network, network.write()) for _ in range(3)]
    ledger = MemoryLedger(network.machine)
    for block in blocks:
        execution = replay_block(ledger, block, level=level)
        assert execution.result.entry == block.entry
        ledger.follow(execution, block)
    leaves = [leaf for block in blocks for leaf in (*block.transactions, block.entry)]
    frontier = Frontier(hash_name=network.suite.hash_name)
    frontier.append(leaf_hashes(leaves, hash_name=network.suite.hash_name))
    assert (ledger.height, ledger.size, ledger.root) == (3, 6, frontier.root())
    assert ledger.last == (network.height, network.time_ms)
    assert ledger.state.encoded() == network.state.encoded()


def test_a_signature_that_does_not_hold_shows_at_the_highest_level_only(network):
    good = network.write()
    forged = good[:-1] + bytes([good[-1] ^ 1])
    ledger = MemoryLedger(network.machine)
    transactions = [network.machine.decode(forged)]
    time_ms = network.time_ms + 1
    verifier = open_verifier(network.suite, processes=0)
    proven = prove_signatures(transactions, ledger.current, machine=network.machine, verifier=verifier)
    assert proven == [()]
    trusted = replay_transactions(ledger, transactions, time_ms=time_ms, level=Level.EXECUTED)
    assert trusted.result.entry is not None
    for keys in ((), proven):
        verified = replay_transactions(ledger, transactions, time_ms=time_ms, level=Level.VERIFIED, proven=keys)
        assert verified.result.outcomes[0].refusal.code == "ledger.signature_invalid"
        assert verified.result.entry is None
    # Neither changed anything.
    assert (ledger.height, ledger.size) == (0, 0)


@pytest.mark.parametrize("level", Level)
def test_an_id_comes_once_whoever_replays_it(network, level):
    block = logged(network, network.write("note.trace"))
    ledger = MemoryLedger(network.machine)
    ledger.follow(replay_block(ledger, block, level=level), block)
    again = [network.machine.decode(block.transactions[0])]
    execution = replay_transactions(ledger, again, time_ms=block.time_ms + 1, level=level)
    assert execution.result.outcomes[0].refusal.code == "ledger.tx_replayed"


def test_time_runs_forwards_and_an_entry_has_to_be_one(network):
    block = logged(network, network.write())
    ledger = MemoryLedger(network.machine)
    ledger.follow(replay_block(ledger, block, level=Level.EXECUTED), block)
    assert decode_entry(block.entry).time_ms == ledger.time_ms
    with pytest.raises(IntegrityError, match=r"^ledger\.block_time_backwards"):
        replay_block(ledger, block, level=Level.EXECUTED)
    shapeless = Block(height=2, time_ms=0, first_index=2, transactions=(), entry=b"\xa0")
    with pytest.raises(IntegrityError, match=r"^ledger\.entry_malformed"):
        replay_block(ledger, shapeless, level=Level.EXECUTED)
