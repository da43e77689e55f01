"""Which model decides for which product, what it is priced by, and who assesses by it: a bank's own choices.

A model is developed from the records of the bank's loan book, which each enterprise consented to for that purpose, and
is kept by its digest (``credit/store``). A product is decided by one model at a time, and by the bank's churn curves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from shuiqiao.base.errors import Denied
from shuiqiao.consent.model import Purpose
from shuiqiao.credit.development import ScoringModel, develop_model
from shuiqiao.credit.model_card import given_model_card, model_card
from shuiqiao.credit.scorecard import definition_of, read_scorecard
from shuiqiao.lending.assessment import Assessor
from shuiqiao.lending.output_assessment import OutputAssessor

if TYPE_CHECKING:
    from shuiqiao.credit.store import KeptModel, ModelStore
    from shuiqiao.exchange.recipient import ReceivedData, Recipient
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.lending.model import ApplicantFile, Application, Assessment
    from shuiqiao.lending.product_rules import BankProducts
    from shuiqiao.lending.store import ProductStore


class LendingModels:
    """A bank's models and products.

    Example::

        model = bank.lending_models.develop(outcomes_from_csv(Path("book.csv")), as_of=today, seed=1)
        bank.lending_models.use(model.digest, product="tax-credit-loan")
        with bank.lending_models.assessor("tax-credit-loan", as_of=today) as assessor:
            ...
    """

    def __init__(
        self,
        *,
        models: ModelStore,
        store: ProductStore,
        products: BankProducts,
        recipient: Recipient,
        submitter: LedgerSubmitter,
        digest: Callable[[bytes], bytes],
    ) -> None:
        self.models = models
        self._store = store
        self._products = products
        self._recipient = recipient
        self._submitter = submitter
        self._digest = digest

    def develop(self, outcomes: Mapping[str, bool], *, as_of: date, seed: int) -> KeptModel:
        """Develop a model on the kept records of the loan book's firms, and keep it.

        outcomes: taxpayer to whether it defaulted. Raises Denied ``lending.loan_book_empty``, InvalidInput
        ``credit.too_few_firms``.
        """
        book = {
            received.artefact.taxpayer: received.tables
            for received in self._recipient.kept(purpose=Purpose.MODEL_DEVELOPMENT)
            if received.artefact.taxpayer in outcomes
        }
        if not book:
            raise Denied(
                "lending.loan_book_empty",
                f"no records are kept of any of {len(outcomes)} firms under a consent for model development",
            )
        chosen = {taxpayer: outcomes[taxpayer] for taxpayer in book}
        model = develop_model(list(book.values()), outcomes=chosen, as_of=as_of, seed=seed)
        card = model_card(
            model.card,
            validation=model.validation,
            data=f"Records of {len(book)} firms of the loan book, consented to for model development.",
        )
        return self._kept(model, card=card, as_of=as_of)

    def register(
        self, scorecard: bytes, *, data: str, metrics: Mapping[str, str], limits: Sequence[str] = (), as_of: date
    ) -> KeptModel:
        """Keep a scorecard that was developed elsewhere, with what its owner says of it.

        data: one sentence on the training data. metrics: ``auc``, ``auc_ci_95`` and ``ks`` as text. Raises InvalidInput
        ``credit.scorecard_malformed`` or ``credit.feature_unknown``.
        """
        found = read_scorecard(scorecard)
        for name in found.feature_names:
            definition_of(name)
        card = given_model_card(found, data=data, metrics=metrics, limits=limits)
        return self._kept(ScoringModel(card=found, unseeing={}), card=card, as_of=as_of)

    def _kept(self, model: ScoringModel, *, card: Mapping[str, Any], as_of: date) -> KeptModel:
        now_ms = self._submitter.now_ms()
        return self.models.find(self.models.keep(model, model_card=card, as_of=as_of, developed_ms=now_ms).hex())

    def use(self, digest: bytes, *, product: str) -> None:
        """Let a kept model decide for a product from now on; raises as ``products.product``, ``ModelStore.load`` do."""
        self._products.product(product)
        self.models.load(digest)
        self._store.use(product, model=digest, since_ms=self._submitter.now_ms())

    def retire(self, product: str) -> None:
        """Let no model decide for a product any more: its applications wait for another one.

        Raises InvalidInput ``lending.product_unknown``.
        """
        self._products.product(product)
        self._store.retire(product)

    def uses(self) -> Mapping[bytes, tuple[str, ...]]:
        """Return model to the products that it decides for."""
        uses = self._store.uses()
        return {
            digest: tuple(sorted(product for product, (model, _) in uses.items() if model == digest))
            for digest, _ in uses.values()
        }

    def basis(self, product: str) -> object:
        """Return what an assessor of a product goes by now, equal as long as nothing of it changed."""
        return self._products.in_force(product).digest, self._store.uses().get(product), self._store.churn()

    def assessor(self, product: str, *, as_of: date) -> Assessor | OutputAssessor:
        """Return who assesses applicants for a product, on records or on outputs; whoever opens it closes it.

        Raises Denied ``lending.model_missing`` or ``lending.churn_missing`` where the bank has not chosen yet.
        """
        wanted, (used, _) = self._products.product(product), self._store.uses().get(product, (None, None))
        model = used if wanted.score is None else None
        if wanted.score is None and model is None:
            raise Denied("lending.model_missing", f"no model was chosen to decide for {product}")
        curves = self._store.churn()
        needed = {*wanted.churn_bands.values(), wanted.other_churn_band}
        if not needed <= curves.keys():
            missing = ", ".join(sorted(needed - curves.keys()))
            raise Denied("lending.churn_missing", f"{product} is priced by churn curves of the bands {missing}")
        if model is None:
            return OutputAssessor(wanted, recipient=self._recipient, churn=curves, as_of=as_of)
        return Assessor(wanted, model=self.models.load(model), churn=curves, as_of=as_of, digest=self._digest)


@dataclass(slots=True)
class _Opened:
    """An assessor that was opened, what it goes by, and how many use it now."""

    assessor: Assessor | OutputAssessor
    basis: object
    users: int = 0
    is_old: bool = False


class Assessors:
    """The assessors of one bank at work, each opened when it is first needed, and anew once what it goes by changed.

    That is the product's rules, its model, the churn curves and the day. Any number of threads may ask::

        assessors = Assessors(models, day=today)
        assessment = assessors.of("tax-credit-loan").assess(application, received=received, file=file)
        assessors.close()
    """

    def __init__(self, models: LendingModels, *, day: Callable[[], date]) -> None:
        self._models = models
        self._day = day
        self._lock = threading.Lock()
        self._opened: dict[str, _Opened] = {}

    def of(self, product: str) -> AssessorOf:
        """Return who assesses applicants for a product."""
        return AssessorOf(self, product)

    @contextmanager
    def using(self, product: str) -> Generator[Assessor | OutputAssessor]:
        """Give the assessor of now, which stays open inside; raises as ``LendingModels.assessor``."""
        with self._lock:
            found = self._of_now(product)
            found.users += 1
        try:
            yield found.assessor
        finally:
            with self._lock:
                found.users -= 1
                self._close_if_unused(found)

    def close(self) -> None:
        """Close all of them; those in use are closed by whoever uses them last."""
        with self._lock:
            for found in self._opened.values():
                found.is_old = True
                self._close_if_unused(found)
            self._opened.clear()

    def _of_now(self, product: str) -> _Opened:
        day = self._day()
        basis = (day, self._models.basis(product))
        found = self._opened.get(product)
        if found is None or found.basis != basis:
            fresh = _Opened(self._models.assessor(product, as_of=day), basis)
            self._opened[product] = fresh
            if found is not None:
                found.is_old = True
                self._close_if_unused(found)
            found = fresh
        return found

    def _close_if_unused(self, found: _Opened) -> None:
        if found.is_old and not found.users:
            found.assessor.close()


@dataclass(frozen=True, slots=True)
class AssessorOf:
    """Assesses applicants for one product by whatever is in force when it is asked."""

    assessors: Assessors
    product: str

    def assess(
        self,
        application: Application,
        *,
        received: ReceivedData,
        file: ApplicantFile,
        further: Sequence[ReceivedData] = (),
    ) -> Assessment:
        """See Assessor and OutputAssessor."""
        with self.assessors.using(self.product) as assessor:
            return assessor.assess(application, received=received, file=file, further=further)
