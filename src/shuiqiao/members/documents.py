"""Whether a signed document that travels between institutions is a member's word: by which of its keys [MEMBER-26].

Today's signing key signs anything. A key that was replaced may be in a thief's hands, so it counts only for a document
whose digest the member itself put on the ledger: what was rightly signed stays good, and nothing new can be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shuiqiao.ledger.transactions.document import verify_document
from shuiqiao.members.roster import member_record, signing_key_named

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.model import StateView
    from shuiqiao.ledger.transactions.document import Document


def verify_signed_by(
    document: Document[Any], *, member: MemberId, state: StateView, suite: CipherSuite, is_recorded: bool
) -> None:
    """Return if a member, and nobody else, signed a document.

    is_recorded: an entry of this very member on the ledger holds the digest of what is signed. Raises Denied
    ``members.unknown``, IntegrityError ``ledger.document_signers_wrong`` or ``crypto.signature_invalid``.
    """
    named = signing_key_named(state, member, document.signatures[0].key_id) if is_recorded else None
    key: bytes = member_record(state, member)["sign"] if named is None else named
    verify_document(document, public_keys=(key,), suite=suite)
