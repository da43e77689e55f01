"""What an enterprise signs to log in at an institution: that a key of its own proves who it claims to be there.

At its bureau a taxpayer proves its enrolment key, at a bank the key of a consent, never the enrolment key. The document
is bound to the network, the institution and the claim::

    node.enterprise_login/1  {"institution": text, "claim": text, "challenge": bytes}
    claim                    "taxpayer:<number>" at a bureau, "consent:<provider>/<id in hex>" at a bank
    challenge                of the institution, good once and soon; ``node/accounts/challenges`` makes and takes it

Pure: no clock, no ledger, no storage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.ids import OWNED_ID_CHARS, OWNED_ID_PATTERN
from shuiqiao.base.wire import MemberName
from shuiqiao.ledger.transactions.document import decode_document, sign_document

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.transactions.document import Document

LOGIN_DOCUMENT: Final = "node.enterprise_login/1"
MAX_LOGIN_BYTES: Final = 1024

CONSENT_CLAIM: Final = "consent:"
TAXPAYER_CLAIM: Final = "taxpayer:"
"""How what an enterprise proves to be begins: the owned id of a consent, or a taxpayer number, follows."""

STAMP_BYTES: Final = 8
RANDOM_BYTES: Final = 16
TAG_BYTES: Final = 32
CHALLENGE_BYTES: Final = STAMP_BYTES + RANDOM_BYTES + TAG_BYTES

_CLAIM: Final = rf"^(taxpayer:[0-9A-Za-z_-]{{1,32}}|consent:{OWNED_ID_PATTERN[1:-2]})\Z"


class EnterpriseLoginBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an enterprise signs to be let in."""

    institution: MemberName
    claim: Annotated[str, Meta(pattern=_CLAIM, max_length=len(CONSENT_CLAIM) + OWNED_ID_CHARS)]
    challenge: Annotated[bytes, Meta(min_length=CHALLENGE_BYTES, max_length=CHALLENGE_BYTES)]


def sign_login(
    challenge: bytes, *, claim: str, institution: str, network: bytes, key: SigningKey, suite: CipherSuite
) -> bytes:
    """Return the document by which an enterprise answers a challenge; for its own program, never a server."""
    body = EnterpriseLoginBody(institution=institution, claim=claim, challenge=challenge)
    return sign_document(body, name=LOGIN_DOCUMENT, network=network, suite=suite, keys=(key,))


def decode_login(raw: bytes, *, network: bytes, suite: CipherSuite) -> Document[EnterpriseLoginBody]:
    """Return a login in outside bytes, its signature not verified; raises InvalidInput ``ledger.document_*``."""
    return decode_document(
        raw, EnterpriseLoginBody, name=LOGIN_DOCUMENT, network=network, suite=suite, max_bytes=MAX_LOGIN_BYTES
    )
