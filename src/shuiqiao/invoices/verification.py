"""The verdict on the bytes of one file: what it says, who signed what, and whether both hold [INVOICE-1].

1. read the file within bounds; 2. verify each signature, its digests and its certificates at the time of signing;
3. take the values from signed parts where there are any; 4. check the values against each other; 5. conclude.

Pure but for the libraries that it calls. It opens files that anybody may have made: doors have it run by
``confined.py``, in a process with limits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Final

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.crypto.certificates import Trust
from shuiqiao.invoices.content import check_content
from shuiqiao.invoices.einvoice import VALUE_PARTS, find_einvoice, read_einvoice
from shuiqiao.invoices.findings import check_certificate, finding_of, signature_finding
from shuiqiao.invoices.model import MAX_FINDINGS, Finding, Invoice, Report, conclude, found
from shuiqiao.invoices.ofd.verification import verify_ofd
from shuiqiao.invoices.xml_signature import MAX_SIGNATURES, XmlSignature, signatures_in, verify_xml_signature
from shuiqiao.invoices.xml_tree import Element, parse_xml

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Of one file; an invoice with thousands of lines and a seal has about two megabytes."""

_ZIP: Final = b"PK"


def verify_invoice(data: bytes, *, trust: Trust) -> Report:
    """Return the report of one file.

    data: the bytes, at most 16 MiB. trust: roots, certificates between and revocation lists. Raises Unavailable
    ``crypto.provider_failed`` where this machine cannot verify; whatever the bytes are, they give a report.

    Example::

        verify_invoice(data, trust=load_trust(folder)).verdict
    """
    digest = hashlib.new("sm3", data).hexdigest()
    if len(data) > MAX_FILE_BYTES:
        return _unreadable(digest, f"more than {MAX_FILE_BYTES} bytes")
    try:
        if data.startswith(_ZIP):
            return verify_ofd(data, digest=digest, trust=trust)
        return _verify_xml(data, digest=digest, trust=trust)
    except ShuiqiaoError as error:
        return _unreadable(digest, finding_of(error).detail)


def _unreadable(digest: str, detail: str) -> Report:
    findings = (found("readable", detail),)
    return Report(format="unknown", digest=digest, verdict=conclude(findings), findings=findings)


def _verify_xml(data: bytes, *, digest: str, trust: Trust) -> Report:
    root = parse_xml(data)
    element = find_einvoice(root)
    if element is None:
        return _unreadable(digest, f"root {root.local[:40]!r} holds no EInvoice")
    findings: list[Finding] = []
    invoice: Invoice | None = None
    try:
        invoice = read_einvoice(element)
        findings += check_content(invoice)
    except ShuiqiaoError as error:
        findings.append(finding_of(error))
    signatures, more = _signatures(root)
    findings += more
    signers: list[tuple[str, ...]] = []
    moment = signed_on(invoice.issue_date if invoice else "")
    # Of values that are not read nobody knows the day, and so not whose certificates were valid.
    for each in signatures if invoice else ():
        chain, more = check_certificate(each.signer, each.others, moment=moment, trust=trust)
        findings += more
        signers += [chain] if chain else []
    if signatures and not _covers(element, [part for each in signatures for part in each.covered]):
        findings.append(found("unsigned_values", "the signature covers other elements"))
    told = tuple(findings[:MAX_FINDINGS])
    return Report(
        format="xml",
        digest=digest,
        verdict=conclude(findings),
        findings=told,
        invoice=invoice,
        source="EInvoice",
        signers=tuple(signers),
    )


def _signatures(root: Element) -> tuple[list[XmlSignature], list[Finding]]:
    """Return the signatures that hold, and what is wrong with the others."""
    elements = signatures_in(root)
    if not elements:
        return [], [found("unsigned", "there is no signature in the XML")]
    if len(elements) > MAX_SIGNATURES:
        return [], [found("signature_form", f"{len(elements)} signatures, at most {MAX_SIGNATURES} are read")]
    holding: list[XmlSignature] = []
    findings: list[Finding] = []
    for each in elements:
        try:
            holding.append(verify_xml_signature(each, root=root))
        except ShuiqiaoError as error:
            findings.append(signature_finding(error))
    return holding, findings


def _covers(invoice: Element, covered: Sequence[Element]) -> bool:
    """Return whether signed elements hold every element that values are read from."""
    parts = [part for name in VALUE_PARTS for part in invoice.elements(name)]
    return all(any(part.is_within(each) for each in covered) for part in parts)


def signed_on(day: str) -> datetime | None:
    """Return noon of a day, China Standard Time, as the moment of a signature that says none itself."""
    try:
        return datetime.combine(datetime.fromisoformat(day), time(4), tzinfo=UTC) if day else None
    except ValueError:
        return None
