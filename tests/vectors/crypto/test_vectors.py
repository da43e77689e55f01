"""The published vectors, computed by what the product uses and, where it exists, by a second implementation."""

from __future__ import annotations

import gmssl_pyx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from gmssl import sm2 as gmssl_sm2
from gmssl.sm4 import SM4_ENCRYPT, CryptSM4
from nacl.bindings import crypto_scalarmult

from shuiqiao.base.errors import IntegrityError
from shuiqiao.crypto import sm2
from shuiqiao.crypto.gm import Sm2SigningKey, public_key_of
from shuiqiao.crypto.intl import X25519PrivateKey, X25519PublicKey
from shuiqiao.crypto.kdf import hkdf_expand, hkdf_extract
from shuiqiao.crypto.sealing import SM4_GCM
from shuiqiao.crypto.suites import get_suite


def unhex(vector):
    return {name: bytes.fromhex(value) for name, value in vector.items()}


def test_ed25519(vectors):
    suite = get_suite("intl")
    for vector in map(unhex, vectors["ed25519"]["vectors"]):
        key = suite.signing_key_from_seed(vector["seed"])
        assert vector["public_key"] == key.public_key
        assert vector["signature"] == key.sign(vector["message"])
        suite.verify_signature(
            public_key=vector["public_key"], message=vector["message"], signature=vector["signature"]
        )
        Ed25519PublicKey.from_public_bytes(vector["public_key"]).verify(vector["signature"], vector["message"])


def test_x25519(vectors):
    for vector in map(unhex, vectors["x25519"]["vectors"]):
        key = get_suite("intl").sealing_key_from_seed(vector["private"])
        assert vector["public_key"] == key.public_key
        shared = X25519PrivateKey.from_private_bytes(vector["private"]).exchange(
            X25519PublicKey.from_public_bytes(vector["peer"])
        )
        assert vector["shared"] == shared == crypto_scalarmult(vector["private"], vector["peer"])


def test_hkdf(vectors):
    for vector in vectors["hkdf"]["vectors"]:
        name = vector.pop("hash")
        parts = unhex(vector)
        key = hkdf_extract(parts["ikm"], hash_name=name, salt=parts["salt"])
        assert parts["prk"] == key
        assert parts["okm"] == hkdf_expand(key, hash_name=name, info=parts["info"], length=len(parts["okm"]))


@pytest.mark.parametrize(("name", "algorithm"), [("sha256", hashes.SHA256()), ("sm3", hashes.SM3())])
def test_hkdf_against_another_implementation(name, algorithm):
    for length in (1, 31, 32, 33, 64, 255 * 32):
        other = HKDF(algorithm=algorithm, length=length, salt=b"salt", info=b"info").derive(b"key material")
        key = hkdf_extract(b"key material", hash_name=name, salt=b"salt")
        assert other == hkdf_expand(key, hash_name=name, info=b"info", length=length)


def test_sm3(vectors):
    for vector in map(unhex, vectors["sm3"]["vectors"]):
        assert vector["digest"] == get_suite("gm").digest(vector["message"])
        assert vector["digest"] == gmssl_pyx.sm3_hash(vector["message"])


def test_sm4_block(vectors):
    vector = unhex(vectors["sm4"]["block"])
    encryptor = Cipher(algorithms.SM4(vector["key"]), modes.ECB()).encryptor()
    assert vector["ciphertext"] == encryptor.update(vector["plaintext"]) + encryptor.finalize()
    other = CryptSM4()
    other.set_key(vector["key"], SM4_ENCRYPT)
    assert vector["ciphertext"] == other.crypt_ecb(vector["plaintext"])[:16]


def test_sm4_gcm(vectors):
    vector = unhex(vectors["sm4"]["gcm"])
    sealed = SM4_GCM.encrypt(
        vector["plaintext"], key=vector["key"], nonce=vector["nonce"], associated_data=vector["associated_data"]
    )
    assert vector["ciphertext"] + vector["tag"] == sealed
    other = gmssl_pyx.sm4_gcm_encrypt(vector["key"], vector["nonce"], vector["associated_data"], vector["plaintext"])
    assert (vector["ciphertext"], vector["tag"]) == other


def test_sm2_signature_by_hand(vectors, plain_sm2):
    vector = unhex(vectors["sm2"]["signature"])
    private, k = int.from_bytes(vector["private"], "big"), int.from_bytes(vector["k"], "big")
    assert vector["public_key"] == plain_sm2.encode(plain_sm2.multiply(private, plain_sm2.g))
    assert vector["z"] == plain_sm2.z(vector["public_key"], vector["user_id"])
    assert vector["e"] == plain_sm2.sm3(vector["z"] + vector["message"])
    assert vector["signature"] == plain_sm2.sign(private, e=vector["e"], k=k)


def test_sm2_signature_by_every_provider(vectors):
    vector = unhex(vectors["sm2"]["signature"])
    suite = get_suite("gm")
    suite.verify_signature(public_key=vector["public_key"], message=vector["message"], signature=vector["signature"])
    der = sm2.encode_signature_der(vector["signature"])
    assert gmssl_pyx.sm2_verify(vector["public_key"][1:], vector["message"], der)
    oracle = gmssl_sm2.CryptSM2(private_key="", public_key=vector["public_key"][1:].hex())
    assert oracle.verify_with_sm3(vector["signature"].hex(), vector["message"])
    assert vector["z"] == suite.digest(sm2.identity_prefix() + vector["public_key"][1:])


def test_sm2_key_and_fresh_signatures(vectors):
    vector = unhex(vectors["sm2"]["signature"])
    key = Sm2SigningKey(int.from_bytes(vector["private"], "big"))
    assert vector["public_key"] == key.public_key
    oracle = gmssl_sm2.CryptSM2(private_key="", public_key=key.public_key[1:].hex())
    signatures = {key.sign(vector["message"]) for _ in range(4)}
    assert len(signatures) == 4
    for signature in signatures:
        assert oracle.verify_with_sm3(signature.hex(), vector["message"])


def test_sm2_signature_is_bound_to_the_user_id(vectors, plain_sm2):
    vector = unhex(vectors["sm2"]["signature"])
    private, k = int.from_bytes(vector["private"], "big"), int.from_bytes(vector["k"], "big")
    foreign = plain_sm2.sm3(plain_sm2.z(vector["public_key"], b"ALICE123@YAHOO.COM") + vector["message"])
    with pytest.raises(IntegrityError, match=r"crypto.signature_invalid"):
        get_suite("gm").verify_signature(
            public_key=vector["public_key"],
            message=vector["message"],
            signature=plain_sm2.sign(private, e=foreign, k=k),
        )


def test_sm2_encryption(vectors, plain_sm2):
    vector = unhex(vectors["sm2"]["encryption"])
    private, k = int.from_bytes(vector["private"], "big"), int.from_bytes(vector["k"], "big")
    public = plain_sm2.multiply(private, plain_sm2.g)
    assert vector["ciphertext"] == plain_sm2.encrypt(public, vector["plaintext"], k=k)
    der = sm2.encode_ciphertext_der(vector["ciphertext"])
    assert vector["plaintext"] == gmssl_pyx.sm2_decrypt(vector["private"], der)
    assert vector["ciphertext"] == sm2.decode_ciphertext_der(der)


def test_sm2_public_keys_agree_with_plain_arithmetic(plain_sm2):
    for scalar in (1, 2, 3, 2**128, plain_sm2.n - 2):
        assert plain_sm2.encode(plain_sm2.multiply(scalar, plain_sm2.g)) == public_key_of(scalar)
