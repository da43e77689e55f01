"""How a refusal of a reader becomes a finding, and what is found of a certificate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.crypto.certificates import Certificate, Trust
from shuiqiao.invoices.model import Finding, found

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
    "invoices.ofd_malformed": "readable",
    "invoices.ofd_too_large": "readable",
}
"""Code of a refusal to the check that did not pass. Any other refusal is this machine's, and is raised."""


def finding_of(error: ShuiqiaoError) -> Finding:
    """Return the finding that a refusal is; raises it where it says nothing of the file."""
    check = FINDING_OF.get(error.code)
    if check is None:
        raise error
    return found(check, error.message)


def signature_finding(error: ShuiqiaoError) -> Finding:
    """Return the finding that a refusal of a signature is; raises as ``finding_of``.

    A signature that cannot be read is one that cannot be verified, whatever the fault of its form is.
    """
    finding = finding_of(error)
    return found("signature_form", finding.detail) if finding.check in {"readable", "values_once"} else finding


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
