"""Verifies a file of an e-invoice for a message of the API."""

from __future__ import annotations

from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import Unavailable
from shuiqiao.client.resources import invoices as api

if TYPE_CHECKING:
    from shuiqiao.invoices.model import Report
    from shuiqiao.node.institution import Institution

AT_ONCE: Final = 2
"""Files that one server verifies at a time, each in a process of its own."""
_PLACES: Final = BoundedSemaphore(AT_ONCE)
_WAIT_S: Final = 10.0


def verify_invoice(institution: Institution, asked: api.InvoiceFile) -> api.InvoiceVerification:
    """Return the report of a file, by the certificates in the folder that the settings name.

    Raises InvalidInput ``client.base64_invalid``, ``crypto.trust_unreadable``, Unavailable ``crypto.trust_missing``,
    ``invoices.verifier_busy``, ``invoices.verifier_failed``.
    """
    from shuiqiao.crypto.certificates import Trust, load_trust
    from shuiqiao.invoices.confined import ConfinedVerifier

    data = asked.content()
    folder = institution.home.invoice_trust(institution.settings)
    trust = load_trust(folder) if folder is not None else Trust()
    if not _PLACES.acquire(timeout=_WAIT_S):
        raise Unavailable(
            "invoices.verifier_busy", f"{AT_ONCE} files are being verified, as many as at one time", retry_after_s=1
        )
    try:
        with ConfinedVerifier(trust) as verifier:
            return _told(verifier.verify(data))
    finally:
        _PLACES.release()


def _told(report: Report) -> api.InvoiceVerification:
    import msgspec

    from shuiqiao.invoices.model import load_checks

    checks = load_checks()
    findings = [
        {
            "check": each.check,
            "part": checks[each.check].part,
            "effect": checks[each.check].effect.value,
            "detail": each.detail,
            "rule": checks[each.check].en,
            "rule_zh": checks[each.check].zh,
            "is_confirmed": checks[each.check].confirmed,
        }
        for each in report.findings
    ]
    return api.InvoiceVerification.model_validate({**msgspec.to_builtins(report), "findings": findings})
