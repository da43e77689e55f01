"""OFD of an e-invoice with the three places that say its values, and seals of both forms (GM/T 0031, GB/T 38540)."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape

from shuiqiao.crypto import der
from shuiqiao.crypto.certificates import SM2_WITH_SM3
from shuiqiao.sandbox.issued.authority import (
    BUREAU,
    OFFICE,
    VALID_FROM,
    VALID_TO,
    Holder,
    bits,
    integer,
    moment,
    object_id,
    sequence,
    utc_time,
    value,
)
from shuiqiao.sandbox.issued.xml_invoice import SampleInvoice

NAMESPACE: Final = 'xmlns:ofd="http://www.ofdspec.org/2016"'
SEAL_MAKER: Final = Holder("Test seal maker 测试制章人", issuer=OFFICE)
"""Who made the seals that bureaus set."""
SIGNATURES: Final = "Doc_0/Signs/Signatures.xml"
SEALED_AT: Final = datetime(2024, 5, 28, 2, 0, tzinfo=UTC)
_FIRST_TEXT: Final = 100


def ofd_parts(invoice: SampleInvoice, *, with_seal: bool = True) -> dict[str, bytes]:
    """Return the files of an OFD by their name, without signatures. with_seal: whether it names a list of them."""
    values = _values(invoice)
    texts = {path: str(_FIRST_TEXT + place) for place, path in enumerate(values)}
    objects = "".join(
        f'<ofd:TextObject ID="{texts[path]}" Boundary="0 0 9 9" Font="1" Size="3">'
        f'<ofd:TextCode X="0" Y="3">{escape(text)}</ofd:TextCode></ofd:TextObject>'
        for path, text in values.items()
    )
    tags = _tree(texts, lambda name: f'<ofd:ObjectRef PageRef="2">{name}</ofd:ObjectRef>')
    custom = "".join(
        f'<ofd:CustomData Name="{name}">{escape(text)}</ofd:CustomData>'
        for name, text in (
            ("发票号码", invoice.number),
            ("合计金额", invoice.amount),
            ("合计税额", invoice.tax),
            ("开票日期", _day(invoice)),
            ("销售方纳税人识别号", invoice.seller_id),
            ("购买方纳税人识别号", invoice.buyer_id),
        )
    )
    signatures = f"<ofd:Signatures>{SIGNATURES}</ofd:Signatures>" if with_seal else ""
    written = {
        "OFD.xml": (
            f'<ofd:OFD {NAMESPACE} DocType="OFD" Version="1.1"><ofd:DocBody><ofd:DocInfo><ofd:CustomDatas>{custom}'
            "</ofd:CustomDatas></ofd:DocInfo><ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot>"
            f"{signatures}</ofd:DocBody></ofd:OFD>"
        ),
        "Doc_0/Document.xml": (
            f'<ofd:Document {NAMESPACE}><ofd:Pages><ofd:Page ID="2" BaseLoc="Pages/Page_0/Content.xml"/></ofd:Pages>'
            "<ofd:Annotations>Annots/Annotations.xml</ofd:Annotations><ofd:CustomTags>Tags/CustomTags.xml</ofd:CustomTags>"
            "<ofd:Attachments>Attachs/Attachments.xml</ofd:Attachments></ofd:Document>"
        ),
        "Doc_0/Pages/Page_0/Content.xml": (
            f'<ofd:Page {NAMESPACE}><ofd:Content><ofd:Layer ID="3">{objects}</ofd:Layer></ofd:Content></ofd:Page>'
        ),
        "Doc_0/Tags/CustomTags.xml": (
            f"<ofd:CustomTags {NAMESPACE}><ofd:CustomTag><ofd:FileLoc>CustomTag.xml</ofd:FileLoc></ofd:CustomTag>"
            "</ofd:CustomTags>"
        ),
        "Doc_0/Tags/CustomTag.xml": f"<ofd:root {NAMESPACE}>{tags}</ofd:root>",
        "Doc_0/Annots/Annotations.xml": f"<ofd:Annotations {NAMESPACE}></ofd:Annotations>",
        "Doc_0/Attachs/Attachments.xml": (
            f'<ofd:Attachments {NAMESPACE}><ofd:Attachment ID="1"><ofd:FileLoc>original_invoice.xml</ofd:FileLoc>'
            "</ofd:Attachment></ofd:Attachments>"
        ),
        "Doc_0/Attachs/original_invoice.xml": (
            '<eInvoice xmlns:fp="http://www.edrm.org.cn/schema/e-invoice/2019" Version="1.0">'
            f"{_tree(values, escape)}<GoodsInfos>{_goods(invoice)}</GoodsInfos></eInvoice>"
        ),
    }
    return {name: text.encode() for name, text in written.items()}


def _values(invoice: SampleInvoice) -> dict[str, str]:
    return {
        "InvoiceNo": invoice.number,
        "IssueDate": _day(invoice),
        "Buyer/BuyerName": invoice.buyer_name,
        "Buyer/BuyerTaxID": invoice.buyer_id,
        "Seller/SellerName": invoice.seller_name,
        "Seller/SellerTaxID": invoice.seller_id,
        "TaxExclusiveTotalAmount": invoice.amount,
        "TaxTotalAmount": invoice.tax,
        "TaxInclusiveTotalAmount": invoice.total,
        "Note": invoice.remark,
    }


def _day(invoice: SampleInvoice) -> str:
    year, month, day = invoice.issued[:10].split("-")
    return f"{year}年{month}月{day}日"


def _tree(values: Mapping[str, str], write: Callable[[str], str]) -> str:
    """Write values by their paths, each group of them once."""
    groups: dict[str, str] = {}
    for path, text in values.items():
        group, _, name = path.rpartition("/")
        groups[group or name] = groups.get(group or name, "") + (f"<{name}>{write(text)}</{name}>")
    return "".join(f"<{name}>{body}</{name}>" if name in {"Buyer", "Seller"} else body for name, body in groups.items())


def _goods(invoice: SampleInvoice) -> str:
    return "".join(
        f"<GoodsInfo><Item>{escape(each.name)}</Item><Price>{each.unit_price}</Price><Quantity>{each.quantity}</Quantity>"
        f"<Amount>{each.amount}</Amount><TaxScheme>{each.rate}</TaxScheme><TaxAmount>{each.tax}</TaxAmount></GoodsInfo>"
        for each in invoice.lines
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPlan:
    """How an OFD is sealed. version: 1 of GM/T 0031, 4 of GB/T 38540. holders: who may set the seal; None: the signer.

    by_digest: whether a seal of version 4 lists their certificates by digest. left_out: parts that are not covered.
    """

    version: int = 4
    signer: Holder = BUREAU
    maker: Holder = SEAL_MAKER
    maker_signs: Holder | None = None
    holders: Sequence[Holder] | None = None
    by_digest: bool = False
    time: datetime = SEALED_AT
    valid_to: datetime = VALID_TO
    left_out: frozenset[str] = frozenset()


def seal_parts(parts: Mapping[str, bytes], *plans: SealPlan) -> dict[str, bytes]:
    """Return the files with one seal after another, each over all files but those of signatures."""
    sealed = dict(parts)
    for number, plan in enumerate(plans):
        folder = f"Doc_0/Signs/Sign_{number}"
        listed = "".join(
            f'<ofd:Signature ID="{each}" BaseLoc="Sign_{each}/Signature.xml"/>' for each in range(number + 1)
        )
        sealed[SIGNATURES] = f"<ofd:Signatures {NAMESPACE}>{listed}</ofd:Signatures>".encode()
        covered = [name for name in (*parts, SIGNATURES) if name not in plan.left_out]
        references = "".join(
            f'<ofd:Reference FileRef="/{name}"><ofd:CheckValue>{base64.b64encode(_sm3(sealed[name])).decode()}'
            "</ofd:CheckValue></ofd:Reference>"
            for name in covered
        )
        signature = (
            f"<ofd:Signature {NAMESPACE}><ofd:SignedInfo><ofd:SignatureMethod>{SM2_WITH_SM3}</ofd:SignatureMethod>"
            f'<ofd:References CheckMethod="1.2.156.10197.1.401">{references}</ofd:References></ofd:SignedInfo>'
            "<ofd:SignedValue>SignedValue.dat</ofd:SignedValue></ofd:Signature>"
        ).encode()
        sealed[f"{folder}/Signature.xml"] = signature
        sealed[f"{folder}/SignedValue.dat"] = _signed_value(plan, _sm3(signature), f"/{folder}/Signature.xml")
    return sealed


def pack(parts: Mapping[str, bytes]) -> bytes:
    """Return the package."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def sealed_ofd(invoice: SampleInvoice, plan: SealPlan | None = None) -> bytes:
    """Return the OFD of an invoice with one seal."""
    return pack(seal_parts(ofd_parts(invoice), plan or SealPlan()))


def _sm3(data: bytes) -> bytes:
    return hashlib.new("sm3", data).digest()


def _text(text: str, *, tag: int = der.IA5_STRING) -> bytes:
    return value(tag, text.encode())


def _octets(data: bytes) -> bytes:
    return value(der.OCTET_STRING, data)


def _certificate(holder: Holder) -> bytes:
    return _octets(holder.certificate.encoded)


def _signed_value(plan: SealPlan, data_digest: bytes, place: str) -> bytes:
    eseal = _seal(plan)
    algorithm = object_id(SM2_WITH_SM3)
    if plan.version == 1:
        time = bits(plan.time.strftime("%Y%m%d%H%M%SZ").encode())
        to_sign = sequence(
            integer(1), eseal, time, bits(data_digest), _text(place), _certificate(plan.signer), algorithm
        )
        return sequence(to_sign, bits(plan.signer.sign(to_sign)))
    to_sign = sequence(integer(plan.version), eseal, moment(plan.time), bits(data_digest), _text(place))
    return sequence(to_sign, _certificate(plan.signer), algorithm, bits(plan.signer.sign(to_sign)))


def _seal(plan: SealPlan) -> bytes:
    holders = plan.holders if plan.holders is not None else [plan.signer]
    name = _text("Test seal 测试专用章", tag=der.UTF8_STRING)
    if plan.version == 1:
        days = (utc_time(VALID_FROM), utc_time(VALID_FROM), utc_time(plan.valid_to))
        listed = [sequence(*map(_certificate, holders))]
    else:
        days = (moment(VALID_FROM), moment(VALID_FROM), moment(plan.valid_to))
        digests = [
            sequence(_text("SM3", tag=der.PRINTABLE_STRING), _octets(_sm3(each.certificate.encoded)))
            for each in holders
        ]
        listed = (
            [integer(2), sequence(*digests)] if plan.by_digest else [integer(1), sequence(*map(_certificate, holders))]
        )
    info = sequence(
        sequence(_text("ES"), integer(plan.version), _text("TEST")),
        _text("320000000001"),
        sequence(integer(1), name, *listed, *days),
        sequence(_text("png"), _octets(b"no picture"), integer(30), integer(20)),
    )
    certificate, algorithm = _certificate(plan.maker), object_id(SM2_WITH_SM3)
    signature = bits((plan.maker_signs or plan.maker).sign(sequence(info, certificate, algorithm)))
    if plan.version == 1:
        return sequence(info, sequence(certificate, algorithm, signature))
    return sequence(info, certificate, algorithm, signature)
