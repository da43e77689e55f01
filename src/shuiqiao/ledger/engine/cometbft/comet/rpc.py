"""A client for CometBFT's JSON-RPC over its Unix socket: bounded answers, timeouts, one connection kept open.

Only what the engine needs: hand in transactions, ask for status, validators and blocks. What a node says here is used
to find things, never believed: blocks reach the ledger through consensus alone.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.unix_socket import connect_to

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""Longest answer read, in bytes: a full block in base64."""

DEFAULT_TIMEOUT_S: Final = 10.0
_RETRY_S: Final = 0.5
_OK: Final = 200
_INTERNAL_ERROR: Final = 500
_MAX_PAGE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """How far a node is."""

    version: str
    height: int
    is_catching_up: bool
    voting_power: int


class UnixConnection(http.client.HTTPConnection):
    """HTTP to a process of this user that listens at a path [ABCI-29]."""

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        """path: the node's socket."""
        super().__init__("localhost")
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        """Connect; raises OSError, PermissionError where another user's process listens."""
        self.sock = connect_to(self._path, timeout_s=self._timeout_s)


class RpcClient:
    """JSON-RPC to one node, safe between threads: ``RpcClient(home / RPC_SOCKET).status()``."""

    def __init__(self, path: Path, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """path: the node's socket. Nothing is sent before the first call."""
        self.path = path
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None

    def call(self, method: str, **parameters: Any) -> Any:
        """Return the result of one call.

        Raises Unavailable ``ledger.rpc_unreachable``, InvalidInput ``ledger.rpc_refused``, IntegrityError
        ``ledger.rpc_malformed``.
        """
        return _result(self._exchange({"jsonrpc": "2.0", "id": 0, "method": method, "params": parameters}), method)

    def broadcast_many(self, raws: Sequence[bytes]) -> list[InvalidInput | None]:
        """Hand in transactions without waiting for CheckTx (``broadcast_tx_async``); what refuses each, None if taken.

        Raises as ``call``.
        """
        method = "broadcast_tx_async"
        calls = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": {"tx": base64.b64encode(raw).decode()}}
            for number, raw in enumerate(raws)
        ]
        answers = self._exchange(calls)
        if not isinstance(answers, list) or not answers:
            # The node answers a batch of one, or a batch it refuses as a whole, with a single object.
            answers = [answers] * len(calls)
        with _read(method):
            by_id = {each.get("id"): each for each in answers if isinstance(each, dict)}
        if len(calls) > 1 and set(by_id) != set(range(len(calls))):
            _result(answers[0], method)
            raise _malformed(f"a batch of {len(calls)} calls has {len(by_id)} answers")
        return [_refusal_in(by_id.get(number, answers[0]), method) for number in range(len(calls))]

    def status(self) -> NodeStatus:
        """Return how far the node is."""
        found = self.call("status")
        with _read("status"):
            sync = found["sync_info"]
            return NodeStatus(
                version=found["node_info"]["version"],
                height=int(sync["latest_block_height"]),
                is_catching_up=bool(sync["catching_up"]),
                voting_power=int(found["validator_info"]["voting_power"]),
            )

    def validator_keys(self) -> frozenset[bytes]:
        """Return the raw keys whose votes count for the next height; of more than 100 validators, of the first 100."""
        found = self.call("validators", per_page=str(_MAX_PAGE))
        with _read("validators"):
            return frozenset(base64.b64decode(each["pub_key"]["value"]) for each in found["validators"])

    def peer_count(self) -> int:
        """Return to how many peers the node is connected."""
        found = self.call("net_info")
        with _read("net_info"):
            return int(found["n_peers"])

    def block(self, height: int) -> Mapping[str, Any]:
        """Return a block with its id, as JSON."""
        found: Mapping[str, Any] = self.call("block", height=str(height))
        return found

    def block_transactions(self, height: int) -> tuple[bytes, ...]:
        """Return the transactions of a block, refused ones included."""
        found = self.block(height)
        with _read("block"):
            return tuple(base64.b64decode(each) for each in found["block"]["data"]["txs"] or ())

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, message: Any) -> Any:
        body = json.dumps(message).encode()
        with self._lock:
            try:
                status, data = self._post(body)
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                raise self._unreachable(error) from error
        if status not in {_OK, _INTERNAL_ERROR} or len(data) > MAX_ANSWER_BYTES:
            raise _malformed(f"HTTP status {status} with {len(data)} bytes")
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise _malformed("the answer is not JSON") from error

    def _post(self, body: bytes) -> tuple[int, bytes]:
        """Send on the connection that is open; once more on a new one if the node had closed it meanwhile."""
        is_fresh = self._connection is None
        try:
            return self._post_once(body)
        except (ConnectionError, http.client.RemoteDisconnected):
            self._drop()
            if is_fresh:
                raise
            return self._post_once(body)

    def _post_once(self, body: bytes) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = UnixConnection(self.path, timeout_s=self._timeout_s)
        self._connection.request("POST", "/", body=body, headers={"Content-Type": "application/json"})
        response = self._connection.getresponse()
        data = response.read(MAX_ANSWER_BYTES + 1)
        if len(data) > MAX_ANSWER_BYTES:
            self._drop()
        return response.status, data

    def _unreachable(self, error: Exception) -> Unavailable:
        return Unavailable(
            "ledger.rpc_unreachable",
            f"the CometBFT node at {self.path} does not answer: {error}",
            next_step="start the node, or look into its log for the reason it stopped",
            retry_after_s=_RETRY_S,
        )


@contextmanager
def _read(method: str) -> Generator[None]:
    """Turn what an answer of another shape makes its reader raise into IntegrityError ``ledger.rpc_malformed``."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _malformed(f"{method} lacks or misspells {error}") from error


def _refusal_in(answer: Any, method: str) -> InvalidInput | None:
    try:
        _result(answer, method)
    except InvalidInput as error:
        return error
    return None


def _result(answer: Any, method: str) -> Any:
    if not isinstance(answer, dict):
        raise _malformed(f"the answer to {method} is no JSON object")
    if (error := answer.get("error")) is not None:
        text = f"{error.get('message')}: {error.get('data')}" if isinstance(error, dict) else str(error)
        raise InvalidInput("ledger.rpc_refused", f"the node refused {method}: {text[:500]}")
    if "result" not in answer:
        raise _malformed(f"the answer to {method} has neither result nor error")
    return answer["result"]


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError("ledger.rpc_malformed", f"not an answer of a CometBFT node: {reason}")
