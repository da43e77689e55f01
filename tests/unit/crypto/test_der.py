"""DER from outside: what is read, and that nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.crypto.der import decode_der, raw_signature, read_moment, split_parts


@pytest.mark.parametrize(
    ("encoded", "read"),
    [
        ("020100", lambda part: part.integer() == 0),
        ("02020080", lambda part: part.integer() == 128),
        ("0201ff", lambda part: part.integer() == -1),
        ("0603550403", lambda part: part.object_id() == "2.5.4.3"),
        ("06082a811ccf55018375", lambda part: part.object_id() == "1.2.156.10197.1.501"),
        ("0c03e7a88e", lambda part: part.text() == "税"),
        ("03020001", lambda part: part.bits() == b"\x01"),
        ("30060201010201 02".replace(" ", ""), lambda part: [each.integer() for each in part.parts()] == [1, 2]),
        ("170d3230303130323033303430355a", lambda part: part.moment() == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_values(encoded, read):
    part = decode_der(bytes.fromhex(encoded))
    assert read(part)
    assert part.whole.hex() == encoded


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "30",
        "3005020101",
        "3080020101000",
        "308001",
        "30810102",
        "3082000502010102",
        "1f8101",
        "3084ffffffff",
        "0201010201",
    ],
)
def test_what_is_no_der_is_refused(encoded):
    with pytest.raises(InvalidInput) as refused:
        decode_der(bytes.fromhex(encoded[: len(encoded) // 2 * 2]))
    assert refused.value.code == "crypto.der_malformed"


@pytest.mark.parametrize(
    ("encoded", "method"),
    [
        ("02020001", "integer"),
        ("0200", "integer"),
        ("0202ffff", "integer"),
        ("0301", "bits"),
        ("030107", "bits"),
        ("0600", "object_id"),
        ("060181", "object_id"),
        ("0c01ff", "text"),
        ("020101", "text"),
        ("020101", "parts"),
        ("020101", "moment"),
        ("1701ff", "moment"),
    ],
)
def test_a_value_in_another_form_is_refused(encoded, method):
    raw = bytes.fromhex(encoded) if encoded != "0301" else b"\x03\x00"
    with pytest.raises(InvalidInput) as refused:
        getattr(decode_der(raw), method)()
    assert refused.value.code == "crypto.der_malformed"


def test_values_are_bounded():
    assert len(split_parts(b"\x05\x00" * 256)) == 256
    with pytest.raises(InvalidInput, match="more than 256"):
        split_parts(b"\x05\x00" * 257)


@pytest.mark.parametrize("text", [b"20240231000000Z", b"20240101000000", b"240101000000+0800", b"2024-01-01"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InvalidInput):
        read_moment(text)


def test_a_time_of_two_digits_is_of_1950_to_2049():
    assert (read_moment(b"500101000000Z").year, read_moment(b"491231235959Z").year) == (1950, 2049)


def test_a_signature_is_read_in_both_forms():
    raw = b"\x80" + bytes(31) + bytes(31) + b"\x01"
    der = bytes.fromhex("3026022100") + raw[:32] + b"\x02\x01\x01"
    assert raw_signature(raw) == raw_signature(der) == raw
    with pytest.raises(InvalidInput):
        raw_signature(bytes.fromhex("30080201010201010201"))
    with pytest.raises(InvalidInput):
        raw_signature(bytes.fromhex("30060201ff020101"))
