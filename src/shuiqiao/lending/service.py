"""A bank's lending desk: take an application, decide it on proven facts, put one decision on the ledger.

``apply``: 1. commit to the amount wanted; 2. keep the application; 3. put application.submit on the ledger, and
withdraw what was kept if the ledger refuses it.
``decide``: 1. apply the product's rules to proven facts, score and offer; 2. commit to the amount approved and seal its
opening to the regulator; 3. keep the decision with its explanation; 4. put decision.record on the ledger, and withdraw
what was kept if the ledger refuses it.
It computes no score and no limit: credit does. It trusts no document: facts come from records that were proven.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import Entropy, MemberId, new_id
from shuiqiao.base.money import MAX_FEN
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.model import Committed
from shuiqiao.ledger.submitter import LedgerSubmitter
from shuiqiao.lending.amounts import SALT_BYTES, AmountOpening
from shuiqiao.lending.contract import (
    NO_INDUSTRY,
    NO_PROVINCE,
    ApplicationSubmitBody,
    DecisionRecordBody,
    RecordedGrade,
)
from shuiqiao.lending.model import Application, Decision, Outcome, Product
from shuiqiao.lending.rules import ApplicantFacts, Offer, broken_rules, outcome_of
from shuiqiao.lending.store import LendingStore
from shuiqiao.members.contract import member_record

if TYPE_CHECKING:
    from shuiqiao.credit.model import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """Everything a decision rests on. request: the acknowledged answer; industry A-T or None; province two digits."""

    request: bytes
    facts: ApplicantFacts
    score: Score
    offer: Offer
    industry: str | None
    province: str | None
    model_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDecision:
    """A decision that is on the ledger. sealed_opening: to be handed to the regulator."""

    decision: Decision
    committed: Committed
    sealed_opening: bytes


class LendingDesk:
    """Applications and decisions of one bank."""

    def __init__(
        self, *, submitter: LedgerSubmitter, store: LendingStore, suite: CipherSuite, entropy: Entropy
    ) -> None:
        self._submitter = submitter
        self._store = store
        self._suite = suite
        self._entropy = entropy

    def apply(self, product: Product, *, taxpayer: str, consent: bytes, amount_fen: int) -> Application:
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
        wanted = AmountOpening.fresh(application=application.id, amount_fen=amount_fen, entropy=self._entropy)
        body = ApplicationSubmitBody(
            application=application.id,
            product=product.id,
            consent=consent,
            amount_commitment=wanted.commitment(self._suite),
        )
        self._store.add_application(application, amount_salt=wanted.salt)
        self._put("application.submit", body, undo=self._store.withdraw_application)
        return application

    def decide(
        self, application: Application, *, product: Product, assessment: Assessment, regulator: MemberId
    ) -> RecordedDecision:
        """Decide an application and record it.

        Raises Conflict ``lending.decision_on_file``, and what the ledger refuses with (``lending.evidence_missing``).
        """
        decision = self._decision(application, product=product, assessment=assessment)
        opening = AmountOpening.fresh(application=application.id, amount_fen=decision.limit_fen, entropy=self._entropy)
        sealed = opening.seal(
            self._suite,
            regulator_key=member_record(self._submitter.state(), regulator)["seal"],
            network=self._submitter.parameters.network,
        )
        salt = self._entropy(SALT_BYTES)
        body = self._body(decision, request=assessment.request, opening=opening, sealed=sealed, reasons_salt=salt)
        self._store.add_decision(decision, sealed_opening=sealed, reasons_salt=salt)
        committed = self._put("decision.record", body, undo=self._store.withdraw_decision)
        return RecordedDecision(decision=decision, committed=committed, sealed_opening=sealed)

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

    def _body(
        self, decision: Decision, *, request: bytes, opening: AmountOpening, sealed: bytes, reasons_salt: bytes
    ) -> DecisionRecordBody:
        return DecisionRecordBody(
            application=decision.application,
            request=request,
            outcome=decision.outcome,
            grade=_recorded_grade(decision),
            industry=decision.industry,
            province=decision.province,
            model_digest=decision.model_digest,
            reasons_digest=self._suite.digest(reasons_salt + encode_json(decision.explanation())),
            amount_commitment=opening.commitment(self._suite),
            opening_digest=self._suite.digest(sealed),
        )


def _recorded_grade(decision: Decision) -> RecordedGrade:
    return "none" if decision.grade is None else decision.grade.value
