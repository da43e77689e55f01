"""``/invoice-verifications``: whether a file of an e-invoice is what a tax bureau issued."""

from __future__ import annotations

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources import invoices as api

invoices = Routes("invoices")


@invoices.perform(
    api.VERIFY_INVOICE,
    permission="ledger.read",
    problems=(503,),
    codes=(
        "client.base64_invalid",
        "crypto.trust_missing",
        "crypto.trust_unreadable",
        "invoices.verifier_busy",
        "invoices.verifier_failed",
    ),
)
def verify_invoice(file: api.InvoiceFile, running: Running, caller: Caller) -> api.InvoiceVerification:
    """Verify a file of an e-invoice by the certificates that this institution trusts."""
    return performed(running, caller, api.VERIFY_INVOICE, file)
