"""The checkpoint: a C2SP signed note of exactly three lines, and when it counts.

::

    <origin>
    <size in decimal, no leading zero>
    <root in base64>

    — <origin> <base64(4-byte key hash || signature)>
    — <origin>/<member id> <base64(4-byte key hash || 8-byte time || signature)>      one for each cosigner

The operator's key name is the origin, as tlog-checkpoint recommends for a log. The key hash is
``H(name || 0x0A || type || public key)[:4]``: in an ``intl`` network H is SHA-256 and the type is 0x01 (Ed25519); in a
``gm`` network H is SM3 and the type is 0xFF followed by the ASCII text ``shuiqiao/sm2-sm3-v1``, the public key is
0x04 || x || y, and the signature is raw r || s with user id 1234567812345678 [LEDGER-NOTE-3]. A log that a quorum of
validators keeps has no operator's line.

Stricter than C2SP on purpose: a receipt must fail when any byte of it changes, so unknown signatures, extension lines
and any second spelling are refused, not ignored [LEDGER-NOTE-2] [NOTE-6]. The form is in ``signed_note.py``,
cosignatures in ``cosignature.py``. It does not decide whether a size or root is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import CipherSuite, SigningKey, SuiteName
from shuiqiao.ledger.checkpoints.cosignature import verify_cosignature
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import (
    SIGNATURE_BYTES,
    Checkpoint,
    SignatureLine,
    SignedNote,
    decode_line,
    decode_signed_note,
    decode_text,
    encode_line,
    encode_text,
    key_hash,
    malformed,
)

_KEY_TYPES = {SuiteName.INTL: b"\x01", SuiteName.GM: b"\xffshuiqiao/sm2-sm3-v1"}


def sign_checkpoint(*, origin: str, size: int, root: bytes, key: SigningKey, suite: CipherSuite) -> Checkpoint:
    """Return the checkpoint of a log, signed under the name of its origin [LEDGER-NOTE-1].

    Raises ValueError for an origin that cannot be a key name, or a size or root out of range.
    """
    text = encode_text(origin=origin, size=size, root=root)
    line = SignatureLine(
        name=origin,
        key_hash=note_key_hash(origin, public_key=key.public_key, suite=suite),
        signature=key.sign(text),
    )
    return Checkpoint(origin=origin, size=size, root=root, note=text + b"\n" + encode_line(line))


def verify_note(note: bytes, *, policy: CheckpointPolicy, suite: CipherSuite) -> Checkpoint:
    """Return what a note says, once it carries every signature that the policy asks for, and nothing else [NOTE-6].

    Raises IntegrityError ``ledger.checkpoint_malformed``, ``ledger.checkpoint_foreign``,
    ``ledger.checkpoint_signature_invalid``, ``ledger.cosigner_unknown``, ``ledger.cosignature_invalid`` or
    ``ledger.quorum_missing``.
    """
    # Step 1: one spelling, within the bounds.
    parts = decode_signed_note(note)
    # Step 2: the log of this policy.
    _require_origin(parts, policy.origin)
    # Step 3: the operator's signature comes first, where there is an operator.
    cosignatures = parts.lines
    if policy.operator_key is not None:
        _verify_operator(
            parts.lines[0], text=parts.text, origin=policy.origin, operator_key=policy.operator_key, suite=suite
        )
        cosignatures = parts.lines[1:]
    # Step 4: cosignatures of known witnesses, all holding, in order of the members, none twice.
    cosigners = [verify_cosignature(line, text=parts.text, policy=policy, suite=suite).member for line in cosignatures]
    _require_ascending(cosignatures)
    # Step 5: enough of them.
    _require_quorum(cosigners, policy)
    return _checkpoint(parts, note)


def verify_log_signature(note: bytes, *, policy: CheckpointPolicy, suite: CipherSuite) -> Checkpoint:
    """Return what a note says if the log itself signed it: what a witness asks before it cosigns.

    As C2SP tells witnesses to, it ignores every other signature, and the checkpoint returned carries none of them.
    Where no operator signs, the validators' quorum is the log's own signature. Raises what ``verify_note`` raises.
    """
    if policy.operator_key is None:
        return verify_note(note, policy=policy, suite=suite)
    parts = decode_signed_note(note)
    _require_origin(parts, policy.origin)
    expected = note_key_hash(policy.origin, public_key=policy.operator_key, suite=suite)
    own = [line for line in parts.lines if (line.name, line.key_hash) == (policy.origin, expected)]
    line = own[0] if own else parts.lines[0]
    _verify_operator(line, text=parts.text, origin=policy.origin, operator_key=policy.operator_key, suite=suite)
    return _checkpoint(parts, parts.text + b"\n" + encode_line(line))


def add_cosignatures(note: bytes, lines: Iterable[bytes], *, policy: CheckpointPolicy, suite: CipherSuite) -> bytes:
    """Return the note with cosignature lines added in their places; a line replaces an older one of the same member.

    Every cosignature is verified, those that the note carries too. Fewer than the quorum are no error here: what is
    missing is told by ``verify_note``. Raises what that raises otherwise.
    """
    parts = decode_signed_note(note)
    _require_origin(parts, policy.origin)
    own = parts.lines if policy.operator_key is None else parts.lines[1:]
    added = [*map(encode_line, own), *lines]
    if policy.operator_key is None:
        return join_note(parts.text, added, policy=policy, suite=suite)
    _verify_operator(
        parts.lines[0], text=parts.text, origin=policy.origin, operator_key=policy.operator_key, suite=suite
    )
    return parts.text + b"\n" + encode_line(parts.lines[0]) + _ordered(parts.text, added, policy=policy, suite=suite)


def join_note(text: bytes, lines: Iterable[bytes], *, policy: CheckpointPolicy, suite: CipherSuite) -> bytes:
    """Return the note of a log without operator from its text and the validators' cosignature lines, each verified.

    Raises ValueError for a log with an operator, IntegrityError as ``add_cosignatures``.
    """
    if policy.operator_key is not None:
        raise ValueError(f"the checkpoints of {policy.origin} begin with the signature of {policy.operator}")
    if decode_text(text).origin != policy.origin:
        raise _foreign(text.split(b"\n")[0].decode(), policy.origin)
    return text + b"\n" + _ordered(text, lines, policy=policy, suite=suite)


def cosigners_of(note: bytes, *, policy: CheckpointPolicy) -> tuple[MemberId, ...]:
    """Return who cosigned a note that ``verify_note`` has accepted, in order of the members."""
    lines = decode_signed_note(note).lines
    members = [policy.member_of(line.name) for line in lines]
    return tuple(member for member in members if member is not None)


def note_key_hash(name: str, *, public_key: bytes, suite: CipherSuite) -> bytes:
    """Return the four bytes by which a note names a log's key [LEDGER-NOTE-3]."""
    return key_hash(name, key_type=_KEY_TYPES[suite.name], public_key=public_key, suite=suite)


def _ordered(text: bytes, lines: Iterable[bytes], *, policy: CheckpointPolicy, suite: CipherSuite) -> bytes:
    by_member: dict[MemberId, bytes] = {}
    for line in lines:
        cosignature = verify_cosignature(decode_line(line), text=text, policy=policy, suite=suite)
        by_member[cosignature.member] = line
    return b"".join(by_member[member] for member in sorted(by_member))


def _require_origin(parts: SignedNote, origin: str) -> None:
    if parts.head.origin != origin:
        raise _foreign(parts.head.origin, origin)


def _foreign(found: str, origin: str) -> IntegrityError:
    return IntegrityError("ledger.checkpoint_foreign", f"the checkpoint is of {found[:100]!r}, not of {origin!r}")


def _verify_operator(line: SignatureLine, *, text: bytes, origin: str, operator_key: bytes, suite: CipherSuite) -> None:
    if line.name != origin:
        raise _foreign(line.name, origin)
    expected = note_key_hash(origin, public_key=operator_key, suite=suite)
    if line.key_hash != expected:
        raise IntegrityError(
            "ledger.checkpoint_foreign",
            f"the checkpoint is signed by key hash {line.key_hash.hex()}, the operator's is {expected.hex()}",
        )
    if len(line.signature) != SIGNATURE_BYTES:
        raise malformed("the operator's signature has a time")
    try:
        suite.verify_signature(public_key=operator_key, message=text, signature=line.signature)
    except IntegrityError as error:
        raise IntegrityError(
            "ledger.checkpoint_signature_invalid", f"the operator's signature does not hold: {error.message}"
        ) from error


def _require_ascending(lines: Sequence[SignatureLine]) -> None:
    names = [line.name for line in lines]
    if any(first >= second for first, second in pairwise(names)):
        raise malformed("its cosignatures are not in ascending order of their names, each once")


def _require_quorum(cosigners: Sequence[MemberId], policy: CheckpointPolicy) -> None:
    if len(cosigners) < policy.quorum:
        missing = ", ".join(member for member in policy.witnesses if member not in cosigners)
        raise IntegrityError(
            "ledger.quorum_missing",
            f"the checkpoint has {len(cosigners)} cosignatures where {policy.quorum} are needed; none of: {missing}",
        )


def _checkpoint(parts: SignedNote, note: bytes) -> Checkpoint:
    head = parts.head
    return Checkpoint(origin=head.origin, size=head.size, root=head.root, note=note)
