"""Three members agree to train a model together: a bank proposes, a third member and a bureau sign.

Rule: docs/spec/cohorts.md [COHORT-4] to [COHORT-7]. The agreement is one transaction that all three sign:

    bank   chooses the consents that allow it, signs training.agree and keeps its cohort
    third  looks at size and plan, which name no firm, and adds its signature
    bureau looks at each consent and at earlier cohorts, keeps the cohort, charges each account, signs and commits

Each side keeps its cohorts and judges a new one by its own. A cohort counts from when it is signed; one whose
transaction ran out without having come to the ledger counts no more.

LIMIT: nothing is trained here yet: an agreement is what a training rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId, OwnedId, new_id, owned_id
from shuiqiao.consent.ceilings import ceiling_of
from shuiqiao.consent.model import Mode, Purpose, verify_usable
from shuiqiao.consent.service import find_grant
from shuiqiao.exchange.ceilings import verify_covered, verify_request_within_ceiling
from shuiqiao.exchange.cohorts import TrainingPlan, TrainingProposal, digest_of_cohort, verify_apart, verify_size
from shuiqiao.exchange.contract import TRAINING, TrainingAgreeBody
from shuiqiao.exchange.model import training_key
from shuiqiao.exchange.store import CohortRow
from shuiqiao.ledger.model import Transaction, first_version
from shuiqiao.ledger.transactions.submitter import DRAFT_VALIDITY_MS
from shuiqiao.ledger.transactions.transaction import (
    TransactionDraft,
    assemble_transaction,
    sign_payload,
    sign_transaction,
)
from shuiqiao.privacy.model import Charge, Revealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date
    from typing import Protocol

    from shuiqiao.base.ids import Entropy
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.exchange.store import CohortStore
    from shuiqiao.ledger.model import Committed
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter

    class Consents(Protocol):
        """The consents on file at a bank or a bureau."""

        def artefact(self, consent: OwnedId) -> ConsentArtefact:
            """Return a consent on file."""
            ...

        def verify_standing(self, artefact: ConsentArtefact) -> None:
            """Return if renewal and joint consent let data flow."""
            ...


_SALT_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedProposal:
    """A proposal and the transaction that its bank signed."""

    proposal: TrainingProposal
    transaction: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedTraining:
    """A cohort as one side keeps it. ended: consents that let nothing flow now. is_agreed: it is on the ledger."""

    training: OwnedId
    other: MemberId
    size: int
    ended: int
    made_ms: int
    is_agreed: bool


class Trainings:
    """The part of a bank or of a bureau in agreements on trainings.

    Example::

        signed = bank.trainings.propose(bureau, third=regulator, items=items, period_from=first, period_to=last)
        raw = third.sign(signed.transaction, signed.proposal.plan)
        bureau.trainings.agree(raw, signed.proposal)
    """

    def __init__(
        self,
        *,
        submitter: LedgerSubmitter,
        store: CohortStore,
        consents: Consents,
        filed: Callable[[], Iterable[OwnedId]],
        key: SigningKey,
        suite: CipherSuite,
        entropy: Entropy,
        least_firms: int,
    ) -> None:
        """filed: the names of all consents on file here. least_firms: of a cohort, and by which two of them differ."""
        self._submitter = submitter
        self._store = store
        self._consents = consents
        self._filed = filed
        self._key = key
        self._suite = suite
        self._entropy = entropy
        self._least_firms = least_firms

    def propose(
        self, bureau: MemberId, *, third: MemberId, items: dict[str, list[str]], period_from: date, period_to: date
    ) -> SignedProposal:
        """Bank: propose to train on all firms whose consents allow it now, and keep their cohort.

        Raises Denied ``exchange.cohort_too_small``, ``exchange.cohorts_too_close``.
        """
        now_ms, salt = self._submitter.now_ms(), self._entropy(_SALT_BYTES)
        draft = TrainingPlan(
            training=new_id(self._entropy),
            bank=self._submitter.member,
            bureau=bureau,
            third=third,
            items={type_id: sorted(set(groups)) for type_id, groups in items.items()},
            period_from=period_from,
            period_to=period_to,
            size=1,
            consents=bytes(32),
            made_ms=now_ms,
            salt=salt,
        )
        firms = self._allowed(draft)
        verify_size(len(firms), least_firms=self._least_firms)
        cohort = sorted(firms.values())
        digest = digest_of_cohort(cohort, salt=salt, suite=self._suite)
        plan = msgspec.structs.replace(draft, size=len(cohort), consents=digest)
        raw = self._sign(plan)
        self._keep(plan, raw, firms=firms, other=bureau, charges=())
        return SignedProposal(proposal=TrainingProposal(plan=plan, cohort=cohort), transaction=raw)

    def agree(self, raw: bytes, proposal: TrainingProposal) -> Committed:
        """Bureau: look at every consent, keep the cohort, charge each account, sign and commit.

        Raises InvalidInput ``exchange.plan_differs``; Denied ``exchange.cohort_too_small``,
        ``exchange.cohorts_too_close``, ``exchange.cohort_repeated``, ``exchange.frequency_exceeded``, what a request
        under one of the consents is refused with, and what the ledger refuses.
        """
        plan, cohort = proposal.plan, proposal.cohort
        tx = verified_proposal(raw, plan, member=self._submitter.member, submitter=self._submitter, suite=self._suite)
        digest = digest_of_cohort(cohort, salt=plan.salt, suite=self._suite)
        if cohort != sorted(set(cohort)) or (len(cohort), digest) != (plan.size, plan.consents):
            raise InvalidInput(
                "exchange.plan_differs", f"the cohort of training {plan.name} is not the one of its plan"
            )
        verify_size(plan.size, least_firms=self._least_firms)
        firms: dict[str, bytes] = {}
        for consent in cohort:
            artefact = self._verified(plan, consent)
            if artefact.taxpayer in firms:
                raise Denied("exchange.cohort_repeated", f"two consents of training {plan.name} are of one firm")
            firms[artefact.taxpayer] = consent
        charges = [self._charge(plan, taxpayer, consent) for taxpayer, consent in firms.items()]
        self._keep(plan, raw, firms=firms, other=MemberId(plan.bank), charges=charges)
        try:
            return self._submitter.countersign(assemble_transaction(tx.payload_bytes, signatures=tx.signatures))
        except (Denied, IntegrityError, InvalidInput):
            self.withdraw(plan.name, charges=charges)
            raise

    def withdraw(self, training: OwnedId, *, charges: Sequence[Charge] = ()) -> None:
        """Forget a cohort that was refused, so that it counts no more; one whose agreement is on the ledger stays."""
        if self._submitter.state().get(training_key(training)) is None:
            self._store.forget(training, charges=[each.reference for each in charges])

    def all(self) -> list[AgreedTraining]:
        """Return the cohorts that are kept here, the oldest first."""
        return [self._shown(row) for row in self._store.all()]

    def _shown(self, row: CohortRow) -> AgreedTraining:
        return AgreedTraining(
            training=row.training,
            other=MemberId(row.other),
            size=len(row.firms),
            ended=sum(not self._is_usable(OwnedId(consent)) for consent in row.consents),
            made_ms=row.made_ms,
            is_agreed=self._submitter.state().get(training_key(row.training)) is not None,
        )

    def _is_usable(self, consent: OwnedId) -> bool:
        try:
            verify_usable(find_grant(self._submitter.state(), consent), now_ms=self._submitter.latest_ms())
        except Denied:
            return False
        return True

    def _allowed(self, plan: TrainingPlan) -> dict[str, bytes]:
        """Return the consents on file that allow a plan, by taxpayer; of two of one firm the first by name."""
        found: dict[str, bytes] = {}
        for name in self._filed():
            bureau, _, consent = name.partition("/")
            if bureau != plan.bureau:
                continue
            try:
                artefact = self._verified(plan, bytes.fromhex(consent))
            except (Denied, InvalidInput):
                continue
            found.setdefault(artefact.taxpayer, artefact.consent)
        return found

    def _verified(self, plan: TrainingPlan, consent: bytes) -> ConsentArtefact:
        """Return a consent of a cohort that allows what is planned now; raises as a request under it."""
        state, name, message = self._submitter.state(), owned_id(MemberId(plan.bureau), consent), plan.asked(consent)
        verify_usable(find_grant(state, name), now_ms=self._submitter.latest_ms())
        artefact = self._consents.artefact(name)
        self._consents.verify_standing(artefact)
        verify_covered(message, artefact)
        verify_request_within_ceiling(message, ceiling=ceiling_of(artefact, state))
        since_ms = self._submitter.now_ms() - artefact.frequency.window_ms
        past = self._store.count_of(artefact.taxpayer, other=self._other(plan), since_ms=since_ms)
        if past >= artefact.frequency.count:
            raise Denied(
                "exchange.frequency_exceeded",
                f"{past} trainings used consent {name} where it allows {artefact.frequency.count} in a "
                f"{artefact.frequency.unit}",
            )
        return artefact

    def _other(self, plan: TrainingPlan) -> MemberId:
        return MemberId(plan.bureau if plan.bank == self._submitter.member else plan.bank)

    def _sign(self, plan: TrainingPlan) -> bytes:
        body = TrainingAgreeBody(
            training=plan.training,
            provider=plan.bureau,
            third=plan.third,
            plan=plan.commitment(self._suite),
        )
        draft = TransactionDraft(
            kind=TRAINING,
            version=first_version(TRAINING),
            body=body,
            author=self._submitter.member,
            valid_until_ms=plan.made_ms + DRAFT_VALIDITY_MS,
            id=plan.training,
        )
        return sign_transaction(draft, network=self._submitter.parameters.network, suite=self._suite, keys=(self._key,))

    def _keep(
        self,
        plan: TrainingPlan,
        raw: bytes,
        *,
        firms: dict[str, bytes],
        other: MemberId,
        charges: Sequence[Charge],
    ) -> None:
        bureau = MemberId(plan.bureau)
        state, now_ms = self._submitter.state(), self._submitter.latest_ms()

        def verify(rows: Sequence[CohortRow], kept: frozenset[bytes]) -> None:
            counted = (
                row.firms
                for row in rows
                if row.valid_until_ms >= now_ms or state.get(training_key(row.training)) is not None
            )
            verify_apart(kept, counted, least_firms=self._least_firms)

        self._store.keep(
            training=plan.name,
            other=other,
            taxpayers=sorted(firms),
            consents=[owned_id(bureau, consent) for consent in sorted(firms.values())],
            made_ms=plan.made_ms,
            valid_until_ms=self._submitter.decode(raw).valid_until_ms,
            verify=verify,
            charges=charges,
        )

    def _charge(self, plan: TrainingPlan, taxpayer: str, consent: bytes) -> Charge:
        """Return the entry of one firm's account: what a model tells of one firm is not counted in bits [COHORT-7]."""
        digest = sha256(plan.training + consent).digest()[: len(plan.training)]
        return Charge(
            reference=owned_id(MemberId(plan.bank), digest),
            taxpayer=taxpayer,
            recipient=MemberId(plan.bank),
            purpose=Purpose.MODEL_DEVELOPMENT,
            mode=Mode.TRAIN,
            charged_ms=plan.made_ms,
            revealed=Revealed(),
        )


class TrainingThird:
    """The part of a third member, which has no data and is told of no firm."""

    def __init__(self, *, submitter: LedgerSubmitter, key: SigningKey, suite: CipherSuite, least_firms: int) -> None:
        self._submitter = submitter
        self._key = key
        self._suite = suite
        self._least_firms = least_firms

    def sign(self, raw: bytes, plan: TrainingPlan) -> bytes:
        """Add this member's signature to a proposal whose cohort is large enough.

        Raises as ``verified_proposal``; Denied ``exchange.cohort_too_small``.
        """
        tx = verified_proposal(raw, plan, member=self._submitter.member, submitter=self._submitter, suite=self._suite)
        verify_size(plan.size, least_firms=self._least_firms)
        own = sign_payload(tx.payload_bytes, suite=self._suite, key=self._key)
        return assemble_transaction(tx.payload_bytes, signatures=(*tx.signatures, own))


def verified_proposal(
    raw: bytes, plan: TrainingPlan, *, member: MemberId, submitter: LedgerSubmitter, suite: CipherSuite
) -> Transaction:
    """Return the transaction of a proposal that this member has a part in, and that commits to this very plan.

    Raises InvalidInput ``exchange.plan_differs``, ``ledger.tx_*``. Who signed it the ledger looks at.
    """
    tx = submitter.decode(raw)
    body = tx.body
    wanted = (plan.bank, plan.training, plan.bureau, plan.third, plan.commitment(suite))
    found = isinstance(body, TrainingAgreeBody) and (tx.author, body.training, body.provider, body.third, body.plan)
    if found != wanted or member not in {plan.bureau, plan.third}:
        raise InvalidInput("exchange.plan_differs", f"what came is no agreement of {member} on training {plan.name}")
    return tx
