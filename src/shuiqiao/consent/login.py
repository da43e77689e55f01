"""What an enterprise signs to log in at an institution: that a key of its own proves who it claims to be there.

At its bureau a taxpayer proves its enrolment key, at a bank the key of a consent, never the enrolment key. The document
is bound to the network, the institution, the claim and the address that the enterprise's program reached [API-24]::

    node.enterprise_login/2  {"institution": text, "claim": text, "challenge": bytes, "origin": text}
    claim                    "taxpayer:<number>" at a bureau, "consent:<provider>/<id in hex>" at a bank
    challenge                of the institution, good once and soon; ``node/accounts/challenges`` makes and takes it
    origin                   scheme://host:port as ``members/endpoint`` spells it, its port always there; no pin

What institution and challenge are is told by whoever answers; the origin is what the program itself went to, as in
WebAuthn (W3C, Level 2, section 5.8.1), so that a server in between cannot use the signature at another one.

Pure: no clock, no ledger, no storage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.ids import OWNED_ID_CHARS, OWNED_ID_PATTERN
from shuiqiao.base.wire import MemberName
from shuiqiao.ledger.transactions.document import decode_document, sign_document
from shuiqiao.members.endpoint import MAX_ENDPOINT_CHARACTERS

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.transactions.document import Document

LOGIN_DOCUMENT: Final = "node.enterprise_login/2"
MAX_LOGIN_BYTES: Final = 1024

CONSENT_CLAIM: Final = "consent:"
TAXPAYER_CLAIM: Final = "taxpayer:"
"""How what an enterprise proves to be begins: the owned id of a consent, or a taxpayer number, follows."""

STAMP_BYTES: Final = 8
RANDOM_BYTES: Final = 16
TAG_BYTES: Final = 32
CHALLENGE_BYTES: Final = STAMP_BYTES + RANDOM_BYTES + TAG_BYTES

_ORIGIN: Final = r"^https?://[a-z0-9.:\[\]-]+:[0-9]{1,5}\Z"
_CLAIM: Final = rf"^(taxpayer:[0-9A-Za-z_-]{{1,32}}|consent:{OWNED_ID_PATTERN[1:-2]})\Z"


class EnterpriseLoginBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an enterprise signs to be let in."""

    institution: MemberName
    claim: Annotated[str, Meta(pattern=_CLAIM, max_length=len(CONSENT_CLAIM) + OWNED_ID_CHARS)]
    challenge: Annotated[bytes, Meta(min_length=CHALLENGE_BYTES, max_length=CHALLENGE_BYTES)]
    origin: Annotated[str, Meta(pattern=_ORIGIN, max_length=MAX_ENDPOINT_CHARACTERS)]


def sign_login(
    challenge: bytes,
    *,
    claim: str,
    institution: str,
    origin: str,
    network: bytes,
    key: SigningKey,
    suite: CipherSuite,
) -> bytes:
    """Return the document by which an enterprise answers a challenge; for its own program, never a server.

    origin: ``Endpoint.url`` of the address that the program reached, never what a server says of itself.
    """
    body = EnterpriseLoginBody(institution=institution, claim=claim, challenge=challenge, origin=origin)
    return sign_document(body, name=LOGIN_DOCUMENT, network=network, suite=suite, keys=(key,))


def decode_login(raw: bytes, *, network: bytes, suite: CipherSuite) -> Document[EnterpriseLoginBody]:
    """Return a login in outside bytes, its signature not verified; raises InvalidInput ``ledger.document_*``."""
    return decode_document(
        raw, EnterpriseLoginBody, name=LOGIN_DOCUMENT, network=network, suite=suite, max_bytes=MAX_LOGIN_BYTES
    )
