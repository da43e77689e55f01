"""XML of a 数电票 (``EInvoice``) with seeded values, and its signature (XMLDSig, SM2 with SM3)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from shuiqiao.base.money import FEN_PER_YUAN
from shuiqiao.crypto.certificates import SM2_WITH_SM3
from shuiqiao.invoices.identity import credit_check_character
from shuiqiao.invoices.xml_signature import ENVELOPED, EXCLUSIVE, NAMESPACE
from shuiqiao.invoices.xml_tree import canonical, parse_xml
from shuiqiao.sandbox.issued.authority import BUREAU, OFFICE, Holder

_DIGITS: Final = "零壹贰叁肆伍陆柒捌玖"
_PLACES: Final = ("", "拾", "佰", "仟")
_SECTIONS: Final = ("", "万", "亿", "万亿")
_SECTION: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleLine:
    """One line, every value as it is written."""

    name: str = "*信息技术服务*测试服务"
    quantity: str = "4"
    unit_price: str = "25"
    amount: str = "100.00"
    rate: str = "0.06"
    tax: str = "6.00"
    total: str = "106.00"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleInvoice:
    """An invoice that passes every check, every value as it is written; tests replace one."""

    number: str
    header_number: str
    issued: str = "2024-05-28 10:00:00"
    blue: str = "Y"
    seller_id: str
    seller_name: str = "测试销售有限公司"
    buyer_id: str
    buyer_name: str = "测试购买有限公司"
    amount: str
    tax: str
    total: str
    capitals: str
    lines: tuple[SampleLine, ...]
    original: str = ""
    remark: str = ""


def sample_id(number: int) -> str:
    """Return a unified social credit code of no firm: its organisation is all digits of a test."""
    first = f"91320100TEST{number:05d}".replace("S", "5")
    return f"{first}{credit_check_character(first)}"


def sample_invoice(number: int = 1, *, lines: int = 2) -> SampleInvoice:
    """Return an invoice of so many equal lines."""
    amount, tax = 10_000 * lines, 600 * lines
    digits = f"24320{number:015d}"
    return SampleInvoice(
        number=digits,
        header_number=digits,
        seller_id=sample_id(number),
        buyer_id=sample_id(number + 1),
        amount=yuan(amount),
        tax=yuan(tax),
        total=yuan(amount + tax),
        capitals=write_capitals(amount + tax),
        lines=(SampleLine(),) * lines,
    )


def yuan(fen: int) -> str:
    """Return fen as an invoice writes them, ``-12.30``."""
    return f"{'-' if fen < 0 else ''}{abs(fen) // FEN_PER_YUAN}.{abs(fen) % FEN_PER_YUAN:02d}"


def write_capitals(fen: int) -> str:
    """Return an amount in Chinese capitals, e.g. ``壹仟零陆拾圆伍角整``."""
    whole, part = divmod(abs(fen), FEN_PER_YUAN)
    jiao, cents = divmod(part, 10)
    text = f"{_whole(whole)}圆" if whole or not part else ""
    text += f"{_DIGITS[jiao]}角" if jiao else "零" if whole and cents else ""
    text += f"{_DIGITS[cents]}分" if cents else "整"
    return f"（负数）{text}" if fen < 0 else text


def _whole(number: int) -> str:
    if not number:
        return "零"
    sections: list[str] = []
    place = 0
    while number:
        number, section = divmod(number, _SECTION)
        if section:
            gap = "零" if number and section < _SECTION // 10 else ""
            sections.append(f"{gap}{_section(section)}{_SECTIONS[place]}")
        elif sections and not sections[-1].startswith("零"):
            sections.append("零")
        place += 1
    return "".join(reversed(sections))


def _section(number: int) -> str:
    text, gap = "", False
    for place in range(3, -1, -1):
        digit = number // 10**place % 10
        if digit:
            text += ("零" if gap and text else "") + _DIGITS[digit] + _PLACES[place]
        gap = not digit
    return text


def write_xml(invoice: SampleInvoice) -> str:
    """Return the XML without a signature."""
    lines = "".join(
        f"<IssuItemInformation>{_tags(ItemName=each.name, Quantity=each.quantity, UnPrice=each.unit_price)}"
        f"{_tags(Amount=each.amount, TaxRate=each.rate, ComTaxAm=each.tax, TotaltaxIncludedAmount=each.total)}"
        "</IssuItemInformation>"
        for each in invoice.lines
    )
    original = f"<RedEInvoice>{_tags(OriginalInvoiceCode=invoice.original)}</RedEInvoice>" if invoice.original else ""
    return (
        f"<EInvoice><Header>{_tags(EIid=invoice.header_number, EInvoiceTag='SWEI3200', Version='0.35')}<InherentLabel>"
        f"<InIssuType>{_tags(LabelCode=invoice.blue)}</InIssuType></InherentLabel></Header><EInvoiceData>"
        f"<SellerInformation>{_tags(SellerIdNum=invoice.seller_id, SellerName=invoice.seller_name)}</SellerInformation>"
        f"<BuyerInformation>{_tags(BuyerIdNum=invoice.buyer_id, BuyerName=invoice.buyer_name)}</BuyerInformation>"
        f"<BasicInformation>{_tags(TotalAmWithoutTax=invoice.amount, TotalTaxAm=invoice.tax)}"
        f"<TotalTax-includedAmount>{invoice.total}</TotalTax-includedAmount>"
        f"<TotalTax-includedAmountInChinese>{invoice.capitals}</TotalTax-includedAmountInChinese></BasicInformation>"
        f"{lines}<SpecificInformation>{original}</SpecificInformation>"
        f"<AdditionalInformation>{_tags(Remark=invoice.remark)}</AdditionalInformation></EInvoiceData>"
        f"<TaxSupervisionInfo>{_tags(InvoiceNumber=invoice.number, IssueTime=invoice.issued)}</TaxSupervisionInfo>"
        "</EInvoice>"
    )


def _tags(**values: str) -> str:
    return "".join(f"<{name}>{escape(each)}</{name}>" for name, each in values.items())


def sign_xml(text: str, *, signer: Holder = BUREAU, others: Sequence[Holder] = (OFFICE,), address: str = "") -> bytes:
    """Return the XML with an enveloped signature as the last child of its root.

    address: what is signed, the document or ``#ID``.
    """
    head, end, root = text.rpartition("</")
    parsed = parse_xml(text.encode())
    named = [each for each in parsed.walk() if each.attributes.get("Id") == address.removeprefix("#")]
    digest = hashlib.new("sm3", canonical(named[0] if address else parsed, exclusive=True)).digest()
    info = (
        f'<ds:SignedInfo xmlns:ds="{NAMESPACE}"><ds:CanonicalizationMethod Algorithm="{EXCLUSIVE}">'
        f'</ds:CanonicalizationMethod><ds:SignatureMethod Algorithm="{SM2_WITH_SM3}"></ds:SignatureMethod>'
        f'<ds:Reference URI="{address}"><ds:Transforms><ds:Transform Algorithm="{ENVELOPED}"></ds:Transform>'
        f'<ds:Transform Algorithm="{EXCLUSIVE}"></ds:Transform></ds:Transforms>'
        f'<ds:DigestMethod Algorithm="1.2.156.10197.1.401"></ds:DigestMethod>'
        f"<ds:DigestValue>{_base64(digest)}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
    )
    certificates = "".join(
        f"<ds:X509Certificate>{_base64(each.certificate.encoded)}</ds:X509Certificate>" for each in (signer, *others)
    )
    signature = (
        f'<ds:Signature xmlns:ds="{NAMESPACE}">{info}'
        f"<ds:SignatureValue>{_base64(signer.sign(info.encode()))}</ds:SignatureValue>"
        f"<ds:KeyInfo><ds:X509Data>{certificates}</ds:X509Data></ds:KeyInfo></ds:Signature>"
    )
    return f"{head}{signature}{end}{root}".encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
