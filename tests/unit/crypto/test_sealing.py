"""Sealed messages of both suites: what opens, what does not, and that nothing in them can be changed."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.crypto import sealing

SEED = bytes(range(32))
BOUND = b"network|request|consent|sender|receiver"
SECRET = "发票金额 1,234.56".encode()


@pytest.fixture
def key(suite):
    return suite.sealing_key_from_seed(SEED)


@pytest.fixture
def sealed(suite, key):
    return suite.seal(SECRET, recipient=key.public_key, associated_data=BOUND)


def broken(key, sealed, *, associated_data=BOUND):
    with pytest.raises(IntegrityError, match=r"crypto.seal_broken"):
        key.open_sealed(sealed, associated_data=associated_data)


def test_what_was_sealed_opens(key, sealed):
    assert key.open_sealed(sealed, associated_data=BOUND) == SECRET


def test_empty_and_large_messages_open(suite, key):
    for plaintext in (b"", bytes(300_000)):
        sealed = suite.seal(plaintext, recipient=key.public_key, associated_data=b"")
        assert plaintext == key.open_sealed(sealed, associated_data=b"")


def test_the_overhead_is_what_the_form_says(suite, sealed):
    assert {"intl": 6 + 4 + 32 + 12 + 16, "gm": 6 + 4 + 113 + 12 + 16}[suite.name] == len(sealed) - len(SECRET)
    assert sealed[:6] == b"SQSEAL"


def test_any_changed_byte_breaks_it(key, sealed):
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1 << (position % 8)
        broken(key, bytes(changed))


def test_any_cut_and_any_addition_breaks_it(key, sealed):
    for length in range(len(sealed)):
        broken(key, sealed[:length])
    broken(key, sealed + b"\0")


def test_other_associated_data_breaks_it(key, sealed):
    for other in (b"", BOUND[:-1], BOUND + b"\0"):
        broken(key, sealed, associated_data=other)


def test_another_recipient_cannot_open_it(suite, sealed):
    broken(suite.sealing_key_from_seed(SEED[::-1]), sealed)


def test_the_other_suite_cannot_open_it(other_suite, sealed):
    broken(other_suite.sealing_key_from_seed(SEED), sealed)


def test_two_seals_of_one_message_have_nothing_in_common(suite, key):
    one, two = (suite.seal(SECRET, recipient=key.public_key, associated_data=BOUND) for _ in range(2))
    assert one[:10] == two[:10]
    assert one[10:42] != two[10:42]
    assert one[-len(SECRET) - 16 :] != two[-len(SECRET) - 16 :]


def test_the_plaintext_does_not_show(sealed):
    assert SECRET not in sealed
    assert b"1,234" not in sealed


def test_more_than_fits_is_refused(suite, key, monkeypatch):
    monkeypatch.setattr(sealing, "MAX_PLAINTEXT_BYTES", 1000)
    at_limit = suite.seal(bytes(1000), recipient=key.public_key, associated_data=b"")
    assert bytes(1000) == key.open_sealed(at_limit, associated_data=b"")
    with pytest.raises(InvalidInput, match=r"crypto.plaintext_too_large: 1001 .* 1000"):
        suite.seal(bytes(1001), recipient=key.public_key, associated_data=b"")
    with pytest.raises(InvalidInput, match=r"crypto.sealed_too_large"):
        key.open_sealed(at_limit + b"\0", associated_data=b"")


def test_associated_data_is_bounded(suite, key):
    with pytest.raises(InvalidInput, match=r"crypto.associated_data_too_large"):
        suite.seal(b"", recipient=key.public_key, associated_data=bytes(65_537))
    sealed = suite.seal(b"", recipient=key.public_key, associated_data=bytes(65_536))
    assert key.open_sealed(sealed, associated_data=bytes(65_536)) == b""


def test_a_message_has_64_mebibytes_at_most():
    assert sealing.MAX_PLAINTEXT_BYTES == 67_108_864
