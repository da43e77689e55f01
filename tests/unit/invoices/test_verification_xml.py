"""One defect of an XML invoice, and exactly the rule that finds it; whole ones and their verdicts."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from invoices_world import EXPIRED, NOTHING_REVOKED, STRANGER, TRUST, checks
from shuiqiao.crypto.certificates import Trust
from shuiqiao.invoices.model import Effect, Verdict, load_checks
from shuiqiao.invoices.verification import verify_invoice
from shuiqiao.sandbox.issued.authority import BUREAU, OFFICE, ROOT, VALID_FROM, Holder
from shuiqiao.sandbox.issued.xml_invoice import (
    SampleLine,
    sample_id,
    sample_invoice,
    sign_xml,
    write_capitals,
    write_xml,
)

WHOLE = sample_invoice()
LINE = WHOLE.lines[0]
RED = replace(
    WHOLE,
    blue="N",
    original="24320000000000000009",
    amount="-100.00",
    tax="-6.00",
    total="-106.00",
    capitals=write_capitals(-10_600),
    lines=(replace(LINE, quantity="-4", amount="-100.00", tax="-6.00", total="-106.00"),),
)


def with_line(**changes):
    return replace(WHOLE, lines=(replace(LINE, **changes), LINE))


def numbered(number):
    return replace(WHOLE, number=number, header_number=number)


def one_line(rate, tax, **changes):
    """An invoice of one line of 100.00 at a rate, whose sums agree."""
    fen = round(float(tax) * 100)
    total = f"{(10_000 + fen) / 100:.2f}"
    line = SampleLine(rate=rate, tax=tax, total=total)
    capitals = write_capitals(10_000 + fen)
    return replace(WHOLE, lines=(line,), amount="100.00", tax=tax, total=total, capitals=capitals, **changes)


CONTENT = [
    ("number of 19 digits", numbered(WHOLE.number[:-1]), {"number_form"}),
    ("number of letters", numbered("2432O000000000000001"), {"number_form"}),
    ("number of no province", numbered("24990000000000000001"), {"number_province"}),
    ("number of another year", numbered("23320000000000000001"), {"number_year"}),
    ("two numbers", replace(WHOLE, header_number="24320000000000000002"), {"number_same"}),
    ("seller with a wrong check character", replace(WHOLE, seller_id=sample_id(1)[:-1] + "0"), {"taxpayer_id"}),
    ("buyer with two digits changed over", replace(WHOLE, buyer_id="91320010TE5T00002H"), {"taxpayer_id"}),
    ("buyer with an id of 9", replace(WHOLE, buyer_id="123456789"), {"taxpayer_id_form"}),
    ("quantity", with_line(quantity="5"), {"line_amount"}),
    ("price", with_line(unit_price="25.01"), {"line_amount"}),
    ("tax of an exempt line", one_line("免税", "6.00"), {"line_tax"}),
    ("tax of a line and its total", one_line("0.06", "9.00"), {"line_tax"}),
    ("total of a line", with_line(total="106.02"), {"line_total"}),
    ("amount of the lines", replace(WHOLE, lines=(LINE,), tax="12.00"), {"sum_of_lines"}),
    ("total", replace(WHOLE, total="212.02", capitals=write_capitals(21_202)), {"total"}),
    ("capitals", replace(WHOLE, capitals="贰佰壹拾叁圆整"), {"capitals"}),
    ("capitals that are none", replace(WHOLE, capitals="贰佰壹拾贰美元"), {"capitals"}),
    ("red with a positive total", replace(WHOLE, blue="N", original=RED.original), {"sign"}),
    ("blue with a negative total", replace(RED, blue="Y"), {"sign"}),
    ("red without its blue one", replace(RED, original=""), {"original"}),
    ("rate of no table", one_line("0.07", "7.00"), {"rate"}),
    ("former rate on a blue one", one_line("0.17", "17.00"), {"rate_former"}),
    ("no seller", replace(WHOLE, seller_id="", seller_name=""), {"values_once"}),
    ("no day", replace(WHOLE, issued=""), {"values_once", "certificate_time"}),
    ("a day that is none", replace(WHOLE, issued="2024-02-31"), {"values_once", "certificate_time"}),
    ("part of a fen", with_line(amount="100.001"), {"readable"}),
]
"""Signed by the bureau, so nothing but the content is at fault."""


def effect_of(found):
    effects = {load_checks()[each].effect for each in found}
    if Effect.ALTERED in effects:
        return Verdict.ALTERED
    return Verdict.NOT_VERIFIABLE if Effect.NOT_VERIFIABLE in effects else Verdict.GENUINE


@pytest.mark.parametrize(("invoice", "expected"), [pytest.param(*row[1:], id=row[0]) for row in CONTENT])
def test_one_defect_of_the_content_is_found_by_its_rule_alone(invoice, expected):
    """[INVOICE-3]"""
    report = verify_invoice(sign_xml(write_xml(invoice)), trust=TRUST)
    assert (checks(report), report.verdict) == (expected, effect_of(expected))


@pytest.mark.parametrize(
    "invoice",
    [
        pytest.param(WHOLE, id="blue"),
        pytest.param(RED, id="red"),
        pytest.param(
            replace(RED, original="", remark=f"被红冲蓝字数电发票号码：{RED.original}"), id="red by its remark"
        ),
        pytest.param(replace(WHOLE, buyer_id="", buyer_name="个人"), id="a person buys"),
        pytest.param(replace(WHOLE, buyer_id="123456789012345"), id="an id of 15"),
        pytest.param(replace(WHOLE, buyer_id="11010519491231002X"), id="a person's id"),
        pytest.param(replace(WHOLE, buyer_id="11010519491231002X01"), id="an id of 20"),
        pytest.param(numbered("24950000000000000001"), id="a city's own bureau"),
        pytest.param(one_line("6%", "6.00"), id="percent"),
        pytest.param(one_line("0.06", "5.95"), id="rounded as programs round"),
        pytest.param(one_line("免税", "0.00"), id="exempt"),
        pytest.param(one_line("***", "4.00"), id="rate not said"),
        pytest.param(one_line("0.06", "2.00", remark="差额征税：66.67。"), id="taxed on a difference"),
        pytest.param(one_line("0.015", "1.45"), id="levy of 5 % reduced to 1.5 %"),
        pytest.param(
            replace(WHOLE, lines=(replace(LINE, quantity="3", unit_price="33.3333333333333"), LINE)), id="thirds"
        ),
        pytest.param(sample_invoice(lines=2_000), id="2,000 lines"),
    ],
)
def test_a_whole_invoice_is_genuine(invoice):
    report = verify_invoice(sign_xml(write_xml(invoice)), trust=TRUST)
    assert (report.findings, report.verdict) == ((), Verdict.GENUINE)


def test_a_red_invoice_keeps_a_former_rate():
    line = replace(RED.lines[0], rate="0.17", tax="-17.00", total="-117.00")
    red = replace(RED, tax="-17.00", total="-117.00", capitals=write_capitals(-11_700), lines=(line,))
    assert verify_invoice(sign_xml(write_xml(red)), trust=TRUST).verdict is Verdict.GENUINE


def test_a_discount_has_no_quantity():
    discount = SampleLine(quantity="", unit_price="", amount="-10.00", tax="-0.60", total="-10.60")
    invoice = replace(
        WHOLE, lines=(LINE, discount), amount="90.00", tax="5.40", total="95.40", capitals="玖拾伍圆肆角整"
    )
    assert verify_invoice(sign_xml(write_xml(invoice)), trust=TRUST).verdict is Verdict.GENUINE


SIGNED = sign_xml(write_xml(WHOLE)).decode()
NAMED = write_xml(WHOLE).replace("<EInvoiceData>", '<EInvoiceData Id="d">')


def changed(old, new):
    assert SIGNED.count(old) == 1
    return SIGNED.replace(old, new).encode()


def with_two_ids():
    """The invoice that was signed stands aside, another one where values are read."""
    signed = sign_xml(write_xml(WHOLE).replace("<EInvoice>", '<EInvoice Id="d">'), address="#d").decode()
    return signed.replace('<EInvoice Id="d">', '<EInvoice Id="d"><Header Id="d"></Header>').encode()


def other_signature():
    start = SIGNED.index("<ds:SignatureValue>") + len("<ds:SignatureValue>")
    end = SIGNED.index("</ds:SignatureValue>")
    other = base64.b64encode(BUREAU.sign(b"something else")).decode()
    return f"{SIGNED[:start]}{other}{SIGNED[end:]}".encode()


LATER = Holder("Later bureau 后设税务局", issuer=OFFICE, valid_from=datetime(2030, 1, 1, tzinfo=UTC))
NO_ISSUER = Holder("Not for issuing 非签发证书", issuer=ROOT)
BELOW_NO_ISSUER = Holder("Below it 其下证书", issuer=NO_ISSUER)
SIGNATURES = [
    ("no signature", write_xml(WHOLE).encode(), {"unsigned"}),
    ("a name changed", changed("测试购买有限公司", "测试购买股份公司"), {"digest"}),
    ("another signature", other_signature(), {"signature"}),
    ("an algorithm that is not read", changed("1.2.156.10197.1.501", "rsa-sha1"), {"signature_form"}),
    ("a part is signed", sign_xml(NAMED, address="#d"), {"unsigned_values"}),
    ("an id stands twice", with_two_ids(), {"signature_form", "values_once"}),
    ("nobody trusts the signer", sign_xml(write_xml(WHOLE), signer=STRANGER, others=()), {"certificate"}),
    ("no way to the root", sign_xml(write_xml(WHOLE), others=()), {"certificate"}),
    ("issued by who may not", sign_xml(write_xml(WHOLE), signer=BELOW_NO_ISSUER, others=(NO_ISSUER,)), {"certificate"}),
    ("signed by who issues", sign_xml(write_xml(WHOLE), signer=OFFICE), {"certificate"}),
    ("signed after its end", sign_xml(write_xml(WHOLE), signer=EXPIRED), {"certificate_time"}),
    ("signed before its begin", sign_xml(write_xml(WHOLE), signer=LATER), {"certificate_time"}),
]


@pytest.mark.parametrize(("data", "expected"), [pytest.param(*row[1:], id=row[0]) for row in SIGNATURES])
def test_one_defect_of_the_signature_is_found_by_its_rule_alone(data, expected):
    """[INVOICE-4]"""
    report = verify_invoice(data, trust=TRUST)
    assert (checks(report), report.verdict) == (expected, effect_of(expected))


def test_a_certificate_counts_by_the_day_of_its_revocation():
    """[INVOICE-5]"""
    data = sign_xml(write_xml(WHOLE))
    for at, expected in (("2024-01-01", {"certificate_revoked"}), ("2024-12-31", set())):
        revoked = OFFICE.revoke([BUREAU], at=datetime.fromisoformat(at).replace(tzinfo=UTC))
        trust = Trust(certificates=(ROOT.certificate,), lists=(NOTHING_REVOKED[0], revoked))
        assert checks(verify_invoice(data, trust=trust)) == expected


def test_without_a_list_it_is_said_that_nobody_looked():
    report = verify_invoice(sign_xml(write_xml(WHOLE)), trust=Trust(certificates=(ROOT.certificate,)))
    assert (checks(report), report.verdict) == ({"revocation_unknown"}, Verdict.GENUINE)


def test_a_list_that_a_stranger_signed_says_nothing():
    stranger = Holder(OFFICE.name, is_issuer=True, issuer=Holder("another key"))
    forged = Trust(
        certificates=(ROOT.certificate,), lists=(NOTHING_REVOKED[0], STRANGER.revoke([BUREAU], at=VALID_FROM))
    )
    assert stranger.subject == OFFICE.subject
    assert checks(verify_invoice(sign_xml(write_xml(WHOLE)), trust=forged)) == {"revocation_unknown"}


FILES = [
    ("empty", b""),
    ("no XML", b"%PDF-1.7"),
    ("cut off", SIGNED[:-20].encode()),
    ("another root", b"<Receipt/>"),
    ("two invoices", f"<All>{write_xml(WHOLE)}{write_xml(WHOLE)}</All>".encode()),
    ("a document type", b'<!DOCTYPE EInvoice [<!ENTITY a "b">]><EInvoice>&a;</EInvoice>'),
    ("an outside entity", b'<!DOCTYPE EInvoice SYSTEM "file:///etc/passwd"><EInvoice/>'),
    ("an instruction", b"<EInvoice><?php x?></EInvoice>"),
    ("too deep", b"<EInvoice>" + b"<a>" * 40 + b"</a>" * 40 + b"</EInvoice>"),
    ("too many elements", b"<EInvoice>" + b"<a/>" * 60_001 + b"</EInvoice>"),
    ("too long", b"<EInvoice>" + b" " * (4 << 20) + b"</EInvoice>"),
    ("beyond any file", bytes((16 << 20) + 1)),
    ("an encoding that nobody has", b'<?xml version="1.0" encoding="none-such"?><EInvoice/>'),
]


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in FILES])
def test_what_is_no_invoice_is_not_verifiable(data):
    """[INVOICE-2]"""
    report = verify_invoice(data, trust=TRUST)
    assert (report.verdict, checks(report), report.invoice) == (Verdict.NOT_VERIFIABLE, {"readable"}, None)


def test_a_value_that_stands_twice_is_not_taken():
    twice = write_xml(WHOLE).replace("<TotalTaxAm>", "<TotalTaxAm>9.00</TotalTaxAm><TotalTaxAm>")
    report = verify_invoice(sign_xml(twice), trust=TRUST)
    assert checks(report) == {"values_once"}


def test_a_comment_hides_no_part_of_a_value():
    """The digest leaves comments out, so the values do too."""
    report = verify_invoice(changed("212.00", "21<!-- -->2.00"), trust=TRUST)
    assert report.verdict is Verdict.GENUINE
    assert report.invoice is not None
    assert report.invoice.total_fen == 21_200


def test_every_check_of_xml_is_in_the_table_of_one_defect():
    seen = {check for _, _, expected in (*CONTENT, *SIGNATURES) for check in expected}
    of_seals = {"seal", "seal_signer", "seal_binding", "sources_differ", "unsigned_parts"}
    assert set(load_checks()) - seen == {"certificate_revoked", "revocation_unknown", *of_seals}
