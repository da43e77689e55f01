"""The enterprise's side: one seed in a wallet file, from it every key; artefacts and control statements from those.

Rule: docs/spec/consent-exchange.md [CONSENT-1] to [CONSENT-3], [CONSENT-10]. An enterprise that holds the seed needs no
database: a consent's key follows from its id. Nothing here talks to the ledger: what is made here is handed to a
bureau, or to any member that relays it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import msgspec
from msgspec.structs import replace

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import Entropy, MemberId, OwnedId, Uscc, new_id, split_owned_id
from shuiqiao.consent.artefact import (
    commitment_of,
    encode_artefact,
    encode_endorsement,
    firm_tag,
    verify_new_artefact,
)
from shuiqiao.consent.contract import (
    GRANT,
    PAUSE,
    RESUME,
    REVOKE,
    ConsentPauseBody,
    ConsentResumeBody,
    ConsentRevokeBody,
    grant_body,
    grant_transaction_id,
)
from shuiqiao.consent.enrolment import EnrolmentBody, KeyBackupBody, encode_backup, encode_enrolment
from shuiqiao.consent.model import (
    ConsentArtefact,
    ConsentSubmission,
    Fetch,
    Frequency,
    IdentityCheck,
    JointConsent,
    Mode,
    Output,
    Purpose,
    RevokeReason,
    whole_hours,
)
from shuiqiao.consent.standing import joint_consent_id
from shuiqiao.consent.text import text_digest
from shuiqiao.crypto.kdf import SEED_BYTES
from shuiqiao.crypto.model import CipherSuite, SigningKey
from shuiqiao.ledger.model import MAX_VALIDITY_MS
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction

SALT_BYTES = 32

_DEADLINE_STEP_MS = MAX_VALIDITY_MS // 2
_LEAST_VALIDITY_MS = _DEADLINE_STEP_MS - MS_PER_HOUR
"""Whatever an enterprise signs is valid until the first noon or midnight, as UTC has them, that is 11 hours away or
more: a deadline to the millisecond would say when it was signed [CONSENT-33]. It is at most 23 hours away, so that a
clock that runs ahead by less than an hour does not spoil it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentTerms:
    """What the enterprise chose: everything in an artefact but ids, keys and salt."""

    taxpayer: Uscc
    provider: MemberId
    recipient: MemberId
    purpose: Purpose
    items: dict[str, list[str]]
    """Record type id to disclosure groups, in any order."""
    period_from: date
    period_to: date
    modes: tuple[Mode, ...]
    frequency: Frequency
    data_life_days: int
    valid_from_ms: int
    valid_to_ms: int
    """Both are brought to whole hours in the artefact (``whole_hours``)."""
    product: str
    identity_check: IdentityCheck
    outputs: tuple[Output, ...] = ()
    """What of a score may leave, in any order; empty without the mode *score*."""
    fetch: Fetch | None = None
    renews: bytes | None = None
    """Id of the consent at the same bureau whose place it takes."""
    joint: JointConsent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlStatement:
    """A pause, resume or revoke, signed by the consent key and ready for any member to relay."""

    id: bytes
    """Transaction id; a resume names the id of the pause it lifts."""
    raw: bytes


class EnterpriseKeys:
    """The keys of one enterprise, all derived from a 32-byte seed; no two can be linked without it [CONSENT-2]."""

    def __init__(self, seed: bytes, *, suite: CipherSuite) -> None:
        if len(seed) != SEED_BYTES:
            raise InvalidInput("consent.seed_invalid", f"a seed of {len(seed)} bytes where {SEED_BYTES} are needed")
        self._seed = seed
        self._suite = suite

    @property
    def suite(self) -> CipherSuite:
        """The suite the keys belong to."""
        return self._suite

    def enrolment_key(self, bureau: MemberId, *, network: bytes) -> SigningKey:
        """Return the key that one bureau knows the enterprise by, and nobody else [CONSENT-3]."""
        return self._derive("consent/enrolment", context=network + bureau.encode())

    def consent_key(self, consent: bytes, *, network: bytes) -> SigningKey:
        """Return the key of one consent."""
        return self._derive("consent/key", context=network + consent)

    def credential_key(self, request: bytes, *, number: int, network: bytes) -> SigningKey:
        """Return the key of one copy of a credential, by the request that it was issued for and its number there."""
        return self._derive("privacy/credential", context=network + request + bytes([number]))

    def link_secret(self, request: bytes, *, network: bytes) -> bytes:
        """Return the secret that a credential for predicates is bound to, by the request that it is issued for."""
        return self._suite.derive_seed(self._seed, label="privacy/link_secret", context=network + request)

    def _derive(self, label: str, *, context: bytes) -> SigningKey:
        child = self._suite.derive_seed(self._seed, label=label, context=context)
        return self._suite.signing_key_from_seed(child)


class Enterprise:
    """What an enterprise can do with its keys on one network.

    Example::

        enterprise = Enterprise(keys, network=network, entropy=system_entropy)
        submission = enterprise.submission(terms, now_ms=now_ms)
    """

    def __init__(self, keys: EnterpriseKeys, *, network: bytes, entropy: Entropy) -> None:
        self._keys = keys
        self._suite = keys.suite
        self._network = network
        self._entropy = entropy

    def enrolment_key(self, bureau: MemberId) -> bytes:
        """Return the raw public key to register at a bureau's counter."""
        return self._keys.enrolment_key(bureau, network=self._network).public_key

    def enrolment(self, bureau: MemberId, *, taxpayer: Uscc, code: str) -> bytes:
        """Return what enrols this enterprise at a bureau that gave it a one-time code [CONSENT-20]."""
        key = self._keys.enrolment_key(bureau, network=self._network)
        body = EnrolmentBody(bureau=bureau, taxpayer=taxpayer, key=key.public_key, code=code)
        return encode_enrolment(body, network=self._network, suite=self._suite, key=key)

    def key_backup(self, bureau: MemberId, *, taxpayer: Uscc, key_file: bytes) -> bytes:
        """Return what asks a bureau to keep this enterprise's key file, encrypted as it is [CONSENT-22]."""
        key = self._keys.enrolment_key(bureau, network=self._network)
        body = KeyBackupBody(bureau=bureau, taxpayer=taxpayer, key_file=key_file)
        return encode_backup(body, network=self._network, suite=self._suite, key=key)

    def submission(self, terms: ConsentTerms, *, now_ms: int) -> ConsentSubmission:
        """Return a new consent, signed unread: ``draft`` and ``sign`` in one."""
        return self.sign(self.draft(terms), now_ms=now_ms)

    def draft(self, terms: ConsentTerms) -> ConsentArtefact:
        """Return the artefact of a new consent, not signed yet: ``consent_text`` of it is what a person reads.

        Raises InvalidInput ``consent.terms_wrong``, ``consent.period_reversed`` for terms that nobody could grant
        [CONSENT-5].
        """
        consent = self._id(terms.joint)
        key = self._keys.consent_key(consent, network=self._network)
        enrolment = self._keys.enrolment_key(terms.provider, network=self._network)
        firm = firm_tag(enrolment.public_key, network=self._network, suite=self._suite)
        artefact = self._artefact(terms, consent=consent, key=key.public_key, firm=firm)
        try:
            verify_new_artefact(artefact)
        except InvalidInput as error:
            if error.code != "consent.artefact_invalid":
                raise
            raise InvalidInput("consent.terms_wrong", error.message) from error
        return replace(artefact, text=text_digest(artefact, suite=self._suite))

    def sign(self, artefact: ConsentArtefact, *, now_ms: int) -> ConsentSubmission:
        """Return a drafted consent, ready for the provider: artefact, endorsement and half-signed grant.

        Raises InvalidInput ``consent.artefact_invalid`` or ``consent.text_mismatch`` for an artefact that was changed
        after it was drafted.
        """
        key = self._keys.consent_key(artefact.consent, network=self._network)
        provider = MemberId(artefact.provider)
        enrolment = self._keys.enrolment_key(provider, network=self._network)
        raw = encode_artefact(artefact, network=self._network, suite=self._suite, key=key)
        endorsement = encode_endorsement(
            artefact, artefact_bytes=raw, network=self._network, suite=self._suite, key=enrolment
        )
        body = grant_body(artefact, commitment=commitment_of(raw, salt=artefact.salt, suite=self._suite))
        name = grant_transaction_id(body.commitment)
        grant = self._sign(GRANT, body, provider, name=name, key=key, now_ms=now_ms).raw
        return ConsentSubmission(artefact=raw, endorsement=endorsement, grant=grant)

    def pause(self, consent: OwnedId, *, now_ms: int) -> ControlStatement:
        """Return a pause statement for any member to relay; keep its id, a resume names it."""
        return self._control(PAUSE, ConsentPauseBody(consent=consent), now_ms=now_ms)

    def resume(self, consent: OwnedId, *, pause: bytes, now_ms: int) -> ControlStatement:
        """Return a statement that lifts the pause whose transaction id is given."""
        return self._control(RESUME, ConsentResumeBody(consent=consent, pause=pause), now_ms=now_ms)

    def revoke(self, consent: OwnedId, *, now_ms: int) -> ControlStatement:
        """Return a statement that ends a consent for good."""
        body = ConsentRevokeBody(consent=consent, reason=RevokeReason.WITHDRAWN)
        return self._control(REVOKE, body, now_ms=now_ms)

    def _id(self, joint: JointConsent | None) -> bytes:
        if joint is None:
            return new_id(self._entropy)
        return joint_consent_id(joint.id, joint.role, suite=self._suite)

    def _artefact(self, terms: ConsentTerms, *, consent: bytes, key: bytes, firm: bytes) -> ConsentArtefact:
        valid_from_ms, valid_to_ms = whole_hours(terms.valid_from_ms, terms.valid_to_ms)
        chosen: dict[str, Any] = {field.name: getattr(terms, field.name) for field in fields(terms)}
        brought: dict[str, Any] = {
            "items": {type_id: sorted(set(groups)) for type_id, groups in terms.items.items()},
            "modes": sorted(set(terms.modes)),
            "outputs": sorted(set(terms.outputs)) or None,
            "valid_from_ms": valid_from_ms,
            "valid_to_ms": valid_to_ms,
        }
        return ConsentArtefact(**chosen | brought, consent=consent, key=key, firm=firm, salt=self._entropy(SALT_BYTES))

    def _control(
        self, kind: str, body: ConsentPauseBody | ConsentResumeBody | ConsentRevokeBody, *, now_ms: int
    ) -> ControlStatement:
        _, consent = split_owned_id(OwnedId(body.consent))
        key = self._keys.consent_key(consent, network=self._network)
        return self._sign(kind, body, body.consent, name=new_id(self._entropy), key=key, now_ms=now_ms)

    def _sign(
        self, kind: str, body: msgspec.Struct, author: str, *, name: bytes, key: SigningKey, now_ms: int
    ) -> ControlStatement:
        draft = TransactionDraft(
            kind=kind,
            version=1,
            body=body,
            author=MemberId(author),
            valid_until_ms=now_ms + _LEAST_VALIDITY_MS + -(now_ms + _LEAST_VALIDITY_MS) % _DEADLINE_STEP_MS,
            id=name,
        )
        raw = sign_transaction(draft, network=self._network, suite=self._suite, keys=(key,))
        return ControlStatement(id=name, raw=raw)
