"""Consents at an institution: a bureau takes them in (ConsentService), a bank files those given to it (ConsentFile).

What the bureau's service does, in this order [CONSENT-15]:

1. read the artefact: form, signature of the consent key, its own rules, the digest of its text;
2. it names this bureau as provider;
3. the taxpayer is enrolled here, its enrolment key endorses these very bytes, and the firm tag follows from that key;
4. the legal representative's identity check is the one on record, and recent;
5. every type and group is one of the standard, and the whole is within the purpose's ceilings (412); a renewal takes
   the place of a consent like it, and a joint consent fits the other one;
6. the half-signed grant says exactly what follows from the artefact, its transaction id too;
7. keep the artefact, and once its delay is over countersign the grant and commit it [CONSENT-32].

It decides nothing that the ledger decides (who signs, steps, windows): the contract does.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId, OwnedId, owned_id, split_owned_id
from shuiqiao.consent.artefact import (
    commitment_of,
    decode_artefact,
    firm_tag,
    verify_commitment,
    verify_endorsement,
    verify_items,
)
from shuiqiao.consent.ceilings import ceiling_of, verify_within_ceiling
from shuiqiao.consent.contract import GRANT, PAUSE, RESUME, REVOKE, ConsentRevokeBody, grant_body, grant_transaction_id
from shuiqiao.consent.model import (
    ConsentArtefact,
    ConsentSubmission,
    Grant,
    IdentityCheck,
    RevokeReason,
    Status,
    grant_from_state,
    grant_key,
)
from shuiqiao.consent.standing import (
    other_consent,
    verify_joint,
    verify_renewal,
    verify_representative,
    verify_standing,
)
from shuiqiao.consent.store import ConsentStore, Enrolment, StoredArtefact
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.model import Committed, StateView
from shuiqiao.ledger.transactions.entry_delay import AT_ONCE, EntryDelay
from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
from shuiqiao.standards.model import Catalogue

IDENTITY_CHECK_MAX_AGE_MS = 180 * MS_PER_DAY
"""A legal representative whose identity was checked longer ago is checked again before a new consent."""

_CONTROL_KINDS = (PAUSE, RESUME, REVOKE)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedConsent:
    """A consent that the ledger took."""

    artefact: ConsentArtefact
    committed: Committed


class _Artefacts:
    """The artefacts on file at one institution."""

    def __init__(self, *, submitter: LedgerSubmitter, store: ConsentStore, suite: CipherSuite) -> None:
        self._submitter = submitter
        self._store = store
        self._suite = suite

    def artefact(self, consent: OwnedId) -> ConsentArtefact:
        """Return the artefact of a consent, checked against the ledger; raises as ``filed_artefact``."""
        state = self._submitter.state()
        return filed_artefact(
            self._store,
            consent,
            member=self._submitter.member,
            state=state,
            network=self._network,
            suite=self._suite,
        )

    def verify_standing(self, artefact: ConsentArtefact) -> None:
        """Return if a consent stands now beside the others on file; raises as ``standing.verify_standing``."""
        renewals = self._store.renewals_of(artefact.name, taxpayer=artefact.taxpayer)
        verify_standing(
            artefact,
            [self._decode(stored.raw) for stored in renewals],
            state=self._submitter.state(),
            now_ms=self._submitter.latest_ms(),
            suite=self._suite,
        )

    def relay(self, raw: bytes) -> Committed:
        """Put an enterprise's pause, resume or revoke on the ledger, and nothing else that somebody might slip in.

        Anybody may do this for it. Raises InvalidInput ``consent.statement_wrong`` for anything but a pause, resume or
        revoke that the consent says.
        """
        tx = self._submitter.decode(raw)
        if tx.kind not in _CONTROL_KINDS or tx.author != tx.body.consent:
            raise InvalidInput(
                "consent.statement_wrong",
                f"a {tx.kind} by {tx.author} where only what a consent itself says is relayed: "
                f"{', '.join(_CONTROL_KINDS)}",
            )
        return self._submitter.relay(raw)

    @property
    def _network(self) -> bytes:
        return self._submitter.parameters.network

    def _decode(self, raw: bytes) -> ConsentArtefact:
        return decode_artefact(raw, network=self._network, suite=self._suite)

    def _keep(self, artefact: ConsentArtefact, raw: bytes, *, endorsement: bytes | None) -> None:
        self._store.save_artefact(
            StoredArtefact(
                consent=artefact.name,
                taxpayer=artefact.taxpayer,
                raw=raw,
                endorsement=endorsement,
                received_ms=self._submitter.now_ms(),
                granted_index=None,
                renews=None if artefact.renews is None else owned_id(artefact.provider, artefact.renews),
            )
        )


class ConsentService(_Artefacts):
    """How a tax bureau takes in its taxpayers' consents.

    Example::

        consents = ConsentService(submitter=submitter, store=store, suite=suite, catalogue=load_catalogue())
        consents.enrol(uscc, enrolment_key=key, identity_check=check)
        granted = consents.receive(enterprise.submission(terms, now_ms=now_ms))
    """

    def __init__(
        self,
        *,
        submitter: LedgerSubmitter,
        store: ConsentStore,
        suite: CipherSuite,
        catalogue: Catalogue,
        delay: EntryDelay = AT_ONCE,
    ) -> None:
        super().__init__(submitter=submitter, store=store, suite=suite)
        self._catalogue = catalogue
        self._delay = delay
        self._renewing = threading.Lock()

    def enrol(self, taxpayer: str, *, enrolment_key: bytes, identity_check: IdentityCheck) -> None:
        """Register the key a taxpayer will be known by, its legal representative having been identified.

        A later enrolment replaces the key (a lost wallet) and renews the identity check.
        """
        known = self._store.enrolment(taxpayer)
        self._store.save_enrolment(
            Enrolment(
                taxpayer=taxpayer,
                enrolment_key=enrolment_key,
                identity_check=identity_check,
                representative_since_ms=None if known is None else known.representative_since_ms,
            )
        )

    def verify_standing(self, artefact: ConsentArtefact) -> None:
        """Return if a consent stands now; raises as ``standing.verify_standing`` and ``verify_representative``."""
        super().verify_standing(artefact)
        enrolment = self._store.enrolment(artefact.taxpayer)
        since_ms = None if enrolment is None else enrolment.representative_since_ms
        verify_representative(artefact, since_ms=since_ms)

    def receive(self, submission: ConsentSubmission) -> GrantedConsent:
        """Check an enterprise's consent and put its grant on the ledger; the same again changes nothing [CONSENT-19].

        Raises InvalidInput (form), IntegrityError (signatures), Denied (``consent.taxpayer_mismatch``,
        ``consent.identity_unchecked``, ``consent.ceiling_exceeded``), Conflict ``consent.already_granted`` where the
        ledger has it for long, or has another of that id, and whatever the ledger refuses with. Unavailable
        ``ledger.entry_waits`` where it is taken in and its grant is kept back: the same again, later, enters it.
        """
        artefact = self._decode(submission.artefact)
        self._expect_provider(artefact)
        # One renewal at a time, so that of two of one consent the second sees the first on the ledger.
        with nullcontext() if artefact.renews is None else self._renewing:
            return self._receive(artefact, submission)

    def _receive(self, artefact: ConsentArtefact, submission: ConsentSubmission) -> GrantedConsent:
        self._verify_taxpayer(artefact, submission)
        self._verify_items(artefact)
        self._verify_others(artefact)
        self._verify_grant(artefact, submission)
        if self._submitter.state().get(grant_key(artefact.name)) is None:
            _expect_text(artefact)
            # [CONSENT-19]: it stays on file whatever becomes of this grant: another submission of it may be on its way.
            self._keep(artefact, submission.artefact, endorsement=submission.endorsement)
            self._require_due(artefact.name)
        committed = self._grant_once(artefact, submission.grant)
        self._store.mark_granted(artefact.name, index=committed.index)
        return GrantedConsent(artefact=artefact, committed=committed)

    def _require_due(self, consent: OwnedId) -> None:
        """[CONSENT-32]: counted from when it first came in, so that nobody hastens it by asking again."""
        stored = self._store.artefact(consent)
        assert stored is not None, "it was kept a moment ago, and is never removed"
        self._delay.require_due(consent, since_ms=stored.received_ms, now_ms=self._submitter.now_ms())

    def _grant_once(self, artefact: ConsentArtefact, grant: bytes) -> Committed:
        """Put a grant on the ledger; where it is there already, find its place: an answer may have been lost."""
        if self._submitter.state().get(grant_key(artefact.name)) is None:
            try:
                return self._submitter.countersign(grant)
            except (Conflict, Denied) as error:
                # An earlier submission of it may have come first, e.g. out of the outbox after a crash.
                refused = error
        else:
            refused = Conflict("consent.already_granted", f"consent {artefact.name} is on the ledger already")
        body, kind = self._submitter.decode(grant).body, GRANT.encode()
        found = self._submitter.find_lately(lambda raw: kind in raw and self._submitter.decode(raw).body == body)
        if found is None:
            raise refused
        return found

    def revoke_for_lost_key(self, consent: OwnedId) -> Committed:
        """End a consent whose key the enterprise lost, after identifying it at the counter [CONSENT-11].

        Raises Denied ``consent.provider_wrong`` for one of another bureau's, whether or not there is one.
        """
        provider = consent.partition("/")[0]
        if provider != self._submitter.member:
            raise Denied("consent.provider_wrong", f"the consent names {provider}, this is {self._submitter.member}")
        body = ConsentRevokeBody(consent=consent, reason=RevokeReason.KEY_LOST)
        return self._submitter.submit(REVOKE, body)

    def artefacts_of(self, taxpayer: str) -> list[ConsentArtefact]:
        """Return a taxpayer's granted artefacts, oldest first."""
        return [
            self._decode(stored.raw)
            for stored in self._store.artefacts_of(taxpayer)
            if self._submitter.state().get(grant_key(stored.consent)) is not None
        ]

    def _expect_provider(self, artefact: ConsentArtefact) -> None:
        if artefact.provider != self._submitter.member:
            raise Denied(
                "consent.provider_wrong",
                f"the artefact is for the provider {artefact.provider}, this is {self._submitter.member}",
            )

    def _verify_taxpayer(self, artefact: ConsentArtefact, submission: ConsentSubmission) -> None:
        """Steps 3 and 4."""
        enrolment = self._verify_enrolled(artefact, submission)
        if artefact.firm != firm_tag(enrolment.enrolment_key, network=self._network, suite=self._suite):
            raise Denied(
                "consent.taxpayer_mismatch",
                f"the firm tag in artefact {artefact.consent.hex()} is not the one of this taxpayer's enrolment",
            )
        age_ms = self._submitter.latest_ms() - enrolment.identity_check.checked_ms
        if artefact.identity_check != enrolment.identity_check or age_ms > IDENTITY_CHECK_MAX_AGE_MS:
            raise Denied(
                "consent.identity_unchecked",
                f"identity check {artefact.identity_check.reference!r} is not the one on record, or older than "
                f"{IDENTITY_CHECK_MAX_AGE_MS // MS_PER_DAY} days",
            )

    def _verify_enrolled(self, artefact: ConsentArtefact, submission: ConsentSubmission) -> Enrolment:
        """Step 3. A stranger gets one answer, after the same work, whether or not the taxpayer is enrolled here."""
        enrolment = self._store.enrolment(artefact.taxpayer)
        # Nobody can name the digest of the very bytes that name it: this key endorses nothing.
        nobodys_key = self._suite.digest(submission.endorsement)
        try:
            verify_endorsement(
                submission.endorsement,
                artefact_bytes=submission.artefact,
                taxpayer=artefact.taxpayer,
                enrolment_key=nobodys_key if enrolment is None else enrolment.enrolment_key,
                network=self._network,
                suite=self._suite,
            )
        except (Denied, IntegrityError):
            enrolment = None
        if enrolment is None:
            raise Denied(
                "consent.taxpayer_mismatch",
                f"artefact {artefact.consent.hex()} is not endorsed by a taxpayer enrolled at {artefact.provider}",
            )
        return enrolment

    def _verify_items(self, artefact: ConsentArtefact) -> None:
        """Step 5."""
        verify_items(artefact, catalogue=self._catalogue)
        verify_within_ceiling(artefact, ceiling=ceiling_of(artefact, self._submitter.state()))

    def _verify_others(self, artefact: ConsentArtefact) -> None:
        """Step 5, of the consents that it names [CONSENT-26], [CONSENT-27]."""
        if artefact.renews is not None:
            state, name = self._submitter.state(), owned_id(artefact.provider, artefact.renews)
            before = self._store.artefact(name)
            named = self._store.renewals_of(name, taxpayer=artefact.taxpayer)
            renewals = [
                split_owned_id(other.consent)[1] for other in named if state.get(grant_key(other.consent)) is not None
            ]
            verify_renewal(artefact, None if before is None else self._decode(before.raw), renewals=renewals)
        if artefact.joint is not None:
            stored = self._store.artefact(other_consent(artefact.joint, suite=self._suite))
            if stored is not None:
                verify_joint(artefact, self._decode(stored.raw))

    def _verify_grant(self, artefact: ConsentArtefact, submission: ConsentSubmission) -> None:
        """Step 6."""
        tx = self._submitter.decode(submission.grant)
        commitment = commitment_of(submission.artefact, salt=artefact.salt, suite=self._suite)
        told = (tx.kind, tx.author, tx.id, tx.body)
        body = grant_body(artefact, commitment=commitment)
        if told != (GRANT, artefact.provider, grant_transaction_id(commitment), body):
            raise InvalidInput(
                "consent.grant_mismatch",
                f"the {tx.kind} handed in does not follow from artefact {artefact.consent.hex()}",
            )


class ConsentFile(_Artefacts):
    """A bank's file of the artefacts that name it as recipient [CONSENT-16].

    Example::

        artefact = bank.consent_file.receive(raw)
    """

    def receive(self, raw: bytes) -> ConsentArtefact:
        """Check an artefact against the ledger and keep it.

        Raises InvalidInput or IntegrityError for its form and signature, Denied ``consent.unknown`` or
        ``consent.recipient_wrong``, IntegrityError ``consent.commitment_mismatch``.
        """
        artefact = self._decode(raw)
        if artefact.recipient != self._submitter.member:
            raise Denied(
                "consent.recipient_wrong",
                f"the artefact is for the recipient {artefact.recipient}, this is {self._submitter.member}",
            )
        grant = find_grant(self._submitter.state(), artefact.name)
        verify_commitment(artefact, artefact_bytes=raw, grant=grant, suite=self._suite)
        self._keep(artefact, raw, endorsement=None)
        return artefact


def _expect_text(artefact: ConsentArtefact) -> None:
    """[CONSENT-24]: what begins now was read by a person in these words."""
    if artefact.text is None:
        raise InvalidInput(
            "consent.text_missing",
            f"artefact {artefact.consent.hex()} does not hold the digest of the text that its signer read",
        )


def find_grant(state: StateView, consent: OwnedId) -> Grant:
    """Return a consent as the ledger knows it; raises Denied ``consent.unknown``."""
    return grant_from_state(consent, state.get(grant_key(consent)))


def ending_consents(store: ConsentStore, *, state: StateView, now_ms: int, within_ms: int) -> list[tuple[int, OwnedId]]:
    """Return (end in ms, consent) of those on file that are in force or paused and end within a time, soonest first."""
    found: list[tuple[int, OwnedId]] = []
    for consent in store.consents():
        value = state.get(grant_key(consent))
        if value is not None:
            grant = grant_from_state(consent, value)
            goes_on = grant.status_at(now_ms) in {Status.ACTIVE, Status.PAUSED}
            if goes_on and grant.valid_to_ms <= now_ms + within_ms:
                found.append((grant.valid_to_ms, consent))
    return sorted(found)


def filed_artefact(
    store: ConsentStore,
    consent: OwnedId,
    *,
    member: MemberId,
    state: StateView,
    network: bytes,
    suite: CipherSuite,
) -> ConsentArtefact:
    """Return an artefact on file, its bytes checked against the ledger's commitment. member: whose file it is.

    Raises Denied ``consent.unknown``, also for a consent that others gave each other, ``consent.artefact_missing`` for
    one of this member's, IntegrityError ``consent.commitment_mismatch`` or ``consent.artefact_damaged``.
    """
    stored = store.artefact(consent)
    value = state.get(grant_key(consent))
    grant = None if value is None else grant_from_state(consent, value)
    if grant is None or (stored is None and member not in {grant.provider, grant.recipient}):
        raise Denied("consent.unknown", f"no consent {consent} of {member} is on the ledger")
    if stored is None:
        raise Denied("consent.artefact_missing", f"consent {consent} is granted, but its artefact is not on file")
    try:
        artefact = decode_artefact(stored.raw, network=network, suite=suite)
    except InvalidInput as error:
        raise IntegrityError(
            "consent.artefact_damaged", f"the filed artefact of {consent} is damaged: {error.message}"
        ) from error
    verify_commitment(artefact, artefact_bytes=stored.raw, grant=grant, suite=suite)
    return artefact
