"""A bank takes applications and decides them by its product's rules; a regulator takes in the sealed openings.

``apply``: 1. commit to product and amount; 2. keep the application; 3. put application.submit on the ledger, and
withdraw what was kept if the ledger refuses it.
``decide``: 1. apply the product's rules to proven facts, score and offer; 2. commit to the decision, and seal what
opens it to the regulator; 3. keep the decision, its explanation and the sealed opening; 4. put decision.record on the
ledger, and withdraw what was kept if the ledger refuses it. The opening is then handed in at the regulator's.
It computes no score and no limit: credit does. It trusts no document: facts come from records that were proven.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import Entropy, MemberId, OwnedId, new_id
from shuiqiao.base.money import MAX_FEN
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.model import Committed
from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
from shuiqiao.lending.contract import (
    APPLICATION,
    DECISION,
    ApplicationSubmitBody,
    DecisionRecordBody,
    decision_key,
)
from shuiqiao.lending.model import Application, Assessment, Decision, Outcome, Product
from shuiqiao.lending.openings import (
    NO_INDUSTRY,
    NO_PROVINCE,
    SALT_BYTES,
    ApplicationOpening,
    DecisionOpening,
    RecordedGrade,
)
from shuiqiao.lending.rules import broken_rules, outcome_of
from shuiqiao.lending.store import LendingStore, OpeningStore
from shuiqiao.members.roster import member_record


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
        recorded = bank.lending.decide(application, product=product, assessment=assessment, regulator=regulator)
    """

    def __init__(
        self, *, submitter: LedgerSubmitter, store: LendingStore, suite: CipherSuite, entropy: Entropy
    ) -> None:
        self._submitter = submitter
        self._store = store
        self._suite = suite
        self._entropy = entropy

    def apply(self, product: Product, *, taxpayer: str, consent: OwnedId, amount_fen: int) -> Application:
        """Take an enterprise's application under a consent it gave to this bank.

        Raises InvalidInput ``lending.amount_invalid``, and what the ledger refuses with:
        ``lending.consent_not_ours``, ``consent.revoked``, ...
        """
        if not 0 < amount_fen <= MAX_FEN:
            raise InvalidInput("lending.amount_invalid", f"{amount_fen} fen is not an amount from 1 to {MAX_FEN} fen")
        application = Application(
            id=new_id(self._entropy),
            product=product.id,
            taxpayer=taxpayer,
            consent=consent,
            amount_fen=amount_fen,
            submitted_ms=self._submitter.now_ms(),
        )
        wanted = ApplicationOpening(
            bank=self._submitter.member,
            application=application.id,
            product=product.id,
            amount_fen=amount_fen,
            salt=self._entropy(SALT_BYTES),
        )
        body = ApplicationSubmitBody(
            application=application.id, consent=consent, commitment=wanted.commitment(self._suite)
        )
        self._store.add_application(application, salt=wanted.salt)
        self._put(APPLICATION, body, undo=self._store.withdraw_application)
        return application

    def decide(
        self, application: Application, *, product: Product, assessment: Assessment, regulator: MemberId
    ) -> RecordedDecision:
        """Decide an application and record it.

        Raises Conflict ``lending.decision_on_file``, and what the ledger refuses with (``lending.evidence_missing``).
        """
        decision = self._decision(application, product=product, assessment=assessment)
        opening = self._opening(decision, product=product, firm=assessment.firm)
        sealed = opening.seal(
            self._suite,
            regulator_key=member_record(self._submitter.state(), regulator)["seal"],
            network=self._submitter.parameters.network,
        )
        salt = self._entropy(SALT_BYTES)
        body = DecisionRecordBody(
            application=decision.application,
            request=assessment.request,
            regulator=regulator,
            commitment=opening.commitment(self._suite),
            opening_digest=self._suite.digest(sealed),
            reasons_digest=self._suite.digest(salt + encode_json(decision.explanation())),
        )
        self._store.add_decision(decision, sealed_opening=sealed, reasons_salt=salt)
        committed = self._put(DECISION, body, undo=self._store.withdraw_decision)
        return RecordedDecision(decision=decision, committed=committed, sealed_opening=sealed)

    def sealed_openings(self) -> dict[bytes, bytes]:
        """Return application id to what is to be handed in to the regulator; again changes nothing."""
        return self._store.sealed_openings()

    def hand_in_openings(self, regulator: OpeningService) -> int:
        """Give a regulator every opening that was sealed to it and return how many; again changes nothing.

        Its copy of the ledger must have the decisions. Raises what ``OpeningService.receive`` raises.
        """
        state, bank = self._submitter.state(), self._submitter.member
        handed = 0
        for application, sealed in self.sealed_openings().items():
            recorded = state.get(decision_key(bank, application))
            if recorded is not None and recorded["regulator"] == regulator.member:
                regulator.receive(application, bank=bank, sealed=sealed)
                handed += 1
        return handed

    def _decision(self, application: Application, *, product: Product, assessment: Assessment) -> Decision:
        rules = broken_rules(
            product,
            facts=assessment.facts,
            default_probability=assessment.score.default_probability,
            offer=assessment.offer,
        )
        outcome = outcome_of(rules)
        is_offered = outcome is Outcome.APPROVED
        price = assessment.offer.price
        return Decision(
            application=application.id,
            outcome=outcome,
            points=assessment.score.points,
            default_probability=assessment.score.default_probability,
            limit_fen=assessment.offer.limit.limit_fen if is_offered else 0,
            annual_rate=price.rate if is_offered and price is not None else None,
            rules=rules,
            reasons=assessment.score.reasons,
            grade=assessment.facts.grade,
            industry=assessment.industry or NO_INDUSTRY,
            province=assessment.province or NO_PROVINCE,
            model_digest=assessment.model_digest,
        )

    def _put(
        self, kind: str, body: ApplicationSubmitBody | DecisionRecordBody, *, undo: Callable[[bytes], None]
    ) -> Committed:
        try:
            return self._submitter.submit(kind, body)
        except Unavailable:
            # It may still be committed: what was kept stays on file for it.
            raise
        except ShuiqiaoError:
            undo(body.application)
            raise

    def _opening(self, decision: Decision, *, product: Product, firm: bytes) -> DecisionOpening:
        return DecisionOpening(
            bank=self._submitter.member,
            application=decision.application,
            firm=firm,
            product=product.id,
            outcome=decision.outcome,
            amount_fen=decision.limit_fen,
            grade=_recorded_grade(decision),
            industry=decision.industry,
            province=decision.province,
            model_digest=decision.model_digest,
            salt=self._entropy(SALT_BYTES),
        )


class OpeningService:
    """Where a regulator takes in what banks sealed to it, and keeps it [LENDING-5].

    Example::

        bank.lending.hand_in_openings(regulator.openings)
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


def _recorded_grade(decision: Decision) -> RecordedGrade:
    return "none" if decision.grade is None else decision.grade.value
