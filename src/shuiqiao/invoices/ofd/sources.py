"""The three places in an OFD that say the values of its invoice, in the order in which they are believed.

1. *attachment*: XML of the whole invoice, ``eInvoice`` of 2019 or ``EInvoice``; 2. *tags*: which text on a page is
which value; 3. *custom data* of ``OFD.xml``, whose 合计金额 is without tax. A source is signed if every part that it is
read from is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.invoices.amounts import read_fen
from shuiqiao.invoices.einvoice import MAX_LINES, ROOT, read_day, read_einvoice, reversed_in
from shuiqiao.invoices.model import Invoice, InvoiceLine, Party
from shuiqiao.invoices.ofd.package import Package, resolve
from shuiqiao.invoices.xml_tree import Element

_ROOT_2019: Final = "eInvoice"
_MAX_ATTACHMENTS: Final = 64
_CUSTOM_DATA: Final = {
    "发票号码": "InvoiceNo",
    "发票代码": "InvoiceCode",
    "开票日期": "IssueDate",
    "合计金额": "TaxExclusiveTotalAmount",
    "合计税额": "TaxTotalAmount",
    "价税合计": "TaxInclusiveTotalAmount",
    "销售方纳税人识别号": "Seller/SellerTaxID",
    "销售方名称": "Seller/SellerName",
    "购买方纳税人识别号": "Buyer/BuyerTaxID",
    "购买方名称": "Buyer/BuyerName",
}
"""Name in ``OFD.xml`` to the path of the same value in the XML of 2019."""


@dataclass(frozen=True, slots=True)
class Source:
    """One place. parts: every file that the values were read from."""

    name: str
    parts: frozenset[str]
    invoice: Invoice


def read_sources(package: Package, body: Element) -> list[Source]:
    """Return the sources that a document has, the most trustworthy first.

    body: the ``DocBody`` of ``OFD.xml``. Raises InvalidInput as the readers of package, XML and amounts do.
    """
    path = resolve(body.text("DocRoot"), base="/OFD.xml")
    document = package.xml(path)
    found = [_attachment(package, document, path), _tags(package, document, path), _custom_data(body)]
    return [each for each in found if each is not None]


def _attachment(package: Package, document: Element, base: str) -> Source | None:
    place = document.text("Attachments")
    if not place:
        return None
    path = resolve(place, base=base)
    listed = list(package.xml(path).elements("Attachment"))[:_MAX_ATTACHMENTS]
    found: list[Source] = []
    for each in listed:
        part = resolve(each.text("FileLoc"), base=path)
        if not part.lower().endswith(".xml"):
            continue
        root = package.xml(part)
        if root.local == ROOT:
            found.append(Source("attachment", frozenset({part}), read_einvoice(root)))
        elif root.local == _ROOT_2019:
            found.append(Source("attachment", frozenset({part}), _read_2019(root.text, _lines(root))))
    if len(found) > 1:
        raise InvalidInput("invoices.several", f"{len(found)} attachments are invoices")
    return found[0] if found else None


def _tags(package: Package, document: Element, base: str) -> Source | None:
    place = document.text("CustomTags")
    if not place:
        return None
    path = resolve(place, base=base)
    files = [resolve(each.text("FileLoc"), base=path) for each in package.xml(path).elements("CustomTag")]
    roots = {part: package.xml(part) for part in files if part.endswith(".xml") and package.has(part)}
    tagged = {part: root for part, root in roots.items() if any(each.local == "ObjectRef" for each in root.walk())}
    if len(tagged) > 1:
        raise InvalidInput("invoices.several", f"{len(tagged)} files of tags name values")
    if not tagged:
        return None
    part, root = next(iter(tagged.items()))
    pages = _Pages(package, document, base)
    invoice = _read_2019(lambda *names: pages.text(root.one(*names)), ())
    return Source("tags", frozenset({base, path, part, *pages.read}), invoice)


class _Pages:
    """Texts on the pages of a document, by page and object. read: the pages that were looked at."""

    def __init__(self, package: Package, document: Element, base: str) -> None:
        self._package = package
        pages = document.one("Pages")
        self._places = {
            each.attributes.get("ID", ""): resolve(each.attributes.get("BaseLoc", ""), base=base)
            for each in (pages.elements("Page") if pages is not None else ())
        }
        self._texts: dict[str, dict[str, str]] = {}
        self.read: set[str] = set()

    def text(self, tag: Element | None) -> str:
        """Return the texts that a tag refers to, one after another."""
        if tag is None:
            return ""
        references = list(tag.elements("ObjectRef"))
        return "".join(self._object(each.attributes.get("PageRef", ""), each.text()) for each in references)

    def _object(self, page: str, name: str) -> str:
        if page not in self._places:
            raise InvalidInput("invoices.ofd_malformed", f"a tag refers to page {page[:40]!r}, which is not there")
        if page not in self._texts:
            path = self._places[page]
            self.read.add(path)
            self._texts[page] = dict(_objects(self._package.xml(path)))
        return self._texts[page].get(name, "")


def _objects(root: Element) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for each in root.walk():
        if each.local == "TextObject":
            name = each.attributes.get("ID", "")
            if name in seen:
                raise InvalidInput("invoices.value_repeated", f"text {name[:40]!r} stands twice on a page")
            seen.add(name)
            yield name, "".join(code.text() for code in each.elements("TextCode"))


def _custom_data(body: Element) -> Source | None:
    data = body.one("DocInfo", "CustomDatas")
    values: dict[str, str] = {}
    for each in data.elements("CustomData") if data is not None else ():
        path = _CUSTOM_DATA.get(each.attributes.get("Name", ""))
        if path in values:
            raise InvalidInput("invoices.value_repeated", f"{each.attributes['Name']} stands twice in OFD.xml")
        if path is not None:
            values[path] = each.text()
    if "InvoiceNo" not in values:
        return None
    invoice = _read_2019(lambda *names: values.get("/".join(names), ""), ())
    return Source("custom_data", frozenset({"/OFD.xml"}), invoice)


def _read_2019(text: Callable[..., str], lines: tuple[InvoiceLine, ...]) -> Invoice:
    """Return the invoice of 2019's names. text: the value at a path of names."""
    number, remark = text("InvoiceNo"), text("Note")
    return Invoice(
        number=number,
        numbers={"InvoiceNo": number} if number else {},
        code=text("InvoiceCode"),
        issue_date=read_day(text("IssueDate")),
        original_number=reversed_in(remark),
        seller=Party(id=text("Seller", "SellerTaxID"), name=text("Seller", "SellerName")),
        buyer=Party(id=text("Buyer", "BuyerTaxID"), name=text("Buyer", "BuyerName")),
        amount_fen=read_fen(text("TaxExclusiveTotalAmount")),
        tax_fen=read_fen(text("TaxTotalAmount")),
        total_fen=read_fen(text("TaxInclusiveTotalAmount")),
        lines=lines,
        remark=remark,
    )


def _lines(root: Element) -> tuple[InvoiceLine, ...]:
    goods = root.one("GoodsInfos")
    elements = list(goods.elements("GoodsInfo")) if goods is not None else []
    if len(elements) > MAX_LINES:
        raise InvalidInput(
            "invoices.xml_too_large", f"the invoice has {len(elements)} lines, {MAX_LINES} at most are read"
        )
    return tuple(
        InvoiceLine(
            name=each.text("Item"),
            quantity=each.text("Quantity"),
            unit_price=each.text("Price"),
            amount_fen=read_fen(each.text("Amount")) or 0,
            rate=each.text("TaxScheme"),
            tax_fen=read_fen(each.text("TaxAmount")),
        )
        for each in elements
    )
