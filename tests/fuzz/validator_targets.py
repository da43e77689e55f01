"""What reaches a validator: from its own CometBFT node, from the nodes of others through it, and the files of both."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from shuiqiao.base.clock import ManualClock
from shuiqiao.base.durable import Disk
from shuiqiao.base.encoding import encode_cbor, encode_json
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.client.resources.validator import SignedNote, SignedNotes
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.messages import Snapshot, Timestamp
from shuiqiao.ledger.engine.cometbft.abci.wire import split_frames
from shuiqiao.ledger.engine.cometbft.comet.home import (
    HomeSettings,
    NodeKeys,
    ValidatorKeyFiles,
    read_comet_genesis,
    read_last_signed,
    read_node_id,
    read_settings,
    validator_key_text,
    write_home,
)
from shuiqiao.ledger.engine.cometbft.comet.rpc import RpcClient
from shuiqiao.ledger.engine.cometbft.consensus import snapshots
from shuiqiao.ledger.engine.cometbft.consensus.application import ApplicationSettings, LedgerApplication
from shuiqiao.ledger.engine.cometbft.consensus.carried_notes import carried_in, encode_carried
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
from shuiqiao.ledger.engine.cometbft.consensus.heights import SLOT_BYTES, HeightFile, HeightRecord
from shuiqiao.ledger.engine.cometbft.mempool.bundle import encode_bundle, transactions_in
from shuiqiao.ledger.engine.port import CopySettings
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.store.frame import encode_frame, encode_segment_header
from shuiqiao.ledger.transactions.verifiers import InlineVerifier
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.home.kinds import network_kinds
from shuiqiao.node.localnet.process import ask_process
from shuiqiao.node.operations.validator import judge_notes, prove_beginning
from target import CUT, FOLDER, KEY, SUITE, Answering, Target, block_parts, notes, parameters, transactions

MEMBER = MemberId("node0")
MAP_BYTES = 1 << 24


def open_application(folder: Path) -> LedgerApplication:
    """Return a validator of the network of the vectors, alone with its vote."""
    own = dataclasses.replace(
        parameters(), operator=MemberId(""), operator_key=b"", witnesses={MEMBER: KEY.public_key}, quorum=1
    )
    return LedgerApplication(
        folder,
        machine=StateMachine(own, kinds=network_kinds(), key_ring=MemberKeyRing(), suite=SUITE),
        verifier=InlineVerifier(SUITE),
        clock=ManualClock(own.genesis_time_ms + 1000),
        policy_of=lambda _state: own.policy,
        cosigner=Cosigner(member=MEMBER, key=KEY),
        settings=ApplicationSettings(copy=CopySettings(map_bytes=MAP_BYTES)),
    )


@cache
def voting() -> LedgerApplication:
    return open_application(Path(tempfile.mkdtemp(prefix="shuiqiao-fuzz-")))


@cache
def joining() -> LedgerApplication:
    return open_application(Path(tempfile.mkdtemp(prefix="shuiqiao-fuzz-")))


# What other members sent, as CometBFT hands it over


def check_transaction(data: bytes) -> object:
    return voting().mempool.check([abci.RequestCheckTx(tx=data)])


def judge_block(data: bytes) -> object:
    application, parts = voting(), data.split(CUT)
    time = Timestamp(seconds=parameters().genesis_time_ms // 1000 + 1)
    return (
        application.prepare_proposal(abci.RequestPrepareProposal(txs=parts, max_tx_bytes=1 << 20)),
        application.process_proposal(abci.RequestProcessProposal(txs=parts)),
        application.finalize_block(abci.RequestFinalizeBlock(txs=parts, height=1, time=time)),
    )


def blocks() -> list[bytes]:
    return [CUT.join(transactions()[:3]), CUT.join([encode_carried(notes()[0]), encode_bundle(transactions()[:2])])]


def judge_vote(data: bytes) -> object:
    return voting().verify_vote_extension(abci.RequestVerifyVoteExtension(vote_extension=data))


def extensions() -> list[bytes]:
    return [voting().extend_vote(abci.RequestExtendVote()).vote_extension]


def query(data: bytes) -> object:
    return voting().query(abci.RequestQuery(path="/state", data=data))


def offer(manifest: bytes, *, height: int, chunks: int, app_hash: bytes) -> abci.ResponseOfferSnapshot:
    snapshot = Snapshot(
        height=height, format=snapshots.FORMAT, chunks=chunks, hash=SUITE.digest(manifest), metadata=manifest
    )
    return joining().offer_snapshot(abci.RequestOfferSnapshot(snapshot=snapshot, app_hash=app_hash))


def manifest_of(chunk: bytes) -> snapshots.SnapshotManifest:
    position = HeightRecord(height=5, time_ms=1, block=1, app_hash=bytes(32), previous=0, previous_time_ms=0)
    return snapshots.SnapshotManifest(
        version=snapshots.FORMAT,
        position=position,
        segments=[(1, len(chunk))],
        notes=[],
        chunk_bytes=snapshots.CHUNK_BYTES,
        chunks=[SUITE.digest(chunk)],
    )


def manifests() -> list[bytes]:
    return [snapshots.encode_manifest(manifest_of(b"segment"))]


def take_snapshot(data: bytes) -> object:
    """Let a new node join from a segment file whose digest holds."""
    offer(snapshots.encode_manifest(manifest_of(data)), height=5, chunks=1, app_hash=bytes(32))
    return joining().apply_snapshot_chunk(abci.RequestApplySnapshotChunk(index=0, chunk=data, sender="a"))


def take_offer(data: bytes) -> object:
    found = offer(data, height=5, chunks=1, app_hash=bytes(32))
    return found, joining().apply_snapshot_chunk(abci.RequestApplySnapshotChunk(index=0, chunk=b"segment"))


def segment_of(data: bytes) -> bytes:
    """Return a segment file whose digests hold: of one block of parts, the last of which is its entry."""
    *items, entry = data.split(CUT)
    header = encode_segment_header(
        network=parameters().network, first_height=1, first_index=0, previous=bytes(32), hash_name="sha256"
    )
    frame, _ = encode_frame(items, entry=entry, height=1, first_index=0, previous=header[-32:], hash_name="sha256")
    return header + frame


def judge(data: bytes) -> object:
    try:
        shown = SignedNotes.model_validate_json(data)
    except ValidationError:
        return None
    # So many leaves of so many: what follows the notes of a status.
    sizes = [len(each.note) for each in shown.notes] or [0]
    return judge_notes(voting(), shown), prove_beginning(voting(), size=min(sizes), new_size=max(sizes))


def shown_notes() -> list[bytes]:
    shown = [SignedNote(note=note.hex(), proof=(bytes(32).hex(),)) for note in notes()]
    return [SignedNotes(notes=tuple(shown)).model_dump_json().encode(), b'{"notes":[]}']


# What the node beside it answers


@cache
def process() -> Answering:
    return Answering(FOLDER / "comet" / "rpc.sock")


def ask_node(data: bytes) -> object:
    """Ask all that is asked of a node, and be told the same each time."""
    head = b"" if data.startswith(b"HTTP/") else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data)
    process().answer = head + data
    rpc = RpcClient(process().path, timeout_s=5.0)
    calls: list[Callable[[], object]] = [
        rpc.status,
        rpc.validator_keys,
        rpc.peer_count,
        lambda: rpc.block_transactions(1),
        lambda: rpc.broadcast_many([b"one"]),
        lambda: rpc.broadcast_many([b"one", b"two"]),
    ]
    for call in calls:
        try:
            call()
        except ShuiqiaoError:
            continue
        finally:
            rpc.close()
    return None


def node_answers() -> list[bytes]:
    results = [
        {
            "node_info": {"id": "a", "moniker": "m", "version": "v"},
            "sync_info": {"latest_block_height": "5", "latest_app_hash": "AB", "catching_up": False},
            "validator_info": {"voting_power": "10"},
        },
        {"validators": [{"pub_key": {"type": "t", "value": base64.b64encode(bytes(32)).decode()}}]},
        {"n_peers": "3"},
        {"block": {"data": {"txs": ["AAE="]}}},
        {"code": 0, "codespace": "", "log": ""},
        {"response": {"value": "AAE="}},
    ]
    answers = [encode_json({"id": 0, "result": each}) for each in results]
    batch = [{"id": 1, "error": {"message": "m", "data": "d"}}, {"id": 0, "result": {}}]
    return [*answers, encode_json(batch), b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]


def ask_beside(data: bytes) -> object:
    process().answer = data
    return ask_process(process().path, {"act": "words"})


def read_abci(data: bytes) -> object:
    ranges, _, _ = split_frames(data)
    return [abci.REQUESTS.decode(data, at, end) for at, end in ranges]


def abci_requests() -> list[bytes]:
    requests = [
        abci.RequestEcho(message="hello"),
        abci.RequestCheckTx(tx=b"transaction"),
        abci.RequestFinalizeBlock(txs=[b"one", b"two"], height=3),
        abci.RequestOfferSnapshot(snapshot=Snapshot(height=1, format=2, chunks=1, hash=bytes(32), metadata=b"m")),
    ]
    return [abci.REQUESTS.encode(request) for request in requests]


def read_abci_response(data: bytes) -> object:
    ranges, _, _ = split_frames(data)
    return [abci.RESPONSES.decode(data, at, end) for at, end in ranges]


def abci_responses() -> list[bytes]:
    found = [abci.ResponseInfo(data="shuiqiao", app_version=1), abci.ResponseQuery(key=b"k", value=b"v", height=1)]
    return [abci.RESPONSES.encode(each) for each in found]


# Files of CometBFT's home, and of the copy of the ledger beside it


def comet_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Return a reader of a file in a node's folder."""
    home = FOLDER / "comet-home"

    def read_file(data: bytes) -> object:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return read(home)

    return read_file


def node_keys() -> list[bytes]:
    key = base64.b64encode(bytes(64)).decode()
    return [encode_json({"priv_key": {"type": "tendermint/PrivKeyEd25519", "value": key}})]


def comet_configs() -> list[bytes]:
    home = FOLDER / "comet-written"
    write_home(
        home,
        settings=HomeSettings(moniker="bank", p2p="tcp://127.0.0.1:2", peers=[f"{'ab' * 20}@127.0.0.1:3"]),
        keys=NodeKeys(node_seed=bytes(32), validator_seed=bytes(32)),
        genesis={},
    )
    return [(home / "config" / "config.toml").read_bytes()]


def read_position(data: bytes) -> object:
    """Read a slot whose digest holds."""
    body = len(data[: SLOT_BYTES // 2]).to_bytes(2, "big") + data[: SLOT_BYTES // 2]
    path = FOLDER / "position"
    path.write_bytes(hashlib.sha256(body).digest() + body)
    file = HeightFile(path, disk=Disk())
    try:
        return file.load(block=1)
    finally:
        file.close()


def positions() -> list[bytes]:
    fields = {"height": 5, "time_ms": 1, "block": 1, "app_hash": bytes(32), "previous": 4, "previous_time_ms": 0}
    return [encode_cbor(fields)]


TARGETS: dict[str, Target] = {
    "bundle": Target(read=transactions_in, seeds=lambda: [encode_bundle(transactions()[:3])]),
    "carried-note": Target(read=carried_in, seeds=lambda: [encode_carried(notes()[0])]),
    "check-transaction": Target(read=check_transaction, seeds=transactions),
    "proposed-block": Target(read=judge_block, seeds=blocks),
    "vote-extension": Target(read=judge_vote, seeds=extensions),
    "state-query": Target(read=query, seeds=lambda: [b"members/record/bank", b"x"]),
    "snapshot-manifest": Target(read=take_offer, seeds=manifests),
    "snapshot-chunk": Target(
        read=take_snapshot, seeds=lambda: [segment_of(each) for each in block_parts()], executions=30
    ),
    "snapshot-block": Target(read=lambda data: take_snapshot(segment_of(data)), seeds=block_parts, executions=30),
    "comparison": Target(read=judge, seeds=shown_notes),
    "rpc-answer": Target(read=ask_node, seeds=node_answers, executions=100),
    "control-answer": Target(read=ask_beside, seeds=lambda: [b'{"size":1,"notes":[]}\n', b'{"error":{}}\n']),
    "abci-request": Target(read=read_abci, seeds=abci_requests),
    "abci-response": Target(read=read_abci_response, seeds=abci_responses),
    "validator-state": Target(
        read=comet_file("data/priv_validator_state.json", read_last_signed), seeds=lambda: [b'{"height":"5"}']
    ),
    "node-key": Target(read=comet_file("config/node_key.json", read_node_id), seeds=node_keys),
    "validator-key": Target(
        read=comet_file("config/priv_validator_key.json", lambda home: ValidatorKeyFiles(home).current()),
        seeds=lambda: [validator_key_text(bytes(32)).encode()],
    ),
    "comet-genesis": Target(
        read=comet_file("config/genesis.json", read_comet_genesis),
        seeds=lambda: [json.dumps({"chain_id": "c"}).encode()],
    ),
    "comet-config": Target(
        read=comet_file("config/config.toml", lambda home: read_settings(home, moniker="bank")),
        seeds=comet_configs,
    ),
    "position": Target(read=read_position, seeds=positions),
}
