"""SM2 at its edges: ranges, points, encodings, and agreement with other implementations."""

from __future__ import annotations

import gmssl_pyx
import pytest
from gmssl import sm2 as gmssl_sm2
from tongsuopy.crypto.exceptions import InternalError, InvalidSignature

from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.crypto import gm, sm2
from shuiqiao.crypto.gm import Sm2SealingKey, Sm2SigningKey, public_key_of
from shuiqiao.crypto.suites import get_suite

SUITE = get_suite("gm")
SEED = bytes(range(32))
MESSAGE = b"tax facts"
N, P = sm2.GROUP_ORDER, sm2.FIELD_PRIME


def refused(*, public_key, signature, message=MESSAGE):
    with pytest.raises(IntegrityError, match=r"crypto.signature_invalid"):
        SUITE.verify_signature(public_key=public_key, message=message, signature=signature)


def pair(r, s):
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@pytest.fixture(scope="module")
def key():
    return SUITE.signing_key_from_seed(SEED)


@pytest.fixture(scope="module")
def signature(key):
    return key.sign(MESSAGE)


def test_r_and_s_outside_1_to_n_minus_1_are_refused(key, signature):
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    for bad in (pair(0, s), pair(r, 0), pair(N, s), pair(r, N), bytes(64), b"\xff" * 64):
        refused(public_key=key.public_key, signature=bad)
        with pytest.raises(InvalidInput, match=r"outside 1 to n-1"):
            sm2.encode_signature_der(bad)


def test_the_same_signature_plus_n_is_refused():
    # r + n fits into 32 bytes only for the rare small r: make one by hand, so that the equation would hold modulo n.
    small = 5
    for bad in (pair(small + N, 7), pair(7, small + N)):
        with pytest.raises(InvalidInput, match=r"outside 1 to n-1"):
            sm2.encode_signature_der(bad)


def test_r_plus_s_zero_modulo_n_is_refused(key, signature):
    r = int.from_bytes(signature[:32], "big")
    with pytest.raises(InvalidInput, match=r"r \+ s is 0"):
        sm2.encode_signature_der(pair(r, N - r))
    refused(public_key=key.public_key, signature=pair(r, N - r))


def test_the_negated_s_is_refused(key, signature):
    # ECDSA would accept n - s; SM2 must not, or one act would have two signatures.
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    refused(public_key=key.public_key, signature=pair(r, N - s))


def test_extreme_values_inside_the_range_get_a_verdict(key):
    for r, s in ((1, 1), (1, N - 2), (N - 1, N - 1), (N - 1, 2)):
        refused(public_key=key.public_key, signature=pair(r, s))


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(length, key, signature):
    refused(public_key=key.public_key, signature=(signature * 2)[:length])


def test_a_signature_in_der_is_refused(key, signature):
    refused(public_key=key.public_key, signature=sm2.encode_signature_der(signature))


@pytest.mark.parametrize("position", range(64))
def test_a_flipped_bit_anywhere_in_the_signature_is_refused(position, key, signature):
    flipped = bytearray(signature)
    flipped[position] ^= 1 << (position % 8)
    refused(public_key=key.public_key, signature=bytes(flipped))


def test_a_flipped_bit_in_key_or_message_is_refused(key, signature):
    for position in range(65):
        changed = bytearray(key.public_key)
        changed[position] ^= 1
        refused(public_key=bytes(changed), signature=signature)
    for position in range(len(MESSAGE)):
        message = bytearray(MESSAGE)
        message[position] ^= 0x80
        refused(public_key=key.public_key, signature=signature, message=bytes(message))


def bad_keys():
    good = public_key_of(12345)
    x, y = good[1:33], good[33:]
    return {
        "empty": b"",
        "infinity": b"\x00",
        "infinity, padded": bytes(65),
        "origin": b"\x04" + bytes(64),
        "compressed": bytes([2 + y[-1] % 2]) + x,
        "hybrid": bytes([6 + y[-1] % 2]) + x + y,
        "without prefix": x + y,
        "one byte more": good + b"\0",
        "off the curve": good[:-1] + bytes([good[-1] ^ 1]),
        "x beyond p": b"\x04" + b"\xff" * 32 + y,
        "y beyond p": b"\x04" + x + P.to_bytes(32, "big"),
    }


@pytest.mark.parametrize("name", bad_keys())
def test_a_bad_public_key_is_refused_everywhere(name, signature):
    public_key = bad_keys()[name]
    for verify in (SUITE.verify_signing_key, SUITE.verify_sealing_key):
        with pytest.raises(InvalidInput, match=r"crypto.public_key_invalid"):
            verify(public_key)
    with pytest.raises(InvalidInput, match=r"crypto.public_key_invalid"):
        SUITE.seal(b"secret", recipient=public_key, associated_data=b"")
    refused(public_key=public_key, signature=signature)


def test_the_same_x_with_a_y_that_is_not_reduced_is_refused():
    # A point with small y has a second 32-byte encoding, y + p: two key ids for one key.
    y = next(y for y in range(1, 200) if _x_of(y) is not None)
    x = _x_of(y)
    assert x is not None
    SUITE.verify_signing_key(b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big"))
    with pytest.raises(InvalidInput, match=r"not below the field prime"):
        SUITE.verify_signing_key(b"\x04" + x.to_bytes(32, "big") + (y + P).to_bytes(32, "big"))


def _x_of(y):
    """Return x with x^3 + ax + b = y^2, or None, by the gcd of that cubic with X^p - X."""
    roots = _cubic_roots((sm2.CURVE_B - y * y) % P)
    return roots[0] if roots else None


def _cubic_roots(constant):
    # Roots of X^3 + aX + constant: powers of (X + shift) modulo the cubic split it until a linear factor is left.
    cubic = [constant, sm2.CURVE_A, 0, 1]
    linear_part = _gcd(cubic, _minus(_power([0, 1], P, cubic), [0, 1]))
    for shift in range(20):
        if len(linear_part) == 2:
            return [-linear_part[0] * pow(linear_part[1], -1, P) % P]
        if len(linear_part) < 2:
            return []
        half = _gcd(linear_part, _minus(_power([shift, 1], (P - 1) // 2, linear_part), [1]))
        if 1 < len(half) < len(linear_part):
            linear_part = half
    return []


def _trim(poly):
    while poly and poly[-1] == 0:
        poly = poly[:-1]
    return poly


def _minus(one, two):
    size = max(len(one), len(two))
    padded = [(list(poly) + [0] * size)[:size] for poly in (one, two)]
    return _trim([(left - right) % P for left, right in zip(*padded, strict=True)])


def _remainder(poly, modulus):
    poly, inverse = list(_trim(poly)), pow(modulus[-1], -1, P)
    while len(poly) >= len(modulus):
        factor, offset = poly[-1] * inverse % P, len(poly) - len(modulus)
        poly = [
            (value - factor * modulus[index - offset]) % P if index >= offset else value
            for index, value in enumerate(poly)
        ]
        poly = list(_trim(poly))
    return poly


def _times(one, two, modulus):
    product = [0] * (len(one) + len(two))
    for i, left in enumerate(one):
        for j, right in enumerate(two):
            product[i + j] = (product[i + j] + left * right) % P
    return _remainder(product, modulus)


def _power(base, exponent, modulus):
    result = [1]
    for bit in f"{exponent:b}":
        result = _times(result, result, modulus)
        result = _times(result, base, modulus) if bit == "1" else result
    return result


def _gcd(one, two):
    while two:
        one, two = two, _remainder(one, two)
    return one


@pytest.mark.parametrize("scalar", [0, -1, N - 1, N, 2**256])
def test_a_private_key_outside_1_to_n_minus_2_is_refused(scalar):
    for make in (Sm2SigningKey, Sm2SealingKey, public_key_of):
        with pytest.raises(InvalidInput, match=r"crypto.private_key_invalid"):
            make(scalar)


@pytest.mark.parametrize("scalar", [1, 2, N - 2])
def test_the_private_keys_at_the_ends_of_the_range_sign(scalar):
    key = Sm2SigningKey(scalar)
    SUITE.verify_signature(public_key=key.public_key, message=MESSAGE, signature=key.sign(MESSAGE))


def test_signing_and_sealing_keys_of_one_seed_differ():
    assert SUITE.signing_key_from_seed(SEED).public_key != SUITE.sealing_key_from_seed(SEED).public_key
    assert sm2.scalar_from_seed(SEED, purpose=b"sign") != sm2.scalar_from_seed(SEED, purpose=b"seal")


def test_a_candidate_outside_the_range_is_passed_over(monkeypatch):
    answers = iter([0, N - 1, N, 2**256 - 1, 42])
    monkeypatch.setattr(sm2, "hkdf_expand", lambda *_args, **_named: next(answers).to_bytes(32, "big"))
    assert sm2.scalar_from_seed(SEED, purpose=b"sign") == 42
    monkeypatch.setattr(sm2, "hkdf_expand", lambda *_args, **_named: bytes(32))
    with pytest.raises(InvalidInput, match=r"crypto.seed_unusable"):
        sm2.scalar_from_seed(SEED, purpose=b"sign")


@pytest.mark.parametrize("misses", [15, 16])
def test_sixteen_candidates_are_tried(misses, monkeypatch):
    answers = iter([0] * misses + [42])
    monkeypatch.setattr(sm2, "hkdf_expand", lambda *_args, **_named: next(answers).to_bytes(32, "big"))
    if misses < 16:
        assert sm2.scalar_from_seed(SEED, purpose=b"sign") == 42
    else:
        with pytest.raises(InvalidInput, match=r"crypto.seed_unusable.* 16 candidates"):
            sm2.scalar_from_seed(SEED, purpose=b"sign")


def test_three_implementations_agree_on_good_and_bad_signatures(key):
    oracle = gmssl_sm2.CryptSM2(private_key="", public_key=key.public_key[1:].hex())
    for index in range(6):
        message = bytes([index]) * (index * 20)
        signature = key.sign(message)
        for signed in (message, message + b"\0"):
            ours = SUITE.verify_signatures([(key.public_key, signed, signature)]) == [None]
            der = sm2.encode_signature_der(signature)
            assert (signed == message) == ours == gmssl_pyx.sm2_verify(key.public_key[1:], signed, der)
            assert ours == bool(oracle.verify_with_sm3(signature.hex(), signed))


def test_short_r_and_s_survive_der():
    for r, s in ((1, 127), (127, 1), (128, 255), (2**248 - 1, 2**120), (N - 1, N - 2)):
        assert pair(r, s) == sm2.decode_signature_der(sm2.encode_signature_der(pair(r, s)))


@pytest.mark.parametrize(("length", "head"), [(16, "307a"), (21, "307f"), (22, "308180"), (99, "3081cd")])
def test_a_ciphertext_of_any_length_survives_der(length, head):
    raw = b"\x04" + b"\x91" * 64 + b"\x55" * 32 + bytes(range(length))
    der = sm2.encode_ciphertext_der(raw)
    assert head == der[: len(head) // 2].hex()
    assert raw == sm2.decode_ciphertext_der(der)


def test_an_encapsulated_point_off_the_curve_never_reaches_the_private_key():
    key = SUITE.sealing_key_from_seed(SEED)
    sealed = bytearray(SUITE.seal(b"secret", recipient=key.public_key, associated_data=b""))
    start = sealed.index(b"\x04", 10)
    assert start == 10
    sealed[start + 64] ^= 1
    with pytest.raises(IntegrityError, match=r"crypto.seal_broken") as caught:
        key.open_sealed(bytes(sealed), associated_data=b"")
    assert isinstance(caught.value.__cause__, InvalidInput)
    assert "not on the SM2 curve" in str(caught.value.__cause__)


@pytest.mark.parametrize("error", [InternalError("no", []), InvalidSignature(), ValueError("what"), MemoryError()])
def test_a_provider_that_fails_gives_no_verdict(error, key, signature, monkeypatch):  # [LEDGER-SIGN-4]
    """One that accepts nothing, not even what is known to hold, fails as well: it says no where it lacks memory."""

    class FailedKey:
        def verify(self, *_arguments):
            raise error

    monkeypatch.setattr(gm, "_load_public_key", lambda _key: FailedKey())
    with pytest.raises(Unavailable) as raised:
        SUITE.verify_signatures([(key.public_key, MESSAGE, signature)])
    assert raised.value.code == "crypto.provider_failed"


def test_a_key_that_the_provider_does_not_take_is_no_verdict(key, signature, monkeypatch):  # [LEDGER-SIGN-4]
    def fail(*_arguments):
        raise ValueError("invalid key")

    gm._load_public_key.cache_clear()
    monkeypatch.setattr(gm.ec.EllipticCurvePublicKey, "from_encoded_point", fail)
    fresh = SUITE.signing_key_from_seed(bytes(32)).public_key
    with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
        SUITE.verify_signature(public_key=fresh, message=MESSAGE, signature=signature)


def test_a_provider_that_opens_nothing_gives_no_verdict_on_a_seal(monkeypatch):
    """It says the same of a changed seal and where it fails: one to this very key must still open."""
    key = SUITE.sealing_key_from_seed(SEED)
    sealed = SUITE.seal(b"secret", recipient=key.public_key, associated_data=b"")
    other = SUITE.sealing_key_from_seed(bytes(32))
    with pytest.raises(IntegrityError, match=r"crypto\.seal_broken") as caught:
        other.open_sealed(sealed, associated_data=b"")
    assert isinstance(caught.value.__cause__, gmssl_pyx.GmsslInnerError)

    def fail(*_arguments):
        raise gmssl_pyx.GmsslInnerError("no")

    monkeypatch.setattr(gm.gmssl_pyx, "sm2_decrypt", fail)
    with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
        key.open_sealed(sealed, associated_data=b"")
