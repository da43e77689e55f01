"""The witness: cosigns a log's checkpoints, each only if it extends the one before, and never two histories.

By c2sp.org/tlog-witness; the steps of ``cosign`` are numbered as in docs/spec/checkpoints.md section 3. What was
cosigned last is on the medium before a cosignature leaves this object (``WitnessFile``): a killed witness never
contradicts itself [WITNESS-3].
Proof of a fork is kept and ends all cosigning of that log for ever. It neither fetches checkpoints nor reads the log:
the caller that submits a checkpoint brings the proof, and need not be believed.

LIMIT: a witness that loses its folder begins anew and could be led to a second history; its key must be retired.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from shuiqiao.base.clock import MS_PER_SECOND, Clock
from shuiqiao.base.durable import SYSTEM_DISK, Disk, replace_file
from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import open_regular, read_regular
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import CipherSuite, SigningKey
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature
from shuiqiao.ledger.checkpoints.note import verify_log_signature
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import (
    Checkpoint,
    decode_signed_note,
    encode_text,
    read_checkpoint,
    verify_extension,
)
from shuiqiao.ledger.clock_check import require_not_ahead
from shuiqiao.ledger.log.tree import HASH_BYTES, MAX_PATH, empty_root
from shuiqiao.ledger.store.alarm_file import AlarmFile, ForkAlarm, ForkKind
from shuiqiao.ledger.store.lock import FolderLock
from shuiqiao.ledger.witness.fork_evidence import (
    MAX_EVIDENCE_BYTES,
    ForkEvidence,
    decode_evidence,
    encode_evidence,
    fork_kind,
)

MAX_PROOF: Final = MAX_PATH + 2
"""Longest consistency path, in hashes, with the root that one from a power of two may leave out; C2SP allows 63."""

TimeAt = Callable[[int], int]
"""Return the time of the last block that a checkpoint of a size covers, in milliseconds."""

PolicyAt = Callable[[int], CheckpointPolicy]
"""Return the policy that judges the checkpoint of a size [EPOCH-4]."""

_FOLDER_BYTES = 16


class Witness:
    """One member's witness of any number of logs, safe between threads; one process at a time per folder.

    Example::

        witness.watch(policy)
        line = witness.cosign(note, old_size=witness.witnessed_size(origin), proof=proof)
    """

    def __init__(
        self,
        folder: Path,
        *,
        member: MemberId,
        key: SigningKey,
        suite: CipherSuite,
        clock: Clock,
        disk: Disk | None = None,
        former_keys: Iterable[SigningKey] = (),
    ) -> None:
        """Open or create the witness's folder, in an existing one; raises Unavailable ``ledger.locked``.

        former_keys: of epochs whose last checkpoint may still be cosigned.
        """
        self.member = member
        self._folder = folder
        self._key = key
        self._keys = {each.public_key: each for each in (*former_keys, key)}
        self._suite = suite
        self._clock = clock
        self._disk = disk or SYSTEM_DISK
        _make_folder(folder, disk=self._disk)
        self._lock = FolderLock(folder)
        self._is_closed = False
        self._logs: dict[str, _WatchedLog] = {}

    def add_key(self, key: SigningKey) -> None:
        """Cosign with another key from now on, where the policy names it or names none of ours."""
        self._keys, self._key = {**self._keys, key.public_key: key}, key

    def watch(
        self, policy: CheckpointPolicy, *, policy_at: PolicyAt | None = None, time_at: TimeAt | None = None
    ) -> None:
        """Cosign the log of a policy from now on; a later policy of the same log takes the place of the former.

        policy_at: the policy that judges a checkpoint of a size, for a log whose epochs are known as it grows; None
        where one policy judges all. time_at: from this member's own copy of the log; without a copy block times are not
        judged [LEDGER-TIME-2]. Raises IntegrityError ``ledger.witness_record_damaged``, ``ledger.alarm_damaged``,
        ``ledger.evidence_malformed``.
        """
        known = self._logs.get(policy.origin)
        if known is not None:
            known.adopt(policy_at or (lambda _size: policy))
            return
        name = self._suite.digest(policy.origin.encode())[:_FOLDER_BYTES].hex()
        self._logs[policy.origin] = _WatchedLog(
            self._folder / name,
            origin=policy.origin,
            policy_at=policy_at or (lambda _size: policy),
            time_at=time_at,
            suite=self._suite,
            clock=self._clock,
            disk=self._disk,
        )

    def witnessed_size(self, origin: str) -> int:
        """Return the size cosigned last, 0 before the first; InvalidInput ``ledger.witness_origin_unknown``."""
        return self._log(origin).size()

    def alarm(self, origin: str) -> ForkAlarm | None:
        """Return the alarm that ended the cosigning of a log; InvalidInput ``ledger.witness_origin_unknown``."""
        return self._log(origin).alarm

    def evidence(self, origin: str) -> bytes | None:
        """Return what proves the fork to anybody (``verify_fork_evidence``), None if there is no alarm."""
        evidence = self._log(origin).evidence
        return None if evidence is None else encode_evidence(evidence)

    def cosign(self, note: bytes, *, old_size: int, proof: Sequence[bytes]) -> bytes:
        """Return this member's cosignature line over a checkpoint that extends the one it cosigned last.

        old_size: the size this witness cosigned last, as the caller believes. proof: RFC 6962 consistency path from it.
        Raises InvalidInput ``ledger.witness_origin_unknown``, ``ledger.witness_request_invalid``; what
        ``verify_log_signature`` raises; Conflict ``ledger.witness_size_stale``; IntegrityError
        ``ledger.consistency_broken``, ``ledger.fork_detected``; Unavailable ``ledger.block_time_ahead``,
        ``ledger.witness_not_stored``, ``ledger.witness_away`` once it was closed.
        """
        # Step 1: a log that is watched.
        log = self._log(decode_signed_note(note).head.origin)
        if self._is_closed and log.alarm is None:
            raise Unavailable("ledger.witness_away", f"the witness of {self.member} was closed")
        checkpoint, time_s = log.accept(note, old_size=old_size, proof=proof)
        # Step 9: only now, with the record on the medium, there is a cosignature.
        return sign_cosignature(
            encode_text(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root),
            name=f"{checkpoint.origin}/{self.member}",
            key=self._key_at(log.policy_at(checkpoint.size)),
            suite=self._suite,
            time_s=time_s,
        )

    def _key_at(self, policy: CheckpointPolicy) -> SigningKey:
        """Return the key that a policy names for this member; the newest where it names none of ours."""
        return self._keys.get(policy.witnesses.get(self.member, b""), self._key)

    def close(self) -> None:
        """Release the folder; later requests are refused, as this witness is away."""
        if not self._is_closed:
            self._is_closed = True
            self._lock.release()

    def _log(self, origin: str) -> _WatchedLog:
        log = self._logs.get(origin)
        if log is None:
            raise InvalidInput("ledger.witness_origin_unknown", f"{self.member} does not witness {origin[:100]!r}")
        return log


class _WatchedLog:
    """What a witness knows of one log, and the decision whether a checkpoint may be cosigned."""

    def __init__(
        self,
        folder: Path,
        *,
        origin: str,
        policy_at: PolicyAt,
        time_at: TimeAt | None,
        suite: CipherSuite,
        clock: Clock,
        disk: Disk,
    ) -> None:
        self._origin = origin
        self.policy_at = policy_at
        self._time_at = time_at
        self._suite = suite
        self._clock = clock
        self._disk = disk
        self._lock = threading.Lock()
        _make_folder(folder, disk=disk)
        self._file = WitnessFile(folder, origin=origin, disk=disk)
        self._alarm_file = AlarmFile(folder, disk=disk)
        self._evidence_path = folder / "evidence"
        self._record: WitnessRecord | None = self._load()
        self.evidence = self._load_evidence()
        self.alarm = self._load_alarm()

    def adopt(self, policy_at: PolicyAt) -> None:
        """Judge by other policies of the same log from now on."""
        with self._lock:
            self.policy_at = policy_at

    def size(self) -> int:
        """Return the size cosigned last."""
        with self._lock:
            return self._current().size

    def accept(self, note: bytes, *, old_size: int, proof: Sequence[bytes]) -> tuple[Checkpoint, int]:
        """Return the checkpoint and the second in which it may be cosigned, once that is on record ([WITNESS-2])."""
        with self._lock:
            # Step 2: no cosignature more for a log that was caught.
            self._require_sound()
            # Step 3: the log itself signed it.
            policy = self.policy_at(decode_signed_note(note).head.size)
            checkpoint = verify_log_signature(note, policy=policy, suite=self._suite)
            record = self._current()
            # Step 4: two roots of one size are a fork, whatever else the request says.
            self._require_one_root(checkpoint, record)
            # Step 5: the caller knows what was cosigned last.
            _require_size(checkpoint, record, old_size=old_size, proof=proof)
            # Step 6: nothing of it was taken back.
            self._require_extension(checkpoint, record, proof=proof)
            # Step 7: no time that has not come yet [LEDGER-TIME-2].
            if self._time_at is not None and checkpoint.size:
                require_not_ahead(now_ms=self._clock.now_ms(), block_ms=self._time_at(checkpoint.size))
            # Step 8: on record, and time does not run backwards [WITNESS-4].
            time_s = max(self._clock.now_ms() // MS_PER_SECOND, record.time_s, 1)
            self._store(checkpoint, time_s=time_s)
            return checkpoint, time_s

    def _require_one_root(self, checkpoint: Checkpoint, record: WitnessRecord) -> None:
        if checkpoint.size == record.size and checkpoint.root != record.root:
            if not record.note:
                raise _broken(checkpoint, "an empty log has one root only")
            raise self._raise_alarm(checkpoint, record, kind=ForkKind.ROOT_DIFFERS, proof=())

    def _require_extension(self, checkpoint: Checkpoint, record: WitnessRecord, *, proof: Sequence[bytes]) -> None:
        try:
            verify_extension(_checkpoint(record), checkpoint, path=proof, hash_name=self._suite.hash_name)
        except IntegrityError:
            # A path that leads to the signed root, but from another past, is proof; any other is only a bad request.
            kind = fork_kind(_checkpoint(record), checkpoint, proof=proof, hash_name=self._suite.hash_name)
            if kind is None:
                raise
            raise self._raise_alarm(checkpoint, record, kind=kind, proof=proof) from None

    def _store(self, checkpoint: Checkpoint, *, time_s: int) -> None:
        record = WitnessRecord(
            origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root, time_s=time_s, note=checkpoint.note
        )
        # Until the disk has answered it is unknown which record is there: then the next request reads it again.
        self._record = None
        try:
            self._file.save(record)
        except OSError as error:
            raise Unavailable(
                "ledger.witness_not_stored",
                f"{self._file.path} could not be written: {error.strerror or error}; nothing was cosigned",
                next_step="free disk space or check the disk, then ask again",
            ) from error
        self._record = record

    def _current(self) -> WitnessRecord:
        if self._record is None:
            self._record = self._load()
        return self._record

    def _load(self) -> WitnessRecord:
        empty = WitnessRecord(
            origin=self._origin,
            size=0,
            root=empty_root(hash_name=self._suite.hash_name),
            time_s=0,
            note=b"",
        )
        return self._file.load() or empty

    # Alarms

    def _raise_alarm(
        self, checkpoint: Checkpoint, record: WitnessRecord, *, kind: ForkKind, proof: Sequence[bytes]
    ) -> IntegrityError:
        self.evidence = ForkEvidence(old_note=record.note, new_note=checkpoint.note, proof=tuple(proof))
        self.alarm = self._alarm_of(_checkpoint(record), checkpoint, kind=kind)
        self._store_alarm()
        return _fork_detected(self.alarm)

    def _alarm_of(self, old: Checkpoint, new: Checkpoint, *, kind: ForkKind) -> ForkAlarm:
        return ForkAlarm(
            kind=kind,
            found_ms=self._clock.now_ms(),
            own_size=old.size,
            own_root=old.root,
            own_note=old.note,
            new_note=new.note,
            detail=f"root {old.root.hex()} of {old.size} leaves is signed, and root {new.root.hex()} of {new.size} too",
        )

    def _store_alarm(self) -> None:
        """Store the evidence, then the alarm that follows from it ([WITNESS-6])."""
        if self.alarm is None or self.evidence is None or self._alarm_file.path.exists():
            return
        # A full disk must not turn the alarm into a pardon: it stands in memory, and is stored at the next occasion.
        with contextlib.suppress(OSError):
            replace_file(self._evidence_path, encode_evidence(self.evidence), disk=self._disk)
            self._alarm_file.save(self.alarm)

    def _load_evidence(self) -> ForkEvidence | None:
        if not self._evidence_path.exists():
            return None
        with open_regular(self._evidence_path) as file:
            return decode_evidence(file.read(MAX_EVIDENCE_BYTES + 1))

    def _load_alarm(self) -> ForkAlarm | None:
        stored = self._alarm_file.load()
        if stored is not None or self.evidence is None:
            return stored
        # It was killed between the two files.
        old, new = (read_checkpoint(note) for note in (self.evidence.old_note, self.evidence.new_note))
        kind = ForkKind.ROOT_DIFFERS if old.size == new.size else ForkKind.NOT_AN_EXTENSION
        return self._alarm_of(old, new, kind=kind)

    def _require_sound(self) -> None:
        if self.alarm is not None:
            self._store_alarm()
            raise _fork_detected(self.alarm)


def _require_size(checkpoint: Checkpoint, record: WitnessRecord, *, old_size: int, proof: Sequence[bytes]) -> None:
    """Return if the request starts from what was cosigned last [WITNESS-5]."""
    if not 0 <= old_size <= checkpoint.size or len(proof) > MAX_PROOF:
        raise InvalidInput(
            "ledger.witness_request_invalid",
            f"a proof of {len(proof)} hashes from {old_size} leaves does not lead to {checkpoint.size}",
        )
    if any(len(item) != HASH_BYTES for item in proof):
        # Two halves of a node could be cut at another place, and pass for another past.
        raise InvalidInput("ledger.witness_request_invalid", f"a hash of the proof has not {HASH_BYTES} bytes")
    if old_size != record.size:
        raise Conflict(
            "ledger.witness_size_stale",
            f"the request proves from {old_size} leaves, this witness last cosigned {record.size}",
            next_step=f"send the consistency proof from {record.size} leaves, or a newer checkpoint",
        )


def _make_folder(folder: Path, *, disk: Disk) -> None:
    """Make a folder that is still there after a power cut, as everything stored in it has to be."""
    folder.mkdir(exist_ok=True)
    disk.sync_folder(folder.parent)


def _checkpoint(record: WitnessRecord) -> Checkpoint:
    return Checkpoint(origin=record.origin, size=record.size, root=record.root, note=record.note)


def _broken(checkpoint: Checkpoint, reason: str) -> IntegrityError:
    return IntegrityError(
        "ledger.consistency_broken", f"root {checkpoint.root.hex()} of {checkpoint.size} leaves: {reason}"
    )


def _fork_detected(alarm: ForkAlarm) -> IntegrityError:
    return IntegrityError(
        "ledger.fork_detected",
        f"the log signed two histories ({alarm.kind}): {alarm.detail}",
        next_step="give the evidence to the regulator and the other members; this log is not cosigned again",
    )


RECORD_VERSION: Final = 1
MAX_RECORD_BYTES: Final = 20_000
"""A note of 16,384 bytes and a few numbers."""

_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessRecord:
    """The last checkpoint cosigned; size 0 and an empty note before the first [WITNESS-1]."""

    origin: str
    size: int
    root: bytes
    time_s: int
    note: bytes
    """The log's own signed note, kept as evidence for the day on which it says something else."""


class WitnessFile:
    """``last`` in the folder of one log."""

    def __init__(self, folder: Path, *, origin: str, disk: Disk) -> None:
        self.path = folder / "last"
        self._origin = origin
        self._disk = disk

    def load(self) -> WitnessRecord | None:
        """Return the record, None before the first; raises IntegrityError ``ledger.witness_record_damaged``."""
        try:
            data = read_regular(self.path, max_bytes=_DIGEST_BYTES + MAX_RECORD_BYTES)
        except FileNotFoundError:
            return None
        try:
            record = _decode(data)
        except (ShuiqiaoError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._damaged(str(error)) from error
        if record.origin != self._origin:
            raise self._damaged(f"it is of {record.origin!r}, not of {self._origin!r}")
        return record

    def save(self, record: WitnessRecord) -> None:
        """Replace the record; it is on the medium when this returns. Raises OSError, and then either one is there."""
        body = encode_cbor({"version": RECORD_VERSION, **asdict(record)})
        replace_file(self.path, hashlib.sha256(body).digest() + body, disk=self._disk)

    def _damaged(self, reason: str) -> IntegrityError:
        return IntegrityError(
            "ledger.witness_record_damaged",
            f"{self.path} cannot be read: {reason}",
            next_step="retire this witness key: without its record it could cosign a second history",
        )


def _decode(data: bytes) -> WitnessRecord:
    digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("its digest does not hold")
    fields: dict[str, Any] = decode_cbor_strict(body, max_bytes=MAX_RECORD_BYTES)
    version = fields.pop("version")
    if version != RECORD_VERSION:
        raise ValueError(f"it has version {version}, not {RECORD_VERSION}")
    return WitnessRecord(**fields)
