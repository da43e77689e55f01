"""Signs the writer's checkpoints with the operator's key, has witnesses cosign them, and keeps the last of each epoch.

A checkpoint is signed when it is first asked for and stored soon after ([STORE-18]); witnesses are asked in the
background, and no block waits for them. The checkpoint that closes an epoch is asked of its witnesses before any larger
one, because a witness never goes back ([STORE-25]); until it has its quorum, receipts behind it wait.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import SigningKey
from shuiqiao.ledger.checkpoints.note import sign_checkpoint
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.receipts.making import MAX_LEAVES_BEHIND, Confirmed
from shuiqiao.ledger.store.state_view import SnapshotState
from shuiqiao.ledger.witness.cosigning import CosignatureCollector, CosignedCheckpoint, WitnessPeer

OFFER_INTERVAL_S = 1.0
"""How often witnesses are asked while blocks come fast, in seconds; a receipt asks at once."""

CONFIRM_TIMEOUT_S = 10.0
"""How long a receipt waits for the witnesses' quorum, in seconds."""

DEFAULT_RETRY_S = 1.0


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
        self._queue: CosigningQueue | None = None
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
            if self._queue is None:
                self._queue = CosigningQueue(self._collect, publish=self._keep_cosigned)
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
            cosigned = self._queue.newest() if self._queue is not None else None
            if cosigned is None or cosigned.size != checkpoint.size:
                return Confirmed(checkpoint=checkpoint, view=view)
            return Confirmed(checkpoint=cosigned, view=view)
        queue = self._require_queue(checkpoint)
        queue.offer(checkpoint, view=view)
        return queue.wait_for(checkpoint.size, timeout_s=timeout_s)

    def newest_confirmed(self) -> Checkpoint | None:
        """Return the newest checkpoint that counts under its policy, without waiting for any; None before the first.

        Raises what ``current`` raises.
        """
        checkpoint = self.current()
        if self._policy_at(checkpoint.size).quorum == 0:
            return self.confirmed().checkpoint
        return self._queue.newest() if self._queue is not None else None

    def _require_queue(self, checkpoint: Checkpoint) -> CosigningQueue:
        if self._queue is None:
            raise Unavailable(
                "ledger.quorum_not_reached",
                f"no witness is connected, and a checkpoint of {checkpoint.size} leaves needs "
                f"{self._policy_at(checkpoint.size).quorum} of them",
                next_step="start the witnesses' nodes",
                retry_after_s=1.0,
            )
        return self._queue

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
        """Have witnesses cosign the newest checkpoint, if it is time; the caller is told of a disk that refuses it."""
        if self._queue is None or time.monotonic() < self._next_offer:
            return
        self._next_offer = time.monotonic() + OFFER_INTERVAL_S
        try:
            checkpoint, view = self._signed()
        except Unavailable:
            return
        self._queue.offer(checkpoint, view=view)

    def offer_in_s(self) -> float | None:
        """Return after how many seconds there is a checkpoint to offer, None if there is none."""
        if self._queue is None or (self._checkpoint is not None and self._checkpoint.size == self._copy.head.size):
            return None
        return max(0.0, self._next_offer - time.monotonic())

    def close_epochs(self) -> None:
        """Have the last checkpoint of every epoch signed and cosigned; a node that cannot sign leaves it open."""
        for size in self._copy.epochs.missing_notes():
            try:
                checkpoint = self._sign(size=size, root=self._copy.root_at(size))
                if self._policy_at(size).quorum == 0:
                    self._copy.epochs.keep_note(checkpoint)
                elif self._queue is not None:
                    head, view = self._copy.view()
                    self._queue.require(checkpoint, view=view if head.size == size else None)
            except Unavailable:
                # A key that is gone, or a full disk: receipts behind it say ``ledger.epoch_pending``.
                return

    def missing(self) -> Mapping[MemberId, ShuiqiaoError]:
        """Return the witnesses that did not cosign the last checkpoint they were asked for, each with the reason."""
        return {} if self._queue is None else self._queue.missing()

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
        if self._queue is not None:
            self._queue.close()
        with suppress(OSError):
            self._copy.cosigned_file.flush()
        try:
            self.current()
            self._copy.checkpoint_file.flush()
        except (ShuiqiaoError, OSError):
            # It is signed again when next asked for.
            return


class CosigningQueue:
    """Has checkpoints cosigned in the background, and keeps the newest that its witnesses confirmed.

    One thread asks the witnesses for the newest checkpoint that was offered; what was offered meanwhile and is older is
    left out, since a larger log covers it, except what is required: that comes first, in order. What it got is handed
    out once it has the quorum. Short of it, it is tried again [WITNESS-7]. It neither signs nor stores. Any thread may
    offer, read and wait.
    """

    def __init__(
        self,
        collect: Callable[[Checkpoint], CosignedCheckpoint],
        *,
        publish: Callable[[CosignedCheckpoint], None],
        retry_s: float = DEFAULT_RETRY_S,
    ) -> None:
        """collect: ask the witnesses once (``CosignatureCollector.collect``).

        publish: store a checkpoint that reached its quorum, before it is handed out; called on a thread of its own.
        retry_s: seconds until witnesses that were away are asked again.
        """
        self._collect = collect
        self._publish = publish
        self._retry_s = retry_s
        self._condition = threading.Condition()
        self._offered: _Offer | None = None
        self._required: deque[_Offer] = deque()
        self._newest: Checkpoint | None = None
        self._newest_view: SnapshotState | None = None
        self._last: CosignedCheckpoint | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="ledger-cosigning", daemon=True)
        self._thread.start()

    def missing(self) -> Mapping[MemberId, ShuiqiaoError]:
        """Return whose cosignature the last answer lacked, each with the reason."""
        with self._condition:
            return {} if self._last is None else dict(self._last.missing)

    def offer(self, checkpoint: Checkpoint, *, view: SnapshotState) -> None:
        """Have a checkpoint of the log's own signature cosigned; one that is older than another offered is left out.

        view: the state behind it, which is handed out with it. States behind checkpoints that lie far behind this one
        are let go [STORE-27]: a caller that waits for one of them is given a larger one.
        """
        with self._condition:
            self._let_go(below_size=checkpoint.size - MAX_LEAVES_BEHIND)
            offered = self._offered
            if not self._covers(checkpoint.size) and (offered is None or checkpoint.size > offered.checkpoint.size):
                self._offered = _Offer(checkpoint, view)
                self._condition.notify_all()

    def require(self, checkpoint: Checkpoint, *, view: SnapshotState | None) -> None:
        """Have a checkpoint cosigned and published before any larger one, because it closes an epoch.

        view: the state behind it, None where that is no longer known: then it is published, and not handed out.
        """
        with self._condition:
            if all(checkpoint.size != offer.checkpoint.size for offer in self._required):
                self._required.append(_Offer(checkpoint, view))
                self._condition.notify_all()

    def _let_go(self, *, below_size: int) -> None:
        if self._newest is not None and self._newest.size < below_size:
            self._newest_view = None
        for offer in self._required:
            if offer.checkpoint.size < below_size:
                offer.view = None

    def newest(self) -> Checkpoint | None:
        """Return the largest checkpoint that has its quorum, None before the first."""
        with self._condition:
            return self._newest

    def wait_for(self, size: int, *, timeout_s: float) -> Confirmed:
        """Return a checkpoint with its quorum that covers a number of leaves.

        Raises Unavailable ``ledger.quorum_not_reached`` after the time, naming who is missing.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._at_hand(size) or self._is_closing, timeout=timeout_s)
            found = self._at_hand(size)
            if found is not None:
                return found
        missing = ", ".join(self._last.missing) if self._last is not None else "all"
        raise Unavailable(
            "ledger.quorum_not_reached",
            f"no checkpoint of {size} leaves has its quorum of cosignatures yet; missing: {missing}",
            next_step="wait, or look why these witnesses do not answer",
            retry_after_s=self._retry_s,
        )

    def close(self) -> None:
        """Stop asking; what is being asked now is waited for, at most for the collector's time."""
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
        self._thread.join()

    def _covers(self, size: int) -> bool:
        return self._newest is not None and self._newest.size >= size

    def _at_hand(self, size: int) -> Confirmed | None:
        """Return the newest one with the state behind it if it covers a size, None where that state was let go."""
        if self._newest is None or self._newest_view is None or self._newest.size < size:
            return None
        return Confirmed(checkpoint=self._newest, view=self._newest_view)

    def _next(self) -> _Offer | None:
        return self._required[0] if self._required else self._offered

    def _run(self) -> None:
        while self._serve_next():
            pass

    def _serve_next(self) -> bool:
        """Wait for an offer and ask the witnesses once; tell whether to go on."""
        with self._condition:
            self._condition.wait_for(lambda: self._next() is not None or self._is_closing)
            offer = self._next()
            if self._is_closing or offer is None:
                return False
        result = self._ask(offer.checkpoint)
        if result is not None and not result.still_needed:
            self._hand_out(result, offer)
        else:
            self._await_retry()
        return True

    def _ask(self, checkpoint: Checkpoint) -> CosignedCheckpoint | None:
        try:
            self._last = self._collect(checkpoint)
        except Exception:  # noqa: BLE001 - whatever breaks one round, the next one may succeed
            return None
        return self._last

    def _hand_out(self, result: CosignedCheckpoint, offer: _Offer) -> None:
        is_published = self._is_published(result)
        with self._condition:
            is_required = bool(self._required) and self._required[0] is offer
            if is_required and is_published:
                self._required.popleft()
            if offer.view is not None:
                self._newest, self._newest_view = result.checkpoint, offer.view
            if self._offered is not None and self._offered.checkpoint.size <= offer.checkpoint.size:
                # Witnesses do not go back, and this one covers it.
                self._offered = None
            self._condition.notify_all()
        if is_required and not is_published:
            self._await_retry()

    def _is_published(self, result: CosignedCheckpoint) -> bool:
        try:
            self._publish(result)
        except Exception:  # noqa: BLE001 - who stores has its own faults, the checkpoint is cosigned
            return False
        return True

    def _await_retry(self) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._is_closing, timeout=self._retry_s)


@dataclass(slots=True, eq=False)
class _Offer:
    """A checkpoint to be cosigned, and the state behind it."""

    checkpoint: Checkpoint
    view: SnapshotState | None
