"""What each party of a joint computation keeps of it, so that one that departed from what was agreed can be named.

Rule: docs/spec/secure.md [SECURE-18] to [SECURE-20]; JR/T 0196-2020, 7.6. Three forms:

* the *log*: what was agreed, and commitments to what the party put in and got out. Each party signs its own as soon as
  its half ended; the ledger holds its digest (``computation.record``);
* the *evidence*: the log with what opens its commitments, and what these rest on. A party seals it to a regulator;
* the file that carries sealed evidence: who made it, of which request, for whom.

Nothing in a log lets its reader learn a number: every commitment is salted. Pure: no clock, no ledger, no storage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.base.wire import CalendarMs, Digest, Id, MemberName, OwnedRef, Salt
from shuiqiao.consent.model import MAX_TYPES, Output
from shuiqiao.exchange.model import MAX_MANIFEST_BYTES, MAX_REQUEST_BYTES, computation_key
from shuiqiao.exchange.modes.score import MAX_SCORE_BYTES, MAX_SHARE_BYTES
from shuiqiao.ledger.transactions.document import decode_document, sign_document, to_plain
from shuiqiao.members.roster import verify_signed_by
from shuiqiao.privacy.secure.model import MAX_CUTS, MAX_INDICATORS, TAG_BYTES
from shuiqiao.standards.model import StandardId
from shuiqiao.vault.model import LeafRef

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shuiqiao.crypto.model import CipherSuite, SealingKey, SigningKey
    from shuiqiao.ledger.model import StateView

LOG: Final = "exchange.computation_log/1"

MAX_LOG_BYTES: Final = 4_096
MAX_VALUES: Final = MAX_INDICATORS + MAX_CUTS
MAX_PART_BYTES: Final = 4 << 20
"""Of the records that a bureau shows: some 20,000 invoices with two groups."""

MAX_EVIDENCE_BYTES: Final = 5 << 20
"""Of one party's file, so that its text fits one answer of the API."""

MAX_EVIDENCE_FILE_BYTES: Final = MAX_EVIDENCE_BYTES + 4_096

_INDEX_BYTES: Final = 4
_NAME_BYTES: Final = 16 + _INDEX_BYTES
_COMMITMENT: Final = b"shuiqiao/exchange/computation/1\x00"
_SEALED: Final = b"shuiqiao/exchange/evidence/1\x00"

Part = Annotated[bytes, Meta(max_length=MAX_PART_BYTES)]
Numbers = Annotated[list[Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]], Meta(max_length=MAX_VALUES)]


class ComputationLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One party's log of one run, which it signs."""

    party: MemberName
    other: MemberName
    request: OwnedRef
    binding: Digest
    """SHA-256 of the request [SECURE-7]."""
    model: OwnedRef
    model_digest: Digest
    output: Output
    function: Digest
    """Of what was computed [SECURE-3]."""
    configuration: Digest
    """SHA-256 of what both compute by."""
    agreed: Annotated[bytes, Meta(min_length=TAG_BYTES, max_length=TAG_BYTES)]
    """Of what both compared before the run: request, function, configuration and compiled code."""
    session: Id
    bank_certificate: Digest
    bureau_certificate: Digest
    """SHA-256 of what each showed the other of the link."""
    inputs: Digest
    """Salted commitment to the numbers that the party put in."""
    share: Digest
    """Salted commitment to its share of the result."""
    began_ms: CalendarMs
    ended_ms: CalendarMs


class PartyEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What opens a party's log, and what that rests on; what the party does not have is left out."""

    log: Annotated[bytes, Meta(max_length=MAX_LOG_BYTES)]
    salt: Salt
    """Opens both commitments of the log."""
    inputs: Numbers
    share: Annotated[bytes, Meta(max_length=MAX_SHARE_BYTES)]
    message: Annotated[bytes, Meta(max_length=MAX_REQUEST_BYTES)]
    """The request, as the bank signed it."""
    content: Annotated[bytes, Meta(max_length=1 << 20)]
    content_salt: Salt
    """The registered model, and what opens the ledger's commitment to it."""
    card: Annotated[bytes, Meta(max_length=1 << 20)] | None = None
    card_salt: Salt | None = None
    """Of a bank: its card with the weights, and what opens the commitment to it in the content."""
    manifest: Annotated[bytes, Meta(max_length=MAX_MANIFEST_BYTES)] | None = None
    result: Annotated[bytes, Meta(max_length=MAX_SCORE_BYTES)] | None = None
    """Of a bank: what the bureau answered, signed by it, while the bank keeps that."""
    names: Annotated[dict[StandardId, Part], Meta(max_length=MAX_TYPES)] | None = None
    names_salt: Salt | None = None
    records: Part | None = None
    """Of a bureau: which records it read, by type, each batch and leaf index (4 bytes), with what opens its manifest;
    and the records with their proofs."""


class EvidenceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Evidence on its way to a regulator."""

    party: MemberName
    regulator: MemberName
    request: OwnedRef
    sealed: Annotated[bytes, Meta(max_length=MAX_EVIDENCE_BYTES)]


def encode_names(leaves: Iterable[LeafRef]) -> bytes:
    """Return the names of records one after the other."""
    return b"".join(leaf.batch + leaf.index.to_bytes(_INDEX_BYTES, "big") for leaf in leaves)


def decode_names(data: bytes) -> list[LeafRef]:
    """Return the records that bytes name; raises InvalidInput ``exchange.evidence_malformed``."""
    if len(data) % _NAME_BYTES:
        raise InvalidInput("exchange.evidence_malformed", f"{len(data)} bytes name no records")
    names = (data[first : first + _NAME_BYTES] for first in range(0, len(data), _NAME_BYTES))
    return [LeafRef(each[:-_INDEX_BYTES], int.from_bytes(each[-_INDEX_BYTES:], "big")) for each in names]


def committed(data: bytes, *, what: str, salt: bytes, suite: CipherSuite) -> bytes:
    """Return a salted commitment of a log. what: ``inputs`` or ``share``; salt: 32 random bytes, of one log alone."""
    return suite.digest(_COMMITMENT + what.encode() + b"\x00" + salt + data)


def encode_inputs(numbers: list[int]) -> bytes:
    """Return numbers as they are committed to."""
    return encode_cbor(numbers)


def sign_log(log: ComputationLog, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return a log signed by its party."""
    return sign_document(log, name=LOG, network=network, suite=suite, keys=(key,))


def decode_log(raw: bytes, *, party: MemberId, state: StateView, network: bytes, suite: CipherSuite) -> ComputationLog:
    """Return a party's log in outside bytes, signed by it.

    Where the ledger has this very log, a key counts that the party replaced since [MEMBER-26]. Raises InvalidInput
    ``ledger.document_*``, Denied ``members.unknown``, IntegrityError for the signature or ``exchange.log_misplaced``.
    """
    document = decode_document(raw, ComputationLog, name=LOG, network=network, suite=suite, max_bytes=MAX_LOG_BYTES)
    log = document.body
    recorded = (state.get(computation_key(log.request)) or {}).get(party)
    verify_signed_by(document, member=party, state=state, suite=suite, is_recorded=recorded == suite.digest(raw))
    if log.party != party:
        raise IntegrityError("exchange.log_misplaced", f"the log of {party} says that it is of {log.party}")
    return log


def seal_evidence(
    evidence: PartyEvidence, *, party: MemberId, regulator: MemberId, request: str, regulator_key: bytes,
    network: bytes, suite: CipherSuite,
) -> bytes:  # fmt: skip
    """Return the file that carries evidence to a regulator, which alone can read it.

    Raises InvalidInput ``exchange.evidence_too_large``.
    """
    plain = encode_cbor(to_plain(evidence))
    if len(plain) > MAX_EVIDENCE_BYTES - 4_096:
        raise InvalidInput(
            "exchange.evidence_too_large",
            f"the evidence has {len(plain)} bytes where at most {MAX_EVIDENCE_BYTES - 4_096} are sealed",
        )
    bound = _binding(network, party=party, request=request)
    sealed = suite.seal(plain, recipient=regulator_key, associated_data=bound)
    file = EvidenceFile(party=party, regulator=regulator, request=request, sealed=sealed)
    return encode_cbor(to_plain(file))


def decode_evidence_file(data: bytes) -> EvidenceFile:
    """Return what outside bytes carry; raises InvalidInput ``base.cbor_*``, ``exchange.evidence_malformed``."""
    value = decode_cbor_strict(data, max_bytes=MAX_EVIDENCE_FILE_BYTES)
    try:
        return typed(value, EvidenceFile, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidInput("exchange.evidence_malformed", f"not the evidence of a computation: {error}") from error


def open_evidence(file: EvidenceFile, *, key: SealingKey, network: bytes) -> PartyEvidence:
    """Return the evidence that a file carries to this regulator.

    Raises IntegrityError ``crypto.seal_broken``, InvalidInput ``base.cbor_*``, ``exchange.evidence_malformed``.
    """
    bound = _binding(network, party=MemberId(file.party), request=file.request)
    value = decode_cbor_strict(key.open_sealed(file.sealed, associated_data=bound), max_bytes=MAX_EVIDENCE_BYTES)
    try:
        return typed(value, PartyEvidence, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidInput("exchange.evidence_malformed", f"not the evidence of a computation: {error}") from error


def _binding(network: bytes, *, party: MemberId, request: str) -> bytes:
    return _SEALED + network + encode_cbor([party, request])
