"""A loan that is decided on outputs of four models: their contents, the product, and how a consortium lets them run."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from consortium_world import TAXPAYER, ConsortiumWorld
from shuiqiao.base.ids import OwnedId
from shuiqiao.consent.model import Mode, Output
from shuiqiao.credit.model_content import ModelContent, encode_content, read_outputs
from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature
from shuiqiao.lending.catalogue import load_product_texts
from shuiqiao.lending.model import Product
from shuiqiao.lending.processing import ApplicationProcess, Surroundings
from shuiqiao.models.model import ModelForm
from shuiqiao.sandbox.scenario.consortium import REGULATOR
from shuiqiao.sandbox.scenario.enterprises import BureauLink, OpeningLink
from shuiqiao.sandbox.scenario.unseen import let_run
from standards_world import write_csv

LOAN = "tax-credit-score-loan"
TAX_CUTS = (6_726_635, 8_335_113, 10_419_332)
"""ln(1 + yuan / 12) in millionths, just above 10,000, 50,000 and 402,000 yuan a year."""
SALES_CUTS = (12_000_000, 14_000_000, 15_000_000)
"""About two million, 14 million and 39 million yuan a year."""
OUTPUTS = (Output.BAND, Output.YES_NO)


def feature(name: str, cuts: tuple[int, ...], points: tuple[int, ...], *, unknown: int = 0) -> ScorecardFeature:
    """A feature of a card that was never trained."""
    counts = (0,) * (len(points) + 1)
    return ScorecardFeature(name=name, cuts=cuts, points=points, unknown_points=unknown, counts=counts, bad=counts)


def card_of(name: str, *features: ScorecardFeature, base: int = 0) -> Scorecard:
    """A card."""
    return Scorecard(name=name, base_points=base, features=features, n=0, bad=0)


def risk(*, base: int = 640) -> ModelContent:
    """What tells how likely a default is: more months without sales are worse."""
    card = card_of(
        "risk", feature("zero_sales_months_12m", (2_000_000, 5_000_000), (20, 0, -60), unknown=-60), base=base
    )
    return read_outputs({"bands": ["C", "B", "A"], "cuts": [530, 620]}, card=card)


def bands_of(name: str, cuts: tuple[int, ...]) -> ModelContent:
    """A card of one feature whose bands are its bins; what is not known is in the lowest."""
    card = card_of(name, feature(name, cuts, tuple(range(len(cuts) + 1))))
    declared = {"bands": [str(band) for band in range(len(cuts) + 1)], "cuts": list(range(1, len(cuts) + 1))}
    return read_outputs(declared, card=card)


def conditions() -> ModelContent:
    """Yes: two years of business, a sale in the last 92 days, no arrears, a grade of M or better."""
    card = card_of(
        "conditions",
        feature("registered_months", (24_000_000,), (0, 1)),
        feature("days_since_last_sale", (93_000_000,), (1, 0)),
        feature("log_arrears_owed", (1,), (1, 0)),
        feature("tax_credit_grade_rank", (3_000_000,), (0, 1)),
    )
    return read_outputs({"yes_from": 4}, card=card)


def contents(*, base: int = 640) -> dict[str, ModelContent]:
    """The models by their job."""
    return {
        "risk": risk(base=base),
        "tax": bands_of("log_annual_tax_12m", TAX_CUTS),
        "sales": bands_of("log_monthly_sales_12m", SALES_CUTS),
        "conditions": conditions(),
    }


def product_text(asks: Mapping[str, str], **changes: str) -> str:
    """The rules of the loan with its models. asks: the model of each job. changes: text to what stands in its place."""
    rows = [
        f'{job} = {{ model = "{model}", output = "{"yes_no" if job == "conditions" else "band"}" }}'
        for job, model in asks.items()
    ]
    text = load_product_texts()[LOAN].replace("[limit]", "[score.asks]\n" + "\n".join(rows) + "\n\n[limit]")
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


ITEMS = {
    "arrears@1": ["amounts", "core"],
    "invoice_issued@2": ["amounts", "core"],
    "payment@1": ["amounts", "core"],
    "registration@1": ["core"],
    "tax_credit_grade@1": ["core"],
}
"""What the four models read."""


def score_terms() -> dict[str, Any]:
    """The terms of a consent to it."""
    return {"modes": (Mode.SCORE,), "outputs": OUTPUTS, "items": dict(ITEMS), "product": LOAN}


DAYS_OLD = "150"
"""How old the data of the world may be: it ends with 2025, and its clock stands in April 2026."""
PAID_FEN = 41_000_000


class ScoredWorld(ConsortiumWorld):
    """The consortium with a year of tax paid, the four models at the bureau, and the loan that asks for them."""

    def __init__(self, folder: Path, suite_name: str, *, base: int = 640) -> None:
        super().__init__(folder, suite_name)
        product = self.bank.products.product(LOAN)
        if product.score is not None and not product.score.asks:
            self._pay()
            models = {
                job: let_run(encode_content(each), form=ModelForm.SCORECARD, bank=self.bank, bureau=self.bureau)
                for job, each in contents(base=base).items()
            }
            text = product_text(models, **WORLD_CHANGES)
            self.bank.products.change(LOAN, text, replaces=self.bank.products.in_force(LOAN).digest)
            curve = ChurnCurve(rates=(Decimal("0.03"), Decimal("0.15")), churn=(Decimal(0), Decimal("0.5")))
            self.bank.products.set_churn(dict.fromkeys("ABC", curve))

    @property
    def loan(self) -> Product:
        """The product by the rules in force."""
        return self.bank.products.product(LOAN)

    def _pay(self) -> None:
        row = {
            "uscc": TAXPAYER, "voucher_no": "3440", "tax_code": "10101", "tax_item": "1", "payment_kind": "tax",
            "period_from": "2025-10-01", "period_to": "2025-10-31", "due_on": "2025-11-15", "paid_on": "2025-11-10",
            "paid_fen": PAID_FEN,
        }  # fmt: skip
        path = write_csv(self.folder / "payment.csv", [row])
        report = self.bureau.vault.ingest(
            [path], anchor=self.bureau.outbox, record_type=self.bureau.catalogue.get("payment")
        )
        assert report.records_quarantined == 0, report.report.read_text()
        self.bank.catch_up_with(self.bureau)

    def scored_consent(self, **changes: Any) -> OwnedId:
        """A consent to what the loan asks."""
        return self.consent(**(score_terms() | changes))

    def around(self, **changes: Any) -> ApplicationProcess:
        """What takes the bank's applications to their end, by the rules and models in force."""
        parts: dict[str, Any] = {
            "provider": lambda _: BureauLink(self.bank, self.bureau),
            "product": self.bank.products.product,
            "assessor": self.bank.assessors.of,
            "regulator": lambda: REGULATOR,
            "regulator_link": OpeningLink(self.bank, self.regulator),
        }
        return self.bank.application_process(Surroundings(**(parts | changes)))

    def close(self) -> None:
        """Close every institution."""
        self.bank.assessors.close()
        super().close()


WORLD_CHANGES = {"max_days_old = 31": f"max_days_old = {DAYS_OLD}", "sales = 92": "sales = 200"}
"""What the loan of the world has otherwise than the catalogue's, by the text."""
