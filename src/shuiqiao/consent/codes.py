"""How an enterprise is enrolled from its own device: a one-time code from the bureau's counter, and a key of its own.

1. the bureau identifies the legal representative and issues a code (``EnrolmentCodes.issue``); it is told once;
2. the enterprise makes its keys on its own device and signs, with its enrolment key, what it is and the code;
3. the bureau takes the code once and registers the key (``redeem``).

The bureau never holds a private key. It may keep a backup that the enterprise encrypted on its own device, and gives
that back for a fresh code of the other purpose. A code has 60 random bits, lives a day, is kept as a keyed digest, and
ends after a million wrong ones: nobody guesses it, and no stranger ends it by some wrong ones. Every wrong attempt has
one answer, whether or not there is such a taxpayer or code.
Rule: docs/spec/consent-exchange.md [CONSENT-20], [CONSENT-21], [CONSENT-22].
"""

from __future__ import annotations

import hmac
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.encoding import typed
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.consent.enrolment import decode_backup, decode_enrolment
from shuiqiao.consent.model import IdentityCheck, TaxpayerNumber
from shuiqiao.consent.store import ConsentStore, Enrolment, IssuedCode
from shuiqiao.crypto.keyfile import verify_key_file
from shuiqiao.ledger.transactions.document import verify_document

if TYPE_CHECKING:
    from collections.abc import Collection

    from shuiqiao.base.ids import Entropy, MemberId
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter

CODE_LIFE_MS = MS_PER_DAY
"""How long a code may be used, in milliseconds."""

MAX_ATTEMPTS = 1_000_000
"""Wrong codes after which a code is worth nothing: too few to guess one of 2^60, too many for a caller's half day."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Of Crockford's Base32: no letter looks like a digit."""

_CODE_CHARS = 12
_GROUP_CHARS = 4
_LOOKALIKES = str.maketrans({"O": "0", "I": "1", "L": "1", "-": "", " ": ""})


class CodePurpose(StrEnum):
    """What a code is for."""

    ENROL = "enrol"
    REPRESENTATIVE = "representative"
    """To enrol too, by a legal representative who is a new one [CONSENT-31]."""
    RECOVER = "recover"


_ENROLLING = frozenset({CodePurpose.ENROL, CodePurpose.REPRESENTATIVE})


class EnrolmentCodes:
    """A bureau's one-time codes, and the key backups that enterprises left with it.

    Example::

        code = bureau.enrolment_codes.issue(uscc, identity_check=check)
        bureau.enrolment_codes.redeem(enterprise_made_this)
        bureau.enrolment_codes.keep_backup(enterprise_encrypted_this, taxpayer=uscc)
    """

    def __init__(
        self, *, submitter: LedgerSubmitter, store: ConsentStore, suite: CipherSuite, entropy: Entropy
    ) -> None:
        self._submitter = submitter
        self._store = store
        self._suite = suite
        self._entropy = entropy

    def issue(self, taxpayer: str, *, identity_check: IdentityCheck, purpose: CodePurpose = CodePurpose.ENROL) -> str:
        """Return a fresh code for a taxpayer whose legal representative was identified; the one before is void.

        Raises InvalidInput ``consent.taxpayer_invalid``.
        """
        try:
            typed(taxpayer, TaxpayerNumber)
        except msgspec.ValidationError as error:
            raise InvalidInput("consent.taxpayer_invalid", f"{taxpayer[:40]!r} is no taxpayer number") from error
        drawn = int.from_bytes(self._entropy(8), "big")
        code = "".join(_ALPHABET[(drawn >> 5 * place) & 31] for place in range(_CODE_CHARS))
        self._store.save_code(
            IssuedCode(
                taxpayer=taxpayer,
                code_tag=self._store.code_tag(taxpayer, code),
                purpose=str(purpose),
                identity_check=identity_check,
                expires_ms=self._submitter.now_ms() + CODE_LIFE_MS,
                attempts=0,
            )
        )
        return "-".join(code[start : start + _GROUP_CHARS] for start in range(0, _CODE_CHARS, _GROUP_CHARS))

    def redeem(self, raw: bytes) -> Enrolment:
        """Register the key of an enterprise that shows its code, once; return what it is known by.

        A fresh code renews the identity check of the same key; without one the same key again changes nothing: an
        answer may have been lost. Raises InvalidInput ``ledger.document_*``, IntegrityError for the signature, Denied
        ``consent.provider_wrong`` or ``consent.code_wrong``.
        """
        document = decode_enrolment(raw, network=self._submitter.parameters.network, suite=self._suite)
        body = document.body
        verify_document(document, public_keys=(body.key,), suite=self._suite)
        self._expect_bureau(body.bureau)
        known = self._store.enrolment(body.taxpayer)
        issued = self._shown(body.taxpayer, body.code, purposes=_ENROLLING)
        if issued is None:
            if known is not None and known.enrolment_key == body.key:
                return known
            raise _wrong_code()
        since_ms = None if known is None else known.representative_since_ms
        if issued.purpose == CodePurpose.REPRESENTATIVE:
            since_ms = issued.identity_check.checked_ms
        enrolment = Enrolment(
            taxpayer=body.taxpayer,
            enrolment_key=body.key,
            identity_check=issued.identity_check,
            representative_since_ms=since_ms,
        )
        if not self._store.use_code(issued, enrolment=enrolment):
            raise _wrong_code()
        return enrolment

    def keep_backup(self, raw: bytes, *, taxpayer: str) -> None:
        """Keep an encrypted key file that an enrolled enterprise signed over; the bureau cannot open it.

        taxpayer: whose it has to be. Raises as ``redeem`` does, Denied ``consent.taxpayer_mismatch``, and what
        ``verify_key_file`` raises.
        """
        document = decode_backup(raw, network=self._submitter.parameters.network, suite=self._suite)
        body = document.body
        self._expect_bureau(body.bureau)
        if body.taxpayer != taxpayer:
            raise Denied("consent.taxpayer_mismatch", "the backup that was handed in is of another taxpayer")
        enrolment = self._store.enrolment(body.taxpayer)
        # As for consents: a stranger gets one answer after the same work.
        key = self._suite.digest(raw) if enrolment is None else enrolment.enrolment_key
        verify_document(document, public_keys=(key,), suite=self._suite)
        verify_key_file(body.key_file)
        self._store.save_backup(body.taxpayer, body.key_file, kept_ms=self._submitter.now_ms())

    def has_backup(self, taxpayer: str) -> bool:
        """Tell whether an encrypted key file of a taxpayer is kept."""
        return self._store.backup(taxpayer) is not None

    def give_back(self, taxpayer: str, code: str) -> bytes:
        """Return the encrypted key file for a code that was issued to recover it.

        Raises Denied ``consent.code_wrong``, also where nothing is kept.
        """
        issued = self._shown(taxpayer, code, purposes={CodePurpose.RECOVER})
        kept = self._store.backup(taxpayer)
        if issued is None or kept is None or not self._store.use_code(issued):
            raise _wrong_code()
        return kept

    def _shown(self, taxpayer: str, code: str, *, purposes: Collection[str]) -> IssuedCode | None:
        """Return the code that was shown, after counting the attempt; None for a wrong one."""
        tag = self._store.code_tag(taxpayer, code.upper().translate(_LOOKALIKES))
        now_ms = self._submitter.latest_ms()
        issued = self._store.begin_attempt(taxpayer, now_ms=now_ms, most=MAX_ATTEMPTS)
        is_right = issued is not None and hmac.compare_digest(issued.code_tag, tag) and issued.purpose in purposes
        return issued if is_right else None

    def _expect_bureau(self, named: MemberId | str) -> None:
        if named != self._submitter.member:
            raise Denied("consent.provider_wrong", f"this is for the bureau {named}, not for {self._submitter.member}")


def _wrong_code() -> Denied:
    return Denied("consent.code_wrong", "this code is not one that was issued for this, or it has ended")
