"""Which model decides for which product, and what it is priced by: a bank's own choices.

A model is developed from the records of the bank's loan book, which each enterprise consented to for that purpose, and
is kept by its digest (``credit/store``). A product is decided by one model at a time, and by the bank's churn curves.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.files import open_regular
from shuiqiao.consent.model import Purpose
from shuiqiao.credit.development import develop_model
from shuiqiao.credit.model_card import model_card
from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.lending.assessment import Assessor

if TYPE_CHECKING:
    from shuiqiao.credit.store import KeptModel, ModelStore
    from shuiqiao.exchange.recipient import Recipient
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.lending.model import Product
    from shuiqiao.lending.store import ProductStore

MAX_FILE_BYTES = 16 << 20
"""Of a file of outcomes or churn curves."""

MAX_OUTCOMES = 200_000
MAX_CURVE_RATES = 1_000

_TRUE, _FALSE = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductInUse:
    """A product with the model that decides for it, None before one was chosen."""

    product: Product
    model: bytes | None
    since_ms: int | None

    def as_json(self, *, whole: bool = False) -> dict[str, Any]:
        """Return it as a JSON object. whole: with the numbers of its limit and price."""
        product = self.product
        told: dict[str, Any] = {
            "product": product.id,
            "name": product.names.en,
            "name_zh": product.names.zh,
            "model": None if self.model is None else self.model.hex(),
            "since": None if self.since_ms is None else iso_from_ms(self.since_ms),
        }
        if whole:
            told |= {
                "min_age_months": product.min_age_months,
                "max_days_without_sales": product.max_days_without_sales,
                "refer_above": str(product.refer_above),
                "limit": msgspec.to_builtins(product.limit),
                "price": msgspec.to_builtins(product.pricing),
                "churn_bands": {str(grade): band for grade, band in product.churn_bands.items()},
                "other_churn_band": product.other_churn_band,
            }
        return told


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
        products: Mapping[str, Product],
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
        now_ms = self._submitter.now_ms()
        return self.models.find(self.models.keep(model, model_card=card, as_of=as_of, developed_ms=now_ms).hex())

    def products(self) -> list[ProductInUse]:
        """Return every product of the catalogue with the model that decides for it."""
        uses = self._store.uses()
        return [
            ProductInUse(product=product, model=model, since_ms=since_ms)
            for product in self._products.values()
            for model, since_ms in [uses.get(product.id, (None, None))]
        ]

    def product(self, name: str) -> Product:
        """Return a product; raises InvalidInput ``lending.product_unknown``."""
        if name not in self._products:
            raise InvalidInput(
                "lending.product_unknown", f"no product {name[:40]!r}; there are {', '.join(sorted(self._products))}"
            )
        return self._products[name]

    def use(self, digest: bytes, *, product: str) -> None:
        """Let a kept model decide for a product from now on; raises as ``product`` and ``ModelStore.load`` do."""
        self.product(product)
        self.models.load(digest)
        self._store.use(product, model=digest, since_ms=self._submitter.now_ms())

    def set_churn(self, curves: Mapping[str, ChurnCurve]) -> None:
        """Keep the bank's churn curves, by risk band."""
        self._store.set_churn(curves)

    def assessor(self, product: str, *, as_of: date) -> Assessor:
        """Return who assesses applicants for a product; whoever opens it closes it.

        Raises Denied ``lending.model_missing`` or ``lending.churn_missing`` where the bank has not chosen yet.
        """
        wanted, (model, _) = self.product(product), self._store.uses().get(product, (None, None))
        if model is None:
            raise Denied("lending.model_missing", f"no model was chosen to decide for {product}")
        curves = self._store.churn()
        needed = {*wanted.churn_bands.values(), wanted.other_churn_band}
        if not needed <= curves.keys():
            missing = ", ".join(sorted(needed - curves.keys()))
            raise Denied("lending.churn_missing", f"{product} is priced by churn curves of the bands {missing}")
        return Assessor(wanted, model=self.models.load(model), churn=curves, as_of=as_of, digest=self._digest)


def outcomes_from_csv(path: Path) -> dict[str, bool]:
    """Return taxpayer to whether it defaulted, from a CSV file with the columns uscc and defaulted.

    Raises InvalidInput ``lending.outcomes_invalid``.
    """
    found: dict[str, bool] = {}
    for number, row in enumerate(_rows(path, code="lending.outcomes_invalid", most=MAX_OUTCOMES), start=2):
        taxpayer, defaulted = (row.get("uscc") or "").strip(), (row.get("defaulted") or "").strip().lower()
        if not taxpayer or taxpayer in found or defaulted not in _TRUE | _FALSE:
            raise InvalidInput(
                "lending.outcomes_invalid",
                f"{path.name} line {number}: uscc {taxpayer[:32]!r} and defaulted {defaulted[:16]!r}, where each firm "
                "stands once, with 1 or 0",
            )
        found[taxpayer] = defaulted in _TRUE
    return found


def churn_from_csv(path: Path) -> dict[str, ChurnCurve]:
    """Return churn curves by band from a CSV file with the columns annual_rate and churn_A, churn_B, ...

    Raises InvalidInput ``lending.churn_invalid``, ``credit.churn_curve_invalid``.
    """
    rows = _rows(path, code="lending.churn_invalid", most=MAX_CURVE_RATES)
    bands = sorted(name.removeprefix("churn_") for name in (rows[0] if rows else {}) if name.startswith("churn_"))
    if not bands:
        raise InvalidInput("lending.churn_invalid", f"{path.name} has no rows with a column churn_A")
    try:
        rates = tuple(Decimal(row["annual_rate"]) for row in rows)
        return {
            band: ChurnCurve(rates=rates, churn=tuple(Decimal(row[f"churn_{band}"]) for row in rows)) for band in bands
        }
    except (InvalidOperation, KeyError, TypeError) as error:
        raise InvalidInput("lending.churn_invalid", f"{path.name}: a rate or share is no number: {error}") from error


def _rows(path: Path, *, code: str, most: int) -> list[dict[str, Any]]:
    """Return the rows of a CSV file, at most so many."""
    with open_regular(path) as file:
        data = file.read(MAX_FILE_BYTES + 1)
    try:
        text = data.decode("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(code, f"{path.name} is no CSV file in UTF-8: {error}") from error
    if len(data) > MAX_FILE_BYTES or len(rows) > most:
        raise InvalidInput(code, f"{path.name} has more than {most} rows or {MAX_FILE_BYTES} bytes")
    return rows
