"""Figures of e-invoices: how many files a core verifies in a second, as the worker does it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from shuiqiao.base.errors import IntegrityError
from shuiqiao.crypto.certificates import Trust
from shuiqiao.invoices.model import Verdict
from shuiqiao.invoices.verification import verify_invoice
from shuiqiao.sandbox.issued.authority import OFFICE, ROOT, VALID_FROM
from shuiqiao.sandbox.issued.ofd_invoice import sealed_ofd
from shuiqiao.sandbox.issued.xml_invoice import sample_invoice, sign_xml, write_xml

_FILES: Final = 100


def run_invoice_bench(*, seconds: float) -> dict[str, object]:
    """Return files verified per second of processor time, a core: XML without and with a signature, sealed OFD.

    seconds: processor time of each figure. Every verdict is looked at; raises IntegrityError ``sandbox.bench_wrong``.
    """
    trust = Trust(
        certificates=(ROOT.certificate, OFFICE.certificate),
        lists=tuple(each.revoke([], at=VALID_FROM) for each in (ROOT, OFFICE)),
    )
    samples = [sample_invoice(number) for number in range(1, _FILES + 1)]
    texts = [write_xml(each) for each in samples]
    plain = [each.encode() for each in texts]
    return {
        "xml_per_s_core": _rate(plain, Verdict.NOT_VERIFIABLE, trust=trust, seconds=seconds),
        "xml_signed_per_s_core": _rate(list(map(sign_xml, texts)), Verdict.GENUINE, trust=trust, seconds=seconds),
        "ofd_per_s_core": _rate(list(map(sealed_ofd, samples)), Verdict.GENUINE, trust=trust, seconds=seconds),
    }


def _rate(files: Sequence[bytes], expected: Verdict, *, trust: Trust, seconds: float) -> int:
    done, begin = 0, time.process_time()
    while (used := time.process_time() - begin) < seconds:
        for data in files:
            verdict = verify_invoice(data, trust=trust).verdict
            if verdict is not expected:
                raise IntegrityError("sandbox.bench_wrong", f"a file is {verdict} where it should be {expected}")
        done += len(files)
    return round(done / used)
