"""Files of e-invoices that are verified: a verdict with its reasons, and the values."""

from __future__ import annotations

import base64
from typing import Annotated, Final, Literal

from pydantic import Field

from shuiqiao.base.errors import InvalidInput
from shuiqiao.client.operation import Operation
from shuiqiao.client.wire import MAX_EXACT, Name, Wire, example

MAX_INVOICE_BYTES: Final = 4 * 1024 * 1024
"""Of a file that is sent; a longer one is verified by the command, where it lies."""
MAX_INVOICE_CHARS: Final = (MAX_INVOICE_BYTES + 2) // 3 * 4

Fen = Annotated[int, Field(ge=-MAX_EXACT, le=MAX_EXACT)]

_FINDING = {
    "check": "total",
    "part": "totals",
    "effect": "altered",
    "detail": "212.00 against 912.00",
    "rule": "Amount plus tax is the total, within 1 fen",
    "rule_zh": "合计金额加合计税额等于价税合计,误差不超过 1 分",
    "is_confirmed": True,
}
_LINE = {
    "name": "*信息技术服务*服务费",
    "quantity": "4",
    "unit_price": "50",
    "amount_fen": 20_000,
    "rate": "0.06",
    "tax_fen": 1_200,
    "total_fen": 21_200,
}
_PARTY = {"id": "91350100M000100Y43", "name": "示例有限公司"}
_INVOICE = {
    "number": "24320000000000000001",
    "numbers": {"TaxSupervisionInfo/InvoiceNumber": "24320000000000000001"},
    "code": "",
    "issue_date": "2024-05-28",
    "is_red": False,
    "original_number": "",
    "seller": _PARTY,
    "buyer": {"id": "", "name": "个人"},
    "amount_fen": 20_000,
    "tax_fen": 1_200,
    "total_fen": 91_200,
    "capitals": "玖佰壹拾贰圆整",
    "lines": [_LINE],
    "remark": "",
}


class InvoiceFile(Wire):
    """A file of an e-invoice, XML or OFD, in base64."""

    model_config = example(file=base64.b64encode(b"<EInvoice/>").decode())

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=MAX_INVOICE_CHARS)]

    def content(self) -> bytes:
        """Return the file; raises InvalidInput ``client.base64_invalid``."""
        try:
            return base64.b64decode(self.file, validate=True)
        except ValueError as error:
            raise InvalidInput("client.base64_invalid", "the file is no base64: its length is wrong") from error


class InvoiceFinding(Wire):
    """A check that did not pass: where what it looks at stands, what that means, the values and the rule."""

    model_config = example(**_FINDING)

    check: Name
    part: Name
    effect: Literal["altered", "not_verifiable", "flag"]
    detail: str
    rule: str
    rule_zh: str
    is_confirmed: bool
    """False where no source confirms the rule."""


class InvoiceParty(Wire):
    """Seller or buyer; a person who buys has no id."""

    id: str
    name: str


class VerifiedLine(Wire):
    """One line; quantity, price and rate as they are written."""

    name: str
    quantity: str
    unit_price: str
    amount_fen: Fen
    rate: str
    tax_fen: Fen | None
    total_fen: Fen | None


class VerifiedInvoice(Wire):
    """The values of an invoice; what the file does not say is empty."""

    number: str
    numbers: dict[str, str]
    """Every place that says the number."""
    code: str
    issue_date: str
    is_red: bool | None
    original_number: str
    seller: InvoiceParty
    buyer: InvoiceParty
    amount_fen: Fen | None
    tax_fen: Fen | None
    total_fen: Fen | None
    capitals: str
    lines: tuple[VerifiedLine, ...]
    remark: str


class InvoiceVerification(Wire):
    """What is known of a file: genuine, altered, or not verifiable, which is no forgery."""

    model_config = example(
        format="xml",
        digest="3c" * 32,
        verdict="altered",
        findings=[_FINDING],
        invoice=_INVOICE,
        source="EInvoice",
        signers=[["CN=Tax bureau,C=CN", "CN=Root,C=CN"]],
        unsigned_parts=[],
        anchored="not_asked",
    )

    format: Literal["xml", "ofd", "unknown"]
    digest: Name
    """SM3 of the file."""
    verdict: Literal["genuine", "altered", "not_verifiable"]
    findings: tuple[InvoiceFinding, ...]
    invoice: VerifiedInvoice | None
    source: Name
    """The part that the values were taken from."""
    signers: tuple[tuple[str, ...], ...]
    """Subjects of certificates, from who signed to the root."""
    unsigned_parts: tuple[str, ...]
    anchored: Literal["not_asked"]
    """Whether the ledger has it is told to its parties, or under consent."""


VERIFY_INVOICE: Final = Operation(path="/invoice-verifications", sent=InvoiceFile, told=InvoiceVerification)
