"""The application without CometBFT: proposals, refusals, extensions, crash points, snapshots."""

from __future__ import annotations

import os
import time
import weakref
from types import SimpleNamespace

import cbor2
import msgspec
import pytest

from consensus_world import KINDS, Roster, StateKeys
from shuiqiao.base.clock import ManualClock, SystemClock, iso_from_ms
from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto import intl as intl_provider
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.checkpoints.signed_note import encode_text
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.messages import PublicKey, Snapshot, Timestamp, ValidatorUpdate
from shuiqiao.ledger.engine.cometbft.comet.home import address_of
from shuiqiao.ledger.engine.cometbft.consensus import extensions, snapshots
from shuiqiao.ledger.engine.cometbft.consensus.app_state import INCOMING_FOLDER
from shuiqiao.ledger.engine.cometbft.consensus.application import LedgerApplication
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
from shuiqiao.ledger.engine.cometbft.consensus.snapshots import (
    CHUNK_BYTES,
    MAX_SNAPSHOT_BYTES,
    decode_manifest,
    encode_manifest,
)
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.store.lock import FolderLock
from shuiqiao.ledger.store.segments import SEGMENTS_FOLDER
from shuiqiao.ledger.transactions.verifiers import InlineVerifier

# After the genesis of every roster that a test of this file makes.
START_S = int(time.time()) - 3600


@pytest.fixture
def roster():
    # Everything here is told from one moment, however long after it a test is run.
    return Roster(genesis_ms=(START_S - 61) * 1000)


@pytest.fixture
def opened():
    found = []
    yield found
    for application in found:
        application.close()


@pytest.fixture
def open_app(roster, tmp_path, opened):
    def open_one(name="a", *, member="node0", clock=None, **more):
        machine = StateMachine(roster.parameters, kinds=KINDS, key_ring=StateKeys(), suite=roster.suite)
        application = LedgerApplication(
            tmp_path / name,
            machine=machine,
            verifier=InlineVerifier(roster.suite),
            clock=clock or SystemClock(),
            policy_of=lambda _state: roster.policy,
            cosigner=Cosigner(member=MemberId(member), key=roster.keys[MemberId(member)]),
            settings=roster.application_settings(**more),
        )
        opened.append(application)
        return application

    return open_one


def close(application, opened) -> None:
    application.close()
    opened.remove(application)


def finalize(application, height: int, *raws: bytes) -> abci.ResponseFinalizeBlock:
    return application.finalize_block(
        abci.RequestFinalizeBlock(txs=raws, height=height, time=Timestamp(seconds=START_S + height))
    )


def decide(application, height: int, *raws: bytes) -> abci.ResponseFinalizeBlock:
    found = finalize(application, height, *raws)
    application.commit(abci.RequestCommit())
    return found


def position(application) -> tuple[int, bytes]:
    found = application.info(abci.RequestInfo())
    return found.last_block_height, found.last_block_app_hash


def test_the_genesis_of_both_must_name_the_same_validators(roster, open_app):
    application = open_app()
    given = [
        ValidatorUpdate(pub_key=PublicKey(ed25519=keys.validator_key), power=10) for keys in roster.comet_keys.values()
    ]
    assert position(application) == (0, b"")
    found = application.init_chain(abci.RequestInitChain(validators=given))
    assert found.app_hash == application.app_state.app_hash
    with pytest.raises(IntegrityError) as raised:
        application.init_chain(abci.RequestInitChain(validators=given[:3]))
    assert raised.value.code == "ledger.validators_differ"


def test_the_application_hash_is_that_of_the_checkpoint_and_empty_blocks_keep_it(roster, open_app):  # [ABCI-13]
    application = open_app()
    first = decide(application, 1).app_hash
    second = decide(application, 2, roster.note(1)).app_hash
    head = application.app_state.copy.head
    text = encode_text(origin=roster.parameters.origin, size=head.size, root=head.root)
    assert (head.height, head.size, second) == (1, 2, roster.suite.digest(text))
    assert second != first
    # A block of refused transactions, and one of none, change nothing but CometBFT's height.
    again = decide(application, 3, roster.note(1), b"garbage")
    assert [(each.code, each.codespace) for each in again.tx_results] == [
        (3, "note.repeated"),
        (1, "ledger.tx_malformed"),
    ]
    assert [again.app_hash, decide(application, 4).app_hash] == [second, second]
    assert position(application) == (4, second)


def test_a_time_that_is_not_after_the_last_block_is_moved(roster, open_app):
    application = open_app()
    for height in (1, 2):
        raw = roster.note(height)
        application.finalize_block(abci.RequestFinalizeBlock(txs=[raw], height=height, time=Timestamp(seconds=START_S)))
        application.commit(abci.RequestCommit())
    times = [block.time_ms for block in application.app_state.copy.blocks(from_height=1)]
    assert times == [START_S * 1000, START_S * 1000 + 1]


def test_heights_that_do_not_follow_and_commits_out_of_turn_are_refused(roster, open_app):
    application = open_app()
    with pytest.raises(IntegrityError) as unexpected:
        application.commit(abci.RequestCommit())
    decide(application, 1, roster.note(1))
    with pytest.raises(IntegrityError) as repeated:
        finalize(application, 1)
    with pytest.raises(IntegrityError) as skipped:
        finalize(application, 3)
    with pytest.raises(InvalidInput) as timeless:
        application.finalize_block(abci.RequestFinalizeBlock(height=2))
    codes = [each.value.code for each in (unexpected, repeated, skipped, timeless)]
    assert codes == ["ledger.commit_unexpected", "ledger.height_wrong", "ledger.height_wrong", "ledger.abci_malformed"]


def test_a_crash_between_finalize_and_commit_is_replayed(roster, open_app, opened):  # [ABCI-14]
    application = open_app()
    decide(application, 1, roster.note(1))
    before = position(application)
    raws = [roster.note(2), roster.note(1)]
    first = finalize(application, 2, *raws)
    close(application, opened)

    application = open_app()
    assert position(application) == before
    assert decide(application, 2, *raws) == first
    after = position(application)
    close(application, opened)
    assert position(open_app()) == after == (2, first.app_hash)


def test_a_block_that_was_announced_and_not_stored_is_decided_again(roster, open_app, opened, monkeypatch):  # [ABCI-14]
    application = open_app()
    decide(application, 1, roster.note(1))
    decide(application, 2)
    before = position(application)
    raw = roster.note(2)
    finalize(application, 3, raw)
    monkeypatch.setattr(application.app_state.copy, "store", full_disk)
    with pytest.raises(Unavailable):
        application.commit(abci.RequestCommit())
    close(application, opened)

    application = open_app()
    assert position(application) == before
    decide(application, 3, raw)
    assert position(application)[0] == 3


def test_a_node_that_does_not_know_what_its_disk_holds_stops(roster, open_app, opened, monkeypatch):
    application = open_app()
    raw = roster.note(1)
    finalize(application, 1, raw)
    monkeypatch.setattr(application.app_state.copy, "publish", failed_index)
    with pytest.raises(Unavailable):
        application.commit(abci.RequestCommit())
    with pytest.raises(Unavailable) as raised:
        finalize(application, 1, raw)
    assert raised.value.code == "ledger.index_failed"
    close(application, opened)
    # The block was stored: opened again, the node has it.
    assert position(open_app())[0] == 1


def failed_index():
    raise Unavailable("ledger.index_failed", "the index could not be written")


def full_disk(*_args, **_kwargs):
    raise Unavailable("ledger.disk_full", "no space left")


def test_altered_blocks_are_not_served(roster, open_app, opened, tmp_path):
    application = open_app()
    decide(application, 1, roster.note(1))
    decide(application, 2, roster.note(2))
    close(application, opened)
    path = tmp_path / "a" / "consensus" / "position"
    data = bytearray(path.read_bytes())
    path.write_bytes(bytes(len(data)))
    with pytest.raises(IntegrityError) as raised:
        open_app()
    assert raised.value.code == "ledger.position_damaged"


def test_proposals_of_correct_nodes_are_accepted_whatever_contracts_say(roster, open_app):  # [ABCI-16]
    clock = ManualClock((START_S + 30) * 1000)
    one, other = open_app("one", clock=clock), open_app("other", member="node1", clock=clock)
    first, fresh, rival, third = roster.note(1), roster.note(2), roster.note(2, author="node1"), roster.note(3)
    decide(one, 1, first)
    decide(other, 1, first)
    forged = third[:-1] + bytes((third[-1] ^ 1,))
    pool = [fresh, rival, roster.note(1), forged, b"garbage", fresh]
    made = one.prepare_proposal(abci.RequestPrepareProposal(txs=pool, max_tx_bytes=10**6, height=2))
    assert list(made.txs) == [fresh, rival, pool[2], forged]
    assert other.process_proposal(abci.RequestProcessProposal(txs=made.txs, height=2)).status == abci.Verdict.ACCEPT
    results = decide(one, 2, *made.txs)
    assert results == decide(other, 2, *made.txs)
    assert [each.codespace for each in results.tx_results] == [
        "",
        "note.repeated",
        "note.repeated",
        "ledger.signature_invalid",
    ]


def test_a_proposal_keeps_to_its_size(roster, open_app):  # [ABCI-16]
    application = open_app()
    raws = [roster.note(number, text="x" * 1000) for number in range(10)]
    limit = sum(map(len, raws[:4])) + 4 * 6
    made = application.prepare_proposal(abci.RequestPrepareProposal(txs=raws, max_tx_bytes=limit, height=1))
    assert list(made.txs) == raws[:4]


@pytest.mark.parametrize("bad", [[b"garbage"], [b""], ["twice"], [b"\xd8\x62" + bytes(70_000)]])
def test_what_no_correct_proposer_makes_is_rejected(bad, roster, open_app):  # [ABCI-16]
    application = open_app()
    raw = roster.note(1)
    txs = [raw, raw] if bad == ["twice"] else [raw, *bad]
    status = application.process_proposal(abci.RequestProcessProposal(txs=txs, height=1)).status
    assert status == abci.Verdict.REJECT
    # Even such a block, once decided, is executed and never a halt.
    results = decide(application, 1, *txs).tx_results
    assert (len(results), results[0].code, results[1].code > 0) == (2, 0, True)


def test_checks_tell_the_code_and_are_remembered(roster, open_app):  # [ABCI-12] [ABCI-15]
    application = open_app()
    good, stranger = roster.note(1), roster.note(2)
    forged = stranger[:-1] + bytes((stranger[-1] ^ 1,))
    told = []
    application.mempool.on_refused(lambda raw, error: told.append((raw, error.code)))
    found = application.mempool.check([abci.RequestCheckTx(tx=raw) for raw in (good, forged, b"junk")])
    assert [(each.code, each.codespace) for each in found] == [
        (0, ""),
        (4, "ledger.signature_invalid"),
        (1, "ledger.tx_malformed"),
    ]
    assert told == [(forged, "ledger.signature_invalid"), (b"junk", "ledger.tx_malformed")]
    known = application.checker.cache.get(good)
    assert known is not None
    assert known.proven_keys == (roster.keys[MemberId("node0")].public_key,)
    decide(application, 1, good)
    assert application.checker.cache.get(good) is None
    [again] = application.mempool.check([abci.RequestCheckTx(tx=good)])
    assert (again.code, again.codespace) == (3, "ledger.tx_replayed")


def line_of(roster, application, member: str, *, seed_of: str | None = None, size: int | None = None) -> bytes:
    head = application.app_state.copy.head
    text = encode_text(origin=roster.parameters.origin, size=head.size if size is None else size, root=head.root)
    key = roster.keys[MemberId(seed_of or member)]
    name = roster.policy.witness_name(MemberId(member))
    return sign_cosignature(text, name=name, key=key, suite=roster.suite, time_s=START_S)


def judge(roster, application, voter: str, extension: bytes) -> int:
    address = address_of(roster.comet_keys[MemberId(voter)].validator_key)
    request = abci.RequestVerifyVoteExtension(validator_address=address, height=9, vote_extension=extension)
    return application.verify_vote_extension(request).status


def test_votes_make_the_note_and_the_log_stays_as_it_is(roster, open_app, opened):  # [ABCI-17] [ABCI-18]
    application = open_app()
    decide(application, 1, roster.note(1))
    head = application.app_state.copy.head
    own = application.extend_vote(abci.RequestExtendVote(height=2)).vote_extension
    assert application.checkpoint() is None
    assert judge(roster, application, "node0", own) == abci.Verdict.ACCEPT
    assert judge(roster, application, "node1", line_of(roster, application, "node1")) == abci.Verdict.ACCEPT
    assert application.checkpoint() is None
    assert judge(roster, application, "node2", line_of(roster, application, "node2")) == abci.Verdict.ACCEPT
    note = application.checkpoint()
    assert verify_note(note.note, policy=roster.policy, suite=roster.suite) == note
    assert (note.size, note.root, application.app_state.copy.head) == (head.size, head.root, head)
    # It outlives the node, and a damaged one is only made again.
    decide(application, 2)
    close(application, opened)
    application = open_app()
    assert application.checkpoint() == note
    path = application.app_state.folder / "consensus" / "note"
    close(application, opened)
    path.write_bytes(b"damaged")
    assert open_app().checkpoint() is None


def test_the_state_behind_a_note_is_let_go_once_the_log_is_far_ahead(roster, open_app, monkeypatch):  # [STORE-27]
    monkeypatch.setattr(extensions, "MAX_LEAVES_BEHIND", 4)
    application = open_app()
    decide(application, 1, roster.note(1))
    judge(roster, application, "node0", application.extend_vote(abci.RequestExtendVote(height=2)).vote_extension)
    for voter in ("node1", "node2"):
        judge(roster, application, voter, line_of(roster, application, voter))
    note = application.checkpoint()
    kept = weakref.ref(application.view())
    # Two leaves a block: as a node that catches up goes on, for whom nobody votes.
    for height in (2, 3):
        decide(application, height, roster.note(height))
        assert application.extensions.confirmed(note.size, timeout_s=0).view is kept()
    decide(application, 4, roster.note(4))
    assert kept() is None
    assert application.extensions.confirmed(note.size, timeout_s=0) is None
    assert application.checkpoint() == note
    for voter in ("node1", "node2", "node3"):
        judge(roster, application, voter, line_of(roster, application, voter))
    assert application.extensions.confirmed(note.size, timeout_s=0).view is application.view()


def test_extensions_that_do_not_hold_are_rejected_and_their_validator_is_named(roster, open_app):  # [ABCI-17]
    application = open_app()
    decide(application, 1, roster.note(1))
    cases = {
        "another log size": line_of(roster, application, "node1", size=77),
        "another's cosignature": line_of(roster, application, "node2"),
        "another's key": line_of(roster, application, "node1", seed_of="node2"),
        "no line": b"\xff" * 100,
        "too long": b"x" * 10_000,
    }
    for why, extension in cases.items():
        assert judge(roster, application, "node1", extension) == abci.Verdict.REJECT, why
        assert list(application.named) == ["node1"]
    assert judge(roster, application, "node1", b"") == abci.Verdict.ACCEPT
    # A key that the state does not know, of a validator on its way in or out, may carry any member's that holds.
    stranger = abci.RequestVerifyVoteExtension(
        validator_address=b"s" * 20, height=9, vote_extension=line_of(roster, application, "node3")
    )
    assert application.verify_vote_extension(stranger).status == abci.Verdict.ACCEPT
    assert set(application.extensions._lines) == {"node3"}


def test_validator_updates_are_such_that_cometbft_takes_them(roster, open_app):  # [ABCI-19]
    application = open_app()
    gone = decide(application, 1, roster.power("node3", 0)).validator_updates
    own = roster.comet_keys[MemberId("node3")].validator_key
    assert gone == [ValidatorUpdate(pub_key=PublicKey(ed25519=own), power=0)]
    assert decide(application, 2, roster.power("node3", 0)).validator_updates == []
    # Another member's key would stand twice: the first member by id keeps it, so nothing changes.
    double = roster.power("node3", 5, key=roster.comet_keys[MemberId("node0")].validator_key)
    assert list(decide(application, 3, double).validator_updates) == []
    # The last validator stays whatever the state says.
    counts = [
        len(decide(application, height, roster.power(member, 0)).validator_updates)
        for height, member in enumerate(("node3", "node0", "node1", "node2"), 4)
    ]
    assert counts == [0, 1, 1, 0]


def snapshot_of(roster, open_app):
    source = open_app("source", snapshot_interval=2)
    for height in range(1, 6):
        decide(source, height, *[roster.note(1000 * height + n, text="x" * 40_000) for n in range(40)])
    [*_, offer] = source.list_snapshots(abci.RequestListSnapshots()).snapshots
    chunks = [
        source.load_snapshot_chunk(abci.RequestLoadSnapshotChunk(height=offer.height, chunk=index)).chunk
        for index in range(offer.chunks)
    ]
    return source, offer, chunks


def app_hash_in(offer: Snapshot, source) -> bytes:
    return next(
        each.position.app_hash for each in source.app_state.snapshots._offered if each.position.height == offer.height
    )


def test_an_empty_node_joins_by_snapshot_and_goes_on(roster, open_app, opened):  # [ABCI-21]
    source, offer, chunks = snapshot_of(roster, open_app)
    assert (offer.height, len(chunks)) == (4, 2)
    joining = open_app("joining", snapshot_interval=2)
    app_hash = app_hash_in(offer, source)
    offered = joining.offer_snapshot(abci.RequestOfferSnapshot(snapshot=offer, app_hash=app_hash))
    assert offered.result == abci.OfferResult.ACCEPT
    # A chunk that is not the manifest's is fetched again, from another peer.
    wrong = joining.apply_snapshot_chunk(abci.RequestApplySnapshotChunk(index=0, chunk=b"x", sender="liar"))
    assert wrong == abci.ResponseApplySnapshotChunk(result=3, refetch_chunks=(0,), reject_senders=("liar",))
    for index, chunk in enumerate(chunks):
        found = joining.apply_snapshot_chunk(abci.RequestApplySnapshotChunk(index=index, chunk=chunk, sender="peer"))
        assert found.result == abci.ChunkResult.ACCEPT
    assert position(joining) == (4, app_hash)
    assert joining.view().get(f"note/entry/{1001:032x}") == {"author": "node0", "height": 1}
    blocks = [block.transactions for block in source.app_state.copy.blocks(from_height=5)]
    decide(joining, 5, *blocks[0])
    assert position(joining) == position(source)
    again = joining.offer_snapshot(abci.RequestOfferSnapshot(snapshot=offer, app_hash=app_hash))
    assert again.result == abci.OfferResult.ABORT
    close(joining, opened)
    assert position(open_app("joining")) == position(source)


def test_a_snapshot_is_on_the_medium_before_it_takes_the_ledgers_place(
    roster, open_app, tmp_path, monkeypatch
):  # [ABCI-21]
    flushed, acts, sync = {}, [], os.fdatasync

    def note_flushed(descriptor):
        sync(descriptor)
        found = os.fstat(descriptor)
        flushed[found.st_ino] = found.st_size

    class WatchingDisk(Disk):
        def replace(self, draft, path):
            if draft.name == SEGMENTS_FOLDER:
                acts.append(all(flushed[each.stat().st_ino] == each.stat().st_size for each in draft.iterdir()))
            super().replace(draft, path)

        def sync_folder(self, folder):
            acts.append((folder.name, (tmp_path / "joining" / INCOMING_FOLDER).exists()))
            super().sync_folder(folder)

    source, offer, chunks = snapshot_of(roster, open_app)
    joining = open_app("joining", disk=WatchingDisk())
    joining.offer_snapshot(abci.RequestOfferSnapshot(snapshot=offer, app_hash=app_hash_in(offer, source)))
    acts.clear()
    monkeypatch.setattr(os, "fdatasync", note_flushed)
    for index, chunk in enumerate(chunks):
        joining.apply_snapshot_chunk(abci.RequestApplySnapshotChunk(index=index, chunk=chunk))
    assert joining.app_state.height == offer.height
    # Bytes, then the names in the new folder, then the folder's own name.
    assert acts[:3] == [(SEGMENTS_FOLDER, True), True, ("joining", True)]
    assert acts[-1] == ("joining", False)


def test_a_snapshot_whose_blocks_do_not_open_is_left_and_a_good_one_taken(roster, open_app):
    """[ABCI-21]: the peer's chunks are what its manifest says, and no blocks of this network."""
    source, offer, chunks = snapshot_of(roster, open_app)
    app_hash, joining = app_hash_in(offer, source), open_app("joining")
    good = decode_manifest(offer.metadata)
    zeros = [bytes(len(chunk)) for chunk in chunks]
    deceits = [
        # Rubbish from the first byte, a chunk that is too short, and rubbish behind the blocks of the first chunk.
        (zeros, [abci.ChunkResult.REJECT_SNAPSHOT, abci.ChunkResult.ABORT]),
        ([b"no segment", zeros[1]], [abci.ChunkResult.REJECT_SNAPSHOT, abci.ChunkResult.ABORT]),
        ([chunks[0], zeros[1]], [abci.ChunkResult.ACCEPT, abci.ChunkResult.REJECT_SNAPSHOT]),
    ]
    for bad, expected in deceits:
        metadata = encode_manifest(msgspec.structs.replace(good, chunks=[roster.suite.digest(each) for each in bad]))
        deceit = Snapshot(
            height=offer.height, format=2, chunks=len(bad), hash=roster.suite.digest(metadata), metadata=metadata
        )
        joining.offer_snapshot(abci.RequestOfferSnapshot(snapshot=deceit, app_hash=app_hash))
        results = [
            joining.apply_snapshot_chunk(abci.RequestApplySnapshotChunk(index=index, chunk=chunk)).result
            for index, chunk in enumerate(bad)
        ]
        assert results == expected
        assert position(joining) == (0, b"")
        # Nothing of it is left on the disk.
        assert not (joining.app_state.folder / INCOMING_FOLDER).exists()
    joining.offer_snapshot(abci.RequestOfferSnapshot(snapshot=offer, app_hash=app_hash))
    for index, chunk in enumerate(chunks):
        joining.apply_snapshot_chunk(abci.RequestApplySnapshotChunk(index=index, chunk=chunk))
    assert position(joining) == (4, app_hash)


def test_a_snapshot_takes_no_more_of_the_disk_than_half_of_what_is_free(roster, open_app, monkeypatch):  # [ABCI-21]
    source, offer, _ = snapshot_of(roster, open_app)
    manifest = decode_manifest(offer.metadata)
    total = sum(length for _, length in (*manifest.segments, *manifest.notes))
    joining = open_app("joining")
    asked = abci.RequestOfferSnapshot(snapshot=offer, app_hash=app_hash_in(offer, source))
    for free, result in ((2 * total - 1, abci.OfferResult.REJECT), (2 * total, abci.OfferResult.ACCEPT)):
        monkeypatch.setattr(snapshots.shutil, "disk_usage", lambda _folder, free=free: SimpleNamespace(free=free))
        assert joining.offer_snapshot(asked).result == result
        assert (joining.app_state.folder / INCOMING_FOLDER).exists() is (result == abci.OfferResult.ACCEPT)


@pytest.mark.parametrize(("more", "refused"), [(0, False), (1, True)])
def test_a_snapshot_has_a_most_of_bytes(more, refused, roster, open_app):  # [ABCI-21]
    _, offer, _ = snapshot_of(roster, open_app)
    chunks = [bytes(32)] * (MAX_SNAPSHOT_BYTES // CHUNK_BYTES + more)
    large = encode_manifest(
        msgspec.structs.replace(
            decode_manifest(offer.metadata), segments=[(1, MAX_SNAPSHOT_BYTES + more)], notes=[], chunks=chunks
        )
    )
    if refused:
        with pytest.raises(InvalidInput, match=r"ledger\.snapshot_malformed"):
            decode_manifest(large)
    else:
        assert decode_manifest(large).total_bytes == MAX_SNAPSHOT_BYTES == 256 * 2**30


def test_a_lock_that_was_given_back_closes_no_file_of_another(tmp_path):
    lock = FolderLock(tmp_path)
    lock.release()
    with (tmp_path / "other").open("w") as other:
        lock.release()
        other.write("still open")
    assert (tmp_path / "other").read_text() == "still open"


def test_a_snapshot_that_is_not_what_was_verified_leaves_the_node_empty(roster, open_app, opened):  # [ABCI-21]
    source, offer, chunks = snapshot_of(roster, open_app)
    joining = open_app("joining")
    bad_offers = [
        (offer, b"h" * 32),
        (Snapshot(height=offer.height, format=1, chunks=offer.chunks, hash=offer.hash, metadata=offer.metadata), b""),
        (Snapshot(height=9, format=2, chunks=2, hash=offer.hash, metadata=offer.metadata), app_hash_in(offer, source)),
        (Snapshot(height=9, format=2, chunks=2, hash=roster.suite.digest(b"x"), metadata=b"x"), b""),
    ]
    for bad, app_hash in bad_offers:
        found = joining.offer_snapshot(abci.RequestOfferSnapshot(snapshot=bad, app_hash=app_hash))
        assert found.result == abci.OfferResult.REJECT
    assert joining.apply_snapshot_chunk(abci.RequestApplySnapshotChunk(index=0)).result == abci.ChunkResult.ABORT
    # A node that stops half way begins anew.
    app_hash = app_hash_in(offer, source)
    joining.offer_snapshot(abci.RequestOfferSnapshot(snapshot=offer, app_hash=app_hash))
    joining.apply_snapshot_chunk(abci.RequestApplySnapshotChunk(index=0, chunk=chunks[0]))
    close(joining, opened)
    joining = open_app("joining")
    assert position(joining) == (0, b"")
    assert not (joining.app_state.folder / "incoming").exists()


def test_cometbft_may_drop_blocks_that_no_snapshot_needs(roster, open_app):  # [ABCI-20]
    application = open_app(retain_heights=3, snapshot_interval=4)
    retained = []
    for height in range(1, 13):
        finalize(application, height, roster.note(height))
        retained.append(application.commit(abci.RequestCommit()).retain_height)
    assert retained == [0, 0, 0, 1, 2, 3, 4, 4, 4, 4, 4, 4]
    keeping_all = open_app("all")
    finalize(keeping_all, 1, roster.note(1))
    assert keeping_all.commit(abci.RequestCommit()) == abci.ResponseCommit(retain_height=0)


def test_queries_answer_or_say_what_they_are_not(roster, open_app):
    application = open_app()
    decide(application, 1, roster.note(1))
    found = application.query(abci.RequestQuery(path="/state", data=f"note/entry/{1:032x}".encode()))
    assert (found.code, found.height, found.value[:1]) == (0, 1, b"\xa2")
    assert application.query(abci.RequestQuery(path="/checkpoint")).value == b""
    assert application.query(abci.RequestQuery(path="/nothing")).codespace == "ledger.query_unknown"


def test_a_provider_that_fails_decides_nothing(roster, open_app, monkeypatch):  # [LEDGER-SIGN-4] [ABCI-6]
    """Every call that needs its verdict is answered by an exception, on which CometBFT stops; afterwards all goes on."""
    application, raw = open_app(), roster.note(1)
    extension = line_of(roster, application, "node1")

    def fail(*_arguments):
        raise RuntimeError("no")

    calls = {
        "check": lambda: application.mempool.check([abci.RequestCheckTx(tx=raw)])[0].code,
        "judge": lambda: application.process_proposal(abci.RequestProcessProposal(txs=[raw])).status,
        "vote": lambda: judge(roster, application, "node1", extension),
        "decide": lambda: decide(application, 1, raw).tx_results[0].code,
    }
    with monkeypatch.context() as patch:
        patch.setattr(intl_provider, "crypto_sign_open", fail)
        for call in calls.values():
            with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
                call()
    assert (application.named, application.app_state.height) == ({}, 0)
    found = {name: call() for name, call in calls.items()}
    assert found == {"check": 0, "judge": abci.Verdict.ACCEPT, "vote": abci.Verdict.ACCEPT, "decide": 0}


class SetClock:
    """A clock that shows what a test sets."""

    def __init__(self, now_ms):
        self.now = now_ms

    def now_ms(self):
        return self.now


def test_memory_that_runs_out_refuses_no_transaction(roster, open_app, monkeypatch):  # [ABCI-6]
    application, raw = open_app(), roster.note(1)

    def no_memory(*_arguments, **_options):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(cbor2, "loads", no_memory)
        with pytest.raises(MemoryError):
            application.prepare_proposal(abci.RequestPrepareProposal(txs=[raw], height=1, max_tx_bytes=100_000))
        with pytest.raises(MemoryError):
            finalize(application, 1, raw)
    assert [result.code for result in decide(application, 1, raw).tx_results] == [0]


def test_a_validator_whose_clock_is_behind_orders_nothing(roster, open_app):  # [LEDGER-TIME-1]
    clock = SetClock(START_S * 1000)
    application = open_app(clock=clock)
    decide(application, 1, roster.note(1))
    block_ms, raw = application.app_state.time_ms, roster.note(2)
    asked = abci.RequestPrepareProposal(txs=[raw], max_tx_bytes=10**6, height=2)
    clock.now = block_ms - 10_000
    application.require_clock()
    assert list(application.prepare_proposal(asked).txs) == [raw]
    clock.now -= 1
    with pytest.raises(Unavailable) as raised:
        application.require_clock()
    assert raised.value.code == "ledger.clock_behind"
    assert iso_from_ms(block_ms) in raised.value.message
    assert iso_from_ms(clock.now) in raised.value.message
    assert list(application.prepare_proposal(asked).txs) == []
    # What others propose it judges and executes as ever.
    status = application.process_proposal(abci.RequestProcessProposal(txs=[raw], height=2)).status
    assert status == abci.Verdict.ACCEPT


def test_a_validator_cosigns_no_time_that_has_not_come(roster, open_app):  # [LEDGER-TIME-2]
    clock = SetClock(START_S * 1000)
    application = open_app(clock=clock)
    decide(application, 1, roster.note(1))
    clock.now = application.app_state.time_ms - 300_001
    assert application.extend_vote(abci.RequestExtendVote(height=2)).vote_extension == b""
    clock.now += 1
    extension = application.extend_vote(abci.RequestExtendVote(height=2)).vote_extension
    assert judge(roster, application, "node0", extension) == abci.Verdict.ACCEPT
    assert extension
