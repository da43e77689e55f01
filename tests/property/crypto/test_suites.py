from __future__ import annotations

import gmssl_pyx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.crypto import sm2
from shuiqiao.crypto.suites import get_suite

SEEDS = st.binary(min_size=32, max_size=32)
SUITES = st.sampled_from(["intl", "gm"]).map(get_suite)
QUICK = settings(max_examples=60, deadline=None)


@QUICK
@given(suite=SUITES, seed=SEEDS, message=st.binary(max_size=300))
def test_signatures_hold_for_their_message_alone(suite, seed, message):
    key = suite.signing_key_from_seed(seed)
    signature = key.sign(message)
    suite.verify_signing_key(key.public_key)
    results = suite.verify_signatures(
        [(key.public_key, message, signature), (key.public_key, message + b"\0", signature)]
    )
    assert results == [None, "crypto.signature_invalid"]


@QUICK
@given(suite=SUITES, seed=SEEDS, plaintext=st.binary(max_size=500), bound=st.binary(max_size=50), data=st.data())
def test_sealed_messages_open_unless_anything_changed(suite, seed, plaintext, bound, data):
    key = suite.sealing_key_from_seed(seed)
    sealed = suite.seal(plaintext, recipient=key.public_key, associated_data=bound)
    assert plaintext == key.open_sealed(sealed, associated_data=bound)
    position = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError):
        key.open_sealed(bytes(changed), associated_data=bound)


@QUICK
@given(suite=SUITES, seed=SEEDS, sealed=st.binary(max_size=400))
def test_noise_never_opens_and_never_raises_anything_else(suite, seed, sealed):
    key = suite.sealing_key_from_seed(seed)
    prefixed = {"intl": b"SQSEAL\x01\x01\x00\x20", "gm": b"SQSEAL\x01\x02\x00\x71"}[suite.name] + sealed
    for attempt in (sealed, prefixed):
        with pytest.raises(IntegrityError):
            key.open_sealed(attempt, associated_data=b"")


@QUICK
@given(
    suite=SUITES, public_key=st.binary(max_size=70), signature=st.binary(max_size=70), message=st.binary(max_size=20)
)
def test_noise_is_never_a_signature(suite, public_key, signature, message):
    assert suite.verify_signatures([(public_key, message, signature)]) == ["crypto.signature_invalid"]


@QUICK
@given(r=st.integers(0, 2**256 - 1), s=st.integers(0, 2**256 - 1))
def test_der_is_written_for_signatures_in_range_only(r, s):
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    n = sm2.GROUP_ORDER
    if 0 < r < n and 0 < s < n and r + s != n:
        assert raw == sm2.decode_signature_der(sm2.encode_signature_der(raw))
    else:
        with pytest.raises(InvalidInput):
            sm2.encode_signature_der(raw)


GM_KEY = get_suite("gm").signing_key_from_seed(bytes(32))
INTL_KEY = get_suite("intl").signing_key_from_seed(bytes(32))


@QUICK
@given(message=st.binary(max_size=40), position=st.integers(0, 64), mask=st.integers(1, 255))
def test_two_sm2_providers_agree_on_changed_signatures(message, position, mask):
    changed = bytearray(GM_KEY.sign(message) + b"\0")
    changed[position] ^= mask
    signature = bytes(changed[:64])
    ours = get_suite("gm").verify_signatures([(GM_KEY.public_key, message, signature)]) == [None]
    assert (position == 64) == ours == _gmssl_accepts(message, signature)


def _gmssl_accepts(message, signature):
    try:
        der = sm2.encode_signature_der(signature)
    except InvalidInput:
        return False
    return gmssl_pyx.sm2_verify(GM_KEY.public_key[1:], message, der)


@QUICK
@given(message=st.binary(max_size=40), position=st.integers(0, 64), mask=st.integers(1, 255))
def test_two_ed25519_providers_agree_on_changed_signatures(message, position, mask):
    changed = bytearray(INTL_KEY.sign(message) + b"\0")
    changed[position] ^= mask
    signature = bytes(changed[:64])
    ours = get_suite("intl").verify_signatures([(INTL_KEY.public_key, message, signature)]) == [None]
    assert (position == 64) == ours == _openssl_accepts(message, signature)


def _openssl_accepts(message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(INTL_KEY.public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True
