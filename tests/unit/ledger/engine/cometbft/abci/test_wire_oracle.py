"""Our codec and Google's protobuf read and write the same bytes, from a field list that is kept apart from our tables."""

from __future__ import annotations

import pytest

from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.wire import split_frames

pytest.importorskip("google.protobuf")

# Copied from proto/tendermint/{abci,types,crypto} of CometBFT v0.39.4: name, then "label type field number".
DEFINITION = """
Timestamp: int64 seconds 1, int32 nanos 2
PublicKey: bytes ed25519 1, bytes secp256k1 2, bytes bls12381 3
ValidatorUpdate: PublicKey pub_key 1, int64 power 2
Validator: bytes address 1, int64 power 3
VoteInfo: Validator validator 1, int32 block_id_flag 3
CommitInfo: int32 round 1, repeated VoteInfo votes 2
ExtendedVoteInfo: Validator validator 1, bytes vote_extension 3, bytes extension_signature 4, int32 block_id_flag 5
ExtendedCommitInfo: int32 round 1, repeated ExtendedVoteInfo votes 2
Misbehavior: int32 type 1, Validator validator 2, int64 height 3, Timestamp time 4, int64 total_voting_power 5
BlockParams: int64 max_bytes 1, int64 max_gas 2
VersionParams: uint64 app 1
ABCIParams: int64 vote_extensions_enable_height 1
ConsensusParams: BlockParams block 1, VersionParams version 4, ABCIParams abci 5
EventAttribute: string key 1, string value 2, bool index 3
Event: string type 1, repeated EventAttribute attributes 2
ExecTxResult: uint32 code 1, bytes data 2, string log 3, string info 4, int64 gas_wanted 5, int64 gas_used 6, repeated Event events 7, string codespace 8
Snapshot: uint64 height 1, uint32 format 2, uint32 chunks 3, bytes hash 4, bytes metadata 5
RequestEcho: string message 1
RequestInfo: string version 1, uint64 block_version 2, uint64 p2p_version 3, string abci_version 4
RequestInitChain: Timestamp time 1, string chain_id 2, ConsensusParams consensus_params 3, repeated ValidatorUpdate validators 4, bytes app_state_bytes 5, int64 initial_height 6
RequestQuery: bytes data 1, string path 2, int64 height 3, bool prove 4
RequestCheckTx: bytes tx 1, int32 type 2
RequestInsertTx: bytes tx 1
RequestReapTxs: uint64 max_bytes 1, uint64 max_gas 2
RequestOfferSnapshot: Snapshot snapshot 1, bytes app_hash 2
RequestLoadSnapshotChunk: uint64 height 1, uint32 format 2, uint32 chunk 3
RequestApplySnapshotChunk: uint32 index 1, bytes chunk 2, string sender 3
RequestPrepareProposal: int64 max_tx_bytes 1, repeated bytes txs 2, ExtendedCommitInfo local_last_commit 3, repeated Misbehavior misbehavior 4, int64 height 5, Timestamp time 6, bytes next_validators_hash 7, bytes proposer_address 8
RequestProcessProposal: repeated bytes txs 1, CommitInfo proposed_last_commit 2, repeated Misbehavior misbehavior 3, bytes hash 4, int64 height 5, Timestamp time 6, bytes next_validators_hash 7, bytes proposer_address 8
RequestExtendVote: bytes hash 1, int64 height 2, Timestamp time 3, repeated bytes txs 4, CommitInfo proposed_last_commit 5, repeated Misbehavior misbehavior 6, bytes next_validators_hash 7, bytes proposer_address 8
RequestVerifyVoteExtension: bytes hash 1, bytes validator_address 2, int64 height 3, bytes vote_extension 4
RequestFinalizeBlock: repeated bytes txs 1, CommitInfo decided_last_commit 2, repeated Misbehavior misbehavior 3, bytes hash 4, int64 height 5, Timestamp time 6, bytes next_validators_hash 7, bytes proposer_address 8
RequestFlush:
RequestCommit:
RequestListSnapshots:
Request: RequestEcho echo 1, RequestFlush flush 2, RequestInfo info 3, RequestInitChain init_chain 5, RequestQuery query 6, RequestCheckTx check_tx 8, RequestCommit commit 11, RequestListSnapshots list_snapshots 12, RequestOfferSnapshot offer_snapshot 13, RequestLoadSnapshotChunk load_snapshot_chunk 14, RequestApplySnapshotChunk apply_snapshot_chunk 15, RequestPrepareProposal prepare_proposal 16, RequestProcessProposal process_proposal 17, RequestExtendVote extend_vote 18, RequestVerifyVoteExtension verify_vote_extension 19, RequestFinalizeBlock finalize_block 20, RequestInsertTx insert_tx 21, RequestReapTxs reap_txs 22
ResponseException: string error 1
ResponseEcho: string message 1
ResponseFlush:
ResponseInfo: string data 1, string version 2, uint64 app_version 3, int64 last_block_height 4, bytes last_block_app_hash 5
ResponseInitChain: ConsensusParams consensus_params 1, repeated ValidatorUpdate validators 2, bytes app_hash 3
ResponseQuery: uint32 code 1, string log 3, string info 4, int64 index 5, bytes key 6, bytes value 7, int64 height 9, string codespace 10
ResponseCheckTx: uint32 code 1, bytes data 2, string log 3, string info 4, int64 gas_wanted 5, int64 gas_used 6, repeated Event events 7, string codespace 8
ResponseCommit: int64 retain_height 3
ResponseListSnapshots: repeated Snapshot snapshots 1
ResponseOfferSnapshot: int32 result 1
ResponseLoadSnapshotChunk: bytes chunk 1
ResponseApplySnapshotChunk: int32 result 1, repeated uint32 refetch_chunks 2, repeated string reject_senders 3
ResponsePrepareProposal: repeated bytes txs 1
ResponseProcessProposal: int32 status 1
ResponseExtendVote: bytes vote_extension 1
ResponseVerifyVoteExtension: int32 status 1
ResponseFinalizeBlock: repeated Event events 1, repeated ExecTxResult tx_results 2, repeated ValidatorUpdate validator_updates 3, ConsensusParams consensus_param_updates 4, bytes app_hash 5
ResponseInsertTx: uint32 code 1
ResponseReapTxs: repeated bytes txs 1
Response: ResponseException exception 1, ResponseEcho echo 2, ResponseFlush flush 3, ResponseInfo info 4, ResponseInitChain init_chain 6, ResponseQuery query 7, ResponseCheckTx check_tx 9, ResponseCommit commit 12, ResponseListSnapshots list_snapshots 13, ResponseOfferSnapshot offer_snapshot 14, ResponseLoadSnapshotChunk load_snapshot_chunk 15, ResponseApplySnapshotChunk apply_snapshot_chunk 16, ResponsePrepareProposal prepare_proposal 17, ResponseProcessProposal process_proposal 18, ResponseExtendVote extend_vote 19, ResponseVerifyVoteExtension verify_vote_extension 20, ResponseFinalizeBlock finalize_block 21, ResponseInsertTx insert_tx 22, ResponseReapTxs reap_txs 23
"""


@pytest.fixture(scope="module")
def oracle():
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="abci.proto", package="t", syntax="proto3")
    kinds = {"int32": 5, "int64": 3, "uint32": 13, "uint64": 4, "bool": 8, "string": 9, "bytes": 12}
    for line in DEFINITION.strip().splitlines():
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for field in filter(None, fields.strip().split(", ")):
            *label, kind, field_name, number = field.split()
            found = message.field.add(name=field_name, number=int(number), label=3 if label else 1)
            found.type = kinds.get(kind, 11)
            if kind not in kinds:
                found.type_name = f".t.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))


TIME = abci.Timestamp(seconds=1_790_000_000, nanos=123_456_789)
UPDATES = [abci.ValidatorUpdate(pub_key=abci.PublicKey(ed25519=b"k" * 32), power=5)]
BLOCK = {"height": 9, "time": TIME}
SHOWN = abci.Snapshot(height=9, format=1, chunks=3, hash=b"h" * 32, metadata=b"m")

REQUESTS = [
    abci.RequestEcho(message="税桥"),
    abci.RequestFlush(),
    abci.RequestInfo(version="0.39.4"),
    abci.RequestInitChain(
        chain_id="c",
        validators=UPDATES,
    ),
    abci.RequestQuery(data=b"d", path="/p", height=-1),
    abci.RequestCheckTx(tx=b"t" * 200),
    abci.RequestCommit(),
    abci.RequestListSnapshots(),
    abci.RequestOfferSnapshot(snapshot=SHOWN, app_hash=b"a" * 32),
    abci.RequestLoadSnapshotChunk(height=2**40, chunk=2),
    abci.RequestApplySnapshotChunk(index=1, chunk=b"c" * 1000, sender="peer"),
    abci.RequestPrepareProposal(max_tx_bytes=10**6, txs=[b"a", b""], height=9),
    abci.RequestProcessProposal(txs=[b"a"], **BLOCK),
    abci.RequestExtendVote(height=9),
    abci.RequestVerifyVoteExtension(validator_address=b"v" * 20, height=3, vote_extension=b"e" * 72),
    abci.RequestFinalizeBlock(txs=[b"a", b"b" * 300], **BLOCK),
]
RESULT = abci.TxResult(code=3, data=b"d", log="no", codespace="ledger")
RESPONSES = [
    abci.ResponseException(error="x"),
    abci.ResponseEcho(message="x"),
    abci.ResponseFlush(),
    abci.ResponseInfo(data="d", version="v", app_version=1, last_block_height=5, last_block_app_hash=b"h"),
    abci.ResponseInitChain(app_hash=b"h"),
    abci.ResponseQuery(code=1, log="l", key=b"k", value=b"v", height=4, codespace="c"),
    abci.ResponseCheckTx(code=2, data=b"d", log="l", codespace="c"),
    abci.ResponseCommit(retain_height=4),
    abci.ResponseListSnapshots(snapshots=[SHOWN, SHOWN]),
    abci.ResponseOfferSnapshot(result=abci.OfferResult.REJECT),
    abci.ResponseLoadSnapshotChunk(chunk=b"c"),
    abci.ResponseApplySnapshotChunk(result=abci.ChunkResult.RETRY, refetch_chunks=[0, 300], reject_senders=["a"]),
    abci.ResponsePrepareProposal(txs=[b"a", b""]),
    abci.ResponseProcessProposal(status=abci.Verdict.REJECT),
    abci.ResponseExtendVote(vote_extension=b"e"),
    abci.ResponseVerifyVoteExtension(status=abci.Verdict.ACCEPT),
    abci.ResponseFinalizeBlock(
        tx_results=[RESULT, abci.TxResult()],
        validator_updates=UPDATES,
        app_hash=b"h",
    ),
]


def body(framed: bytes) -> bytes:
    [(start, end)], _, _ = split_frames(framed)
    return framed[start:end]


def name_of(message) -> str:
    return type(message).__name__


@pytest.mark.parametrize("request_", REQUESTS, ids=name_of)
def test_requests_are_the_same_to_both(request_, oracle):
    ours = body(abci.REQUESTS.encode(request_))
    theirs = oracle("Request").FromString(ours)
    theirs.DiscardUnknownFields()
    assert theirs.SerializeToString(deterministic=True) == ours
    assert abci.REQUESTS.decode(ours) == request_


@pytest.mark.parametrize("response", RESPONSES, ids=name_of)
def test_responses_are_the_same_to_both(response, oracle):
    ours = body(abci.RESPONSES.encode(response))
    theirs = oracle("Response").FromString(ours)
    theirs.DiscardUnknownFields()
    assert theirs.SerializeToString(deterministic=True) == ours
    assert abci.RESPONSES.decode(ours) == response


def test_every_call_is_compared():
    assert {type(each) for each in REQUESTS} == {table.make for table in abci.REQUESTS.tables.values()}
    assert {type(each) for each in RESPONSES} == {table.make for table in abci.RESPONSES.tables.values()}


def test_fields_that_we_have_no_use_for_are_passed_over(oracle):  # [ABCI-2]
    theirs = oracle("Request")()
    block = theirs.finalize_block
    block.txs.extend([b"a", b"b" * 300])
    block.height, block.time.seconds, block.proposer_address = 9, 7, b"p" * 20
    vote = block.decided_last_commit.votes.add(block_id_flag=2)
    vote.validator.address, vote.validator.power = b"v" * 20, 10
    block.misbehavior.add(type=1, height=7, total_voting_power=40).validator.power = 10
    expected = abci.RequestFinalizeBlock(txs=[b"a", b"b" * 300], height=9, time=abci.Timestamp(seconds=7))
    assert abci.REQUESTS.decode(theirs.SerializeToString()) == expected
    theirs = oracle("Request")()
    theirs.init_chain.consensus_params.block.max_bytes = 5
    theirs.init_chain.validators.add().pub_key.bls12381 = b"k"
    expected = abci.RequestInitChain(validators=[abci.ValidatorUpdate(pub_key=abci.PublicKey())])
    assert abci.REQUESTS.decode(theirs.SerializeToString()) == expected
