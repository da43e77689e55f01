"""The SM2 curve (GM/T 0003.5) and the byte forms around it: keys, scalars, signatures, ciphertexts.

No secret passes through arithmetic here: private keys are only compared with the group order. What is decided here
(ranges, on curve, one encoding) is decided before any provider sees the bytes, so that providers cannot differ on it.
"""

from __future__ import annotations

from shuiqiao.base.errors import InvalidInput
from shuiqiao.crypto.kdf import hkdf_expand, hkdf_extract

FIELD_PRIME = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
CURVE_A = FIELD_PRIME - 3
CURVE_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
GROUP_ORDER = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
GENERATOR_X = 0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7
GENERATOR_Y = 0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0

USER_ID = b"1234567812345678"
"""The default distinguishing identifier of GM/T 0009: no other is used in a network."""

COORDINATE_BYTES = 32
PUBLIC_KEY_BYTES = 65
SIGNATURE_BYTES = 64
KNOWN_SIGNATURE = (
    (
        "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
        "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
    ),
    "6d65737361676520646967657374",
    (
        "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
        "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
    ),
)
"""Public key, message ("message digest") and signature of GM/T 0003.5 appendix A, in hex."""

_UNCOMPRESSED = 4
_HASH_BYTES = 32
_MAX_CANDIDATES = 16
"""One candidate in 2^32 falls outside the range; sixteen in a row would mean a broken hash."""

_DER_SEQUENCE, _DER_INTEGER, _DER_OCTETS = 0x30, 0x02, 0x04
_DER_LONG_LENGTH = 0x80


def identity_prefix() -> bytes:
    """Return the part of Z's input (GM/T 0003.2 section 5.5) before the public key: ENTL, ID, a, b, G."""
    numbers = (CURVE_A, CURVE_B, GENERATOR_X, GENERATOR_Y)
    bits = len(USER_ID) * 8
    return bits.to_bytes(2, "big") + USER_ID + b"".join(n.to_bytes(COORDINATE_BYTES, "big") for n in numbers)


def scalar_from_seed(seed: bytes, *, purpose: bytes) -> int:
    """Return the private key in [1, n-2] that a seed stands for, per purpose, without bias.

    Candidate i = HKDF-SM3(seed, info = "shuiqiao/sm2/" || purpose || i, 32 bytes), i = 0, 1, ...; the first candidate
    inside the range is taken, as in FIPS 186-5 appendix A.2.2, so every private key is equally likely. n-1 is excluded
    because signing divides by 1 + d (GM/T 0003.2 section 6.1). Raises InvalidInput (``crypto.seed_unusable``).
    """
    root = hkdf_extract(seed, hash_name="sm3")
    for counter in range(_MAX_CANDIDATES):
        info = b"shuiqiao/sm2/" + purpose + bytes([counter])
        candidate = int.from_bytes(hkdf_expand(root, hash_name="sm3", info=info, length=COORDINATE_BYTES), "big")
        if is_private_scalar(candidate):
            return candidate
    raise InvalidInput("crypto.seed_unusable", f"no private key came from this seed in {_MAX_CANDIDATES} candidates")


def is_private_scalar(scalar: int) -> bool:
    """Return whether a number is a private key: from 1 to n-2."""
    return 1 <= scalar <= GROUP_ORDER - 2


def verify_public_key(public_key: bytes) -> None:
    """Return if 65 bytes are 0x04 || x || y of a point on the curve.

    The curve's cofactor is 1, so every such point has the full order; infinity has no such encoding. Raises
    InvalidInput (``crypto.public_key_invalid``).
    """
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise _bad_key(public_key, f"it has {len(public_key)} bytes instead of {PUBLIC_KEY_BYTES}")
    if public_key[0] != _UNCOMPRESSED:
        raise _bad_key(public_key, "it does not start with 0x04")
    x, y = int.from_bytes(public_key[1:33], "big"), int.from_bytes(public_key[33:], "big")
    if x >= FIELD_PRIME or y >= FIELD_PRIME:
        raise _bad_key(public_key, "a coordinate is not below the field prime")
    if (y * y - (x * x * x + CURVE_A * x + CURVE_B)) % FIELD_PRIME:
        raise _bad_key(public_key, "the point is not on the SM2 curve")


def _bad_key(public_key: bytes, reason: str) -> InvalidInput:
    return InvalidInput("crypto.public_key_invalid", f"{public_key[:32].hex()} is not acceptable: {reason}")


def encode_signature_der(signature: bytes) -> bytes:
    """Return raw r || s as the DER that providers take, after the range checks of GM/T 0003.2 section 7.1.

    Raises InvalidInput (``crypto.signature_form``) unless r and s are in [1, n-1] and r + s is not 0 modulo n.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise _bad_form(f"it has {len(signature)} bytes instead of {SIGNATURE_BYTES}")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < GROUP_ORDER and 0 < s < GROUP_ORDER):
        raise _bad_form("r or s is outside 1 to n-1")
    if r + s == GROUP_ORDER:
        raise _bad_form("r + s is 0 modulo n")
    return _der(_DER_SEQUENCE, _der_integer(signature[:32]) + _der_integer(signature[32:]))


def _bad_form(reason: str) -> InvalidInput:
    return InvalidInput("crypto.signature_form", f"the signature is malformed: {reason}")


def decode_signature_der(der: bytes) -> bytes:
    """Return the raw r || s of a provider's own DER."""
    return b"".join(_coordinate(field) for field in _der_fields(der))


def encode_ciphertext_der(raw: bytes) -> bytes:
    """Return raw C1 || C3 || C2 as the DER of GM/T 0009 section 7.2."""
    x, y, c3, c2 = raw[1:33], raw[33:65], raw[65 : 65 + _HASH_BYTES], raw[65 + _HASH_BYTES :]
    return _der(_DER_SEQUENCE, _der_integer(x) + _der_integer(y) + _der(_DER_OCTETS, c3) + _der(_DER_OCTETS, c2))


def decode_ciphertext_der(der: bytes) -> bytes:
    """Return the raw C1 || C3 || C2 of a provider's own DER."""
    x, y, c3, c2 = _der_fields(der)
    return bytes([_UNCOMPRESSED]) + _coordinate(x) + _coordinate(y) + c3 + c2


def _coordinate(field: bytes) -> bytes:
    return int.from_bytes(field, "big").to_bytes(COORDINATE_BYTES, "big")


def _der_integer(unsigned: bytes) -> bytes:
    body = unsigned.lstrip(b"\0") or b"\0"
    return _der(_DER_INTEGER, b"\0" + body if body[0] & 0x80 else body)


def _der(tag: int, body: bytes) -> bytes:
    # Every structure here stays far below 256 bytes, so the length takes one byte, or 0x81 and one byte.
    length = bytes([len(body)]) if len(body) < _DER_LONG_LENGTH else bytes([0x81, len(body)])
    return bytes([tag]) + length + body


def _der_fields(der: bytes) -> list[bytes]:
    # Only for what a provider in this process wrote: outside bytes are raw, never DER.
    fields: list[bytes] = []
    position = 3 if der[1] > _DER_LONG_LENGTH else 2
    while position < len(der):
        length = der[position + 1]
        fields.append(der[position + 2 : position + 2 + length])
        position += 2 + length
    return fields
