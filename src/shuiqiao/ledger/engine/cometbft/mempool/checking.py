"""Decodes transactions and verifies their signatures once, and caches both until a block holds them [ABCI-15].

CheckTx, ProcessProposal and FinalizeBlock are given the same bytes again and again. What is cached by the bytes
themselves is what they decode to and which keys were proven to have signed them; whether these are the keys that must
sign is asked anew by the state machine in the block. The cache can therefore change no result, only its cost. Safe
between threads.

A block that a node has not seen before, catching up, is executed while other processes verify its signatures:
``SpeculativeBlock`` gives it as if they held, and then with what is proven.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.errors import MACHINE_FAILURES, Conflict, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.ledger.engine.admission import signature_invalid, undecodable
from shuiqiao.ledger.model import StateView, Transaction
from shuiqiao.ledger.state.machine import Candidate, StateMachine
from shuiqiao.ledger.store.state_view import SnapshotState, replay_id
from shuiqiao.ledger.transactions.kinds import expected_work
from shuiqiao.ledger.transactions.transaction import SignatureClaim
from shuiqiao.ledger.transactions.verifiers import Batches, InlineVerifier, Verifier, verify_all

MAX_CACHED: Final = 65_536
MAX_CACHED_BYTES: Final = 128 * 1024 * 1024
"""Together they bound what a flooded mempool can take of memory: oldest go first, and are only checked again."""

MIN_HANDED_ON: Final = 256
"""Signatures worth other processes: those of a block while a node catches up. CheckTx is asked about fewer."""

GROUP: Final = 256
"""Transactions of a block that are decoded, and whose signatures are given away, at once."""

_Planned = tuple[int, Transaction, tuple[SignatureClaim, ...]]
"""A transaction, its place among those checked with it, and the signatures that its signers would have made."""

_Found = Candidate | InvalidInput
"""A transaction of a block, or why it cannot be decoded."""

_Group = tuple[list[_Found], list[_Planned]]
"""Transactions without proven keys, or with those remembered, and what is to be verified of them."""


class CachedState:
    """A state for one run of checks: what each of them asks again (gates, member keys) is looked up once."""

    def __init__(self, state: StateView) -> None:
        self._state = state
        self._values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """Return the value of a key, None if absent."""
        if key not in self._values:
            self._values[key] = self._state.get(key)
        return self._values[key]


class SignatureCache:
    """Candidates with their proven keys by their bytes, oldest forgotten first."""

    def __init__(self) -> None:
        # A dict keeps the order of arrival. cachetools' FIFOCache costs 4 microseconds more for each transaction.
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
            while len(self._found) > MAX_CACHED or self._bytes > MAX_CACHED_BYTES:
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
        self.cache = SignatureCache()
        self._machine = machine
        self._verifier = verifier
        self._inline = InlineVerifier(machine.suite)
        self._verifying = threading.Lock()

    def admit(
        self, raws: Sequence[bytes], view: SnapshotState, *, time_ms: int, height: int
    ) -> list[ShuiqiaoError | None]:
        """Tell of transactions whether they may wait for a block; None for one that may, else what refuses it.

        view: the last committed state. time_ms, height: of the next block, which will ask the same.
        """
        refusals: list[ShuiqiaoError | None] = [None] * len(raws)
        decoded: list[tuple[int, Transaction]] = []
        for position, raw in enumerate(raws):
            try:
                decoded.append((position, self._transaction(raw)))
            except InvalidInput as error:
                refusals[position] = error
        state = CachedState(view)
        # The index is asked once for all of them.
        used = view.snapshot.replay_hours([replay_id(tx.author, tx.id) for _, tx in decoded])
        planned: list[_Planned] = []
        for position, tx in decoded:
            try:
                self._machine.precheck(tx, state, time_ms=time_ms, height=height)
                _require_unused(tx, used, time_ms=time_ms)
                known = self.cache.get(tx.raw)
                if known is None or not known.proven_keys:
                    planned.append((position, tx, self._machine.plan_verification(tx, state)))
            except ShuiqiaoError as error:
                refusals[position] = error
        for position, tx in self._remember_valid(planned, self._verify(_claims_of(planned))):
            refusals[position] = signature_invalid(tx)
        return refusals

    def _remember_valid(self, planned: Sequence[_Planned], verdicts: Sequence[bool]) -> list[tuple[int, Transaction]]:
        """Remember those of which every signature holds; return the others."""
        broken: list[tuple[int, Transaction]] = []
        for (position, tx, claims), is_held in zip(planned, _held(planned, verdicts), strict=True):
            if is_held:
                self.cache.put(tx.raw, _proven(tx, claims))
            else:
                broken.append((position, tx))
        return broken

    def candidates(self, raws: Sequence[bytes], state: StateView) -> list[_Found]:
        """Return the transactions of a block as candidates, verified together as far as the state tells the signers.

        One that cannot be decoded is an error in its place. One whose signature does not hold, or whose signers the
        block itself brings, has no proven keys: the machine decides.
        """
        found, planned = self._prepare(raws, CachedState(state))
        self._remember_valid(planned, self._verify(_claims_of(planned)))
        for position, tx, _ in planned:
            found[position] = self.cache.get(tx.raw) or found[position]
        return found

    @contextmanager
    def speculate(self, raws: Sequence[bytes], state: StateView) -> Generator[SpeculativeBlock]:
        """Give the transactions of a decided block, as ``candidates`` returns them or to be executed before that.

        The signatures of a block that is new here are verified by other processes while the caller executes it.
        """
        if sum(self.cache.get(raw) is None for raw in raws) < MIN_HANDED_ON:
            yield SpeculativeBlock(self.candidates(raws, state))
            return
        run = CachedState(state)
        groups = (self._prepare(raws[at : at + GROUP], run) for at in range(0, len(raws), GROUP))
        with self._verifying, Batches(self._verifier) as batches:
            yield SpeculativeBlock((), groups=groups, batches=batches)

    def _prepare(self, raws: Sequence[bytes], state: StateView) -> _Group:
        found: list[_Found] = []
        planned: list[_Planned] = []
        for position, raw in enumerate(raws):
            known = self.cache.get(raw)
            if known is not None:
                found.append(known)
                continue
            try:
                tx = self._decode(raw)
            except InvalidInput as error:
                found.append(error)
                continue
            found.append(Candidate(transaction=tx))
            planned.append((position, tx, self._plan(tx, state)))
        return found, planned

    def _plan(self, tx: Transaction, state: StateView) -> tuple[SignatureClaim, ...]:
        try:
            return self._machine.plan_verification(tx, state)
        except ShuiqiaoError:
            return ()

    def work_of(self, raws: Iterable[bytes]) -> int | None:
        """Return the work that transactions are charged at least, None if one is no transaction of this network."""
        try:
            return sum(expected_work(self._transaction(raw)) for raw in raws)
        except InvalidInput:
            return None

    def _transaction(self, raw: bytes) -> Transaction:
        known = self.cache.get(raw)
        return self._decode(raw) if known is None else known.transaction

    def _decode(self, raw: bytes) -> Transaction:
        """Return the transaction in bytes; raises InvalidInput only, whatever the bytes do to the decoder.

        What this machine lacks is no verdict, and is raised as it is [LEDGER-SIGN-4].
        """
        try:
            return self._machine.decode(raw)
        except (InvalidInput, *MACHINE_FAILURES):
            raise
        except Exception as error:
            raise undecodable(error) from error

    def _verify(self, claims: Sequence[SignatureClaim]) -> list[bool]:
        """Verify many by the verifier given, few right here: they are done before another process has begun.

        Raises Unavailable ``crypto.provider_failed``: no verdict is no refusal [LEDGER-SIGN-4].
        """
        with self._verifying:
            if len(claims) >= MIN_HANDED_ON:
                try:
                    return verify_all(self._verifier, claims)
                except Unavailable:
                    # Workers keep dying: this very thread verifies, slowly.
                    pass
            return verify_all(self._inline, claims)

    def close(self) -> None:
        """End the worker processes."""
        self._verifier.close()


class SpeculativeBlock:
    """The transactions of a decided block: assumed to be signed, and in the end what is proven of that [ABCI-15]."""

    def __init__(
        self, found: Iterable[_Found], *, groups: Iterable[_Group] = (), batches: Batches | None = None
    ) -> None:
        """found: what is known already; groups: what comes after it, and is verified through batches."""
        self.found = list(found)
        """Transactions as candidates, in order, an error in the place of one that cannot be decoded."""
        self._groups = groups
        self._batches = batches
        self._given: list[tuple[int, list[_Planned], list[int]]] = []

    def assumed(self) -> Iterator[Candidate]:
        """Yield candidates for execution; those met for the first time as if all their signatures held."""
        yield from _executable(self.found)
        for found, planned in self._groups:
            assert self._batches is not None
            self._given.append((len(self.found), planned, self._batches.give(_claims_of(planned))))
            for position, tx, claims in planned:
                found[position] = _proven(tx, claims)
            self.found += found
            yield from _executable(found)

    def holds(self) -> bool:
        """Wait for the verdicts; return whether all that was assumed is proven.

        If not, ``proven`` has what is, and the block is to be executed again.
        """
        broken = [each for start, planned, tickets in self._given for each in self._broken(start, planned, tickets)]
        for position, tx in broken:
            # It has no proven keys: the machine decides.
            self.found[position] = Candidate(transaction=tx)
        return not broken

    def _broken(self, start: int, planned: Sequence[_Planned], tickets: list[int]) -> list[tuple[int, Transaction]]:
        assert self._batches is not None
        try:
            held = _held(planned, self._batches.take(tickets))
        except Unavailable:
            # Workers keep dying: the machine verifies in this very thread, slowly.
            held = [False] * len(planned)
        return [(start + position, tx) for (position, tx, _), is_held in zip(planned, held, strict=True) if not is_held]

    def proven(self) -> Iterator[Candidate]:
        """Yield candidates for execution with the keys that were proven."""
        return _executable(self.found)


def _executable(found: Iterable[_Found]) -> Iterator[Candidate]:
    return (each for each in found if isinstance(each, Candidate))


def _proven(tx: Transaction, claims: Iterable[SignatureClaim]) -> Candidate:
    return Candidate(transaction=tx, proven_keys=tuple([claim[0] for claim in claims]))


def _require_unused(tx: Transaction, used: Mapping[bytes, int], *, time_ms: int) -> None:
    hour = used.get(replay_id(tx.author, tx.id))
    if hour is not None and hour >= time_ms // MS_PER_HOUR:
        raise Conflict("ledger.tx_replayed", f"{tx.author} already had a transaction with id {tx.id.hex()} accepted")


def _held(planned: Iterable[_Planned], verdicts: Iterable[bool]) -> list[bool]:
    """Tell of each whether all its signatures hold, by the verdicts on all of them in order."""
    coming = iter(verdicts)
    return [all(list(islice(coming, len(claims)))) for _, _, claims in planned]


def _claims_of(planned: Iterable[_Planned]) -> list[SignatureClaim]:
    return [claim for _, _, claims in planned for claim in claims]
