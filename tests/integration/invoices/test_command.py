"""``shuiqiao invoice verify`` as a person gives it: files, a folder of trust, words and JSON, exit codes."""

from __future__ import annotations

import json

import pytest

from shuiqiao.cli.door import run
from shuiqiao.invoices.model import Effect, load_checks
from shuiqiao.sandbox.issued.authority import OFFICE, ROOT, VALID_FROM
from shuiqiao.sandbox.issued.xml_invoice import sample_invoice, sign_xml, write_xml


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust" / "root.cer").write_bytes(ROOT.certificate.encoded)
    for holder in (ROOT, OFFICE):
        (tmp_path / "trust" / f"{holder.serial}.crl").write_bytes(holder.revoke([], at=VALID_FROM).encoded)
    signed = sign_xml(write_xml(sample_invoice()))
    (tmp_path / "whole.xml").write_bytes(signed)
    (tmp_path / "changed.xml").write_bytes(signed.replace(b"<Quantity>4", b"<Quantity>5", 1))
    (tmp_path / "unsigned.xml").write_text(write_xml(sample_invoice()), encoding="utf-8")
    return tmp_path


def verify(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        run(["invoice", "verify", *map(str, arguments)])
    return ended.value.code, capsys.readouterr().out


def test_every_file_gets_its_verdict(folder, capsys):
    files = [folder / name for name in ("whole.xml", "changed.xml", "unsigned.xml")]
    code, out = verify(capsys, *files, "--trust", folder / "trust", "--json")
    told = json.loads(out)["invoices"]
    assert code == 1
    assert [each["file"] for each in told] == list(map(str, files))
    assert [each["verdict"] for each in told] == ["genuine", "altered", "not_verifiable"]
    assert {each["check"] for each in told[1]["findings"]} == {"line_amount", "digest"}
    assert told[0]["anchored"] == "not_asked"


def test_a_genuine_file_alone_ends_with_zero(folder, capsys):
    code, out = verify(capsys, folder / "whole.xml", "--trust", folder / "trust")
    assert (code, out.splitlines()[0]) == (0, f"genuine 真实  {folder / 'whole.xml'}")


def test_without_trust_nothing_is_genuine_and_the_reason_is_said(folder, capsys):
    code, out = verify(capsys, folder / "whole.xml")
    assert code == 1
    assert "not verifiable 无法核验" in out
    assert "not_verifiable certificate: " in out
    assert load_checks()["certificate"].en in out


def test_an_unconfirmed_rule_is_marked(folder, capsys):
    invoice = write_xml(sample_invoice()).replace("<TaxRate>0.06", "<TaxRate>0.09", 1)
    (folder / "rate.xml").write_bytes(sign_xml(invoice))
    _, out = verify(capsys, folder / "rate.xml", "--trust", folder / "trust")
    assert "(unconfirmed 未经证实)" in out


def test_a_file_that_is_not_there_is_unavailable(folder, capsys):
    code, out = verify(capsys, folder / "absent.xml", "--json")
    assert (code, "error" in json.loads(out)) == (3, True)


def test_every_check_has_words_in_both_languages():
    for check in load_checks().values():
        assert check.en
        assert any("一" <= character <= "鿿" for character in check.zh)
        assert check.effect in Effect
