"""[ABCI-28], [ABCI-21]: the notes that closed epochs travel in CometBFT's blocks and in snapshots."""

from __future__ import annotations

import time

import pytest

from boundary_world import FullDisk
from governed_world import GovernedRoster
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature
from shuiqiao.ledger.checkpoints.note import join_note
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES, encode_text
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.messages import Timestamp
from shuiqiao.ledger.engine.cometbft.consensus.application import LedgerApplication
from shuiqiao.ledger.engine.cometbft.consensus.carried_notes import MAX_CARRIED, carried_in, encode_carried
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
from shuiqiao.ledger.engine.cometbft.consensus.snapshots import decode_manifest
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.transactions.verifiers import InlineVerifier

START_S = int(time.time()) - 3600
VOTERS = ("node0", "node1", "node2")
NEVER = 1 << 40


@pytest.fixture
def roster():
    return GovernedRoster(genesis_ms=(START_S - 61) * 1000)


@pytest.fixture
def open_app(roster, tmp_path):
    opened = {}

    def open_one(name="a", **more):
        if name in opened:
            opened.pop(name).close()
        machine = StateMachine(roster.parameters, kinds=roster.kinds, key_ring=roster.key_ring, suite=roster.suite)
        application = LedgerApplication(
            tmp_path / name,
            machine=machine,
            verifier=InlineVerifier(roster.suite),
            clock=SystemClock(),
            policy_of=roster.policy_of,
            cosigner=Cosigner(member=MemberId("node0"), key=roster.keys[MemberId("node0")]),
            settings=roster.application_settings(**more),
        )
        opened[name] = application
        return application

    yield open_one
    for application in opened.values():
        application.close()


def decide(application, height: int, *txs: bytes) -> abci.ResponseFinalizeBlock:
    found = application.finalize_block(
        abci.RequestFinalizeBlock(txs=txs, height=height, time=Timestamp(seconds=START_S + height))
    )
    application.commit(abci.RequestCommit())
    return found


def note_of(roster, application, *, voters=VOTERS, root: bytes | None = None, size: int | None = None) -> bytes:
    """A note over the log as it is now, or as it is not, by some of its validators."""
    head, policy = application.app_state.copy.head, application._tip().policy
    text = encode_text(origin=policy.origin, size=size or head.size, root=root or head.root)
    lines = [
        sign_cosignature(
            text,
            name=policy.witness_name(MemberId(voter)),
            key=roster.keys[MemberId(voter)],
            suite=roster.suite,
            time_s=START_S,
        )
        for voter in voters
    ]
    return join_note(text, lines, policy=policy, suite=roster.suite)


def propose(application, *txs: bytes) -> list[bytes]:
    request = abci.RequestPrepareProposal(txs=txs, max_tx_bytes=10**6, height=9)
    return list(application.prepare_proposal(request).txs)


def verdict(application, *txs: bytes) -> int:
    return application.process_proposal(abci.RequestProcessProposal(txs=txs, height=9)).status


def hear_votes(application, note: bytes) -> bool:
    """Hand in the votes that made a note of the last checkpoint; tell whether they are its quorum."""
    for line in note.split(b"\n\n", 1)[1].splitlines(keepends=True):
        application.extensions.judge(line, member=None)
    found = application.checkpoint()
    return found is not None and found.size == application.app_state.copy.head.size


def close_epoch(roster, *applications, height: int, quorum: int = 2, witnessed: bool = True) -> bytes:
    """Close an epoch on all, the first of which holds its note then; return the note."""
    act = roster.new_quorum(quorum)
    for application in applications:
        decide(application, height, act)
    first = applications[0]
    note = note_of(roster, first)
    assert hear_votes(first, note) or not witnessed
    return note


def test_a_block_brings_the_note_to_who_was_away(roster, open_app):
    one, other = open_app("one"), open_app("other")
    note = close_epoch(roster, one, other, height=1)
    size = one.app_state.copy.head.size
    assert other.app_state.copy.epochs.missing_notes() == (size,)
    fresh = roster.note(1)
    block = propose(one, fresh)
    assert block == [encode_carried(note), fresh]
    assert verdict(other, *block) == abci.Verdict.ACCEPT
    results = decide(one, 2, *block)
    assert results == decide(other, 2, *block)
    assert [each.code for each in results.tx_results] == [0, 0]
    # It is no transaction: the log is that of a block without it, and nobody is told of it as of one.
    assert [raw for found in one.app_state.copy.blocks(from_height=2) for raw in found.transactions] == [fresh]
    assert one.app_state.app_hash == other.app_state.app_hash
    assert other.app_state.copy.epochs.missing_notes() == ()
    assert other.app_state.copy.epochs.note(size) == note
    # Once is enough.
    assert propose(one, fresh) == [fresh]
    assert propose(other) == []


def test_a_node_that_has_lost_what_it_judges_by_says_nothing_of_a_note(roster, open_app, monkeypatch):
    """[LEDGER-SIGN-4]: taken for no note, it would be refused as a transaction here, and nowhere else."""
    application = open_app()
    whole = encode_carried(close_epoch(roster, application, height=1))

    def lose(_size):
        raise IntegrityError("ledger.node_missing", "a node is not in the index")

    with monkeypatch.context() as patch:
        patch.setattr(application.app_state.copy, "root_at", lose)
        with pytest.raises(Unavailable, match=r"ledger\.index_failed"):
            verdict(application, whole)
        with pytest.raises(Unavailable, match=r"ledger\.index_failed"):
            decide(application, 2, whole)
    assert [each.code for each in decide(application, 2, whole).tx_results] == [0]


def test_a_block_of_a_note_alone_changes_nothing(roster, open_app):
    application = open_app()
    close_epoch(roster, application, height=1)
    before = application.app_state.app_hash
    assert decide(application, 2, *propose(application)).app_hash == before
    assert application.app_state.copy.head.height == 1


def test_what_is_not_the_note_of_an_epoch_is_no_part_of_a_block(roster, open_app):
    one = open_app("one")
    decide(one, 1, roster.note(1))
    early = note_of(roster, one)
    good = close_epoch(roster, one, height=2)
    size = one.app_state.copy.head.size
    other = {
        "of no epoch": early,
        "of another root": note_of(roster, one, root=b"r" * 32),
        "of another size": note_of(roster, one, size=size + 1),
        "of too few": good[: good.rindex(b"\n", 0, -1) + 1],
        "altered": good[:-3] + b"AA\n",
        "of nothing": b"",
    }
    for why, note in other.items():
        carrier = encode_carried(note)
        assert verdict(one, carrier) == abci.Verdict.REJECT, why
        # Decided nevertheless, it is a refused transaction and never a halt.
    refused = decide(one, 3, *map(encode_carried, other.values()))
    assert [each.codespace for each in refused.tx_results] == ["ledger.tx_malformed"] * len(other)
    assert one.app_state.carried_notes.files() == []
    # Two notes of one epoch, each of which holds alone.
    again = note_of(roster, one, voters=("node1", "node2", "node3"))
    assert verdict(one, encode_carried(good), encode_carried(again)) == abci.Verdict.REJECT
    assert verdict(one, encode_carried(again)) == abci.Verdict.ACCEPT
    # Not in the one form of its bytes, or beside a transaction that is none.
    assert verdict(one, b"\x5a" + len(good).to_bytes(4, "big") + good) == abci.Verdict.REJECT
    assert verdict(one, encode_carried(good), b"junk") == abci.Verdict.REJECT


def test_a_note_comes_by_proposals_only(roster, open_app):
    application = open_app()
    carrier = encode_carried(close_epoch(roster, application, height=1))
    [checked] = application.mempool.check([abci.RequestCheckTx(tx=carrier)])
    assert checked.codespace == "ledger.tx_malformed"
    decide(application, 2, carrier)
    # One that a mempool held nevertheless is not proposed for it.
    assert propose(application, carrier) == []


def test_the_first_note_of_an_epoch_that_a_block_carried_is_kept(roster, open_app):
    application = open_app()
    good = close_epoch(roster, application, height=1)
    later = note_of(roster, application, voters=("node1", "node2", "node3"))
    decide(application, 2, encode_carried(later))
    decide(application, 3, encode_carried(good))
    [path] = application.app_state.carried_notes.files()
    assert path.read_bytes() == later
    # What it holds of its own stays, for it holds as well.
    assert application.app_state.copy.epochs.note(int(path.name)) == good
    # A node that is opened again knows that it was carried.
    assert propose(open_app()) == []


def test_as_many_notes_as_a_block_may_carry(roster, open_app):
    one = open_app("one")
    quorums = [2, 3] * (MAX_CARRIED // 2) + [2]
    notes = [close_epoch(roster, one, height=height, quorum=quorum) for height, quorum in enumerate(quorums, 1)]
    assert propose(one) == [encode_carried(note) for note in reversed(notes[1:])]
    assert verdict(one, *map(encode_carried, notes[1:])) == abci.Verdict.ACCEPT
    assert verdict(one, *map(encode_carried, notes)) == abci.Verdict.REJECT
    decide(one, len(quorums) + 1, *propose(one))
    assert propose(one) == [encode_carried(notes[0])]


def test_a_note_that_the_disk_refuses_stops_the_node_before_the_block_is_stored(roster, open_app):
    one, disk = open_app("one"), FullDisk(NEVER)
    other = open_app("other", disk=disk)
    carrier = encode_carried(close_epoch(roster, one, other, height=1))
    disk.fill()
    with pytest.raises(Unavailable) as raised:
        decide(other, 2, carrier)
    assert raised.value.code == "ledger.checkpoint_not_stored"
    disk.free()
    assert other.app_state.height == 1
    # CometBFT decides the block again, and now it is there.
    decide(other, 2, carrier)
    assert other.app_state.copy.epochs.missing_notes() == ()


def chunks_of(source, offer) -> list[bytes]:
    ask_for = [abci.RequestLoadSnapshotChunk(height=offer.height, chunk=index) for index in range(offer.chunks)]
    return [source.load_snapshot_chunk(each).chunk for each in ask_for]


def join(application, offer, chunks) -> int:
    app_hash = decode_manifest(offer.metadata).position.app_hash
    accepted = application.offer_snapshot(abci.RequestOfferSnapshot(snapshot=offer, app_hash=app_hash))
    assert accepted.result == abci.OfferResult.ACCEPT
    result = abci.ChunkResult.ACCEPT
    for index, chunk in enumerate(chunks):
        result = application.apply_snapshot_chunk(abci.RequestApplySnapshotChunk(index=index, chunk=chunk)).result
    return result


def test_a_snapshot_brings_the_notes_and_none_that_does_not_hold(roster, open_app):
    source = open_app("source", snapshot_interval=2)
    note = close_epoch(roster, source, height=1)
    size = source.app_state.copy.head.size
    decide(source, 2, *propose(source, roster.note(1)))
    [offer] = source.list_snapshots(abci.RequestListSnapshots()).snapshots
    assert decode_manifest(offer.metadata).notes == [(size, len(note))]
    joined = open_app("joined")
    assert join(joined, offer, chunks_of(source, offer)) == abci.ChunkResult.ACCEPT
    assert joined.app_state.copy.epochs.note(size) == note
    assert propose(joined) == []
    # The votes after it are judged by the epoch that it joined in, not by that of the genesis.
    index = decide_and_confirm(roster, joined, height=3)
    assert joined.checkpoint().size == index

    # A source that puts another note there: the whole is refused, and the node is empty again.
    path = source.app_state.carried_notes.files()[0]
    path.write_bytes(note[:-3] + b"AA\n")
    source.app_state.snapshots.take(source.app_state.reached)
    *_, bad = source.list_snapshots(abci.RequestListSnapshots()).snapshots
    deceived = open_app("deceived")
    assert join(deceived, bad, chunks_of(source, bad)) == abci.ChunkResult.REJECT_SNAPSHOT
    assert (
        deceived.app_state.height,
        deceived.app_state.copy.head.size,
        deceived.app_state.carried_notes.files(),
    ) == (0, 0, [])
    assert join(deceived, offer, [*chunks_of(source, offer)[:-1], note]) == abci.ChunkResult.ACCEPT


def decide_and_confirm(roster, application, *, height: int) -> int:
    """Decide one note more and hand in the votes over it, of the two that are enough now; return the log's size."""
    decide(application, height, roster.note(height + 100))
    assert hear_votes(application, note_of(roster, application, voters=VOTERS[:2]))
    return application.app_state.copy.head.size


def test_only_a_byte_string_carries_a_note():
    for data in (b"", b"\xd8\x62", encode_cbor([b"a", b"b"]), encode_cbor("note"), b"\x58\x01", b"\x41ab"):
        assert carried_in(data) is None
    assert carried_in(encode_carried(b"note")) == b"note"
    longest = b"n" * MAX_SIGNED_NOTE_BYTES
    assert [carried_in(encode_carried(each)) for each in (longest, longest + b"n")] == [longest, None]
