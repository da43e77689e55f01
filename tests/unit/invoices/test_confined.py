"""A worker reads files within limits; a file that ends it is told as not verifiable, and the next one is read."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from invoices_world import TRUST
from shuiqiao.invoices import confined
from shuiqiao.invoices.confined import ConfinedVerifier
from shuiqiao.invoices.model import Verdict
from shuiqiao.invoices.verification import verify_invoice
from shuiqiao.sandbox.issued.xml_invoice import sample_invoice, sign_xml, write_xml
from worker_pids import worker_pids

SIGNED = sign_xml(write_xml(sample_invoice()))


def children():
    return worker_pids("run_verifier")


@pytest.fixture
def verifier():
    with ConfinedVerifier(TRUST) as verifier:
        yield verifier


def test_a_worker_says_what_this_process_would(verifier):
    """[INVOICE-6]"""
    for data in (SIGNED, SIGNED[:-1], write_xml(sample_invoice()).encode(), b"", bytes((16 << 20) + 1)):
        assert verifier.verify(data) == verify_invoice(data, trust=TRUST)


def test_a_worker_that_dies_is_told_and_replaced(verifier):
    assert verifier.verify(SIGNED).verdict is Verdict.GENUINE
    (worker,) = children()
    os.kill(worker, signal.SIGKILL)
    report = verifier.verify(SIGNED)
    assert (report.verdict, [each.check for each in report.findings]) == (Verdict.NOT_VERIFIABLE, ["readable"])
    assert verifier.verify(SIGNED).verdict is Verdict.GENUINE


def test_no_worker_is_left(verifier):
    with ConfinedVerifier(TRUST) as another:
        another.verify(SIGNED)
        assert len(children()) == 1
    assert children() == []


def test_the_limits_are_those_that_are_declared(verifier):
    verifier.verify(SIGNED)
    (worker,) = children()
    rows = Path(f"/proc/{worker}/limits").read_text(encoding="ascii").splitlines()
    limits = {row[:26].strip(): row[26:].split()[0] for row in rows}
    assert limits["Max address space"] == str(confined.MEMORY_BYTES)
    assert limits["Max file size"] == limits["Max core file size"] == "0"
    assert int(limits["Max cpu time"]) >= confined.CPU_S
