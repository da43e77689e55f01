"""Four validators with the real ledger: agreement, refusals, receipts under a quorum, and replay through embedded."""

from __future__ import annotations

import pytest

from consensus_world import KINDS, Consortium, Roster, StateKeys, wait_until
from patience import PATIENCE_S
from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.engine.port import CopySettings
from shuiqiao.ledger.replay.replay import Level, replay_block
from shuiqiao.ledger.state.machine import StateMachine


@pytest.fixture
def consortium(tmp_path):
    consortium = Consortium(tmp_path, Roster())
    yield consortium
    consortium.close()


def replayed_head(ledger, roster, folder):
    """Execute a ledger's blocks again by the embedded engine's own means."""
    machine = StateMachine(roster.parameters, kinds=KINDS, key_ring=StateKeys(), suite=roster.suite)
    copy = LedgerCopy(folder, machine=machine, settings=CopySettings(map_bytes=1 << 28))
    for block in ledger.blocks(from_height=1):
        execution = replay_block(copy, block, level=Level.EXECUTED)
        assert execution.result.entry == block.entry
        copy.commit(execution)
    head = copy.head
    copy.close()
    return head


def test_validators_agree_refuse_and_cosign(consortium, tmp_path):
    roster, ledgers = consortium.roster, list(consortium.ledgers.values())
    consortium.start()
    first = ledgers[0]

    # Transactions handed in at all four nodes are decided in one order, and each future tells its place.
    futures = [ledgers[n % 4].submit(roster.note(n, author=f"node{n % 4}")) for n in range(40)]
    places = [future.result(timeout=PATIENCE_S) for future in futures]
    assert len({place.index for place in places}) == 40
    # The other nodes have answered for what this one may not have committed yet.
    wait_until(lambda: first.last_block()[0] >= max(place.height for place in places))
    for number, place in enumerate(places):
        assert first.state().get(f"note/entry/{number:032x}") == {"author": f"node{number % 4}", "height": place.height}

    # Valid alone, in conflict in one block: one is accepted, the other refused with the contract's code.
    rivals = [ledgers[n].submit(roster.note(1000, author=f"node{n}")) for n in range(4)]
    refused = [error.code for future in rivals if (error := future.exception(timeout=PATIENCE_S)) is not None]
    assert refused == ["note.repeated"] * 3

    # The same transaction again, the same id again, a broken signature, no transaction at all.
    raw = roster.note(2000, tx_id=b"i" * 16)
    first.submit(raw).result(timeout=PATIENCE_S)
    wait_until(lambda: all(ledger.state().get(f"note/entry/{2000:032x}") for ledger in ledgers))
    with pytest.raises(Conflict) as again:
        first.submit(raw).result(timeout=PATIENCE_S)
    with pytest.raises(Conflict) as same_id:
        ledgers[1].submit(roster.note(2001, tx_id=b"i" * 16)).result(timeout=PATIENCE_S)
    fresh = roster.note(2002)
    with pytest.raises(IntegrityError) as broken:
        first.submit(fresh[:-1] + bytes([fresh[-1] ^ 1])).result(timeout=PATIENCE_S)
    with pytest.raises(InvalidInput) as garbage:
        ledgers[2].submit(b"\x00" * 100).result(timeout=PATIENCE_S)
    with pytest.raises(InvalidInput) as giant:
        ledgers[3].submit(b"\xd8\x62" + bytes(100_000)).result(timeout=PATIENCE_S)
    assert giant.value.code == "ledger.tx_too_large"
    assert (again.value.code, same_id.value.code) == ("ledger.tx_replayed", "ledger.tx_replayed")
    assert (broken.value.code, garbage.value.code) == ("ledger.signature_invalid", "ledger.tx_malformed")

    # Every node comes to hold a note of the last block with a quorum of cosignatures, made of vote extensions alone.
    size = first.application.app_state.copy.head.size
    notes = [ledger.application.extensions.wait_for(size, timeout_s=PATIENCE_S) for ledger in ledgers]
    for note in notes:
        checked = verify_note(note.note, policy=roster.policy, suite=roster.suite)
        assert (checked.size, checked.root) == (size, first.application.app_state.copy.head.root)
    assert first.receipt(places[0].index)[:1] != b""

    # No block follows a block that changes nothing: the heights come to rest.
    app_states = [ledger.application.app_state for ledger in ledgers]
    wait_until(lambda: all(app_state.time_ms > app_state.copy.head.time_ms for app_state in app_states))
    wait_until(lambda: len({app_state.height for app_state in app_states}) == 1)
    height = first.application.app_state.height
    assert len({ledger.application.app_state.copy.head for ledger in ledgers}) == 1
    assert [tuple(ledger.application.named) for ledger in ledgers] == [()] * 4
    assert [ledger.faults for ledger in ledgers] == [()] * 4

    # What the validators committed gives the same log when executed by the embedded engine's means.
    assert replayed_head(first, roster, tmp_path / "again").root == first.application.app_state.copy.head.root
    assert first.application.app_state.height == height


def test_a_node_that_was_killed_resumes_where_its_blocks_end(consortium):
    roster, ledgers = consortium.roster, consortium.ledgers
    consortium.start()
    ledgers["node0"].submit(roster.note(1)).result(timeout=PATIENCE_S)

    # The application goes away with its node, and comes back with the same folder.
    consortium.network.nodes["node3"].kill()
    ledgers["node3"].close()
    for number in range(2, 12):
        ledgers["node0"].submit(roster.note(number)).result(timeout=PATIENCE_S)
    reopened = consortium.open("node3")
    consortium.network.nodes["node3"].start()
    wait_until(lambda: reopened.last_block() == ledgers["node0"].last_block())

    # Only CometBFT was killed: it replays nothing that the application has.
    consortium.network.nodes["node2"].kill()
    ledgers["node0"].submit(roster.note(12)).result(timeout=PATIENCE_S)
    consortium.network.nodes["node2"].start()
    wait_until(lambda: ledgers["node2"].last_block() == ledgers["node0"].last_block())
    assert len({ledger.application.app_state.app_hash for ledger in ledgers.values()}) == 1


def test_the_validator_set_follows_the_state(consortium):
    roster, ledgers = consortium.roster, consortium.ledgers
    consortium.start()
    ledgers["node0"].submit(roster.power("node3", 0)).result(timeout=PATIENCE_S)
    for number in range(4):
        ledgers["node0"].submit(roster.note(number)).result(timeout=PATIENCE_S)
    powers = {name: node.rpc.status().voting_power for name, node in consortium.network.nodes.items()}
    assert powers == {"node0": 10, "node1": 10, "node2": 10, "node3": 0}
    ledgers["node1"].submit(roster.power("node3", 7)).result(timeout=PATIENCE_S)
    for number in range(10, 14):
        ledgers["node1"].submit(roster.note(number)).result(timeout=PATIENCE_S)
    wait_until(
        lambda: (
            consortium.network.nodes["node0"].rpc.status().height
            == consortium.network.nodes["node3"].rpc.status().height
        )
    )
    assert consortium.network.nodes["node3"].rpc.status().voting_power == 7
