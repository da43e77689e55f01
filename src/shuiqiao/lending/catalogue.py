"""The catalogue of loan products: each is a TOML file in ``products/``, read and checked once.

What credit computes with is in the file too (multiples, shares, caps, the grid of rates): a bank changes its product
without touching code. Numbers that are no whole fen are decimal text, since a TOML float is not exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_toml, typed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import OwnedId
from shuiqiao.base.money import MAX_FEN
from shuiqiao.base.wire import OwnedRef
from shuiqiao.base.words import Words
from shuiqiao.consent.model import Mode, Output
from shuiqiao.credit.limit import LimitRules, RiskBand
from shuiqiao.credit.pricing import PricingTerms
from shuiqiao.lending.model import Product, ScoreAsk, ScoreRules
from shuiqiao.lending.openings import ProductId
from shuiqiao.privacy.credentials.presentation import ProveRules
from shuiqiao.standards.tax_credit_grade import Grade

MAX_BANDS = 16
"""Risk bands of a product; the trade uses four to ten."""

MAX_ASKS = 8
"""Outputs that a product asks for: its risk, and a few amounts and conditions."""

RISK = "risk"
"""The job of the output that says how likely a default is: the band of a scorecard."""

_ChurnBand = Annotated[str, Meta(pattern=r"^[A-Z]\Z", max_length=1)]
_Number = Annotated[str, Meta(pattern=r"^[0-9]{1,3}(\.[0-9]{1,6})?\Z", max_length=10)]
"""A decimal from 0 to under 1,000, as text."""

_Fen = Annotated[int, Meta(ge=0, le=MAX_FEN)]
_Name = Annotated[str, Meta(min_length=1, max_length=64)]
_Job = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z", max_length=32)]


class _Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a product's file."""

    def decimals(self) -> dict[str, Decimal]:
        """Return every number of the table by its name."""
        return {name: Decimal(getattr(self, name)) for name in self.__struct_fields__}


class _Names(_Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    en: _Name
    zh: _Name


class _Band(_Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    to_probability: _Number
    tax_multiple: _Number
    revenue_share: _Number


class _Limit(_Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    uses_tax: bool
    bands: Annotated[tuple[_Band, ...], Meta(min_length=1, max_length=MAX_BANDS)]
    debt_ceiling: _Number
    minimum_tax_fen: _Fen
    cap_fen: _Fen
    floor_fen: _Fen
    step_fen: Annotated[int, Meta(ge=1, le=MAX_FEN)]
    grade_multiples: Annotated[dict[Grade, _Number], Meta(min_length=1)] | None = None

    def rules(self) -> LimitRules:
        """Return what credit computes limits with."""
        multiples = self.grade_multiples
        return LimitRules(
            uses_tax=self.uses_tax,
            grade_multiples=None
            if multiples is None
            else {grade: Decimal(multiple) for grade, multiple in multiples.items()},
            bands=tuple(RiskBand(**band.decimals()) for band in self.bands),
            debt_ceiling=Decimal(self.debt_ceiling),
            minimum_tax_fen=self.minimum_tax_fen,
            cap_fen=self.cap_fen,
            floor_fen=self.floor_fen,
            step_fen=self.step_fen,
        )


class _Price(_Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    rate_from: _Number
    rate_to: _Number
    rate_step: _Number
    lgd: _Number
    funding_rate: _Number
    operating_rate: _Number


class _Churn(_Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    by_grade: dict[Grade, _ChurnBand]
    others: _ChurnBand


class _Ask(_Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: OwnedRef
    output: Literal["band", "yes_no"]


class _Score(_Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    max_days_old: Annotated[int, Meta(ge=0, le=366)]
    asks: Annotated[dict[_Job, _Ask], Meta(max_length=MAX_ASKS)] = msgspec.field(default_factory=dict)

    def rules(self) -> ScoreRules:
        """Return what is asked for, the risk first."""
        order = sorted(self.asks, key=lambda job: (job != RISK, job))
        asks = [(job, self.asks[job]) for job in order]
        return ScoreRules(
            asks=tuple(ScoreAsk(job=job, model=OwnedId(ask.model), output=Output(ask.output)) for job, ask in asks),
            max_days_old=self.max_days_old,
        )


class _ProductFile(_Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: ProductId
    names: _Names
    min_age_months: Annotated[int, Meta(ge=0, le=1200)]
    max_days_without_sales: Annotated[int, Meta(ge=1, le=3660)] | None = None
    refer_above: _Number
    limit: _Limit
    price: _Price
    churn: _Churn
    prove: ProveRules = ProveRules()
    mode: Literal["disclose", "score"] = "disclose"
    score: _Score | None = None

    def product(self) -> Product:
        """Return the product."""
        return Product(
            id=self.id,
            names=Words(en=self.names.en, zh=self.names.zh),
            limit=self.limit.rules(),
            pricing=PricingTerms(**self.price.decimals()),
            min_age_months=self.min_age_months,
            max_days_without_sales=self.max_days_without_sales,
            refer_above=Decimal(self.refer_above),
            churn_bands=self.churn.by_grade,
            other_churn_band=self.churn.others,
            prove=self.prove,
            score=None if self.score is None else self.score.rules(),
        )


@lru_cache(maxsize=1)
def load_products() -> Mapping[str, Product]:
    """Return every product by id; raises InvalidInput ``lending.product_invalid`` for a file that breaks a rule.

    Example::

        product = load_products()["tax-credit-loan"]
        limit = compute_limit(product.limit, request=request)
    """
    return {name: product_from_toml(text, where=name) for name, text in load_product_texts().items()}


@lru_cache(maxsize=1)
def load_product_texts() -> Mapping[str, str]:
    """Return the text of every product's file by the product's id; raises as ``load_products`` does."""
    folder = resources.files("shuiqiao.lending").joinpath("products")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    texts = [(file.name, file.read_text(encoding="utf-8-sig")) for file in files]
    return {product_from_toml(text, where=name).id: text for name, text in texts}


def product_from_toml(text: str, *, where: str) -> Product:
    """Return the product a TOML text describes; raises InvalidInput ``lending.product_invalid``."""
    try:
        file = typed(decode_toml(text), _ProductFile)
        product = file.product()
        product.pricing.grid()
    except (InvalidInput, msgspec.ValidationError) as error:
        raise InvalidInput("lending.product_invalid", f"{where}: {error}") from error
    problem = _problem(product) or _problem_of_score(product, mode=Mode(file.mode))
    if problem:
        raise InvalidInput("lending.product_invalid", f"{where}: {problem}")
    return product


def _problem(product: Product) -> str:
    """Say what is impossible about a well-typed product, or nothing."""
    limit = product.limit
    last = limit.bands[-1].to_probability
    shares = (*(band.revenue_share for band in limit.bands), last, limit.debt_ceiling, product.pricing.lgd)
    if not all(low.to_probability < high.to_probability for low, high in pairwise(limit.bands)):
        return "the probabilities of its risk bands do not rise"
    if any(share > 1 for share in shares):
        return f"a share or probability of {max(shares)} where at most 1 is possible"
    if limit.grade_multiples is not None and not limit.uses_tax:
        return "grade_multiples multiply annual tax, which uses_tax leaves out"
    if not limit.floor_fen <= limit.cap_fen:
        return f"floor_fen is {limit.floor_fen}, above cap_fen {limit.cap_fen}"
    if product.refer_above > last:
        return f"refer_above is {product.refer_above} where 0 to {last} is allowed"
    return ""


def _problem_of_score(product: Product, *, mode: Mode) -> str:
    """Say what is impossible about how a product is answered, or nothing.

    A lower edge is prudent only where what is worse is never worth more [LENDING-15].
    """
    if product.mode is not mode:
        return f"its mode is {mode}, and it {'has no' if mode is Mode.SCORE else 'has a'} table score"
    if product.score is None:
        return ""
    asks = product.score.asks
    if asks and (asks[0].job, asks[0].output) != (RISK, Output.BAND):
        return f"the band of a model for the job {RISK} is not among what it asks"
    if len({ask.name for ask in asks}) != len(asks):
        return "it asks for one output of a model twice"
    for worse, better in pairwise(reversed(product.limit.bands)):
        if worse.tax_multiple > better.tax_multiple or worse.revenue_share > better.revenue_share:
            return "in the mode score, a band of higher risk may not be worth more"
    multiples = product.limit.grade_multiples or {}
    worth = [multiples.get(grade, Decimal(0)) for grade in (Grade.D, Grade.C, Grade.M, Grade.B, Grade.A)]
    return "" if worth == sorted(worth) else "in the mode score, a lower grade may not be worth more"
