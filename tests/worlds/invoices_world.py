"""Who signs e-invoices in tests, whom a reader trusts, and which checks a report names."""

from __future__ import annotations

from datetime import UTC, datetime

from shuiqiao.crypto.certificates import Trust
from shuiqiao.sandbox.issued.authority import OFFICE, ROOT, VALID_FROM, Holder

NOTHING_REVOKED = tuple(each.revoke([], at=VALID_FROM) for each in (ROOT, OFFICE))
TRUST = Trust(certificates=(ROOT.certificate,), lists=NOTHING_REVOKED)
EXPIRED = Holder("Expired bureau 已过期", issuer=OFFICE, valid_to=datetime(2021, 1, 1, tzinfo=UTC))
STRANGER = Holder("Stranger 无关方")
"""Its certificate is signed by itself."""


def checks(report):
    return {each.check for each in report.findings}
