"""What an invoice says of itself: whether its number, its ids, its amounts and its sign agree [INVOICE-3].

Pure: no file, no key, no clock. Each rule is one function, and tells nothing where the values that it needs are absent.
It does not say that an invoice is genuine: any forger can add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final

from shuiqiao.base.money import FEN_PER_YUAN, format_yuan
from shuiqiao.invoices.amounts import (
    EXEMPT_WORDS,
    FORMER_RATES,
    RATES,
    UNSAID_RATES,
    read_capitals,
    read_number,
    read_rate,
)
from shuiqiao.invoices.identity import (
    has_check_character,
    has_id_form,
    is_former_number,
    is_province,
    split_number,
)
from shuiqiao.invoices.model import Finding, Invoice, InvoiceLine, found

SUM_TOLERANCE_FEN: Final = 1
TAX_TOLERANCE_FEN: Final = 6
"""Of one line's tax: issuing programs round it in their own ways. Unconfirmed."""
_DIFFERENCE_TAXED: Final = "差额征税"
_REDUCED_LEVY: Final = Decimal("0.015")
"""5 % reduced to 1.5 %: its base is the price with another tax taken out, so the line does not show it."""


def check_content(invoice: Invoice) -> list[Finding]:
    """Return every finding of the values of an invoice.

    ::

        conclude(check_content(invoice))
    """
    return [finding for rule in _RULES for finding in rule(invoice)]


def _present(invoice: Invoice) -> Iterator[Finding]:
    missing = [
        name
        for name, value in (
            ("number", invoice.number),
            ("issue_date", invoice.issue_date),
            ("seller", invoice.seller.id or invoice.seller.name),
            ("total", invoice.total_fen is not None or invoice.amount_fen is not None),
        )
        if not value
    ]
    if missing:
        yield found("values_once", f"absent: {', '.join(missing)}")


def _number(invoice: Invoice) -> Iterator[Finding]:
    parts = split_number(invoice.number)
    if len({*invoice.numbers.values(), invoice.number}) > 1:
        yield found("number_same", ", ".join(f"{place}: {each}" for place, each in invoice.numbers.items()))
    if parts is None:
        if invoice.number and not is_former_number(invoice.number, invoice.code):
            yield found("number_form", f"number {invoice.number!r}, code {invoice.code!r}")
        return
    if not is_province(parts.province):
        yield found("number_province", f"{invoice.number}: {parts.province}")
    if invoice.issue_date and str(parts.year) != invoice.issue_date[:4]:
        yield found("number_year", f"{invoice.number} is of {parts.year}, issued on {invoice.issue_date}")


def _parties(invoice: Invoice) -> Iterator[Finding]:
    for role, party in (("seller", invoice.seller), ("buyer", invoice.buyer)):
        if not party.id:
            continue
        if not has_id_form(party.id):
            yield found("taxpayer_id_form", f"{role} {party.id!r}")
        elif not has_check_character(party.id):
            yield found("taxpayer_id", f"{role} {party.id!r}")


def _lines(invoice: Invoice) -> Iterator[Finding]:
    for place, line in enumerate(invoice.lines, 1):
        product = _product_fault(line)
        if product:
            yield found("line_amount", f"line {place}: {product}")
        tax = "" if _DIFFERENCE_TAXED in invoice.remark else _tax_fault(line)
        if tax:
            yield found("line_tax", f"line {place}: {tax}")
        total = line.amount_fen + (line.tax_fen or 0)
        if line.total_fen is not None and abs(total - line.total_fen) > SUM_TOLERANCE_FEN:
            yield found("line_total", f"line {place}: {format_yuan(total)} against {format_yuan(line.total_fen)}")


def _product_fault(line: InvoiceLine) -> str:
    """Say if quantity times price is another amount than any that rounds to what is written."""
    quantity, price = read_number(line.quantity), read_number(line.unit_price)
    if quantity is None or price is None:
        return ""
    product = quantity * price
    slack = abs(quantity) * _half_unit(price) + abs(price) * _half_unit(quantity) + Decimal("0.01")
    if abs(product - Decimal(line.amount_fen) / FEN_PER_YUAN) <= slack:
        return ""
    return f"{line.quantity} x {line.unit_price} is not {format_yuan(line.amount_fen)}"


def _half_unit(number: Decimal) -> Decimal:
    """Return by how much a number may have been rounded; a whole one was not."""
    exponent = number.as_tuple().exponent
    return Decimal(5).scaleb(exponent - 1) if isinstance(exponent, int) and exponent < 0 else Decimal(0)


def _tax_fault(line: InvoiceLine) -> str:
    rate = read_rate(line.rate)
    if line.rate in EXEMPT_WORDS:
        return f"{line.rate}, tax {format_yuan(line.tax_fen)}" if line.tax_fen else ""
    if rate is None or line.tax_fen is None or rate == _REDUCED_LEVY:
        return ""
    if abs(line.amount_fen * rate - line.tax_fen) <= TAX_TOLERANCE_FEN:
        return ""
    return f"{format_yuan(line.amount_fen)} at {line.rate} is not {format_yuan(line.tax_fen)}"


def _totals(invoice: Invoice) -> Iterator[Finding]:
    if invoice.lines:
        for name, total, lines in (
            ("amount", invoice.amount_fen, sum(line.amount_fen for line in invoice.lines)),
            ("tax", invoice.tax_fen, sum(line.tax_fen or 0 for line in invoice.lines)),
        ):
            if total is not None and abs(total - lines) > SUM_TOLERANCE_FEN:
                yield found("sum_of_lines", f"{name}: lines {format_yuan(lines)}, invoice {format_yuan(total)}")
    total = invoice.total_fen
    if total is None:
        return
    if invoice.amount_fen is not None:
        whole = invoice.amount_fen + (invoice.tax_fen or 0)
        if abs(whole - total) > SUM_TOLERANCE_FEN:
            yield found("total", f"{format_yuan(whole)} against {format_yuan(total)}")
    if invoice.capitals and read_capitals(invoice.capitals) != total:
        yield found("capitals", f"{invoice.capitals!r} against {format_yuan(total)}")


def _sign(invoice: Invoice) -> Iterator[Finding]:
    total = invoice.total_fen if invoice.total_fen is not None else invoice.amount_fen
    if invoice.is_red is None or total is None:
        return
    if invoice.is_red != (total < 0):
        yield found("sign", f"a {'red-letter' if invoice.is_red else 'blue'} invoice of {format_yuan(total)}")
    if invoice.is_red and not invoice.original_number:
        yield found("original", invoice.number)


def _rates(invoice: Invoice) -> Iterator[Finding]:
    for place, line in enumerate(invoice.lines, 1):
        rate = read_rate(line.rate)
        if rate in RATES or line.rate in EXEMPT_WORDS or line.rate in UNSAID_RATES:
            continue
        if rate not in FORMER_RATES:
            yield found("rate", f"line {place}: {line.rate!r}")
        elif not invoice.is_red:
            yield found("rate_former", f"line {place}: {line.rate!r}")


_RULES: Final[tuple[Callable[[Invoice], Iterator[Finding]], ...]] = (
    _present,
    _number,
    _parties,
    _lines,
    _totals,
    _sign,
    _rates,
)
