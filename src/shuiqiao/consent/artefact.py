"""The artefact as bytes: signing, reading, the salted commitment, and the rules an artefact must keep by itself.

Rule: docs/spec/consent-exchange.md [CONSENT-1], [CONSENT-4], [CONSENT-5]. Pure: no clock, no ledger, no storage.
"""

from __future__ import annotations

from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.consent.ceilings import period_months
from shuiqiao.consent.model import MAX_ARTEFACT_BYTES, ConsentArtefact, Endorsement, Grant, Mode, is_whole_hours
from shuiqiao.consent.standing import verify_binding
from shuiqiao.consent.text import verify_text
from shuiqiao.crypto.model import CipherSuite, SigningKey
from shuiqiao.ledger.transactions.document import decode_document, sign_document, verify_document
from shuiqiao.standards.model import CORE_GROUP, Catalogue

ARTEFACT = "consent.artefact/2"
ENDORSEMENT = "consent.endorsement/1"

_COMMITMENT = b"shuiqiao/consent/commitment/1\x00"
_FIRM = b"shuiqiao/consent/firm/1\x00"


def encode_artefact(artefact: ConsentArtefact, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return an artefact signed by its consent key; raises InvalidInput for one that breaks a rule [CONSENT-5]."""
    verify_new_artefact(artefact)
    verify_binding(artefact, suite=suite)
    verify_text(artefact, suite=suite)
    if key.public_key != artefact.key:
        raise InvalidInput("consent.key_mismatch", "the artefact names another consent key than the one that signs it")
    return sign_document(artefact, name=ARTEFACT, network=network, suite=suite, keys=(key,))


def decode_artefact(raw: bytes, *, network: bytes, suite: CipherSuite) -> ConsentArtefact:
    """Return the artefact in outside bytes, its signature and its own rules verified [CONSENT-1].

    Raises InvalidInput (``ledger.document_*``, ``consent.artefact_invalid``, ``consent.text_mismatch``) or
    IntegrityError for the signature.
    """
    document = decode_document(
        raw, ConsentArtefact, name=ARTEFACT, network=network, suite=suite, max_bytes=MAX_ARTEFACT_BYTES
    )
    verify_document(document, public_keys=(document.body.key,), suite=suite)
    verify_artefact_rules(document.body)
    verify_binding(document.body, suite=suite)
    verify_text(document.body, suite=suite)
    return document.body


def encode_endorsement(
    artefact: ConsentArtefact, *, artefact_bytes: bytes, network: bytes, suite: CipherSuite, key: SigningKey
) -> bytes:
    """Return the enrolment key's signed statement that an artefact is its taxpayer's."""
    body = Endorsement(
        consent=artefact.consent, taxpayer=artefact.taxpayer, artefact_digest=suite.digest(artefact_bytes)
    )
    return sign_document(body, name=ENDORSEMENT, network=network, suite=suite, keys=(key,))


def verify_endorsement(
    raw: bytes, *, artefact_bytes: bytes, taxpayer: str, enrolment_key: bytes, network: bytes, suite: CipherSuite
) -> None:
    """Return if the taxpayer's enrolment key stands behind exactly this artefact.

    Raises Denied ``consent.taxpayer_mismatch`` for another taxpayer's or artefact's endorsement, IntegrityError for
    the signature.
    """
    document = decode_document(
        raw, Endorsement, name=ENDORSEMENT, network=network, suite=suite, max_bytes=MAX_ARTEFACT_BYTES
    )
    verify_document(document, public_keys=(enrolment_key,), suite=suite)
    if document.body.taxpayer != taxpayer or document.body.artefact_digest != suite.digest(artefact_bytes):
        raise Denied(
            "consent.taxpayer_mismatch",
            f"the endorsement of consent {document.body.consent.hex()} is for another taxpayer or artefact",
        )


def firm_tag(enrolment_key: bytes, *, network: bytes, suite: CipherSuite) -> bytes:
    """Return the tag under which an enterprise is counted as one firm without being named [CONSENT-18].

    Only the bureau and the enterprise know the enrolment key, so nobody else can find the tag of a taxpayer number.
    """
    return suite.digest(_FIRM + network + enrolment_key)


def commitment_of(artefact_bytes: bytes, *, salt: bytes, suite: CipherSuite) -> bytes:
    """Return the salted commitment to an artefact: all the ledger knows of its content [CONSENT-4]."""
    return suite.digest(_COMMITMENT + salt + artefact_bytes)


def verify_commitment(artefact: ConsentArtefact, *, artefact_bytes: bytes, grant: Grant, suite: CipherSuite) -> None:
    """Return if the ledger's grant is for exactly this artefact.

    Raises IntegrityError ``consent.commitment_mismatch`` when commitment, key, parties, purpose or window differ.
    """
    expected = (
        artefact.name, artefact.provider, artefact.recipient, artefact.purpose, artefact.valid_from_ms,
        artefact.valid_to_ms, artefact.key, commitment_of(artefact_bytes, salt=artefact.salt, suite=suite),
    )  # fmt: skip
    found = (
        grant.consent, grant.provider, grant.recipient, grant.purpose, grant.valid_from_ms,
        grant.valid_to_ms, grant.key, grant.commitment,
    )  # fmt: skip
    if expected != found:
        raise IntegrityError(
            "consent.commitment_mismatch",
            f"consent {grant.consent} on the ledger was made for another artefact than this one",
        )


def verify_new_artefact(artefact: ConsentArtefact) -> None:
    """Return if a new artefact keeps its rules [CONSENT-5]; raises InvalidInput ``consent.artefact_invalid``."""
    verify_artefact_rules(artefact)
    # Those of earlier releases may lack them, and nothing is scored under one that does.
    if artefact.outputs is None and Mode.SCORE in artefact.modes:
        raise _invalid(f"the mode {Mode.SCORE} is granted without saying which outputs may leave")


def verify_artefact_rules(artefact: ConsentArtefact) -> None:
    """Return if the artefact makes sense by itself; raises InvalidInput ``consent.artefact_invalid`` [CONSENT-5]."""
    if artefact.provider == artefact.recipient:
        raise _invalid(f"{artefact.provider} is both provider and recipient")
    if artefact.valid_to_ms <= artefact.valid_from_ms:
        raise _invalid(f"it ends at {artefact.valid_to_ms} ms, not after it begins at {artefact.valid_from_ms} ms")
    if not is_whole_hours(artefact.valid_from_ms, artefact.valid_to_ms):
        raise _invalid(f"from {artefact.valid_from_ms} to {artefact.valid_to_ms} ms is not a window of whole hours")
    period_months(artefact.period_from, artefact.period_to)
    _expect_ordered([str(mode) for mode in artefact.modes], what="modes")
    if artefact.outputs is not None and Mode.SCORE not in artefact.modes:
        raise _invalid(f"outputs are named without the mode {Mode.SCORE}")
    _expect_ordered([str(output) for output in artefact.outputs or ()], what="outputs")
    for type_id, groups in artefact.items.items():
        _expect_ordered(groups, what=f"groups of {type_id}")
        if CORE_GROUP not in groups:
            raise _invalid(f"{type_id} lacks the group {CORE_GROUP}, without which nobody can tell whose record it is")


def verify_items(artefact: ConsentArtefact, *, catalogue: Catalogue) -> None:
    """Return if the standard has each record type and group that an artefact names.

    Raises InvalidInput ``standards.type_unknown``, ``standards.group_unknown``.
    """
    for type_id, groups in artefact.items.items():
        for group in groups:
            catalogue.get(type_id).group(group)


def _expect_ordered(values: list[str], *, what: str) -> None:
    if values != sorted(set(values)):
        raise _invalid(f"{what} {values} are not in order, each once")


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("consent.artefact_invalid", message)
