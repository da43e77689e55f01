"""A small network and a seeded stream of signed transactions for loading a ledger as the field would.

Four members and three kinds in the shapes and sizes of the field's own: a batch anchored (a root and a period), an
access requested under a consent (which is read and must be active), an answer delivered (which reads and rewrites the
request). Contracts read one to three keys and write one, as the real ones do. Everything follows from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shuiqiao.base.clock import MS_PER_DAY, Clock
from shuiqiao.base.errors import Conflict, Denied, IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.base.wire import Digest, Id
from shuiqiao.crypto.model import CipherSuite, SigningKey, SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.model import (
    MAX_VALIDITY_MS,
    BlockContext,
    Event,
    Kind,
    NetworkParameters,
    State,
    StateView,
    Transaction,
)
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.members.model import VALIDATOR_POWER

MEMBERS = ("bureau", "first-bank", "second-bank", "third-bank")
CONSENTS = 500
"""Consents that stand in the initial state, which requests name."""

QUORUM = 2 * len(MEMBERS) // 3 + 1
"""Validators whose cosignatures make a note: three of four."""

_PERIOD = (202_401, 202_612)
_DELIVERED_FRACTION = 3
_CONSENT_DAYS = 3_650

Period = Annotated[int, Meta(ge=190_001, le=999_912)]


class AnchorBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A batch of records under one root."""

    batch: Id
    standard: Annotated[str, Meta(max_length=64)]
    period_from: Period
    period_to: Period
    count: Annotated[int, Meta(ge=1, le=65_536)]
    depth: Annotated[int, Meta(ge=0, le=16)]
    root: Digest


class RequestBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bank asks for facts under a consent."""

    request: Id
    consent: Id
    provider: Annotated[str, Meta(max_length=32)]
    purpose: Annotated[str, Meta(max_length=32)]
    mode: Annotated[str, Meta(max_length=16)]
    request_digest: Digest


class DeliverBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The provider answered a request."""

    request: Id
    answer_digest: Digest
    manifest_digest: Digest


class LoadKeyRing:
    """The ledger's KeyRing over the load network's own state."""

    def signing_key(self, state: StateView, member: MemberId) -> bytes:
        """Return a member's key; raises Denied ``sandbox.load_stranger``."""
        record = state.get(f"load/member/{member}")
        if record is None:
            raise Denied("sandbox.load_stranger", f"{member} is not a member of the load network")
        key: bytes = record["sign"]
        return key

    def kind_versions(self, state: StateView, *, height: int) -> Mapping[str, int]:  # noqa: ARG002
        """Return nothing: every kind is at its first version."""
        return {}

    # Nobody governs the load network: no kind writes this key, and its first epoch never ends.
    epoch_key = "load/epoch"

    def epoch_number(self, state: StateView) -> int:  # noqa: ARG002
        """Return the number of the one epoch."""
        return 0

    def next_policy(self, epoch: bytes, *, previous: bytes, origin: str) -> CheckpointPolicy:  # noqa: ARG002
        """Refuse: there is one epoch."""
        raise IntegrityError("sandbox.load_epoch", f"{origin} has one epoch, and {len(epoch)} bytes claim another")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadNetwork:
    """All that an engine needs, and the members' keys."""

    parameters: NetworkParameters
    kinds: KindTable
    key_ring: LoadKeyRing
    suite: CipherSuite
    keys: dict[MemberId, SigningKey]

    @property
    def operator_key(self) -> SigningKey:
        """The key that signs checkpoints."""
        return self.keys[self.parameters.operator]

    def open_writer(self, folder: Path, *, clock: Clock, settings: EmbeddedSettings) -> EmbeddedLedger:
        """Open the writer's ledger in a folder; raises what ``EmbeddedLedger.open`` raises."""
        return EmbeddedLedger.open(
            folder,
            parameters=self.parameters,
            kinds=self.kinds,
            key_ring=self.key_ring,
            clock=clock,
            operator_key=self.operator_key,
            settings=settings,
        )


def load_network(
    suite_name: str, *, genesis_time_ms: int, validator_keys: Mapping[str, bytes] | None = None
) -> LoadNetwork:
    """Return the load network of a suite: the same for the same arguments.

    validator_keys: the CometBFT keys of all members, whose quorum then signs checkpoints; without them the bureau does.
    """
    suite = get_suite(suite_name)
    keys = {MemberId(name): suite.signing_key_from_seed(name.encode().ljust(32, b".")) for name in MEMBERS}
    network = suite.digest(b"shuiqiao load network")
    state: dict[str, Any] = {f"load/member/{name}": {"sign": key.public_key} for name, key in keys.items()}
    for number in range(CONSENTS):
        state[_consent_key(_consent_id(number))] = {
            "provider": "bureau",
            "status": "active",
            "valid_to_ms": genesis_time_ms + _CONSENT_DAYS * MS_PER_DAY,
            "commitment": suite.digest(_consent_id(number)),
        }
    for name, key in (validator_keys or {}).items():
        state[f"members/validator/{name}"] = {"key": key, "power": VALIDATOR_POWER}
    operator = MemberId("") if validator_keys else MemberId("bureau")
    parameters = NetworkParameters(
        network=network,
        suite=SuiteName(suite_name),
        origin=f"shuiqiao/{network.hex()}",
        operator=operator,
        operator_key=keys[operator].public_key if operator else b"",
        genesis_time_ms=genesis_time_ms,
        initial_state=state,
        witnesses={name: key.public_key for name, key in keys.items()} if validator_keys else {},
        quorum=QUORUM if validator_keys else 0,
    )
    return LoadNetwork(parameters=parameters, kinds=KindTable(KINDS), key_ring=LoadKeyRing(), suite=suite, keys=keys)


def signed_transactions(network: LoadNetwork, count: int, *, seed: int, now_ms: int) -> Iterator[bytes]:
    """Yield signed transactions, every one acceptable when submitted in order within the next day."""
    source = random.Random(seed)  # noqa: S311 - a repeatable load, no secret
    open_requests: list[bytes] = []
    for _ in range(count):
        author, kind, body = _next_act(source, open_requests)
        draft = TransactionDraft(
            kind=kind,
            version=1,
            body=body,
            author=author,
            valid_until_ms=now_ms + MAX_VALIDITY_MS // 2,
            id=source.randbytes(16),
        )
        keys = (network.keys[author],)
        yield sign_transaction(draft, network=network.parameters.network, suite=network.suite, keys=keys)


def _next_act(source: random.Random, open_requests: list[bytes]) -> tuple[MemberId, str, msgspec.Struct]:
    choice = source.randrange(_DELIVERED_FRACTION)
    if choice == 0:
        return MemberId("bureau"), "anchor.commit", _anchor(source)
    if choice == 1 and open_requests:
        return MemberId("bureau"), "access.deliver", _delivery(source, open_requests.pop(0))
    request = source.randbytes(16)
    open_requests.append(request)
    bank = MemberId(source.choice(MEMBERS[1:]))
    return bank, "access.request", _request(source, request)


def _anchor(source: random.Random) -> AnchorBody:
    return AnchorBody(
        batch=source.randbytes(16),
        standard="invoice_issued@2",
        period_from=_PERIOD[0],
        period_to=_PERIOD[1],
        count=16_384,
        depth=14,
        root=source.randbytes(32),
    )


def _request(source: random.Random, request: bytes) -> RequestBody:
    return RequestBody(
        request=request,
        consent=_consent_id(source.randrange(CONSENTS)),
        provider="bureau",
        purpose="loan_application",
        mode="disclose",
        request_digest=source.randbytes(32),
    )


def _delivery(source: random.Random, request: bytes) -> DeliverBody:
    return DeliverBody(request=request, answer_digest=source.randbytes(32), manifest_digest=source.randbytes(32))


def written_key(tx: Transaction) -> str:
    """Return the state key that a transaction of this load writes."""
    if tx.kind == "anchor.commit":
        return f"load/batch/{tx.body.batch.hex()}"
    return f"load/request/{tx.body.request.hex()}"


def _consent_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def _consent_key(consent: bytes) -> str:
    return f"load/consent/{consent.hex()}"


def _check_anchor(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    if state.get(f"load/batch/{tx.body.batch.hex()}") is not None:
        raise Conflict("sandbox.load_repeated", f"batch {tx.body.batch.hex()} was committed before")


def _apply_anchor(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: AnchorBody = tx.body
    value = {
        "author": tx.author,
        "standard": body.standard,
        "period_from": body.period_from,
        "period_to": body.period_to,
        "count": body.count,
        "depth": body.depth,
        "root": body.root,
        "erased": False,
    }
    state.put(f"load/batch/{body.batch.hex()}", value)
    return (Event(name="batch.anchored", attributes={"batch": body.batch}),)


def _check_request(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    body: RequestBody = tx.body
    consent = state.get(_consent_key(body.consent))
    if consent is None or consent["status"] != "active" or consent["valid_to_ms"] < ctx.time_ms:
        raise Denied("sandbox.load_consent_missing", f"consent {body.consent.hex()} is not active")
    if state.get(f"load/request/{body.request.hex()}") is not None:
        raise Conflict("sandbox.load_repeated", f"request {body.request.hex()} was made before")


def _apply_request(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: RequestBody = tx.body
    value = {
        "consent": body.consent,
        "author": tx.author,
        "provider": body.provider,
        "purpose": body.purpose,
        "mode": body.mode,
        "status": "requested",
        "request_digest": body.request_digest,
        "answer_digest": None,
    }
    state.put(f"load/request/{body.request.hex()}", value)
    return (Event(name="access.requested", attributes={"request": body.request}),)


def _check_delivery(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    request = state.get(f"load/request/{tx.body.request.hex()}")
    if request is None or request["status"] != "requested":
        raise Conflict("sandbox.load_not_requested", f"request {tx.body.request.hex()} is not open")


def _apply_delivery(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: DeliverBody = tx.body
    key = f"load/request/{body.request.hex()}"
    state.put(key, {**state.get(key), "status": "delivered", "answer_digest": body.answer_digest})
    return (Event(name="access.delivered", attributes={"request": body.request}),)


KINDS = (
    Kind(name="anchor.commit", room="load", version=1, body=AnchorBody, check=_check_anchor, apply=_apply_anchor),
    Kind(name="access.request", room="load", version=1, body=RequestBody, check=_check_request, apply=_apply_request),
    Kind(name="access.deliver", room="load", version=1, body=DeliverBody, check=_check_delivery, apply=_apply_delivery),
)
