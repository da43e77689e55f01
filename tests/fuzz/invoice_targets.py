"""Targets of the readers of e-invoices: whatever a file's bytes are, they give a report.

In a package the archive is in the way of what lies in it, so its files are also changed before they are packed.
"""

from __future__ import annotations

from functools import cache

from invoices_world import NOTHING_REVOKED, TRUST
from shuiqiao.crypto.certificates import Certificate, RevocationList
from shuiqiao.invoices.model import Report
from shuiqiao.invoices.ofd.seal import decode_seal_signature
from shuiqiao.invoices.verification import verify_invoice
from shuiqiao.sandbox.issued.authority import BUREAU
from shuiqiao.sandbox.issued.ofd_invoice import SealPlan, ofd_parts, pack, seal_parts
from shuiqiao.sandbox.issued.xml_invoice import sample_invoice, sign_xml, write_xml
from target import CUT, Target


@cache
def parts(version: int) -> dict[str, bytes]:
    return seal_parts(ofd_parts(sample_invoice()), SealPlan(version=version))


NAMES = tuple(parts(4))


def read_file(data: bytes) -> Report:
    return verify_invoice(data, trust=TRUST)


def read_parts(data: bytes) -> Report:
    return verify_invoice(pack(dict(zip(NAMES, data.split(CUT), strict=False))), trust=TRUST)


def read_certificate(data: bytes) -> object:
    certificate = Certificate(data)
    certificate.verify_may_sign()
    certificate.verify_understood()
    return certificate.public_key


def seal_values() -> list[bytes]:
    return [data for version in (1, 4) for name, data in parts(version).items() if name.endswith("SignedValue.dat")]


TARGETS: dict[str, Target] = {
    "invoice-xml": Target(
        read=read_file, seeds=lambda: [write_xml(sample_invoice()).encode(), sign_xml(write_xml(sample_invoice()))]
    ),
    "invoice-ofd": Target(read=read_file, seeds=lambda: [pack(parts(4)), pack(parts(1))]),
    "invoice-ofd-parts": Target(
        read=read_parts, seeds=lambda: [CUT.join(parts(version)[name] for name in NAMES) for version in (1, 4)]
    ),
    "seal": Target(read=decode_seal_signature, seeds=seal_values),
    "certificate": Target(read=read_certificate, seeds=lambda: [BUREAU.certificate.encoded]),
    "revocation-list": Target(read=RevocationList, seeds=lambda: [each.encoded for each in NOTHING_REVOKED]),
}
