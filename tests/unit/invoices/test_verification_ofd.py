"""One defect of a sealed OFD, and exactly the rule that finds it; whole ones of both forms of seal."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from invoices_world import EXPIRED, NOTHING_REVOKED, STRANGER, checks
from shuiqiao.crypto.certificates import Trust
from shuiqiao.invoices.model import Verdict, conclude, found, load_checks
from shuiqiao.invoices.verification import verify_invoice
from shuiqiao.sandbox.issued.authority import BUREAU, OFFICE, ROOT, Holder
from shuiqiao.sandbox.issued.ofd_invoice import (
    SEAL_MAKER,
    SIGNATURES,
    SealPlan,
    ofd_parts,
    pack,
    seal_parts,
    sealed_ofd,
)
from shuiqiao.sandbox.issued.xml_invoice import sample_id, sample_invoice, sign_xml, write_xml

TRUST = Trust(certificates=(ROOT.certificate, OFFICE.certificate), lists=NOTHING_REVOKED)
WHOLE = sample_invoice()
PARTS = ofd_parts(WHOLE)
SEALED = seal_parts(PARTS, SealPlan())
ATTACHMENT, TAG, PAGE = (
    "Doc_0/Attachs/original_invoice.xml",
    "Doc_0/Tags/CustomTag.xml",
    "Doc_0/Pages/Page_0/Content.xml",
)
SIGNED_VALUE, SIGNATURE = "Doc_0/Signs/Sign_0/SignedValue.dat", "Doc_0/Signs/Sign_0/Signature.xml"
OTHER_BUREAU = Holder("Another bureau 另一税务局", issuer=OFFICE)


def changed(name, old, new, *, parts=SEALED):
    """The package in which one file has other bytes."""
    assert parts[name].count(old.encode()) >= 1
    return pack({**parts, name: parts[name].replace(old.encode(), new.encode())})


def sealed_as(**plan):
    return sealed_ofd(WHOLE, SealPlan(**plan))


def sealed_over(name, old, new):
    """A package whose files contradict each other, sealed as it is."""
    assert old.encode() in PARTS[name]
    return pack(seal_parts({**PARTS, name: PARTS[name].replace(old.encode(), new.encode())}, SealPlan()))


def other_value():
    """The seal of another file of the same bureau, put into this one."""
    other = seal_parts(ofd_parts(sample_invoice(7)), SealPlan())
    return pack({**SEALED, SIGNED_VALUE: other[SIGNED_VALUE]})


def flipped(name, place):
    data = bytearray(SEALED[name])
    data[place] ^= 1
    return pack({**SEALED, name: bytes(data)})


ROWS = [
    ("no seal", pack(ofd_parts(WHOLE, with_seal=False)), {"unsigned"}),
    ("a page changed", changed(PAGE, WHOLE.buyer_name, "别家有限公司"), {"digest", "unsigned_parts"}),
    ("an annotation changed", changed("Doc_0/Annots/Annotations.xml", "</", "x</"), {"digest", "unsigned_parts"}),
    ("a signed part taken out", pack({k: v for k, v in SEALED.items() if "Annots" not in k}), {"digest"}),
    ("a page put in", pack({**SEALED, "Doc_0/Pages/Page_1/Content.xml": b"<a/>"}), {"unsigned_parts"}),
    ("an attachment put in", pack({**SEALED, "Doc_0/Attachs/more.bin": b"\0"}), {"unsigned_parts"}),
    ("a digest changed", changed(SIGNATURE, "<ofd:CheckValue>", "<ofd:CheckValue>AA"), {"digest", "seal_binding"}),
    ("the seal of another file", other_value(), {"seal_binding"}),
    ("the signature's last bit", flipped(SIGNED_VALUE, -1), {"signature"}),
    ("no DER", pack({**SEALED, SIGNED_VALUE: b"0\x80"}), {"signature_form"}),
    ("no seal but a bare signature", pack({**SEALED, SIGNED_VALUE: BUREAU.sign(b"x")}), {"signature_form"}),
    ("another digest method", changed(SIGNATURE, "1.2.156.10197.1.401", "1.2.156.10197.1.401.2"), {"signature_form"}),
    ("a seal that its maker did not sign", sealed_as(maker_signs=OTHER_BUREAU), {"seal"}),
    ("a seal for somebody else", sealed_as(holders=[OTHER_BUREAU]), {"seal_signer"}),
    ("a seal for nobody", sealed_as(holders=[]), {"seal_signer"}),
    ("a version that nobody has", sealed_as(version=3), {"signature_form"}),
    ("a stranger seals", sealed_as(signer=STRANGER), {"certificate"}),
    ("a stranger made the seal", sealed_as(maker=STRANGER), {"certificate"}),
    ("sealed after the certificate", sealed_as(signer=EXPIRED), {"certificate_time"}),
    ("sealed after the seal", sealed_as(valid_to=datetime(2023, 1, 1, tzinfo=UTC)), {"certificate_time"}),
    (
        "attachment and tags",
        sealed_over(ATTACHMENT, "<TaxTotalAmount>12.00", "<TaxTotalAmount>12.01"),
        {"sources_differ"},
    ),
    ("OFD.xml and the others", sealed_over("OFD.xml", "200.00", "201.00"), {"sources_differ"}),
    ("tags that change places", sealed_over(TAG, ">103<", ">105<"), {"sources_differ"}),
    ("a line", sealed_over(ATTACHMENT, "<Quantity>4", "<Quantity>5"), {"line_amount"}),
    (
        "a value twice",
        sealed_over(ATTACHMENT, "<TaxTotalAmount>", "<TaxTotalAmount>1</TaxTotalAmount><TaxTotalAmount>"),
        {"values_once"},
    ),
]
"""Where the content of a part is no longer signed, the report also names that part."""


@pytest.mark.parametrize(("data", "expected"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_one_defect_is_found_by_its_rule_alone(data, expected):
    """[INVOICE-7] [INVOICE-8]"""
    report = verify_invoice(data, trust=TRUST)
    # What a broken seal covered is unsigned too, and so may be the values: consequences, not rules of their own.
    consequences = {"unsigned_parts", "unsigned_values"} - expected
    assert checks(report) - consequences == expected
    assert report.verdict is conclude([found(check, "") for check in checks(report)])
    assert (report.verdict is Verdict.GENUINE) == (expected == {"unsigned_parts"})


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(SealPlan(), id="GB/T 38540"),
        pytest.param(SealPlan(by_digest=True), id="GB/T 38540 with digests of certificates"),
        pytest.param(SealPlan(version=1), id="GM/T 0031"),
        pytest.param(SealPlan(holders=[OTHER_BUREAU, BUREAU]), id="a seal of two"),
    ],
)
def test_a_whole_invoice_is_genuine(plan):
    report = verify_invoice(sealed_ofd(WHOLE, plan), trust=TRUST)
    assert (report.findings, report.verdict, report.source) == ((), Verdict.GENUINE, "attachment")
    assert [chain[0].split(",")[0] for chain in report.signers] == [f"CN={BUREAU.name}"]
    assert report.invoice is not None
    assert (report.invoice.number, report.invoice.total_fen, len(report.invoice.lines)) == (WHOLE.number, 21_200, 2)


def test_two_seals_one_after_the_other_hold_both():
    data = pack(seal_parts(PARTS, SealPlan(), SealPlan(signer=OTHER_BUREAU, holders=[OTHER_BUREAU])))
    report = verify_invoice(data, trust=TRUST)
    assert (report.findings, len(report.signers)) == ((), 2)


def test_a_seal_that_was_taken_out_of_the_list_is_missed():
    two = seal_parts(PARTS, SealPlan(), SealPlan(signer=OTHER_BUREAU))
    entry = '<ofd:Signature ID="0" BaseLoc="Sign_0/Signature.xml"/>'
    assert "digest" in checks(verify_invoice(changed(SIGNATURES, entry, "", parts=two), trust=TRUST))


@pytest.mark.parametrize(
    ("left_out", "source", "expected"),
    [
        ({ATTACHMENT}, "tags", set()),
        ({ATTACHMENT, TAG}, "custom_data", set()),
        ({ATTACHMENT, PAGE}, "custom_data", set()),
        ({ATTACHMENT, "Doc_0/Document.xml"}, "custom_data", set()),
        ({ATTACHMENT, TAG, "OFD.xml"}, "attachment", {"unsigned_values"}),
    ],
)
def test_values_are_taken_from_signed_parts_and_the_others_are_reported(left_out, source, expected):
    report = verify_invoice(sealed_as(left_out=frozenset(left_out)), trust=TRUST)
    assert (report.source, checks(report)) == (source, {"unsigned_parts", *expected})
    assert set(report.unsigned_parts) == {f"/{each}" for each in left_out}


def test_an_unsigned_attachment_that_says_other_values_is_no_source_and_contradicts():
    """A part that no seal covers can be exchanged: its values are not taken, and the file contradicts itself."""
    parts = seal_parts(PARTS, SealPlan(left_out=frozenset({ATTACHMENT})))
    forged = verify_invoice(changed(ATTACHMENT, "212.00", "912.00", parts=parts), trust=TRUST)
    assert (forged.source, forged.verdict) == ("tags", Verdict.ALTERED)
    assert forged.invoice is not None
    assert forged.invoice.total_fen == 21_200
    assert checks(forged) == {"unsigned_parts", "sources_differ"}


def test_the_attachment_may_be_the_xml_of_today():
    parts = {**PARTS, ATTACHMENT: write_xml(WHOLE).encode()}
    report = verify_invoice(pack(seal_parts(parts, SealPlan())), trust=TRUST)
    assert (report.findings, report.verdict) == ((), Verdict.GENUINE)
    assert report.invoice is not None
    assert report.invoice.capitals == WHOLE.capitals


def test_a_seal_and_its_maker_count_by_their_times_of_revocation():
    for holder in (BUREAU, SEAL_MAKER):
        lists = (NOTHING_REVOKED[0], OFFICE.revoke([holder], at=datetime(2020, 1, 1, tzinfo=UTC)))
        trust = Trust(certificates=TRUST.certificates, lists=lists)
        assert checks(verify_invoice(sealed_ofd(WHOLE), trust=trust)) == {"certificate_revoked"}


def archive(**entries):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as written:
        for name, data in entries.items():
            written.writestr(name, data)
    return target.getvalue()


def with_name(name):
    return pack({**SEALED, name: b""})


def twice():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as written:
        written.writestr("OFD.xml", PARTS["OFD.xml"])
        with pytest.warns(UserWarning, match="Duplicate"):
            written.writestr("OFD.xml", b"<a/>")
    return target.getvalue()


def nameless():
    """A fuzzer found it: an entry whose name begins with a byte 0 has none."""
    data = sealed_ofd(WHOLE)
    return data.replace(b"OFD.xml", b"\0FD.xml")


def encrypted():
    data = bytearray(sealed_ofd(WHOLE))
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    return bytes(data)


BROKEN = [
    ("no archive behind its first bytes", lambda: b"PK\x03\x04" + bytes(100)),
    ("cut off", lambda: sealed_ofd(WHOLE)[:-40]),
    ("no OFD.xml", lambda: archive(a=b"x")),
    ("OFD.xml without a body", lambda: pack({"OFD.xml": b"<OFD/>"})),
    ("a bomb", lambda: archive(a=bytes(65 << 20))),
    ("too many entries", lambda: pack({f"{number}": b"" for number in range(2_001)})),
    ("a name that leads outside", lambda: with_name("../../etc/passwd")),
    ("a name from the root", lambda: with_name("/etc/passwd")),
    ("a name with a backslash", lambda: with_name("Doc_0\\x")),
    ("a name that is not plain", lambda: with_name("Doc_0/./x")),
    ("a name twice", twice),
    ("a name that is empty", nameless),
    ("encrypted", encrypted),
    ("a document type in OFD.xml", lambda: pack({"OFD.xml": b"<!DOCTYPE a><a/>"})),
]


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in BROKEN])
def test_what_is_no_package_is_not_verifiable(make):
    """[INVOICE-2]"""
    report = verify_invoice(make(), trust=TRUST)
    assert (report.verdict, checks(report), report.invoice) == (Verdict.NOT_VERIFIABLE, {"readable"}, None)


def test_a_damaged_entry_is_a_digest_that_does_not_hold_or_is_not_read():
    data = bytearray(sealed_ofd(WHOLE))
    place = data.index(b"original_invoice.xml") + 60
    data[place] ^= 0xFF
    assert verify_invoice(bytes(data), trust=TRUST).verdict is not Verdict.GENUINE


def test_no_changed_byte_of_a_signed_part_is_genuine():
    for name in (*PARTS, SIGNATURE, SIGNED_VALUE):
        for place in range(0, len(SEALED[name]), 97):
            assert verify_invoice(flipped(name, place), trust=TRUST).verdict is not Verdict.GENUINE, (name, place)


def test_every_check_of_seals_is_in_the_table_of_one_defect():
    seen = {check for _, _, expected in ROWS for check in expected}
    assert {"seal", "seal_signer", "seal_binding", "sources_differ", "unsigned_parts"} <= seen <= set(load_checks())


def test_a_sealed_xml_and_a_sealed_ofd_say_the_same_values():
    xml = verify_invoice(sign_xml(write_xml(WHOLE)), trust=TRUST).invoice
    ofd = verify_invoice(sealed_ofd(replace(WHOLE, seller_id=sample_id(1))), trust=TRUST).invoice
    assert xml is not None
    assert ofd is not None
    assert (xml.number, xml.issue_date, xml.seller, xml.buyer) == (ofd.number, ofd.issue_date, ofd.seller, ofd.buyer)
    assert (xml.amount_fen, xml.tax_fen, xml.total_fen) == (ofd.amount_fen, ofd.tax_fen, ofd.total_fen)
