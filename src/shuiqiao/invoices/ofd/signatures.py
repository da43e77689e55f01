"""Signatures of an OFD (GB/T 33190 section 18): which parts each covers, and whether its seal holds.

``Signatures.xml`` lists signatures; each ``Signature.xml`` lists parts with their digests; the seal is set on the
digest of that file. A further seal changes ``Signatures.xml``, so its digest counts in the last one alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.crypto.certificates import Trust
from shuiqiao.invoices.findings import check_certificate, signature_finding
from shuiqiao.invoices.model import Finding, found
from shuiqiao.invoices.ofd.package import Package, resolve
from shuiqiao.invoices.ofd.seal import SealSignature, decode_seal_signature
from shuiqiao.invoices.xml_tree import Element

DIGEST_METHODS: Final = frozenset({"1.2.156.10197.1.401", "sm3", "SM3"})
MAX_SIGNATURES: Final = 8
_MAX_REFERENCES: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OfdSignature:
    """One signature. covered: paths whose digests hold; chain: from who sealed to a root, empty if there is none.

    own: the files that the signature itself is made of.
    """

    covered: frozenset[str]
    own: frozenset[str]
    chain: tuple[str, ...]
    findings: tuple[Finding, ...]


def find_signatures(package: Package, body: Element) -> tuple[str, list[str]]:
    """Return the path of the list of signatures, empty if there is none, and those of the signatures.

    Raises InvalidInput ``invoices.signature_unsupported`` for more than are read, and what reading raises.
    """
    place = body.text("Signatures")
    if not place:
        return "", []
    path = resolve(place, base="/OFD.xml")
    listed = [
        resolve(each.attributes.get("BaseLoc") or each.text("BaseLoc"), base=path)
        for each in package.xml(path).elements("Signature")
    ]
    if len(listed) > MAX_SIGNATURES:
        raise InvalidInput(
            "invoices.signature_unsupported", f"{len(listed)} signatures, {MAX_SIGNATURES} at most are read"
        )
    return path, listed


def verify_signature(package: Package, path: str, *, trust: Trust) -> OfdSignature:
    """Return what is found of one signature; whatever it is, it gives findings.

    path: of its ``Signature.xml``.
    """
    own = {path}
    try:
        root = package.xml(path)
        value_path = resolve(root.text("SignedValue"), base=path)
        own.add(value_path)
        if seal_place := root.text("SignedInfo", "Seal", "BaseLoc"):
            own.add(resolve(seal_place, base=path))
        covered, findings = _digests(package, root, path)
        signature = decode_seal_signature(package.read(value_path))
        findings += _seal_findings(signature, package.read(path))
        chain, more = _certificates(signature, trust)
        findings += more
    except ShuiqiaoError as error:
        return OfdSignature(covered=frozenset(), own=frozenset(own), chain=(), findings=(signature_finding(error),))
    holds = not any(each.check in {"signature", "seal", "seal_binding", "seal_signer"} for each in findings)
    return OfdSignature(
        covered=frozenset(covered if holds else ()), own=frozenset(own), chain=chain, findings=tuple(findings)
    )


def _digests(package: Package, root: Element, path: str) -> tuple[set[str], list[Finding]]:
    """Return the parts whose digest holds, and a finding of each other one, which names it."""
    references = root.one("SignedInfo", "References")
    listed = list(references.elements("Reference")) if references is not None else []
    method = references.attributes.get("CheckMethod", "") if references is not None else ""
    if method not in DIGEST_METHODS or not 0 < len(listed) <= _MAX_REFERENCES:
        raise InvalidInput(
            "invoices.signature_unsupported", f"{len(listed)} digests by {method[:60]!r} are not read; SM3 is"
        )
    covered: set[str] = set()
    findings: list[Finding] = []
    for each in listed:
        part = resolve(each.attributes.get("FileRef", ""), base=path)
        if package.has(part) and _digest(each.text("CheckValue")) == hashlib.new("sm3", package.read(part)).digest():
            covered.add(part)
        else:
            findings.append(found("digest", part))
    return covered, findings


def _digest(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _seal_findings(signature: SealSignature, signed_file: bytes) -> Iterator[Finding]:
    if signature.data_digest != hashlib.new("sm3", signed_file).digest():
        yield found("seal_binding", f"the seal was set on {signature.data_digest.hex()[:64]}")
    try:
        signature.signer.verify_signature(signature.signed, signature.signature)
    except IntegrityError as error:
        yield signature_finding(error)
    try:
        signature.seal.verify_made()
    except IntegrityError as error:
        yield found("seal", error.message)
    if not signature.seal.is_for(signature.signer):
        yield found("seal_signer", f"{signature.signer.subject} of seal {signature.seal.name!r}")


def _certificates(signature: SealSignature, trust: Trust) -> tuple[tuple[str, ...], list[Finding]]:
    """Judge who sealed at the time of sealing, and who made the seal at the time of making."""
    seal = signature.seal
    findings: list[Finding] = []
    if not seal.valid_from <= signature.time <= seal.valid_to:
        findings.append(found("certificate_time", f"seal {seal.name!r} is not valid at {signature.time.isoformat()}"))
    chain, more = check_certificate(signature.signer, (), moment=signature.time, trust=trust)
    findings += more
    _, of_maker = check_certificate(seal.maker, (), moment=seal.created, trust=trust)
    findings += [each for each in of_maker if each not in findings]
    return chain, findings
