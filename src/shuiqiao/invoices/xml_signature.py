"""XML signatures (XMLDSig, W3C 2008) of e-invoices: which elements one covers, and who signed [INVOICE-4].

Read are SM2 with SM3 and the certificate in KeyInfo; what was signed is named by an empty address (the document) or by
an id that stands once. Everything else says that this reader cannot verify it, never that it holds.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.crypto.certificates import SM2_WITH_SM3, Certificate
from shuiqiao.invoices.xml_tree import Element, canonical

NAMESPACE: Final = "http://www.w3.org/2000/09/xmldsig#"
INCLUSIVE: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED: Final = f"{NAMESPACE}enveloped-signature"
SIGNATURE_METHODS: Final = {
    SM2_WITH_SM3,
    f"urn:oid:{SM2_WITH_SM3}",
    "http://www.w3.org/2001/04/xmldsig-more#sm2-sm3",
    "http://www.w3.org/2000/09/xmldsig#sm2-sm3",
}
"""Names of SM2 with SM3. LIMIT: no public text fixes one; these are the object identifier and names in use."""
DIGEST_METHODS: Final = {
    "1.2.156.10197.1.401": "sm3",
    "urn:oid:1.2.156.10197.1.401": "sm3",
    "http://www.w3.org/2001/04/xmldsig-more#sm3": "sm3",
    "http://www.w3.org/2000/09/xmldsig#sm3": "sm3",
    "http://www.w3.org/2001/04/xmlenc#sha256": "sha256",
}
MAX_SIGNATURES: Final = 4
_MAX_REFERENCES: Final = 16
_MAX_CERTIFICATES: Final = 8
_IDS: Final = ("Id", "ID", "id")


@dataclass(frozen=True, slots=True)
class XmlSignature:
    """A signature whose digests and value hold. covered: the elements that were signed, with all that is in them."""

    covered: tuple[Element, ...]
    signer: Certificate
    others: tuple[Certificate, ...]


def signatures_in(root: Element) -> tuple[Element, ...]:
    """Return the signatures of a document."""
    return tuple(each for each in root.walk() if each.local == "Signature" and each.namespace() == NAMESPACE)


def verify_xml_signature(signature: Element, *, root: Element) -> XmlSignature:
    """Return what a signature covers, once its digests and its value hold.

    Raises IntegrityError ``invoices.digest_differs`` or ``crypto.signature_invalid``, InvalidInput
    ``invoices.signature_unsupported`` for what is not verified here, and what ``Certificate`` raises.
    """
    info = _required(signature, "SignedInfo")
    exclusive = _is_exclusive(_required(info, "CanonicalizationMethod"))
    method = _required(info, "SignatureMethod").attributes.get("Algorithm", "")
    if method not in SIGNATURE_METHODS:
        raise _unsupported(f"signature method {method[:100]!r} is not SM2 with SM3")
    references = list(info.elements("Reference"))
    if not 0 < len(references) <= _MAX_REFERENCES:
        raise _unsupported(f"it has {len(references)} references, 1 to {_MAX_REFERENCES} are read")
    covered = tuple(_referenced(each, signature, root) for each in references)
    signer, *others = _certificates(signature)
    message = canonical(info, exclusive=exclusive)
    signer.verify_signature(message, _base64(signature.text("SignatureValue")))
    return XmlSignature(covered, signer, tuple(others))


def _referenced(reference: Element, signature: Element, root: Element) -> Element:
    """Return the element that a reference names, once its digest is the one that was signed."""
    address = reference.attributes.get("URI", "")
    target = root if not address else _by_id(address, root)
    enveloped, exclusive = False, False
    transforms = reference.one("Transforms")
    for each in transforms.elements() if transforms is not None else ():
        if each.attributes.get("Algorithm") == ENVELOPED:
            enveloped = True
        else:
            exclusive = _is_exclusive(each)
    algorithm = _required(reference, "DigestMethod").attributes.get("Algorithm", "")
    if algorithm not in DIGEST_METHODS:
        raise _unsupported(f"digest method {algorithm[:100]!r} is not read")
    if signature.is_within(target) and not enveloped:
        raise _unsupported("a reference covers the signature itself")
    data = canonical(target, exclusive=exclusive, without=signature)
    digest = hashlib.new(DIGEST_METHODS[algorithm], data).digest()
    signed = _base64(reference.text("DigestValue"))
    if digest != signed:
        raise IntegrityError(
            "invoices.digest_differs",
            f"{target.local}: {signed.hex()[:64]} was signed, what stands there has {digest.hex()}",
        )
    return target


def _by_id(address: str, root: Element) -> Element:
    name = address.removeprefix("#")
    matching = [each for each in root.walk() if any(each.attributes.get(attribute) == name for attribute in _IDS)]
    if not address.startswith("#") or len(matching) != 1:
        raise _unsupported(f"{address[:100]!r} names {len(matching)} elements of this document")
    return matching[0]


def _is_exclusive(method: Element) -> bool:
    algorithm = method.attributes.get("Algorithm", "")
    if algorithm not in {INCLUSIVE, EXCLUSIVE} or any(method.elements()):
        raise _unsupported(f"canonical form {algorithm[:100]!r} is not read here")
    return algorithm == EXCLUSIVE


def _certificates(signature: Element) -> Iterator[Certificate]:
    data = signature.one("KeyInfo", "X509Data")
    encoded = list(data.elements("X509Certificate")) if data is not None else []
    if not 0 < len(encoded) <= _MAX_CERTIFICATES:
        raise _unsupported(f"it comes with {len(encoded)} certificates, 1 to {_MAX_CERTIFICATES} are read")
    for each in encoded:
        yield Certificate(_base64(each.text()))


def _required(element: Element, name: str) -> Element:
    found = element.one(name)
    if found is None:
        raise _unsupported(f"it has no {name}")
    return found


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise _unsupported("a value is no base64") from error


def _unsupported(fault: str) -> InvalidInput:
    return InvalidInput("invoices.signature_unsupported", f"the XML signature is not verified: {fault}")
