"""The report of an OFD: its signatures, the source that its values are taken from, and whether the sources agree.

1. open the package; 2. verify each signature; 3. read the three sources; 4. take the first whose parts are all signed;
5. hold the sources against each other, and the values against themselves [INVOICE-7].

LIMIT: what a page shows is not held against the values, but where tags name its texts. LIMIT: the inner signature of
the attachment of 2019 (``fp:Signature``) is not verified.
"""

from __future__ import annotations

from collections.abc import Sequence

from shuiqiao.base.errors import InvalidInput, ShuiqiaoError
from shuiqiao.crypto.certificates import Trust
from shuiqiao.invoices.content import check_content
from shuiqiao.invoices.findings import finding_of, signature_finding
from shuiqiao.invoices.model import MAX_FINDINGS, Finding, Invoice, Report, conclude, found
from shuiqiao.invoices.ofd.package import Package
from shuiqiao.invoices.ofd.signatures import OfdSignature, find_signatures, verify_signature
from shuiqiao.invoices.ofd.sources import Source, read_sources
from shuiqiao.invoices.xml_tree import Element

MAX_UNSIGNED: int = 50
"""Parts without a signature that a report names."""


def verify_ofd(data: bytes, *, digest: str, trust: Trust) -> Report:
    """Return the report of an OFD; digest: SM3 of the file, in hex.

    Raises InvalidInput ``invoices.ofd_malformed``, ``invoices.ofd_too_large``, ``invoices.xml_malformed`` for what is
    no document at all.
    """
    package = Package(data)
    body = package.xml("/OFD.xml").one("DocBody")
    if body is None:
        raise InvalidInput("invoices.ofd_malformed", "OFD.xml has no DocBody")
    signatures, listed, findings = _signatures(package, body, trust)
    covered = frozenset().union(*(each.covered for each in signatures))
    source, more = _source(package, body, covered, is_signed=bool(signatures))
    findings += more
    unsigned = _unsigned(package, signatures, covered | ({listed} if listed else set()))
    if unsigned and signatures:
        findings.append(found("unsigned_parts", ", ".join(unsigned)))
    return Report(
        format="ofd",
        digest=digest,
        verdict=conclude(findings),
        findings=tuple(findings[:MAX_FINDINGS]),
        invoice=source.invoice if source else None,
        source=source.name if source else "",
        signers=tuple(each.chain for each in signatures if each.chain),
        unsigned_parts=tuple(unsigned[:MAX_UNSIGNED]),
    )


def _signatures(package: Package, body: Element, trust: Trust) -> tuple[list[OfdSignature], str, list[Finding]]:
    """Return the signatures, the path of their list, and what is found of them all."""
    try:
        listed, paths = find_signatures(package, body)
    except ShuiqiaoError as error:
        return [], "", [signature_finding(error)]
    if not paths:
        return [], listed, [found("unsigned", "no seal and no signature is in the OFD")]
    signatures = [verify_signature(package, path, trust=trust) for path in paths]
    # A further seal is entered in the list, which every earlier one covered as it was before.
    entered = found("digest", listed)
    findings = [finding for each in signatures[:-1] for finding in each.findings if finding != entered]
    return signatures, listed, [*findings, *signatures[-1].findings]


def _source(
    package: Package, body: Element, covered: frozenset[str], *, is_signed: bool
) -> tuple[Source | None, list[Finding]]:
    """Return the source that is believed, and what is found of the values."""
    try:
        sources = read_sources(package, body)
    except ShuiqiaoError as error:
        return None, [finding_of(error)]
    if not sources:
        return None, [found("values_once", "the OFD says the values of no invoice")]
    signed = [each for each in sources if each.parts <= covered]
    source = (signed or sources)[0]
    findings = [] if signed or not is_signed else [found("unsigned_values", ", ".join(sorted(source.parts - covered)))]
    findings += _differences(sources)
    findings += check_content(source.invoice)
    return source, findings


def _differences(sources: Sequence[Source]) -> list[Finding]:
    """Hold every source against the first: a value that one of them does not say is no difference."""
    first, *others = sources
    findings: list[Finding] = []
    for other in others:
        pairs = zip(_values(first.invoice), _values(other.invoice), strict=True)
        different = [f"{name}: {mine} and {theirs}" for (name, mine), (_, theirs) in pairs if _differ(mine, theirs)]
        if different:
            findings.append(found("sources_differ", f"{first.name}, {other.name}: {'; '.join(different)}"))
    return findings


def _values(invoice: Invoice) -> list[tuple[str, object]]:
    return [
        ("number", invoice.number),
        ("code", invoice.code),
        ("day", invoice.issue_date),
        ("seller", invoice.seller.id),
        ("buyer", invoice.buyer.id),
        ("amount", invoice.amount_fen),
        ("tax", invoice.tax_fen),
        ("total", invoice.total_fen),
    ]


def _differ(mine: object, theirs: object) -> bool:
    return mine not in {"", None} and theirs not in {"", None} and mine != theirs


def _unsigned(package: Package, signatures: Sequence[OfdSignature], covered: frozenset[str]) -> list[str]:
    """Return the parts that no signature covers, but for those that signatures are made of."""
    own = frozenset().union(*(each.own for each in signatures))
    return [path for path in package.paths if path not in covered and path not in own]
