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
from shuiqiao.crypto.certificates import Certificate, Trust
from shuiqiao.invoices.content import check_content
from shuiqiao.invoices.einvoice import VALUE_PARTS, find_einvoice, read_einvoice
from shuiqiao.invoices.model import MAX_FINDINGS, Finding, Invoice, Report, conclude, found
from shuiqiao.invoices.xml_signature import MAX_SIGNATURES, XmlSignature, signatures_in, verify_xml_signature
from shuiqiao.invoices.xml_tree import Element, parse_xml

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Of one file; an invoice with thousands of lines and a seal has about two megabytes."""

FINDING_OF: Final = {
    "crypto.signature_invalid": "signature",
    "crypto.certificate_untrusted": "certificate",
    "crypto.certificate_unfit": "certificate",
    "crypto.certificate_malformed": "signature_form",
    "crypto.certificate_not_in_time": "certificate_time",
    "crypto.certificate_revoked": "certificate_revoked",
    "crypto.der_malformed": "signature_form",
    "crypto.public_key_invalid": "certificate",
    "invoices.digest_differs": "digest",
    "invoices.signature_unsupported": "signature_form",
    "invoices.value_repeated": "values_once",
    "invoices.amount_malformed": "readable",
    "invoices.several": "readable",
    "invoices.xml_malformed": "readable",
    "invoices.xml_too_large": "readable",
}
"""Code of a refusal to the check that did not pass. Any other refusal is this machine's, and is raised."""

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
        return _verify_xml(data, digest=digest, trust=trust)
    except ShuiqiaoError as error:
        return _unreadable(digest, finding_of(error).detail)


def _unreadable(digest: str, detail: str) -> Report:
    findings = (found("readable", detail),)
    return Report(format="unknown", digest=digest, verdict=conclude(findings), findings=findings)


def finding_of(error: ShuiqiaoError) -> Finding:
    """Return the finding that a refusal is; raises it where it says nothing of the file."""
    check = FINDING_OF.get(error.code)
    if check is None:
        raise error
    return found(check, error.message)


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
            finding = finding_of(error)
            # A signature that cannot be read is one that cannot be verified, whatever the fault of its XML is.
            findings.append(found("signature_form", finding.detail) if finding.check == "readable" else finding)
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


def check_certificate(
    signer: Certificate, others: Sequence[Certificate], *, moment: datetime | None, trust: Trust
) -> tuple[tuple[str, ...], list[Finding]]:
    """Return the chain of a signer, empty if there is none, and what is wrong with it [INVOICE-5]."""
    if moment is None:
        return (), [found("certificate_time", "nothing says when it was signed")]
    try:
        chain = trust.verify_chain(signer, others=others, moment=moment)
    except ShuiqiaoError as error:
        return (), [finding_of(error)]
    known = [] if chain.is_revocation_known else [found("revocation_unknown", chain.subjects[0])]
    return chain.subjects, known
