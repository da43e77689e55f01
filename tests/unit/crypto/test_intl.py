"""Ed25519 at its edges: what libsodium accepts is compared with plain arithmetic on the curve, written here."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.crypto import intl
from shuiqiao.crypto.intl import _EIGHTH_ORDER_Y, _SMALL_ORDER_Y, _verify_public_key, _verify_signature_form
from shuiqiao.crypto.suites import get_suite

SUITE = get_suite("intl")
SEED = bytes(range(32))
MESSAGE = b"tax facts"
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
IDENTITY = (0, 1)


def add(one, two):
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def multiply(factor, point):
    result = IDENTITY
    while factor:
        result = add(result, point) if factor & 1 else result
        point = add(point, point)
        factor >>= 1
    return result


def encode(point):
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def from_y(y):
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    return (x, y) if x * x % P == square else None


def small_order_points():
    points = [from_y(y) for y in sorted(_SMALL_ORDER_Y)]
    return points + [(P - x, y) for x, y in points if x]


def challenge(r, key, message):
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L


def secret_scalar():
    half = int.from_bytes(hashlib.sha512(SEED).digest()[:32], "little")
    return (half & ((1 << 254) - 8)) | (1 << 254)


BASE = from_y(4 * pow(5, -1, P) % P)
BASE = BASE if BASE[0] % 2 == 0 else (P - BASE[0], BASE[1])


def sign_with(scalar, *, key, nonce, torsion=IDENTITY):
    """Sign by the equation, with a point added to R."""
    r = encode(add(multiply(nonce, BASE), torsion))
    return r + ((nonce + challenge(r, key, MESSAGE) * scalar) % L).to_bytes(32, "little")


def refused(*, public_key, signature, message=MESSAGE):
    with pytest.raises(IntegrityError, match=r"crypto.signature_invalid"):
        SUITE.verify_signature(public_key=public_key, message=message, signature=signature)


@pytest.fixture(scope="module")
def key():
    return SUITE.signing_key_from_seed(SEED)


@pytest.fixture(scope="module")
def signature(key):
    return key.sign(MESSAGE)


def test_the_arithmetic_here_is_sound(key):
    assert key.public_key == encode(multiply(secret_scalar(), BASE))
    SUITE.verify_signature(
        public_key=key.public_key,
        message=MESSAGE,
        signature=sign_with(secret_scalar(), key=key.public_key, nonce=12345),
    )


def test_there_are_eight_points_of_small_order():
    points = set(small_order_points())
    assert len(points) == 8
    assert {IDENTITY} == {multiply(8, point) for point in points}


def test_s_beyond_the_group_order_is_refused(key, signature):
    s = int.from_bytes(signature[32:], "little")
    for value in (L, s + L, 2**256 - 1):
        refused(public_key=key.public_key, signature=signature[:32] + value.to_bytes(32, "little"))


def test_s_zero_and_all_zero_are_refused(key, signature):
    for bad in (bytes(64), signature[:32] + bytes(32), bytes(32) + signature[32:]):
        refused(public_key=key.public_key, signature=bad)


@pytest.mark.parametrize("point", small_order_points())
def test_a_key_of_small_order_is_refused(point):
    # Under the identity as key, (R = s*B, s) fits every message; under the other seven, some messages.
    public_key = encode(point)
    with pytest.raises(InvalidInput, match=r"crypto.public_key_invalid"):
        SUITE.verify_signing_key(public_key)
    refused(public_key=public_key, signature=encode(multiply(7, BASE)) + (7).to_bytes(32, "little"))


def test_keys_are_judged_here_whatever_the_library_accepts(key, monkeypatch):
    """Another build of it may judge otherwise, and nodes would part."""
    monkeypatch.setattr(intl, "crypto_sign_open", lambda _signed, _public_key: MESSAGE)
    SUITE.verify_signature(public_key=key.public_key, message=MESSAGE, signature=key.sign(MESSAGE))
    for point in small_order_points():
        refused(public_key=encode(point), signature=key.sign(MESSAGE))


@pytest.mark.parametrize("point", small_order_points())
def test_an_r_of_small_order_is_refused(point, key):
    # s is chosen so that the equation holds for R = identity; for the others it holds up to the cofactor.
    r = encode(point)
    s = challenge(r, key.public_key, MESSAGE) * secret_scalar() % L
    refused(public_key=key.public_key, signature=r + s.to_bytes(32, "little"))


@pytest.mark.parametrize("y", [0, 1, 2, 3, 18])
def test_a_key_or_r_that_is_not_canonical_is_refused(y, key, signature):
    for sign_bit in (0, 1 << 255):
        encoded = (y + P | sign_bit).to_bytes(32, "little")
        with pytest.raises(InvalidInput, match=r"not canonically encoded"):
            SUITE.verify_signing_key(encoded)
        refused(public_key=encoded, signature=signature)
        refused(public_key=key.public_key, signature=encoded + signature[32:])


def test_a_signature_that_holds_only_up_to_the_cofactor_is_refused(key):
    # Verifiers that multiply by eight accept these; between the two kinds of verifiers a network would part.
    for torsion in small_order_points():
        signature = sign_with(secret_scalar(), key=key.public_key, nonce=99, torsion=torsion)
        if torsion == IDENTITY:
            SUITE.verify_signature(public_key=key.public_key, message=MESSAGE, signature=signature)
        else:
            refused(public_key=key.public_key, signature=signature)


def test_a_key_that_is_not_on_the_curve_is_refused():
    y = next(y for y in range(2, 100) if from_y(y) is None)
    refused(public_key=y.to_bytes(32, "little"), signature=encode(BASE) + (1).to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33, 65])
def test_a_key_of_another_length_is_refused(length, signature):
    with pytest.raises(InvalidInput, match=r"crypto.public_key_invalid"):
        SUITE.verify_signing_key(b"\x02" * length)
    refused(public_key=b"\x02" * length, signature=signature)


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(length, key, signature):
    refused(public_key=key.public_key, signature=(signature * 2)[:length])


@pytest.mark.parametrize("position", range(64))
def test_a_flipped_bit_anywhere_in_the_signature_is_refused(position, key, signature):
    flipped = bytearray(signature)
    flipped[position] ^= 1 << (position % 8)
    refused(public_key=key.public_key, signature=bytes(flipped))
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(bytes(flipped), MESSAGE)


def test_a_flipped_bit_in_key_or_message_is_refused(key, signature):
    for position in range(32):
        changed = bytearray(key.public_key)
        changed[position] ^= 1
        refused(public_key=bytes(changed), signature=signature)
    for position in range(len(MESSAGE)):
        message = bytearray(MESSAGE)
        message[position] ^= 0x80
        refused(public_key=key.public_key, signature=signature, message=bytes(message))


SMALL_ORDER_U = (0, 1, P - 1, *((1 + y) * pow(1 - y, -1, P) % P for y in (_EIGHTH_ORDER_Y, P - _EIGHTH_ORDER_Y)))
"""The map of RFC 7748 section 4.1 from Edwards to Montgomery coordinates, and -1, which is on the twist."""

SEALING_EDGES = [
    (encoded | high, u) for u in SMALL_ORDER_U for encoded in (u, u + P) if encoded < 2**255 for high in (0, 2**255)
]


@pytest.mark.parametrize(("encoded", "u"), SEALING_EDGES)
def test_a_sealing_key_of_small_order_is_refused(encoded, u):
    """In every encoding: such a key gives a shared secret of zeros, known to everybody. The provider finds the same."""
    public_key = encoded.to_bytes(32, "little")
    with pytest.raises(InvalidInput, match=r"crypto.public_key_invalid"):
        SUITE.seal(b"secret", recipient=public_key, associated_data=b"")
    with pytest.raises(InvalidInput, match=r"crypto.public_key_invalid"):
        SUITE.verify_sealing_key(public_key)
    private = X25519PrivateKey.from_private_bytes(SEED)
    with pytest.raises(ValueError, match="shared key"):
        private.exchange(X25519PublicKey.from_public_bytes(public_key))
    for neighbour in (u + 3, u - 3):
        beside = (neighbour % P).to_bytes(32, "little")
        SUITE.verify_sealing_key(beside)
        private.exchange(X25519PublicKey.from_public_bytes(beside))


@pytest.mark.parametrize("error", [ValueError("Error computing shared key."), RuntimeError("no"), MemoryError()])
def test_a_sealing_key_is_judged_without_the_provider(error, monkeypatch):  # [LEDGER-SIGN-4]
    key = SUITE.sealing_key_from_seed(SEED)
    sealed = SUITE.seal(b"secret", recipient=key.public_key, associated_data=b"")

    class FailedKey:
        @staticmethod
        def from_public_bytes(_data):
            raise error

    monkeypatch.setattr(intl, "X25519PublicKey", FailedKey)
    SUITE.verify_sealing_key(key.public_key)
    with pytest.raises(InvalidInput, match=r"crypto\.public_key_invalid"):
        SUITE.verify_sealing_key(bytes(32))
    with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
        SUITE.seal(b"secret", recipient=key.public_key, associated_data=b"")
    with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
        key.open_sealed(sealed, associated_data=b"")


def test_a_real_sealing_key_is_accepted():
    public_key = SUITE.sealing_key_from_seed(SEED).public_key
    SUITE.verify_sealing_key(public_key)
    SUITE.verify_signing_key(SUITE.signing_key_from_seed(SEED).public_key)
    with pytest.raises(InvalidInput, match=r"crypto.public_key_invalid"):
        SUITE.verify_sealing_key(public_key[:-1])


def test_a_byte_moved_between_signature_and_message_is_refused(key, signature):
    """The provider takes both as one text: only their lengths tell where the signature ends."""
    refused(public_key=key.public_key, signature=signature[:-1], message=signature[-1:] + MESSAGE)
    refused(public_key=key.public_key, signature=signature + MESSAGE[:1], message=MESSAGE[1:])
    refused(public_key=key.public_key, signature=b"", message=signature + MESSAGE)


@pytest.mark.parametrize(
    ("r", "s", "reason"),
    [
        (None, L, "s is not below the group order"),
        (None, 2**256 - 1, "s is not below the group order"),
        (P, None, "R is not canonically encoded"),
        (2**255 - 1, None, "R is not canonically encoded"),
        *[(y, None, "R is a point of small order") for y in sorted(_SMALL_ORDER_Y)],
    ],
)
def test_what_the_provider_refuses_too_is_refused_before_it(r, s, reason, signature):
    """Another version of the provider, or another provider, may judge these otherwise."""
    r_bytes = signature[:32] if r is None else r.to_bytes(32, "little")
    s_bytes = signature[32:] if s is None else s.to_bytes(32, "little")
    with pytest.raises(InvalidInput, match=reason):
        _verify_signature_form(r_bytes + s_bytes)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_form_of_another_length_is_refused(length):
    with pytest.raises(InvalidInput, match=f"it has {length} bytes"):
        _verify_signature_form(bytes(length))


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (P.to_bytes(32, "little"), "not canonically encoded"),
        ((P + 1).to_bytes(32, "little"), "not canonically encoded"),
        *[(y.to_bytes(32, "little"), "small order") for y in sorted(_SMALL_ORDER_Y)],
        *[((y | 1 << 255).to_bytes(32, "little"), "small order") for y in sorted(_SMALL_ORDER_Y)],
        (bytes(31), "31 bytes"),
        (bytes(33), "33 bytes"),
    ],
)
def test_a_key_is_judged_before_the_provider_sees_it(encoded, reason):
    with pytest.raises(InvalidInput, match=reason):
        _verify_public_key(encoded)


@pytest.mark.parametrize("error", [RuntimeError("no"), MemoryError(), OSError("gone"), TypeError("what")])
def test_a_provider_that_fails_gives_no_verdict(error, key, signature, monkeypatch):  # [LEDGER-SIGN-4]
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(intl, "crypto_sign_open", fail)
    with pytest.raises(Unavailable) as raised:
        SUITE.verify_signatures([(key.public_key, MESSAGE, signature)])
    assert raised.value.code == "crypto.provider_failed"
