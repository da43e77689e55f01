"""Which certificates may sign and issue, up to which root, and what a folder of trust may hold."""

from __future__ import annotations

import base64
import dataclasses
from datetime import UTC, datetime

import pytest

from invoices_world import STRANGER
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.crypto.certificates import Certificate, RevocationList, Trust, load_trust
from shuiqiao.sandbox.issued.authority import BUREAU, OFFICE, ROOT, VALID_FROM, Holder

NOW = datetime(2024, 5, 28, tzinfo=UTC)
TRUST = Trust(certificates=(ROOT.certificate,))


def code_of(holder, *others, trust=TRUST, moment=NOW):
    try:
        trust.verify_chain(holder.certificate, others=[each.certificate for each in others], moment=moment)
    except ShuiqiaoError as error:
        return error.code
    return None


def test_a_chain_names_everybody_up_to_the_root():
    chain = TRUST.verify_chain(BUREAU.certificate, others=[OFFICE.certificate], moment=NOW)
    assert [subject.split(",")[0] for subject in chain.subjects] == [
        f"CN={each.name}" for each in (BUREAU, OFFICE, ROOT)
    ]
    assert not chain.is_revocation_known


def test_who_leads_to_no_root_is_not_trusted():
    assert code_of(BUREAU) == "crypto.certificate_untrusted"
    assert code_of(STRANGER) == "crypto.certificate_untrusted"
    assert code_of(BUREAU, OFFICE, trust=Trust()) == "crypto.certificate_untrusted"


def test_who_has_a_root_of_the_same_name_and_another_key_is_not_trusted():
    other = Holder(ROOT.name, is_issuer=True)
    object.__setattr__(other, "key", STRANGER.key)
    office = dataclasses.replace(OFFICE, issuer=other)
    assert other.subject == ROOT.subject
    assert code_of(dataclasses.replace(BUREAU, issuer=office), office, other) == "crypto.certificate_untrusted"


def test_a_circle_of_issuers_ends():
    one = Holder("One", is_issuer=True, issuer=Holder("Two", is_issuer=True))
    two = Holder("Two", is_issuer=True, issuer=Holder("One", is_issuer=True))
    assert code_of(dataclasses.replace(BUREAU, issuer=one), one, two) == "crypto.certificate_untrusted"


def test_a_chain_is_bounded():
    chain = [ROOT]
    for number in range(8):
        chain.append(Holder(f"Office {number}", is_issuer=True, issuer=chain[-1]))
    assert code_of(dataclasses.replace(BUREAU, issuer=chain[3]), *chain[1:4]) is None
    assert code_of(dataclasses.replace(BUREAU, issuer=chain[8]), *chain[1:]) == "crypto.certificate_untrusted"


def test_each_certificate_must_be_valid_at_the_moment():
    assert code_of(BUREAU, OFFICE, moment=VALID_FROM) is None
    late = dataclasses.replace(OFFICE, valid_to=datetime(2023, 1, 1, tzinfo=UTC))
    assert code_of(dataclasses.replace(BUREAU, issuer=late), late) == "crypto.certificate_not_in_time"
    assert code_of(BUREAU, OFFICE, moment=datetime(2041, 1, 1, tzinfo=UTC)) == "crypto.certificate_not_in_time"


def test_who_may_not_issue_and_who_may_not_sign():
    assert code_of(dataclasses.replace(OFFICE, issuer=BUREAU), BUREAU) == "crypto.certificate_unfit"
    assert code_of(OFFICE) == "crypto.certificate_unfit"


def test_a_changed_certificate_is_not_trusted_or_none():
    encoded = bytearray(BUREAU.certificate.encoded)
    encoded[-1] ^= 1
    with pytest.raises(ShuiqiaoError) as refused:
        TRUST.verify_chain(Certificate(bytes(encoded)), others=[OFFICE.certificate], moment=NOW)
    assert refused.value.code == "crypto.certificate_untrusted"
    with pytest.raises(InvalidInput) as refused_too:
        Certificate(b"0\x00")
    assert refused_too.value.code == "crypto.certificate_malformed"
    with pytest.raises(InvalidInput):
        RevocationList(BUREAU.certificate.encoded)


def pem(label, encoded):
    return f"-----BEGIN {label}-----\n{base64.encodebytes(encoded).decode()}-----END {label}-----\n"


def test_a_folder_of_trust_has_certificates_and_lists_in_both_forms(tmp_path):
    both = pem("CERTIFICATE", ROOT.certificate.encoded) + pem("CERTIFICATE", OFFICE.certificate.encoded)
    (tmp_path / "two.pem").write_text(both)
    (tmp_path / "one.cer").write_bytes(BUREAU.certificate.encoded)
    (tmp_path / "a.crl").write_bytes(ROOT.revoke([], at=NOW).encoded)
    (tmp_path / "b.crl").write_text(pem("X509 CRL", OFFICE.revoke([], at=NOW).encoded))
    trust = load_trust(tmp_path)
    assert set(trust.certificates) == {ROOT.certificate, OFFICE.certificate, BUREAU.certificate}
    assert (trust.roots, len(trust.lists)) == ((ROOT.certificate,), 2)
    assert trust.verify_chain(BUREAU.certificate, moment=NOW).is_revocation_known


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"])
def test_another_file_in_a_folder_of_trust_is_named(tmp_path, content):
    (tmp_path / "notes.txt").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"notes\.txt") as refused:
        load_trust(tmp_path)
    assert refused.value.code == "crypto.trust_unreadable"


def test_a_folder_of_trust_that_is_not_there(tmp_path):
    with pytest.raises(Unavailable) as refused:
        load_trust(tmp_path / "absent")
    assert refused.value.code == "crypto.trust_missing"


def test_a_folder_of_trust_is_bounded(tmp_path):
    for number in range(257):
        (tmp_path / f"{number}").touch()
    with pytest.raises(InvalidInput, match="holds 257 files"):
        load_trust(tmp_path)
