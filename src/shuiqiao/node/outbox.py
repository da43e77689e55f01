"""The way a node's acts reach the ledger: signed once, kept until acknowledged, sent again unchanged.

1. keep the signed bytes in the outbox, durably;
2. submit, wait until the ledger says they are durable there;
3. forget them, a batch at a time: a crash in between sends bytes again that the ledger already has, which it refuses
   as a replay, and that refusal counts as acknowledgement.

Only a transaction that expired unacknowledged is signed anew, and only where this node's key alone signed it.
"""

from __future__ import annotations

import threading

from shuiqiao.base.clock import Clock
from shuiqiao.base.errors import Conflict, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.crypto.model import CipherSuite, SigningKey
from shuiqiao.ledger.kinds import KindTable
from shuiqiao.ledger.model import Committed, LedgerEngine
from shuiqiao.ledger.submitter import DirectSubmitter
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.store import OutboxRow, OutboxStore

FORGET_BATCH = 64
"""Acknowledged transactions are removed from the outbox this many at a time."""


class Outbox(DirectSubmitter):
    """The LedgerSubmitter of one member, with its signed bytes kept until the ledger has them."""

    def __init__(
        self,
        engine: LedgerEngine,
        *,
        store: OutboxStore,
        member: MemberId,
        key: SigningKey,
        kinds: KindTable,
        suite: CipherSuite,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        super().__init__(
            engine,
            member=member,
            key=key,
            kinds=kinds,
            suite=suite,
            clock=clock,
            entropy=entropy,
            key_ring=MemberKeyRing(),
        )
        self._store = store
        self._own_key_id = key.key_id
        self._acknowledged: list[bytes] = []
        self._lock = threading.Lock()

    def relay(self, raw: bytes) -> Committed:
        """Keep signed bytes, commit them, and forget them once the ledger has answered for good."""
        tx = self.decode(raw)
        self._store.add(OutboxRow(transaction_id=tx.id, kind=tx.kind, valid_until_ms=tx.valid_until_ms, raw=raw))
        return self._commit(raw, transaction_id=tx.id)

    def resend(self) -> int:
        """Send again what was never acknowledged, e.g. after a restart; return how many are on the ledger now."""
        now_ms = self.now_ms()
        return sum(self._resend_one(row, now_ms=now_ms) for row in self._store.waiting())

    def flush(self) -> None:
        """Forget everything acknowledged so far."""
        with self._lock:
            done, self._acknowledged = self._acknowledged, []
        if done:
            self._store.remove(done)

    def _commit(self, raw: bytes, *, transaction_id: bytes) -> Committed:
        try:
            committed = super().relay(raw)
        except Unavailable:
            raise
        except ShuiqiaoError:
            self._forget(transaction_id)
            raise
        self._forget(transaction_id)
        return committed

    def _forget(self, transaction_id: bytes) -> None:
        with self._lock:
            self._acknowledged.append(transaction_id)
            is_full = len(self._acknowledged) >= FORGET_BATCH
        if is_full:
            self.flush()

    def _resend_one(self, row: OutboxRow, *, now_ms: int) -> bool:
        try:
            if row.valid_until_ms <= now_ms:
                return self._sign_anew(row)
            self._commit(row.raw, transaction_id=row.transaction_id)
        except Conflict:
            # The ledger has it: only the acknowledgement was lost.
            return True
        except Unavailable:
            raise
        except ShuiqiaoError:
            return False
        return True

    def _sign_anew(self, row: OutboxRow) -> bool:
        tx = self.decode(row.raw)
        if [signature.key_id for signature in tx.signatures] != [self._own_key_id]:
            self._forget(row.transaction_id)
            return False
        # The new one is kept before the old one is forgotten: a crash in between leaves both, and the ledger refuses
        # the second by its business key.
        try:
            self.submit(tx.kind, tx.body)
        except ShuiqiaoError:
            self._forget(row.transaction_id)
            raise
        self._forget(row.transaction_id)
        return True
