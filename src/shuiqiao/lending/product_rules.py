"""The rules of a bank's products as they are in force: the catalogue's, until the bank changed them.

Rules are the text of a product's file (``catalogue``), kept whole and named by its digest. A change says which rules it
replaces, so that what was approved is never put in the place of rules that nobody compared it with [LENDING-13]. What
was judged by earlier rules stays as it was judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput
from shuiqiao.lending.catalogue import product_from_toml

if TYPE_CHECKING:
    from shuiqiao.credit.pricing import ChurnCurve
    from shuiqiao.lending.model import Product
    from shuiqiao.lending.store import ProductStore

MAX_RULES_CHARS = 16_384
"""Of the text of a product's rules; those of the catalogue have under 2,000."""

_parsed = lru_cache(maxsize=64)(product_from_toml)
"""Reading a text takes milliseconds, and each application needs its product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesInForce:
    """A product's rules. digest: of their text. since_ms: None where they are the catalogue's."""

    product: Product
    text: str
    digest: bytes
    since_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductInUse:
    """A product with the model that decides for it, None before one was chosen."""

    rules: RulesInForce
    model: bytes | None
    since_ms: int | None

    def as_json(self, *, whole: bool = False) -> dict[str, Any]:
        """Return it as a JSON object. whole: with the numbers of its limit and price, and the text that says them."""
        product = self.rules.product
        told: dict[str, Any] = {
            "product": product.id,
            "name": product.names.en,
            "name_zh": product.names.zh,
            "mode": str(product.mode),
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
                "score": None if product.score is None else product.score.as_json(),
                "digest": self.rules.digest.hex(),
                "changed": None if self.rules.since_ms is None else iso_from_ms(self.rules.since_ms),
                "rules": self.rules.text,
            }
        return told


class BankProducts:
    """A bank's products.

    Example::

        product = bank.products.product("tax-credit-loan")
        now = bank.products.in_force("tax-credit-loan")
        bank.products.change("tax-credit-loan", now.text.replace('"0.12"', '"0.10"'), replaces=now.digest)
    """

    def __init__(
        self,
        store: ProductStore,
        *,
        catalogue: Mapping[str, str],
        digest: Callable[[bytes], bytes],
        now_ms: Callable[[], int],
    ) -> None:
        """catalogue: the text of each product's file by its id (``load_product_texts``). digest: the suite hash."""
        self._store = store
        self._catalogue = catalogue
        self._digest = digest
        self._now_ms = now_ms

    def product(self, name: str) -> Product:
        """Return a product by the rules in force; raises InvalidInput ``lending.product_unknown``."""
        return self.in_force(name).product

    def in_force(self, name: str) -> RulesInForce:
        """Return the rules in force.

        Raises InvalidInput ``lending.product_unknown``, IntegrityError ``lending.file_damaged``.
        """
        if name not in self._catalogue:
            raise InvalidInput(
                "lending.product_unknown", f"no product {name[:40]!r}; there are {', '.join(sorted(self._catalogue))}"
            )
        text, since_ms = self._store.rules(name) or (self._catalogue[name], None)
        try:
            product = _parsed(text, where=name)
        except InvalidInput as error:
            raise IntegrityError("lending.file_damaged", f"the kept rules of {name} are damaged: {error}") from error
        return RulesInForce(product=product, text=text, digest=self._digest(text.encode()), since_ms=since_ms)

    def in_use(self) -> list[ProductInUse]:
        """Return every product with the model that decides for it."""
        uses = self._store.uses()
        return [
            ProductInUse(rules=self.in_force(name), model=model, since_ms=since_ms)
            for name in self._catalogue
            for model, since_ms in [uses.get(name, (None, None))]
        ]

    def change(self, name: str, text: str, *, replaces: bytes) -> RulesInForce:
        """Let new rules be in force from now on; the same again changes nothing [LENDING-13].

        replaces: the digest of the rules that are in force. Raises InvalidInput ``lending.product_unknown`` or
        ``lending.product_invalid``, Conflict ``lending.product_changed``.
        """
        before = self.in_force(name)
        require_rules(name, text)
        if self._digest(text.encode()) == before.digest:
            return before
        if before.digest != replaces:
            raise Conflict(
                "lending.product_changed",
                f"the rules {replaces.hex()[:16]} of {name} were to be replaced; {before.digest.hex()[:16]} are in "
                "force by now",
            )
        self._store.set_rules(name, text, since_ms=self._now_ms())
        return self.in_force(name)

    def set_churn(self, curves: Mapping[str, ChurnCurve]) -> None:
        """Keep the bank's churn curves by risk band, in the place of all before."""
        self._store.set_churn(curves)


def require_rules(name: str, text: str) -> None:
    """Return if a text says possible rules of a product; raises InvalidInput ``lending.product_invalid``."""
    if len(text) > MAX_RULES_CHARS:
        raise InvalidInput(
            "lending.product_invalid", f"{name}: rules of {len(text)} characters where {MAX_RULES_CHARS} are taken"
        )
    product = product_from_toml(text, where=name)
    if product.id != name:
        raise InvalidInput("lending.product_invalid", f"{name}: the rules are those of {product.id}")
