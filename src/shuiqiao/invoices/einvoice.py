"""Values of the XML of a delivered 数电票, ``EInvoice`` (versions 0.2 to 0.35).

``TotalTax-includedAmount`` is the invoice's total and ``TotaltaxIncludedAmount`` a line's; the number stands in
``TaxSupervisionInfo`` and as ``EIid``. Every value is read at its own place and nowhere else: the plate number of a
vehicle is no invoice number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.invoices.amounts import read_fen
from shuiqiao.invoices.model import Invoice, InvoiceLine, Party
from shuiqiao.invoices.xml_tree import Element

ROOT: Final = "EInvoice"
VALUE_PARTS: Final = ("Header", "EInvoiceData", "TaxSupervisionInfo")
"""The children of the root that values are read from."""
MAX_LINES: Final = 5_000
"""An invoice may have 2,000 lines; more than these are no invoice."""

_DAY: Final = re.compile(r"([0-9]{4})[-/年]?([0-9]{2})[-/月]?([0-9]{2})(?:日|[ T].{0,20})?", re.ASCII)
_REVERSED: Final = re.compile(r"被红冲蓝字(?:数电)?发?票号码[:：]\s*([0-9]{20}|[0-9]{8})", re.ASCII)


def find_einvoice(root: Element) -> Element | None:
    """Return the one invoice of a document, None if there is none.

    Raises InvalidInput ``invoices.several`` for a document with more than one: a signature may cover just one of them.
    """
    matching = [each for each in root.walk() if each.local == ROOT]
    if len(matching) > 1:
        raise InvalidInput("invoices.several", f"the XML holds {len(matching)} invoices")
    return matching[0] if matching else None


def read_einvoice(element: Element) -> Invoice:
    """Return the values of an ``EInvoice``.

    Raises InvalidInput ``invoices.value_repeated``, ``invoices.amount_malformed``, ``invoices.xml_malformed``.

    Example::

        read_einvoice(find_einvoice(parse_xml(data))).number
    """
    data = element.one("EInvoiceData") or Element("EInvoiceData", {}, element)
    numbers = {
        place: number
        for place, number in (
            ("TaxSupervisionInfo/InvoiceNumber", element.text("TaxSupervisionInfo", "InvoiceNumber")),
            ("Header/EIid", element.text("Header", "EIid")),
        )
        if number
    }
    issued = element.text("TaxSupervisionInfo", "IssueTime") or data.text("BasicInformation", "RequestTime")
    remark = data.text("AdditionalInformation", "Remark")
    label = element.text("Header", "InherentLabel", "InIssuType", "LabelCode")
    return Invoice(
        number=next(iter(numbers.values()), ""),
        numbers=numbers,
        issue_date=read_day(issued),
        is_red={"Y": False, "N": True}.get(label),
        original_number=data.text("SpecificInformation", "RedEInvoice", "OriginalInvoiceCode") or reversed_in(remark),
        seller=_party(data, "Seller"),
        buyer=_party(data, "Buyer"),
        amount_fen=read_fen(data.text("BasicInformation", "TotalAmWithoutTax")),
        tax_fen=read_fen(data.text("BasicInformation", "TotalTaxAm")),
        total_fen=read_fen(data.text("BasicInformation", "TotalTax-includedAmount")),
        capitals=data.text("BasicInformation", "TotalTax-includedAmountInChinese"),
        lines=_lines(list(data.elements("IssuItemInformation"))),
        remark=remark,
    )


def _party(data: Element, role: str) -> Party:
    group = f"{role}Information"
    return Party(id=data.text(group, f"{role}IdNum"), name=data.text(group, f"{role}Name"))


def _lines(elements: Sequence[Element]) -> tuple[InvoiceLine, ...]:
    if len(elements) > MAX_LINES:
        raise InvalidInput(
            "invoices.xml_too_large", f"the invoice has {len(elements)} lines, at most {MAX_LINES} are read"
        )
    return tuple(
        InvoiceLine(
            name=each.text("ItemName"),
            quantity=each.text("Quantity"),
            unit_price=each.text("UnPrice"),
            amount_fen=read_fen(each.text("Amount")) or 0,
            rate=each.text("TaxRate"),
            tax_fen=read_fen(each.text("ComTaxAm")),
            total_fen=read_fen(each.text("TotaltaxIncludedAmount")),
        )
        for each in elements
    )


def read_day(text: str) -> str:
    """Return a day as YYYY-MM-DD, empty for what is none: ``2024-05-28 10:00:00``, ``2024年05月28日``, ``20240528``."""
    found = _DAY.fullmatch(text)
    if found is None:
        return ""
    try:
        return date(int(found[1]), int(found[2]), int(found[3])).isoformat()
    except ValueError:
        return ""


def reversed_in(remark: str) -> str:
    """Return the number of the blue invoice that a remark names as reversed, empty if it names none."""
    named = _REVERSED.search(remark)
    return named[1] if named else ""
