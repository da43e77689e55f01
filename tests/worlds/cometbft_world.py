"""A small application without a ledger, and what tests need to run CometBFT over it."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import shlex
import socketserver
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absence import absent
from patience import PATIENCE_S
from shuiqiao.base.errors import Unavailable
from shuiqiao.base.unix_socket import connect_to
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.messages import TxResult
from shuiqiao.ledger.engine.cometbft.abci.server import Answers, ConnectionFault
from shuiqiao.ledger.engine.cometbft.abci.wire import Message, split_frames
from shuiqiao.ledger.engine.cometbft.comet.home import NodeKeys
from shuiqiao.ledger.engine.cometbft.comet.process import DEFAULT_VERSION, find_program
from shuiqiao.ledger.engine.cometbft.comet.rpc import RpcClient
from shuiqiao.node.home.settings import Home

ROOT = Path(__file__).resolve().parent.parent.parent
REFUSED = 7


def comet_program() -> Path:
    """The cometbft program to test with; absent it skips, but in CI absence is a failure."""
    return _program("")


def skewed_program(folder: Path, *, skew: str) -> Path:
    """A program in a folder that is cometbft with a clock that is wrong by a Go duration."""
    real = _program("-skewed")
    program = folder / f"cometbft{skew}"
    program.write_text(f'#!/bin/sh\nSKEW={skew} exec {shlex.quote(str(real))} "$@"\n')
    program.chmod(0o700)
    return program


def comet_version() -> str:
    """The CometBFT that the tests run with."""
    return os.environ.get("SHUIQIAO_COMETBFT_VERSION", DEFAULT_VERSION)


def _program(sort: str) -> Path:
    try:
        return find_program(version=comet_version() + sort, tools=ROOT / ".tools" / "cometbft")
    except Unavailable as error:
        absent(f"{error.message}: {error.next_step}")


def nodes_in(folder: Path) -> list[str]:
    """The command lines of CometBFT nodes that run over homes below a folder."""
    return list(_nodes_in(folder).values())


def node_of(home: Home) -> int | None:
    """The process id of the CometBFT node over an institution's home, None while none runs."""
    return next(iter(_nodes_in(home.cometbft)), None)


def _nodes_in(folder: Path) -> dict[int, str]:
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], check=True, capture_output=True, text=True).stdout
    rows = [line.split(maxsplit=1) for line in listed.splitlines() if str(folder) in line and " start --home " in line]
    return {int(pid): command for pid, command in rows}


def node_keys(number: int) -> NodeKeys:
    return NodeKeys(
        node_seed=hashlib.sha256(b"node %d" % number).digest(),
        validator_seed=hashlib.sha256(b"validator %d" % number).digest(),
    )


def broadcast(rpc: RpcClient, raw: bytes) -> Mapping[str, Any]:
    """Hand a transaction to a node's mempool; what CheckTx says of it, code 0 where it waits for a block."""
    found: Mapping[str, Any] = rpc.call("broadcast_tx_sync", tx=base64.b64encode(raw).decode())
    return found


def ask_application(rpc: RpcClient, path: str, data: bytes = b"") -> Mapping[str, Any]:
    """Ask a node's application a question."""
    found: Mapping[str, Any] = rpc.call("abci_query", path=path, data=data.hex())["response"]
    return found


class Tally:
    """An application that counts what it was given; its hash covers all of it. Refuses what begins with ``bad``."""

    def __init__(self) -> None:
        self.height = 0
        self.lock = threading.Lock()
        self.transactions: list[bytes] = []
        self.pending: list[bytes] = []
        self.calls: list[str] = []
        self.extensions: list[bytes] = []
        self.faults: list[ConnectionFault] = []

    def app_hash(self, transactions: Sequence[bytes]) -> bytes:
        digest = hashlib.sha256()
        for each in transactions:
            digest.update(hashlib.sha256(each).digest())
        return digest.digest()

    @property
    def answers(self) -> Answers:
        return {
            abci.RequestInfo: self.info,
            abci.RequestInitChain: self.init_chain,
            abci.RequestQuery: self.query,
            abci.RequestCheckTx: self.check_txs,
            abci.RequestPrepareProposal: self.prepare_proposal,
            abci.RequestProcessProposal: self.process_proposal,
            abci.RequestExtendVote: self.extend_vote,
            abci.RequestVerifyVoteExtension: self.verify_vote_extension,
            abci.RequestFinalizeBlock: self.finalize_block,
            abci.RequestCommit: self.commit,
            abci.RequestListSnapshots: self.list_snapshots,
            abci.RequestOfferSnapshot: self.offer_snapshot,
            abci.RequestLoadSnapshotChunk: self.load_snapshot_chunk,
            abci.RequestApplySnapshotChunk: self.apply_snapshot_chunk,
        }

    def info(self, request: abci.RequestInfo) -> abci.ResponseInfo:
        self.calls.append("info")
        return abci.ResponseInfo(
            data="tally",
            last_block_height=self.height,
            last_block_app_hash=self.app_hash(self.transactions) if self.height else b"",
        )

    def init_chain(self, request: abci.RequestInitChain) -> abci.ResponseInitChain:
        self.calls.append(f"init_chain {request.chain_id} {len(request.validators)}")
        return abci.ResponseInitChain(app_hash=self.app_hash(()))

    def query(self, request: abci.RequestQuery) -> abci.ResponseQuery:
        return abci.ResponseQuery(value=request.data[::-1], height=self.height)

    def check_txs(self, requests: Sequence[abci.RequestCheckTx]) -> Sequence[abci.ResponseCheckTx]:
        return [
            abci.ResponseCheckTx(code=REFUSED, log="bad", codespace="tally")
            if each.tx.startswith(b"bad")
            else abci.ResponseCheckTx()
            for each in requests
        ]

    def prepare_proposal(self, request: abci.RequestPrepareProposal) -> abci.ResponsePrepareProposal:
        return abci.ResponsePrepareProposal(txs=request.txs)

    def process_proposal(self, request: abci.RequestProcessProposal) -> abci.ResponseProcessProposal:
        return abci.ResponseProcessProposal(status=abci.Verdict.ACCEPT)

    def extend_vote(self, request: abci.RequestExtendVote) -> abci.ResponseExtendVote:
        return abci.ResponseExtendVote(vote_extension=b"at %d" % request.height)

    def verify_vote_extension(self, request: abci.RequestVerifyVoteExtension) -> abci.ResponseVerifyVoteExtension:
        is_right = request.vote_extension == b"at %d" % request.height
        self.extensions.append(request.validator_address)
        return abci.ResponseVerifyVoteExtension(status=abci.Verdict.ACCEPT if is_right else abci.Verdict.REJECT)

    def finalize_block(self, request: abci.RequestFinalizeBlock) -> abci.ResponseFinalizeBlock:
        self.pending = list(request.txs)
        return abci.ResponseFinalizeBlock(
            tx_results=[TxResult(code=0, data=hashlib.sha256(tx).digest()) for tx in request.txs],
            app_hash=self.app_hash([*self.transactions, *self.pending]),
        )

    def commit(self, request: abci.RequestCommit) -> abci.ResponseCommit:
        with self.lock:
            self.transactions += self.pending
            self.pending = []
            self.height += 1
        return abci.ResponseCommit()

    def list_snapshots(self, request: abci.RequestListSnapshots) -> abci.ResponseListSnapshots:
        return abci.ResponseListSnapshots()

    def offer_snapshot(self, request: abci.RequestOfferSnapshot) -> abci.ResponseOfferSnapshot:
        return abci.ResponseOfferSnapshot(result=abci.OfferResult.REJECT)

    def load_snapshot_chunk(self, request: abci.RequestLoadSnapshotChunk) -> abci.ResponseLoadSnapshotChunk:
        return abci.ResponseLoadSnapshotChunk(chunk=b"chunk %d" % request.chunk)

    def apply_snapshot_chunk(self, request: abci.RequestApplySnapshotChunk) -> abci.ResponseApplySnapshotChunk:
        return abci.ResponseApplySnapshotChunk(result=abci.ChunkResult.ABORT)


class AbciClient:
    """The other end of the socket, as CometBFT would speak."""

    def __init__(self, path: Path) -> None:
        self.socket = connect_to(path, timeout_s=PATIENCE_S)
        self._data = b""

    def send(self, *requests: Message) -> None:
        self.socket.sendall(b"".join(abci.REQUESTS.encode(each) for each in requests))

    def receive(self, count: int) -> list[Message]:
        found: list[Message] = []
        while len(found) < count:
            places, at, _ = split_frames(self._data)
            found += [abci.RESPONSES.decode(self._data, start, end) for start, end in places]
            self._data = self._data[at:]
            if len(found) < count:
                part = self.socket.recv(65536)
                if not part:
                    raise ConnectionError(f"closed after {len(found)} of {count} answers")
                self._data += part
        return found

    def ask(self, *requests: Message) -> list[Message]:
        self.send(*requests)
        return self.receive(len(requests))

    def is_closed(self) -> bool:
        """Wait until the server has closed this connection; a timeout fails the test."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        self.close()
        return True

    def close(self) -> None:
        self.socket.close()


class UnixHttpServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An HTTP server at a Unix socket, as CometBFT's RPC is."""

    daemon_threads = True

    def __init__(self, path: Path, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__(str(path), handler)
