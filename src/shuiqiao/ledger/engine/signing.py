"""The writer's checkpoints: signed by the operator, cosigned by the witnesses, and the last one of every epoch kept.

A checkpoint is signed when it is first asked for and stored soon after ([STORE-18]); witnesses are asked in the
background, and no block waits for them. The checkpoint that closes an epoch is asked of its witnesses before any larger
one, because a witness never goes back ([STORE-25]); until it has its quorum, receipts behind it wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.ledger.checkpoints.note import sign_checkpoint
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.engine.cosigned import CosigningDesk
from shuiqiao.ledger.receipts.making import Confirmed
from shuiqiao.ledger.witness.cosigning import CosignatureCollector, CosignedCheckpoint, WitnessPeer

if TYPE_CHECKING:
    from shuiqiao.crypto.model import SigningKey
    from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
    from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
    from shuiqiao.ledger.store.state_view import SnapshotState

OFFER_INTERVAL_S = 1.0
"""How often witnesses are asked while blocks come fast, in seconds; a receipt asks at once."""

CONFIRM_TIMEOUT_S = 10.0
"""How long a receipt waits for the witnesses' quorum, in seconds."""


class CheckpointSigner:
    """The checkpoints of one open writer; safe between threads."""

    def __init__(self, copy: LedgerCopy, *, operator_keys: Iterable[SigningKey], rouse: Callable[[], None]) -> None:
        """operator_keys: the present one and those of epochs before. rouse: wake the writer, a checkpoint is to store.

        Raises Unavailable ``ledger.operator_key_missing`` if the key of the epoch in force is not among them.
        """
        self._copy = copy
        self._suite = copy.machine.suite
        self._keys = {key.public_key: key for key in operator_keys}
        self._rouse = rouse
        self._lock = threading.Lock()
        self._checkpoint = copy.stored_checkpoint()
        self._peers: dict[str, WitnessPeer] = {}
        self._collector: tuple[CheckpointPolicy, CosignatureCollector] | None = None
        self._desk: CosigningDesk | None = None
        self._next_offer = 0.0
        self._operator_key(copy.epochs.trail.newest_policy)
        self.close_epochs()

    def add_key(self, key: SigningKey) -> None:
        """Hold another key, which an epoch to come names as the operator's."""
        self._keys[key.public_key] = key

    def add_witness(self, peer: WitnessPeer) -> None:
        """Ask a witness from now on, as far as the policy names it; a later one takes the place of its former self."""
        with self._lock:
            self._peers = {**self._peers, peer.member: peer}
            self._collector = None
            if self._desk is None:
                self._desk = CosigningDesk(self._collect, published=self._keep_cosigned)
        self.close_epochs()
        self._next_offer = 0.0

    # Checkpoints

    def current(self) -> Checkpoint:
        """Return the operator's checkpoint of the last committed block.

        Raises Unavailable ``ledger.checkpoint_not_stored``, ``ledger.operator_key_missing``.
        """
        return self._signed()[0]

    def confirmed(self, *, timeout_s: float = CONFIRM_TIMEOUT_S) -> Confirmed:
        """Return a checkpoint of the last committed block, or of a later one, that counts under its policy.

        Raises Unavailable ``ledger.quorum_not_reached`` after the time, and what ``current`` raises.
        """
        checkpoint, view = self._signed()
        if self._policy_at(checkpoint.size).quorum == 0:
            cosigned = self._desk.newest() if self._desk is not None else None
            if cosigned is None or cosigned.size != checkpoint.size:
                return Confirmed(checkpoint=checkpoint, view=view)
            return Confirmed(checkpoint=cosigned, view=view)
        desk = self._require_desk(checkpoint)
        desk.offer(checkpoint, view=view)
        return desk.wait_for(checkpoint.size, timeout_s=timeout_s)

    def newest_confirmed(self) -> Checkpoint | None:
        """Return the newest checkpoint that counts under its policy, without waiting for any; None before the first.

        Raises what ``current`` raises.
        """
        checkpoint = self.current()
        if self._policy_at(checkpoint.size).quorum == 0:
            return self.confirmed().checkpoint
        return self._desk.newest() if self._desk is not None else None

    def _require_desk(self, checkpoint: Checkpoint) -> CosigningDesk:
        if self._desk is None:
            raise Unavailable(
                "ledger.quorum_not_reached",
                f"no witness is connected, and a checkpoint of {checkpoint.size} leaves needs "
                f"{self._policy_at(checkpoint.size).quorum} of them",
                next_step="start the witnesses' nodes",
                retry_after_s=1.0,
            )
        return self._desk

    def _signed(self) -> tuple[Checkpoint, SnapshotState]:
        with self._lock:
            head, view = self._copy.view()
            if self._checkpoint is None or self._checkpoint.size != head.size:
                self._checkpoint = self._sign(size=head.size, root=head.root)
                self._keep(self._checkpoint)
            return self._checkpoint, view

    def _sign(self, *, size: int, root: bytes) -> Checkpoint:
        policy = self._policy_at(size)
        return sign_checkpoint(
            origin=policy.origin, size=size, root=root, key=self._operator_key(policy), suite=self._suite
        )

    def _keep(self, checkpoint: Checkpoint) -> None:
        file = self._copy.checkpoint_file
        try:
            file.keep(checkpoint)
        except OSError as error:
            raise Unavailable(
                "ledger.checkpoint_not_stored",
                f"{file.path} could not be written: {error.strerror or error}",
                next_step="free disk space or check the disk, then ask again",
            ) from error
        if file.due_in_s() is not None:
            # It waits to be stored, and the writer may be asleep for longer than it may wait ([STORE-18]).
            self._rouse()

    def _policy_at(self, size: int) -> CheckpointPolicy:
        return self._copy.epochs.trail.policy_at(size)

    def _operator_key(self, policy: CheckpointPolicy) -> SigningKey:
        key = self._keys.get(policy.operator_key or b"")
        if key is None:
            raise Unavailable(
                "ledger.operator_key_missing",
                f"the epoch in force names {(policy.operator_key or b'').hex()} as the key of {policy.operator}, "
                "the operator, and this node does not hold it",
                next_step="open the home of the present operator, with all its key files",
            )
        return key

    # Witnesses and epochs, for the writer's thread

    def offer_due(self) -> None:
        """Have witnesses cosign the newest checkpoint, if it is time; a disk that refuses it is told to who asks."""
        if self._desk is None or time.monotonic() < self._next_offer:
            return
        self._next_offer = time.monotonic() + OFFER_INTERVAL_S
        try:
            checkpoint, view = self._signed()
        except Unavailable:
            return
        self._desk.offer(checkpoint, view=view)

    def offer_in_s(self) -> float | None:
        """Return after how many seconds there is a checkpoint to offer, None if there is none."""
        if self._desk is None or (self._checkpoint is not None and self._checkpoint.size == self._copy.head.size):
            return None
        return max(0.0, self._next_offer - time.monotonic())

    def close_epochs(self) -> None:
        """See to it that the last checkpoint of every epoch gets its signatures; who cannot sign leaves it open."""
        for size in self._copy.epochs.missing_notes():
            try:
                checkpoint = self._sign(size=size, root=self._copy.root_at(size))
                if self._policy_at(size).quorum == 0:
                    self._copy.epochs.keep_note(checkpoint)
                elif self._desk is not None:
                    head, view = self._copy.view()
                    self._desk.require(checkpoint, view=view if head.size == size else None)
            except Unavailable:
                # A key that is gone, or a full disk: receipts behind it say ``ledger.epoch_pending``.
                return

    def _keep_cosigned(self, result: CosignedCheckpoint) -> None:
        with suppress(OSError):
            # It can be asked of the witnesses again: nothing stops for it.
            self._copy.cosigned_file.keep(result.checkpoint)
        if self._copy.epochs.trail.closes_epoch(result.checkpoint.size):
            self._copy.epochs.keep_note(result.checkpoint)

    def _collect(self, checkpoint: Checkpoint) -> CosignedCheckpoint:
        policy = self._policy_at(checkpoint.size)
        with self._lock:
            if self._collector is None or self._collector[0] is not policy:
                self._collector = (
                    policy,
                    CosignatureCollector(
                        policy, suite=self._suite, peers=tuple(self._peers.values()), proofs=self._proof
                    ),
                )
            collector = self._collector[1]
        return collector.collect(checkpoint)

    def _proof(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        return self._copy.consistency_proof(old_size=old_size, new_size=new_size)

    def close(self) -> None:
        """Sign and store the last checkpoint, and stop asking; whatever the disk does, files can then be released."""
        if self._desk is not None:
            self._desk.close()
        with suppress(OSError):
            self._copy.cosigned_file.flush()
        try:
            self.current()
            self._copy.checkpoint_file.flush()
        except (ShuiqiaoError, OSError):
            # It is signed again when next asked for.
            return
