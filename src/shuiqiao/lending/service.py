"""A bank takes applications and decides them by its product's rules; a regulator takes in the sealed openings.

``receive``: keep an application. ``apply``: and put application.submit, a commitment to product and amount, on the
ledger; what was kept is withdrawn if the ledger refuses it at once, and closed with the cause if an earlier call said
that the bank has it.
``judge``: apply the product's rules to proven facts, score and offer.
``prepare``: commit to the decision, and seal what opens it to the regulator. ``decide``: keep the decision, its
explanation and the sealed opening, and put decision.record on the ledger (``record``); what was kept is withdrawn if
the ledger refuses it. The opening is then handed in at the regulator's.
Each act on the ledger can be done again after a crash: what was kept is submitted as it is, and what the ledger has
already is left as it is [LENDING-10]. It computes no score and no limit: credit does. It trusts no document: facts come
from records that were proven. Which step comes next is the matter of ``processing``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import msgspec

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.encoding import decode_cbor, encode_cbor, encode_json, typed
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import Entropy, MemberId, OwnedId, new_id
from shuiqiao.base.money import MAX_FEN
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.model import Committed
from shuiqiao.ledger.transactions.document import to_plain
from shuiqiao.ledger.transactions.entry_delay import AT_ONCE, EntryDelay
from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
from shuiqiao.lending.contract import (
    APPLICATION,
    DECISION,
    ApplicationSubmitBody,
    DecisionRecordBody,
    application_key,
    decision_key,
)
from shuiqiao.lending.file import (
    MAX_CAUSE_CHARS,
    ApplicationFile,
    ApplicationStatus,
    Judgement,
    PreparedDecision,
    Review,
    Step,
    TimelineEntry,
)
from shuiqiao.lending.model import ApplicantFile, Application, Assessment, Decision, Outcome, PersonsDecision, Product
from shuiqiao.lending.openings import (
    NO_INDUSTRY,
    NO_PROVINCE,
    SALT_BYTES,
    ApplicationOpening,
    DecisionOpening,
    OpenedOutput,
    RecordedGrade,
)
from shuiqiao.lending.review import decode_review, require_two_persons
from shuiqiao.lending.rules import broken_rules, outcome_of
from shuiqiao.lending.store import LendingStore, OpeningStore
from shuiqiao.members.roster import member_record

MAX_UNDER_WAY: Final = 5
"""Applications under one consent that an enterprise hands in by itself before one of them has ended."""

MAX_OF_A_DAY: Final = 20
"""The same within a day, ended or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDecision:
    """A decision that is on the ledger. sealed_opening: to be handed to the regulator."""

    decision: Decision
    committed: Committed
    sealed_opening: bytes


class LendingService:
    """Applications and decisions of one bank [LENDING-1].

    Example::

        application = bank.lending.apply(product, taxpayer=uscc, consent=consent, amount_fen=50_000_000)
        received = bank.recipient.obtain(wanted, provider=link)
        assessment = assessor.assess(application, received=received, file=ApplicantFile())
        judgement = bank.lending.judge(application, product=product, assessment=assessment)
        recorded = bank.lending.decide(application, judgement=judgement, regulator=regulator)
    """

    def __init__(
        self,
        *,
        submitter: LedgerSubmitter,
        store: LendingStore,
        suite: CipherSuite,
        entropy: Entropy,
        delay: EntryDelay = AT_ONCE,
    ) -> None:
        self._submitter = submitter
        self._store = store
        self._suite = suite
        self._entropy = entropy
        self._delay = delay

    def receive(
        self,
        product: Product,
        *,
        taxpayer: str,
        consent: OwnedId,
        amount_fen: int,
        applicant: ApplicantFile | None = None,
        application: bytes | None = None,
    ) -> Application:
        """Keep an enterprise's application under a consent it gave to this bank; processing puts it on the ledger.

        applicant: what the bank has of it besides proven records. application: its id, so that it is taken once however
        often this is called; None for a fresh one. Raises InvalidInput ``lending.amount_invalid``,
        ``lending.papers_too_many``; Conflict ``lending.application_repeated`` where the id is that of another one.
        """
        if not 0 < amount_fen <= MAX_FEN:
            raise InvalidInput("lending.amount_invalid", f"{amount_fen} fen is not an amount from 1 to {MAX_FEN} fen")
        known = applicant or ApplicantFile()
        wanted = Application(
            id=application or new_id(self._entropy),
            product=product.id,
            taxpayer=taxpayer,
            consent=consent,
            amount_fen=amount_fen,
            submitted_ms=self._submitter.now_ms(),
        )
        received = TimelineEntry(step=Step.RECEIVED, time_ms=wanted.submitted_ms)
        try:
            self._store.add_application(wanted, salt=self._entropy(SALT_BYTES), applicant=known, entries=(received,))
        except Conflict:
            before = self._store.file(wanted.id)
            if (replace(before.application, submitted_ms=wanted.submitted_ms), before.applicant) != (wanted, known):
                raise
            return before.application
        return wanted

    def require_room(self, consent: OwnedId) -> None:
        """Return if an enterprise may hand in one more application by itself; asked before the ledger is [LENDING-16].

        Each is some entries that stay for ever, and those under way keep others waiting. Raises Denied
        ``lending.applications_many``.
        """
        rows, since_ms = self._store.applications(consent=consent), self._submitter.now_ms() - MS_PER_DAY
        under_way = sum(row.status in {ApplicationStatus.SUBMITTED, ApplicationStatus.REFERRED} for row in rows)
        of_a_day = sum(row.application.submitted_ms > since_ms for row in rows)
        if under_way >= MAX_UNDER_WAY or of_a_day >= MAX_OF_A_DAY:
            raise Denied(
                "lending.applications_many",
                f"under consent {consent} {under_way} applications are under way and {of_a_day} came within a day; "
                f"{MAX_UNDER_WAY} and {MAX_OF_A_DAY} may",
            )

    def apply(
        self,
        product: Product,
        *,
        taxpayer: str,
        consent: OwnedId,
        amount_fen: int,
        applicant: ApplicantFile | None = None,
        application: bytes | None = None,
    ) -> Application:
        """Keep an application as ``receive`` does, and put it on the ledger.

        Raises what ``receive`` raises, and what ``submit`` does: ``lending.consent_not_ours``, ``consent.revoked``, ...
        Nothing is on file then; where an earlier call found the ledger away, so that the application was acknowledged,
        the file is closed with the cause [LENDING-10].
        """
        found = self.receive(
            product,
            taxpayer=taxpayer,
            consent=consent,
            amount_fen=amount_fen,
            applicant=applicant,
            application=application,
        )
        file = self._store.file(found.id)
        if file.has(Step.SUBMITTED) or file.closed_ms is not None:
            return found
        try:
            committed = self.submit(found, salt=file.salt)
        except Unavailable as error:
            # It may still be committed: what was kept stays on file for it.
            now_ms, cause = self._submitter.now_ms(), error.message[:MAX_CAUSE_CHARS]
            self._store.note(found.id, TimelineEntry(step=Step.SUBMITTED, time_ms=now_ms, code=error.code, cause=cause))
            raise
        except ShuiqiaoError as error:
            self._end_refused(found.id, error)
            raise
        self._store.note(
            found.id, TimelineEntry(step=Step.SUBMITTED, time_ms=self._submitter.now_ms(), entry_index=committed.index)
        )
        return found

    def _end_refused(self, application: bytes, error: ShuiqiaoError) -> None:
        if self._store.withdraw_application(application):
            return
        now_ms, cause = self._submitter.now_ms(), error.message[:MAX_CAUSE_CHARS]
        ended = (
            TimelineEntry(step=step, time_ms=now_ms, code=error.code, cause=cause)
            for step in (Step.SUBMITTED, Step.CLOSED)
        )
        self._store.close(application, *ended, status=ApplicationStatus.CLOSED)

    def submit(self, application: Application, *, salt: bytes) -> Committed:
        """Put a kept application on the ledger, unless it is there; raises what the ledger refuses with.

        Unavailable ``ledger.entry_waits`` while it is kept back [CONSENT-32].
        """
        key = application_key(self._submitter.member, application.id)
        if self._submitter.state().get(key) is None:
            self._delay.require_due(
                f"application {application.id.hex()}",
                since_ms=application.submitted_ms,
                now_ms=self._submitter.now_ms(),
            )
        wanted = ApplicationOpening(
            bank=self._submitter.member,
            application=application.id,
            product=application.product,
            amount_fen=application.amount_fen,
            salt=salt,
        )
        body = ApplicationSubmitBody(
            application=application.id, consent=application.consent, commitment=wanted.commitment(self._suite)
        )
        return self._put_once(
            APPLICATION,
            body,
            key=key,
            repeated="lending.application_repeated",
            since_ms=application.submitted_ms,
        )

    def judge(self, application: Application, *, product: Product, assessment: Assessment) -> Judgement:
        """Return what a product's rules make of an assessment; nothing is kept."""
        rules = broken_rules(
            product,
            facts=assessment.facts,
            default_probability=assessment.score.default_probability,
            offer=assessment.offer,
        )
        outcome = outcome_of(rules)
        is_approved = outcome is Outcome.APPROVED
        limit, price = assessment.offer.limit, assessment.offer.price
        rate = None if price is None else price.rate
        decision = Decision(
            application=application.id,
            outcome=outcome,
            points=assessment.score.points,
            default_probability=assessment.score.default_probability,
            limit_fen=limit.limit_fen if is_approved else 0,
            annual_rate=rate if is_approved else None,
            rules=rules,
            reasons=assessment.score.reasons,
            grade=assessment.facts.grade,
            industry=assessment.industry or NO_INDUSTRY,
            province=assessment.province or NO_PROVINCE,
            model_digest=assessment.model_digest,
            outputs=assessment.outputs,
        )
        return Judgement(
            request=assessment.request,
            firm=assessment.firm,
            offered_fen=limit.limit_fen,
            offered_rate=rate,
            decision=decision,
        )

    def review(self, application: bytes, raw: bytes, *, product: Product, maker: str, checker: str) -> None:
        """Keep what a maker proposed (``propose_decision``) and a checker approved on a referred application.

        The same again changes nothing.

        Raises Denied ``lending.checker_is_maker`` or ``lending.not_referred``, InvalidInput ``lending.review_invalid``,
        Conflict ``lending.review_on_file`` for another decision than the one that was approved before.
        """
        require_two_persons(maker, checker)
        file = self._store.file(application)
        if file.review is not None:
            if file.review.raw == raw:
                return
            raise Conflict(
                "lending.review_on_file", f"{file.review.maker} and {file.review.checker} decided it otherwise already"
            )
        decode_review(raw, file=file, product=product)
        self._store.keep_review(
            application,
            Review(raw=raw, maker=maker, checker=checker),
            entries=(TimelineEntry(step=Step.REVIEWED, time_ms=self._submitter.now_ms()),),
        )

    def prepare(
        self, application: Application, *, judgement: Judgement, regulator: MemberId, reviewed: Decision | None = None
    ) -> PreparedDecision:
        """Return all that a decision says: of the rules, or of persons on a referred application; nothing is kept.

        reviewed: see ``reviewed_decision``. Raises Denied ``lending.person_needed``, ``members.unknown``.
        """
        decision = reviewed or judgement.decision
        if decision.outcome is Outcome.REFERRED:
            raise Denied(
                "lending.person_needed", f"application {application.id.hex()} is referred: persons decide on it"
            )
        opening = self._opening(decision, product=application.product, firm=judgement.firm)
        sealed = opening.seal(
            self._suite,
            regulator_key=member_record(self._submitter.state(), regulator)["seal"],
            network=self._submitter.parameters.network,
        )
        salt = self._entropy(SALT_BYTES)
        body = DecisionRecordBody(
            application=decision.application,
            request=judgement.request,
            regulator=regulator,
            commitment=opening.commitment(self._suite),
            opening_digest=self._suite.digest(sealed),
            reasons_digest=self._suite.digest(salt + encode_json(decision.explanation())),
        )
        return PreparedDecision(
            decision=decision, sealed_opening=sealed, reasons_salt=salt, body=encode_cbor(to_plain(body))
        )

    def decide(
        self, application: Application, *, judgement: Judgement, regulator: MemberId, reviewed: Decision | None = None
    ) -> RecordedDecision:
        """Prepare a decision, keep it, and put it on the ledger.

        Raises as ``prepare`` does, Conflict ``lending.decision_on_file``, and what the ledger refuses with
        (``lending.evidence_missing``).
        """
        prepared = self.prepare(application, judgement=judgement, regulator=regulator, reviewed=reviewed)
        self._store.add_decision(prepared)
        committed = self.record(application, prepared.body)
        self._store.note(
            application.id,
            TimelineEntry(step=Step.DECIDED, time_ms=self._submitter.now_ms(), entry_index=committed.index),
        )
        return RecordedDecision(decision=prepared.decision, committed=committed, sealed_opening=prepared.sealed_opening)

    def record(self, application: Application, kept: bytes) -> Committed:
        """Put a kept decision on the ledger, unless it is there; withdraw it if the ledger refuses it."""
        body = _decision_body(kept)
        key = decision_key(self._submitter.member, application.id)
        try:
            return self._put_once(
                DECISION,
                body,
                key=key,
                repeated="lending.decision_repeated",
                since_ms=application.submitted_ms,
            )
        except Unavailable:
            # It may still be committed: what was kept stays on file for it.
            raise
        except ShuiqiaoError:
            self._store.withdraw_decision(application.id)
            raise

    def openings_for(self, regulator: MemberId) -> dict[bytes, bytes]:
        """Return application id to what was sealed to a regulator, of each decision that the ledger has [LENDING-5]."""
        state, bank = self._submitter.state(), self._submitter.member
        return {
            application: sealed
            for application, sealed in self._store.sealed_openings().items()
            if (entry := state.get(decision_key(bank, application))) is not None and entry["regulator"] == regulator
        }

    def _put_once(
        self,
        kind: str,
        body: ApplicationSubmitBody | DecisionRecordBody,
        *,
        key: str,
        repeated: str,
        since_ms: int,
    ) -> Committed:
        """Submit what the ledger does not have; where it has it by an earlier attempt, find that one's place."""
        if self._submitter.state().get(key) is None:
            try:
                return self._submitter.submit(kind, body)
            except Conflict as error:
                if error.code != repeated:
                    raise
        found = self._submitter.find(kind, since_ms=since_ms, fits=lambda tx: tx.body == body)
        if found is None and self._submitter.state().get(key) is None:
            raise Unavailable(
                "lending.entry_awaited",
                f"the ledger has a {kind} of application {body.application.hex()} in a block that is not here yet",
                retry_after_s=1.0,
            )
        if found is None:
            raise IntegrityError(
                "lending.entry_differs",
                f"the ledger has a {kind} of application {body.application.hex()} with another content than the one "
                "on file",
            )
        return found

    def _opening(self, decision: Decision, *, product: str, firm: bytes) -> DecisionOpening:
        return DecisionOpening(
            bank=self._submitter.member,
            application=decision.application,
            firm=firm,
            product=product,
            outcome=decision.outcome,
            amount_fen=decision.limit_fen,
            grade=_recorded_grade(decision),
            industry=decision.industry,
            province=decision.province,
            model_digest=decision.model_digest,
            salt=self._entropy(SALT_BYTES),
            outputs=tuple(
                OpenedOutput(request=output.request, model=output.model, band=output.band, yes_no=output.yes_no)
                for output in decision.outputs
            ),
        )


def reviewed_decision(file: ApplicationFile) -> Decision | None:
    """Return what persons decided on an application, None where none did.

    The product's rules may have changed since: what was approved by the earlier ones stays approved [LENDING-13].
    """
    if file.review is None or file.judgement is None:
        return None
    review = decode_review(file.review.raw, file=file, product=None)
    persons = PersonsDecision(
        maker=file.review.maker, checker=file.review.checker, reason=review.reason, codes=review.codes
    )
    return replace(
        file.judgement.decision,
        outcome=review.outcome,
        limit_fen=review.limit_fen,
        annual_rate=review.rate,
        persons=persons,
    )


class OpeningService:
    """Where a regulator takes in what banks sealed to it, and keeps it [LENDING-5].

    Example::

        regulator.openings.receive(application.id, bank=bank.member, sealed=recorded.sealed_opening)
    """

    def __init__(self, *, submitter: LedgerSubmitter, store: OpeningStore, suite: CipherSuite) -> None:
        self._submitter = submitter
        self._store = store
        self._suite = suite

    @property
    def member(self) -> MemberId:
        """The regulator."""
        return self._submitter.member

    def receive(self, application: bytes, *, bank: MemberId, sealed: bytes) -> None:
        """Keep what a bank sealed for a decision, if it is what the ledger names; again changes nothing.

        Whether it opens to what was committed to is the audit's question: an opening that does not is evidence.

        Raises Denied ``lending.decision_unknown`` or ``lending.opening_not_ours``, IntegrityError
        ``lending.opening_differs``.
        """
        found = self._submitter.state().get(decision_key(bank, application))
        if found is None:
            raise Denied(
                "lending.decision_unknown",
                f"the ledger has no decision of {bank} on application {application.hex()}",
                next_step="Hand the opening in once this regulator's copy of the ledger has the decision.",
            )
        if found["regulator"] != self.member:
            raise Denied(
                "lending.opening_not_ours",
                f"the decision on application {application.hex()} was sealed to {found['regulator']}, this is "
                f"{self.member}",
            )
        digest = self._suite.digest(sealed)
        if digest != found["opening_digest"]:
            raise IntegrityError(
                "lending.opening_differs",
                f"{bank} recorded an opening with digest {found['opening_digest'].hex()[:16]} for application "
                f"{application.hex()} and hands in one with {digest.hex()[:16]}",
            )
        self._store.add(application, bank=bank, sealed=sealed)

    def all(self) -> dict[OwnedId, bytes]:
        """Return sealed openings by bank and application id."""
        return self._store.all()


def _decision_body(kept: bytes) -> DecisionRecordBody:
    try:
        return typed(decode_cbor(kept), DecisionRecordBody, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise IntegrityError("lending.file_damaged", f"a kept decision is damaged: {error}") from error


def _recorded_grade(decision: Decision) -> RecordedGrade:
    return "none" if decision.grade is None else decision.grade.value
