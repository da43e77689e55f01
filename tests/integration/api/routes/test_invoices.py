"""Files of e-invoices over HTTP: the verdict by the certificates that this institution trusts."""

from __future__ import annotations

import base64

import pytest

from api_world import NOTHING, asked
from invoices_world import NOTHING_REVOKED
from serving_world import PASSPHRASE, make_served_home
from shuiqiao.client.resources.invoices import MAX_INVOICE_CHARS, InvoiceVerification
from shuiqiao.node.operations import invoices
from shuiqiao.node.server import RunningInstitution
from shuiqiao.sandbox.issued.authority import OFFICE, ROOT
from shuiqiao.sandbox.issued.ofd_invoice import sealed_ofd
from shuiqiao.sandbox.issued.xml_invoice import sample_invoice, sign_xml, write_xml

PATH = "/api/v1/invoice-verifications"
SIGNED = sign_xml(write_xml(sample_invoice()))


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """An institution that trusts the root of these files."""
    home = make_served_home(tmp_path_factory.mktemp("invoices") / "home")
    with home.settings.open("a", encoding="utf-8") as settings:
        settings.write('invoice_trust_folder = "trust"\n')
    (home.folder / "trust").mkdir()
    for number, each in enumerate((ROOT.certificate, OFFICE.certificate, *NOTHING_REVOKED)):
        (home.folder / "trust" / f"{number}").write_bytes(each.encoded)
    with RunningInstitution.open(home, passphrase=PASSPHRASE) as running, asked(running) as found:
        yield found


def verify(bank, data, **more):
    return bank.search(PATH, file=base64.b64encode(data).decode(), **more)


@pytest.mark.parametrize("data", [SIGNED, sealed_ofd(sample_invoice())], ids=["xml", "ofd"])
def test_a_genuine_file_is_told_with_its_values_and_signers(bank, data):
    told = InvoiceVerification.model_validate_json(verify(bank, data).content)
    assert (told.verdict, told.findings, told.anchored) == ("genuine", (), "not_asked")
    assert told.invoice is not None
    assert (told.invoice.number, told.invoice.total_fen) == (sample_invoice().number, 21_200)
    assert [chain[-1].split(",")[0] for chain in told.signers] == [f"CN={ROOT.name}"]


def test_an_altered_one_is_told_with_rule_and_values(bank):
    told = verify(bank, SIGNED.replace(b"<Quantity>4", b"<Quantity>5", 1)).json()
    assert told["verdict"] == "altered"
    line = next(each for each in told["findings"] if each["check"] == "line_amount")
    assert (line["part"], line["effect"], line["is_confirmed"]) == ("lines", "altered", True)
    assert line["rule"]
    assert line["rule_zh"]


def test_anything_else_is_not_verifiable_and_no_error(bank):
    for data in (b"", b"no invoice", b"PK\x03\x04"):
        answer = verify(bank, data)
        assert (answer.status_code, answer.json()["verdict"]) == (200, "not_verifiable")


def test_what_is_no_base64_or_too_long_is_refused(bank):
    assert bank.search(PATH, file="AAA").json()["code"] == "client.base64_invalid"
    assert bank.search(PATH, file="!").json()["code"] == "api.request_invalid"
    assert bank.search(PATH, file="A" * (MAX_INVOICE_CHARS + 4)).json()["code"] == "api.request_invalid"


def test_who_may_not_read_may_not_ask(bank):
    assert verify(bank, SIGNED, token=NOTHING).status_code == 403


def test_so_many_are_verified_at_a_time_and_no_more(bank, monkeypatch):
    monkeypatch.setattr(invoices, "_WAIT_S", 0.01)
    for _ in range(invoices.AT_ONCE):
        assert invoices._PLACES.acquire(blocking=False)
    try:
        answer = verify(bank, SIGNED)
        assert (answer.status_code, answer.json()["code"]) == (503, "invoices.verifier_busy")
    finally:
        for _ in range(invoices.AT_ONCE):
            invoices._PLACES.release()
    assert verify(bank, SIGNED).json()["verdict"] == "genuine"


def test_a_folder_that_is_gone_is_said_and_nothing_called_forged(bank):
    trust = bank.running.institution.home.folder / "trust"
    trust.rename(trust.with_name("gone"))
    try:
        answer = verify(bank, SIGNED)
        assert (answer.status_code, answer.json()["code"]) == (503, "crypto.trust_missing")
    finally:
        trust.with_name("gone").rename(trust)
