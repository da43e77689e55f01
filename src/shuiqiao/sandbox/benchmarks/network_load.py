"""The load generator of the consortium bench, a process of its own: hands signed transactions to the nodes' RPC.

Started as ``python -m shuiqiao.sandbox.benchmarks.network_load PLAN OUT``. One stream of transactions and one thread
for each node that is loaded; batches of ``broadcast_tx_sync`` over one kept connection, encoded before the first is
sent. A client that does not wait for CheckTx fills its queue, on which CometBFT waits with every block. At full load a
stream pauses while its node's mempool holds as much as it may; at a rate it keeps to the clock.
It knows nothing of the application behind the nodes but whether it takes bundles; every application is loaded alike.
"""

from __future__ import annotations

import base64
import http.client
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.engine.cometbft.comet.rpc import UnixConnection
from shuiqiao.ledger.engine.cometbft.mempool.bundle import GATHER_S, encode_bundle

BATCH: Final = 128
"""Transactions handed in with one request."""

_ASK_EVERY: Final = 4
_PAUSE_S: Final = 0.02
_TIMEOUT_S: Final = 60.0


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """What one node is loaded with. transactions: in a file of msgpack, from first on, at most count of them."""

    rpc: str
    path: str
    first: int
    count: int


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How to load. rate: transactions a second over all streams, 0 for as fast as the nodes take them.

    seconds: stop after so long, 0 to send everything. is_bundled: hand each batch in as one of the ledger's bundles, as
    its members' nodes do, else as single transactions of CometBFT's. mempool_transactions: at full load a stream pauses
    while its node's mempool holds the bytes of more, as they are handed in.
    """

    streams: list[Stream]
    rate: float = 0.0
    seconds: float = 0.0
    is_bundled: bool = False
    mempool_transactions: int = 0


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that was handed in: which transactions of its stream, and when the last of them was to be.

    every_s: how long before each the one before it came, at a steady rate; 0 where all came at once.
    """

    at_s: float
    first: int
    count: int
    every_s: float = 0.0


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent, stream by stream, and from when on by the clock that block headers show."""

    sent: list[list[Sent]]
    began_unix_s: float

    def counts(self) -> list[int]:
        """Return how many transactions each stream sent."""
        return [sum(batch.count for batch in stream) for stream in self.sent]


class _Node:
    """One kept connection to a node's RPC; answers are looked at as bytes, for the generator must stay cheap."""

    def __init__(self, rpc_socket: str) -> None:
        self._socket = rpc_socket
        self._connection = UnixConnection(Path(rpc_socket), timeout_s=_TIMEOUT_S)

    def post(self, body: bytes) -> bytes:
        self._connection.request("POST", "/", body=body, headers={"Content-Type": "application/json"})
        return self._connection.getresponse().read()

    def hand_in(self, body: bytes, *, count: int) -> None:
        """Hand a batch in; once more where the node closed the connection, as it does after ten busy seconds."""
        try:
            answer = self.post(body)
        except (ConnectionError, http.client.HTTPException):
            self._connection.close()
            answer = self.post(body)
        # What it took in before it closed the connection is in its cache.
        taken = answer.count(_ADMITTED) + answer.count(_IN_CACHE)
        if taken != count:
            raise Unavailable("sandbox.bench_not_taken", f"{self._socket} did not take a batch: {answer[:500]!r}")

    def waiting(self) -> int:
        """Return how many bytes of transactions its mempool holds."""
        answer = msgspec.json.decode(self.post(_ASK_WAITING))
        return int(answer["result"]["total_bytes"])


_ADMITTED: Final = b'"code":0,'
_IN_CACHE: Final = b"already exists in cache"
_ASK_WAITING: Final = b'{"jsonrpc":"2.0","id":0,"method":"num_unconfirmed_txs","params":{}}'


def encode_batch(raws: Sequence[bytes]) -> bytes:
    """Return the JSON-RPC batch that hands transactions in."""
    form = b'{"jsonrpc":"2.0","id":%d,"method":"broadcast_tx_sync","params":{"tx":"%b"}}'
    return b"[" + b",".join([form % (number, base64.b64encode(raw)) for number, raw in enumerate(raws)]) + b"]"


class _Feeder:
    """One stream under way."""

    def __init__(self, stream: Stream, plan: LoadPlan) -> None:
        raws: list[bytes] = msgspec.msgpack.decode(Path(stream.path).read_bytes(), type=list[bytes])
        raws = raws[stream.first : stream.first + stream.count]
        self._rate = plan.rate / len(plan.streams)
        size = max(1, min(BATCH, round(self._rate * GATHER_S))) if self._rate else BATCH
        self._first = stream.first
        groups = [raws[at : at + size] for at in range(0, len(raws), size)]
        wholes = [[encode_bundle(group)] if plan.is_bundled else group for group in groups]
        self._batches = [(encode_batch(each), len(group)) for each, group in zip(wholes, groups, strict=True)]
        self._is_bundled = plan.is_bundled
        self._node = _Node(stream.rpc)
        self._seconds = plan.seconds
        handed_in = sum(len(whole) for each in wholes for whole in each)
        self._mempool_bytes = plan.mempool_transactions * handed_in / max(1, len(raws))
        self.sent: list[Sent] = []
        self.error: Exception | None = None

    def run(self, start: threading.Barrier) -> None:
        """Send until the time is over or there is nothing left."""
        start.wait()
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - told by the main thread, which ends with it
            self.error = error

    def _run(self) -> None:
        began, done = time.monotonic(), 0
        every_s = 1 / self._rate if self._rate else 0.0
        for number, (body, count) in enumerate(self._batches):
            if self._rate:
                # Members' nodes gather them as long; what comes late here, waits from when it was to come.
                now = began + (done + count) * every_s
                time.sleep(max(0.0, now - time.monotonic()))
            else:
                if number % _ASK_EVERY == 0:
                    self._wait_for_room()
                now = time.monotonic()
            if self._seconds and now - began >= self._seconds:
                return
            self._node.hand_in(body, count=1 if self._is_bundled else count)
            self.sent.append(Sent(at_s=now, first=self._first + done, count=count, every_s=every_s))
            done += count

    def _wait_for_room(self) -> None:
        while self._node.waiting() > self._mempool_bytes:
            time.sleep(_PAUSE_S)


def run_load(plan: LoadPlan) -> LoadReport:
    """Send what the plan says; raises Unavailable ``sandbox.bench_not_taken`` where a node refuses."""
    feeders = [_Feeder(stream, plan) for stream in plan.streams]
    began = time.time()
    start = threading.Barrier(len(feeders))
    threads = [threading.Thread(target=feeder.run, args=(start,)) for feeder in feeders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for feeder in feeders:
        if feeder.error is not None:
            raise feeder.error
    sent = [feeder.sent for feeder in feeders]
    return LoadReport(sent=sent, began_unix_s=began)


def main(arguments: list[str]) -> int:
    """Run one plan."""
    plan = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=LoadPlan)
    Path(arguments[1]).write_bytes(msgspec.json.encode(run_load(plan)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
