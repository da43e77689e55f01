"""The state machine: decides for each transaction of a block whether it takes effect, the same on every node.

For each transaction of a block: is it of the version that counts, is it timely, is it new, are the gates open, did
exactly the required keys sign, does the contract allow it; then the contract writes. A refused transaction leaves no
trace [LEDGER-MACHINE-1]. Pure: time, state, replay index and keys come in as arguments, so the same blocks give the
same state everywhere [LEDGER-MACHINE-2].

Verifying a signature costs more than everything else together, so it can be done ahead, in other processes:
``plan_verification`` says which (key, message, signature) to check, and ``execute_block`` takes the keys that were
proven. It asks again, on the state of that moment, which keys are required; a key that was not proven ahead is
verified on the spot, so the plan changes the speed and never the result [LEDGER-SIGN-3]. Who orders transactions,
commits and reports is the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.errors import (
    MACHINE_FAILURES,
    Conflict,
    Denied,
    IntegrityError,
    InvalidInput,
    ShuiqiaoError,
    Unavailable,
)
from shuiqiao.ledger.log.entry import BlockEntry, encode_entry
from shuiqiao.ledger.model import (
    MAX_GOVERNANCE_VALIDITY_MS,
    MAX_VALIDITY_MS,
    BlockContext,
    Event,
    KeyRing,
    Kind,
    NetworkParameters,
    StateView,
    Transaction,
)
from shuiqiao.ledger.transactions.kinds import (
    GATE_ROOM,
    MAX_BLOCK_WORK,
    REPLAY_ROOM,
    KindTable,
    expected_work,
    known_versions,
    refused_version,
)
from shuiqiao.ledger.transactions.transaction import SignatureClaim, decode_transaction, signature_message

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.state.overlay import OverlayState

NETWORK_GATE = f"{GATE_ROOM}/network"
MEMBER_GATE = f"{GATE_ROOM}/member/"
NO_END_MS = 0
"""What ``until_ms`` of a member's gate is where it has no end, so that not even votes pass it [LEDGER-GATE-1]."""

_MAX_LIVE_HOURS = MAX_GOVERNANCE_VALIDITY_MS // MS_PER_HOUR + 1
_KEY_ID_CACHE = 65_536
_BLOCK_RETRY_S = 0.5


class ReplayIndex(Protocol):
    """The record of which (author, id) were accepted and until when."""

    def expiry_hour(self, author: MemberId, transaction_id: bytes) -> int | None:
        """Return valid_until_ms // 3,600,000 of the accepted transaction with that author and id, or None.

        An answer below the block's own hour counts as None, so an index may prune whenever it likes.
        """
        ...


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded transaction that waits for its block."""

    transaction: Transaction
    proven_keys: tuple[bytes, ...] = ()
    """Public keys whose signature over this very transaction was already verified."""


class TransactionOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one transaction of a block."""

    transaction: Transaction
    events: tuple[Event, ...] = ()
    refusal: ShuiqiaoError | None = None
    fault: Exception | None = None
    """The contract's own error behind a ``ledger.contract_failed``: a defect somebody must look at."""
    work: int = 0
    """Units of the state keys that an accepted one read and wrote [LEDGER-WORK-2]."""


class ReplayRecord(NamedTuple):
    """An accepted (author, id) that the replay index must now remember."""

    author: MemberId
    id: bytes
    expiry_hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockResult:
    """An executed block; its state writes stand in the overlay it was executed on."""

    context: BlockContext
    outcomes: tuple[TransactionOutcome, ...]
    """One for each candidate, in order."""
    accepted: tuple[Transaction, ...]
    entry: bytes | None
    """The encoded block entry, or None if nothing was accepted: then nothing is appended and nothing was written."""
    replay_records: tuple[ReplayRecord, ...]


class StateMachine:
    """The deterministic heart of a node: one network's kinds over one state.

    Stateless between calls and safe to share between threads.
    """

    def __init__(
        self, parameters: NetworkParameters, *, kinds: KindTable, key_ring: KeyRing, suite: CipherSuite
    ) -> None:
        if suite.name != parameters.suite:
            raise ValueError(f"suite {suite.name} given to a network of suite {parameters.suite}")
        self.parameters = parameters
        self.kinds = kinds
        self.suite = suite
        self.key_ring = key_ring
        self._key_id: Callable[[bytes], bytes] = lru_cache(maxsize=_KEY_ID_CACHE)(suite.key_id)

    def decode(self, raw: bytes) -> Transaction:
        """Return the transaction in bytes from outside; raises what ``decode_transaction`` raises."""
        return decode_transaction(raw, kinds=self.kinds, network=self.parameters.network, suite=self.suite)

    def require_versions(self, state: StateView, *, height: int) -> Mapping[str, int]:
        """Return the versions that count in a block, firsts left out; raises Unavailable ``ledger.version_missing``."""
        return known_versions(self.key_ring, state, kinds=self.kinds, height=height)

    def precheck(self, tx: Transaction, state: StateView, *, time_ms: int, height: int) -> None:
        """Refuse early, before any signature is verified, what the next block, of this height, would not take.

        Raises InvalidInput ``ledger.kind_version_inactive``, and what ``require_timely`` and closed gates raise.
        """
        if inactive := refused_version(tx, self.key_ring.kind_versions(state, height=height)):
            raise inactive
        kind = self.kinds.get(tx.kind, tx.version)
        require_timely(tx, kind, time_ms=time_ms)
        _require_open_gates(tx, kind, state)

    def plan_verification(self, tx: Transaction, state: StateView) -> tuple[SignatureClaim, ...]:
        """Return the claims to verify ahead, in order of kid; ``verify_claims`` checks them.

        Raises Denied ``ledger.signature_missing``, ``ledger.author_unsigned``, ``ledger.author_wrong``, InvalidInput
        ``ledger.signature_unexpected``, ``ledger.contract_failed``, or what the key ring raises for a stranger. Where
        the state may soon change (a grant that waits in the same queue), an engine ignores the error and executes
        the transaction with no proven keys.
        """
        keys = zip(self.required_keys(tx, state), tx.signatures, strict=True)
        return tuple([(key, signature_message(tx, signed), signed.signature) for key, signed in keys])

    def required_keys(self, tx: Transaction, state: StateView) -> tuple[bytes, ...]:
        """Return the public keys that must have signed, in order of kid; raises what ``plan_verification`` raises."""
        try:
            return self._required_keys(tx, self.kinds.get(tx.kind, tx.version), state)
        except (ShuiqiaoError, *MACHINE_FAILURES):
            raise
        except Exception as error:
            raise _contract_failed(tx, error) from error

    def execute_block(
        self,
        candidates: Iterable[Candidate],
        overlay: OverlayState,
        ctx: BlockContext,
        *,
        previous_time_ms: int,
        replay: ReplayIndex,
    ) -> BlockResult:
        """Execute transactions in order on an overlay over the state of the previous block.

        previous_time_ms: time of the last committed block, or the genesis time. Raises IntegrityError
        ``ledger.block_time_backwards``, Unavailable ``ledger.version_missing`` or, where the store failed,
        ``ledger.state_unreadable``, where a provider failed, ``crypto.provider_failed`` [LEDGER-SIGN-4]: then throw the
        overlay away. A refusal is not raised; it is in the outcome.
        """
        if ctx.time_ms <= previous_time_ms:
            raise IntegrityError(
                "ledger.block_time_backwards",
                f"block {ctx.height} has time {ctx.time_ms}, its predecessor {previous_time_ms}",
            )
        versions = self.require_versions(overlay, height=ctx.height)
        # [EPOCH-4]: the block is closed under the epoch before it, whatever it changes.
        epoch = self.key_ring.epoch_number(overlay)
        ledger = _ReplayLedger(replay, overlay, digest=self.suite.digest, time_ms=ctx.time_ms)
        outcomes: list[TransactionOutcome] = []
        spent = 0
        for candidate in candidates:
            tx = candidate.transaction
            expected = expected_work(tx)
            refusal = refused_version(tx, versions) or _refused_work(tx, spent + expected)
            if refusal is not None:
                outcomes.append(TransactionOutcome(transaction=tx, refusal=refusal))
                continue
            outcome = self._execute(candidate, overlay, ctx, is_new=ledger.is_new(tx))
            overlay.require_readable()
            spent += max(expected, overlay.work)
            if outcome.refusal is None:
                ledger.record(tx)
            outcomes.append(outcome)
        return self._finish_block(outcomes, overlay, ctx, ledger, epoch=epoch, previous_time_ms=previous_time_ms)

    def _finish_block(
        self,
        outcomes: Sequence[TransactionOutcome],
        overlay: OverlayState,
        ctx: BlockContext,
        ledger: _ReplayLedger,
        *,
        epoch: int,
        previous_time_ms: int,
    ) -> BlockResult:
        accepted = tuple(outcome.transaction for outcome in outcomes if outcome.refusal is None)
        entry: bytes | None = None
        # [LEDGER-BLOCK-4]: a block that accepts nothing changes nothing.
        if accepted:
            ledger.close(previous_time_ms=previous_time_ms)
            root = overlay.root(hash_name=self.suite.hash_name)
            entry = encode_entry(
                BlockEntry(height=ctx.height, time_ms=ctx.time_ms, count=len(accepted), epoch=epoch, state_root=root)
            )
        return BlockResult(
            context=ctx,
            outcomes=tuple(outcomes),
            accepted=accepted,
            entry=entry,
            replay_records=tuple(ledger.records),
        )

    def _execute(
        self, candidate: Candidate, overlay: OverlayState, ctx: BlockContext, *, is_new: bool
    ) -> TransactionOutcome:
        tx = candidate.transaction
        overlay.begin()
        try:
            kind = self.kinds.get(tx.kind, tx.version)
            require_timely(tx, kind, time_ms=ctx.time_ms)
            _require_new(tx, is_new=is_new)
            _require_open_gates(tx, kind, overlay)
            self._require_signatures(candidate, kind, overlay)
            kind.check(tx, overlay, ctx)
            overlay.open_room(kind.room)
            events = tuple(kind.apply(tx, overlay, ctx))
            overlay.keep()
        except (Unavailable, *MACHINE_FAILURES):
            # What this machine lacks (memory, a provider that gives verdicts), others have: stop rather than disagree
            # [LEDGER-SIGN-4].
            raise
        except ShuiqiaoError as error:
            overlay.drop()
            return TransactionOutcome(transaction=tx, refusal=error)
        except Exception as error:  # noqa: BLE001 - a contract's defect refuses its transaction, it never halts a node
            overlay.drop()
            return TransactionOutcome(transaction=tx, refusal=_contract_failed(tx, error), fault=error)
        return TransactionOutcome(transaction=tx, events=events, work=overlay.work)

    def _required_keys(self, tx: Transaction, kind: Kind, state: StateView) -> tuple[bytes, ...]:
        """Return the keys that must sign, in order of kid, after matching them to the kids present [LEDGER-SIGN-1]."""
        named = None if kind.author is None else kind.author(tx)
        if named is not None and kind.signers is not None:
            if tx.author != named:
                raise Denied("ledger.author_wrong", f"the author of this {tx.kind} is {named}, not {tx.author}")
            return self._match_keys(tx, set(kind.signers(tx, state)))
        author_key = self.key_ring.signing_key(state, tx.author)
        signatures = tx.signatures
        if kind.signers is None and len(signatures) == 1 and signatures[0].key_id == self._key_id(author_key):
            # The author alone must sign and did: what nearly every transaction is, and what the rest would find too.
            return (author_key,)
        keys = {author_key} if kind.signers is None else set(kind.signers(tx, state))
        if author_key not in keys:
            raise Denied("ledger.author_unsigned", f"{tx.author} must be among the signers of {tx.kind}")
        return self._match_keys(tx, keys)

    def _match_keys(self, tx: Transaction, keys: set[bytes]) -> tuple[bytes, ...]:
        """Return keys in order of kid; refuses a transaction whose kids are not exactly theirs."""
        by_key_id = {self._key_id(key): key for key in keys}
        present = [signature.key_id for signature in tx.signatures]
        if len(present) != len(by_key_id) or not by_key_id.keys() >= set(present):
            raise _wrong_signers(tx, required=set(by_key_id), present=set(present))
        return tuple([by_key_id[key_id] for key_id in present])

    def _require_signatures(self, candidate: Candidate, kind: Kind, state: StateView) -> None:
        """Require every required key's signature, verifying those that were not proven ahead [LEDGER-SIGN-2]."""
        tx = candidate.transaction
        keys = self._required_keys(tx, kind, state)
        if keys == candidate.proven_keys:
            return
        claims = [
            (key, signature_message(tx, signature), signature.signature)
            for key, signature in zip(keys, tx.signatures, strict=True)
            if key not in candidate.proven_keys
        ]
        verify_claims(claims, suite=self.suite)


def verify_claims(claims: Sequence[SignatureClaim], *, suite: CipherSuite) -> None:
    """Return if every claimed signature holds; raises IntegrityError ``ledger.signature_invalid``.

    Raises Unavailable ``crypto.provider_failed`` where the provider gave no verdict.
    """
    for public_key, message, signature in claims:
        try:
            suite.verify_signature(public_key=public_key, message=message, signature=signature)
        except IntegrityError as error:
            raise IntegrityError(
                "ledger.signature_invalid",
                f"the signature of key {suite.key_id(public_key).hex()} does not hold: {error.message}",
            ) from error


def replay_key(hour: int) -> str:
    """Return the state key of the hash chain of ids that expire within an hour since 1970."""
    return f"{REPLAY_ROOM}/{hour}"


def require_timely(tx: Transaction, kind: Kind, *, time_ms: int) -> None:
    """Return if valid_until lies after block time, and not far after it [LEDGER-REPLAY-1].

    Raises InvalidInput ``ledger.tx_expired`` or ``ledger.tx_valid_too_long``.
    """
    remaining_ms = tx.valid_until_ms - time_ms
    if remaining_ms <= 0:
        raise InvalidInput(
            "ledger.tx_expired",
            f"the transaction was valid until {tx.valid_until_ms}, block time is {time_ms}",
            next_step="compare the clock of the machine that signed with block time; where it is right, sign anew",
        )
    allowed_ms = MAX_GOVERNANCE_VALIDITY_MS if kind.governance else MAX_VALIDITY_MS
    if remaining_ms > allowed_ms:
        raise InvalidInput(
            "ledger.tx_valid_too_long",
            f"the transaction is valid for {remaining_ms} ms more; {tx.kind} allows {allowed_ms} ms",
        )


def _require_new(tx: Transaction, *, is_new: bool) -> None:
    """[LEDGER-REPLAY-2]: an (author, id) is accepted once."""
    if not is_new:
        raise Conflict("ledger.tx_replayed", f"{tx.author} already had a transaction with id {tx.id.hex()} accepted")


def _require_open_gates(tx: Transaction, kind: Kind, state: StateView) -> None:
    """[LEDGER-GATE-1]: no contract is asked for a suspended author, or on a frozen network but to govern it."""
    if not kind.governance and state.get(NETWORK_GATE) is not None:
        raise Denied("ledger.network_frozen", f"the network is frozen; {tx.kind} is not accepted until it is unfrozen")
    gate = state.get(MEMBER_GATE + tx.author)
    if gate is not None and not (kind.is_vote and gate["until_ms"] != NO_END_MS):
        raise Denied("ledger.member_suspended", f"{tx.author} is suspended; {tx.kind} is not accepted from it")


def _refused_work(tx: Transaction, units: int) -> Unavailable | None:
    """[LEDGER-WORK-1]: return what refuses a transaction that a full block has no room for, None if it has."""
    if units <= MAX_BLOCK_WORK:
        return None
    return Unavailable(
        "ledger.block_full",
        f"{tx.kind} would bring its block to {units} units of work, and a block has {MAX_BLOCK_WORK}",
        next_step="submit the same bytes again: a later block has room",
        retry_after_s=_BLOCK_RETRY_S,
    )


def _wrong_signers(tx: Transaction, *, required: set[bytes], present: set[bytes]) -> ShuiqiaoError:
    if missing := sorted(required - present):
        return Denied("ledger.signature_missing", f"{tx.kind} must also be signed by key {missing[0].hex()}")
    extra = min(present - required)
    return InvalidInput("ledger.signature_unexpected", f"{tx.kind} must not be signed by key {extra.hex()}")


def _contract_failed(tx: Transaction, error: Exception) -> InvalidInput:
    # The text names the class only: its wording may differ between versions of a library, and nodes show one text.
    return InvalidInput(
        "ledger.contract_failed",
        f"the rules of {tx.kind} broke down with {type(error).__name__}; the transaction was refused",
        next_step="report this to the maintainers with the transaction",
    )


class _ReplayLedger:
    """Which ids are taken, within and before this block, and the hash chains that say so in the state."""

    def __init__(
        self, index: ReplayIndex, overlay: OverlayState, *, digest: Callable[[bytes], bytes], time_ms: int
    ) -> None:
        self._index = index
        self._overlay = overlay
        self._digest = digest
        self._hour = time_ms // MS_PER_HOUR
        self._taken: set[tuple[str, bytes]] = set()
        self.records: list[ReplayRecord] = []

    def is_new(self, tx: Transaction) -> bool:
        author, identifier = tx.author, tx.id
        if (author, identifier) in self._taken:
            return False
        hour = self._index.expiry_hour(author, identifier)
        return hour is None or hour < self._hour

    def record(self, tx: Transaction) -> None:
        author, identifier = tx.author, tx.id
        self._taken.add((author, identifier))
        self.records.append(ReplayRecord(author, identifier, tx.valid_until_ms // MS_PER_HOUR))

    def close(self, *, previous_time_ms: int) -> None:
        """Write the chains, and drop those whose hour has passed since the previous block [LEDGER-REPLAY-4]."""
        self._overlay.open_room(REPLAY_ROOM)
        for hour, chain in self._chains().items():
            self._overlay.put(replay_key(hour), chain)
        previous_hour = previous_time_ms // MS_PER_HOUR
        # No id outlives the longest validity, so a long silence does not mean a long search.
        for hour in range(previous_hour, min(self._hour, previous_hour + _MAX_LIVE_HOURS + 1)):
            if self._overlay.get(replay_key(hour)) is not None:
                self._overlay.delete(replay_key(hour))
        self._overlay.keep()

    def _chains(self) -> dict[int, bytes]:
        """Return the chains of the hours in which this block's transactions expire, extended [LEDGER-REPLAY-3]."""
        digest = self._digest
        chains: dict[int, bytes] = {}
        for author, identifier, hour in self.records:
            if hour not in chains:
                chains[hour] = self._overlay.get(replay_key(hour)) or bytes(32)
            chains[hour] = digest(chains[hour] + _counted_name(author) + identifier)
        return chains


@lru_cache(maxsize=1024)
def _counted_name(author: MemberId) -> bytes:
    """Return the length, in a byte, and the bytes of a member's name; remembered, as members are few."""
    name = author.encode()
    return bytes((len(name),)) + name
