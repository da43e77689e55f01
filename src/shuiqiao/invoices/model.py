"""What is known of one e-invoice file: its values, what was found wrong with it, and one verdict.

The forms are messages: a file is read in a process of its own, which tells them to the one that asked.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final, Literal

import msgspec

from shuiqiao.base.encoding import typed

MAX_FINDINGS: Final = 50
"""Told of one file; a reader needs the first to act."""
MAX_DETAIL: Final = 300
"""Characters of a finding's detail."""


class Verdict(StrEnum):
    """What may be said of a file.

    A missing seal is no forgery: who finds none says so, and says nothing worse.
    """

    GENUINE = "genuine"
    """A seal or signature of a trusted root holds over every value, and the values agree."""
    ALTERED = "altered"
    """What is in it contradicts itself, its seal or its signature."""
    NOT_VERIFIABLE = "not_verifiable"
    """Nothing contradicts it, and nothing proves it."""


class Effect(StrEnum):
    """What a finding means for the verdict."""

    ALTERED = "altered"
    NOT_VERIFIABLE = "not_verifiable"
    FLAG = "flag"
    """Nothing: a person should know of it."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. part: where what it looks at stands."""

    id: str
    part: str
    effect: Effect
    en: str
    zh: str
    confirmed: bool = True
    """False where no source confirms the rule: it is never advised on."""


class Finding(msgspec.Struct, frozen=True):
    """That a check did not pass: its id, and the values."""

    check: str
    detail: str


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """Seller or buyer."""

    id: str = ""
    name: str = ""


class InvoiceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line. Quantity, price and rate are as written; a rate may be words such as 免税."""

    name: str = ""
    quantity: str = ""
    unit_price: str = ""
    amount_fen: int
    rate: str = ""
    tax_fen: int | None = None
    total_fen: int | None = None


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """The values of an invoice. Amounts in fen; what the file does not say is empty or None.

    numbers: every place that says the number, by the place. code: of invoices from before the 数电票.
    is_red: None where the file does not say it.
    """

    number: str
    numbers: dict[str, str] = {}
    code: str = ""
    issue_date: str = ""
    is_red: bool | None = None
    original_number: str = ""
    seller: Party = Party()
    buyer: Party = Party()
    amount_fen: int | None = None
    tax_fen: int | None = None
    total_fen: int | None = None
    capitals: str = ""
    lines: tuple[InvoiceLine, ...] = ()
    remark: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one file.

    digest: SM3 of its bytes, in hex. source: the part that the values were taken from. signers: subjects of the
    certificates whose signatures hold, from the signer to the root. unsigned_parts: what no signature covers.
    anchored: whether the ledger has the invoice, which is told to its parties or under consent.
    """

    format: Literal["xml", "ofd", "unknown"]
    digest: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    invoice: Invoice | None = None
    source: str = ""
    signers: tuple[tuple[str, ...], ...] = ()
    unsigned_parts: tuple[str, ...] = ()
    anchored: Literal["not_asked"] = "not_asked"


@cache
def load_checks() -> Mapping[str, Check]:
    """Return every check by its id."""
    table = tomllib.loads(files("shuiqiao.invoices").joinpath("checks.toml").read_text(encoding="utf-8"))
    return {each["id"]: typed(each, Check) for each in table["check"]}


def found(check: str, detail: str) -> Finding:
    """Return a finding of a check that is in the table."""
    return Finding(load_checks()[check].id, detail[:MAX_DETAIL])


def conclude(findings: Sequence[Finding]) -> Verdict:
    """Return the verdict: altered before not verifiable before genuine.

    ::

        conclude([found("unsigned", "")]) is Verdict.NOT_VERIFIABLE
    """
    effects = {load_checks()[each.check].effect for each in findings}
    if Effect.ALTERED in effects:
        return Verdict.ALTERED
    return Verdict.NOT_VERIFIABLE if Effect.NOT_VERIFIABLE in effects else Verdict.GENUINE
