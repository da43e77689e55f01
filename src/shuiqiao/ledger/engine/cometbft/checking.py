"""Transactions checked once: decoded, their signatures verified, and remembered until a block holds them [ABCI-15].

CheckTx, ProcessProposal and FinalizeBlock meet the same bytes again and again. What is remembered by the bytes
themselves is what they decode to and which keys were proven to have signed them; whether these are the keys that must
sign is asked anew by the state machine in the block. Nothing remembered can therefore change a result, only its cost.
Safe between threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.ledger.engine.verifiers import InlineVerifier, Verifier, verify_all
from shuiqiao.ledger.machine import Candidate, ReplayIndex, SignatureClaim, StateMachine
from shuiqiao.ledger.model import StateView, Transaction

MAX_REMEMBERED: Final = 65_536
MAX_REMEMBERED_BYTES: Final = 128 * 1024 * 1024
"""Together they bound what a flooded mempool can take of memory: oldest go first, and are only checked again."""

MIN_HANDED_ON: Final = 256
"""Signatures worth other processes: those of a block that a node meets while it catches up. CheckTx meets fewer."""


class RunState:
    """A state for one run of checks: what each of them asks again (gates, member keys) is looked up once."""

    def __init__(self, state: StateView) -> None:
        self._state = state
        self._values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """Return the value of a key, None if absent."""
        if key not in self._values:
            self._values[key] = self._state.get(key)
        return self._values[key]


class Remembered:
    """Candidates by their bytes, oldest forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[bytes, Candidate] = {}
        self._bytes = 0

    def get(self, raw: bytes) -> Candidate | None:
        """Return what is known of a transaction."""
        return self._found.get(raw)

    def put(self, raw: bytes, candidate: Candidate) -> None:
        """Remember a transaction."""
        with self._lock:
            if raw in self._found:
                return
            self._found[raw] = candidate
            self._bytes += len(raw)
            while len(self._found) > MAX_REMEMBERED or self._bytes > MAX_REMEMBERED_BYTES:
                oldest = next(iter(self._found))
                del self._found[oldest]
                self._bytes -= len(oldest)

    def forget(self, raws: Iterable[bytes]) -> None:
        """Forget transactions: they are committed, or refused for good."""
        with self._lock:
            for raw in raws:
                if self._found.pop(raw, None) is not None:
                    self._bytes -= len(raw)


class TransactionChecker:
    """Decodes, plans and verifies, many at a time."""

    def __init__(self, machine: StateMachine, *, verifier: Verifier) -> None:
        self.remembered = Remembered()
        self._machine = machine
        self._verifier = verifier
        self._inline = InlineVerifier(machine.suite)
        self._verifying = threading.Lock()

    def admit(
        self, raws: Sequence[bytes], state: StateView, *, precheck: Callable[[Transaction], None]
    ) -> list[ShuiqiaoError | None]:
        """Tell of transactions whether they may wait for a block; None for one that may, else what refuses it."""
        refusals: list[ShuiqiaoError | None] = [None] * len(raws)
        planned: list[tuple[int, Transaction, tuple[SignatureClaim, ...]]] = []
        for position, raw in enumerate(raws):
            known = self.remembered.get(raw)
            try:
                tx = self._decode(raw) if known is None else known.transaction
                precheck(tx)
                if known is None or not known.proven_keys:
                    planned.append((position, tx, self._machine.plan_verification(tx, state)))
            except ShuiqiaoError as error:
                refusals[position] = error
        try:
            self._remember_valid(planned, refusals)
        except Unavailable as error:
            for position, _, _ in planned:
                refusals[position] = error
        return refusals

    def _remember_valid(
        self,
        planned: Sequence[tuple[int, Transaction, tuple[SignatureClaim, ...]]],
        refusals: list[ShuiqiaoError | None],
    ) -> None:
        verdicts = iter(self._verify([claim for _, _, claims in planned for claim in claims]))
        for position, tx, claims in planned:
            held = [next(verdicts) for _ in claims]
            if all(held):
                keys = tuple([claim[0] for claim in claims])
                self.remembered.put(tx.raw, Candidate(transaction=tx, proven_keys=keys))
            else:
                refusals[position] = _signature_invalid(tx)

    def candidates(self, raws: Sequence[bytes], state: StateView) -> list[Candidate | InvalidInput]:
        """Return the transactions of a block as candidates, verified together as far as the state tells the signers.

        One that cannot be decoded is an error in its place. One whose signature does not hold, or whose signers the
        block itself brings, has no proven keys: the machine decides.
        """
        state = RunState(state)
        found: list[Candidate | InvalidInput] = []
        open_places: list[tuple[int, Transaction, tuple[SignatureClaim, ...]]] = []
        for position, raw in enumerate(raws):
            known = self.remembered.get(raw)
            if known is not None:
                found.append(known)
                continue
            try:
                tx = self._decode(raw)
            except InvalidInput as error:
                found.append(error)
                continue
            found.append(Candidate(transaction=tx))
            open_places.append((position, tx, self._plan(tx, state)))
        refusals: list[ShuiqiaoError | None] = [None] * len(raws)
        try:
            self._remember_valid(open_places, refusals)
        except Unavailable:
            # Workers keep dying: the machine verifies in this very thread, slowly.
            return found
        for position, tx, _ in open_places:
            found[position] = self.remembered.get(tx.raw) or found[position]
        return found

    def _plan(self, tx: Transaction, state: StateView) -> tuple[SignatureClaim, ...]:
        try:
            return self._machine.plan_verification(tx, state)
        except ShuiqiaoError:
            return ()

    def is_decodable(self, raw: bytes) -> bool:
        """Tell whether bytes are a transaction of this network at all."""
        if self.remembered.get(raw) is not None:
            return True
        try:
            self._decode(raw)
        except InvalidInput:
            return False
        return True

    def _decode(self, raw: bytes) -> Transaction:
        """Return the transaction in bytes; raises InvalidInput only, whatever the bytes do to the decoder."""
        try:
            return self._machine.decode(raw)
        except InvalidInput:
            raise
        except Exception as error:
            raise InvalidInput(
                "ledger.tx_undecodable", f"decoding the transaction broke down with {type(error).__name__}"
            ) from error

    def _verify(self, claims: Sequence[SignatureClaim]) -> list[bool]:
        """Verify many by the verifier given, few right here: they are done before another process has begun."""
        with self._verifying:
            return verify_all(self._verifier if len(claims) >= MIN_HANDED_ON else self._inline, claims)

    def close(self) -> None:
        """End the worker processes."""
        self._verifier.close()


def require_unused(tx: Transaction, index: ReplayIndex, *, time_ms: int) -> None:
    """Return if an (author, id) was not accepted before; raises Conflict ``ledger.tx_replayed``."""
    hour = index.expiry_hour(tx.author, tx.id)
    if hour is not None and hour >= time_ms // MS_PER_HOUR:
        raise Conflict("ledger.tx_replayed", f"{tx.author} already had a transaction with id {tx.id.hex()} accepted")


def _signature_invalid(tx: Transaction) -> IntegrityError:
    return IntegrityError(
        "ledger.signature_invalid", f"a signature of {tx.kind} {tx.id.hex()} does not hold for the key that had to sign"
    )
