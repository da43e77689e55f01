from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.crypto.intl import IntlSuite
from shuiqiao.privacy.sd_jwt import Challenge, JoseProfile, verify

VECTORS = json.loads((Path(__file__).parent / "sd_jwt.json").read_text(encoding="utf-8"))


class Es256Suite(IntlSuite):
    """The suite of the RFC's examples, of which a network has none: ECDSA on P-256 with SHA-256."""

    def verify_signature(self, *, public_key: bytes, message: bytes, signature: bytes) -> None:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
        halves = (int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        try:
            key.verify(encode_dss_signature(*halves), message, ec.ECDSA(SHA256()))
        except InvalidSignature as error:
            raise IntegrityError("crypto.signature_invalid", "the signature does not hold") from error


ES256 = JoseProfile(
    suite=Es256Suite(), alg="ES256", sd_alg="sha-256", key_type="EC", curve="P-256", coordinates=("x", "y")
)


def verified(vector: dict[str, Any], presentation: str, *, profile: JoseProfile = ES256) -> dict[str, Any]:
    issuer = ES256.public_key_of(VECTORS["issuer"])
    return verify(
        presentation,
        issuer_key=lambda _header, _claims: issuer,
        media_type="example+sd-jwt",
        profile=profile,
        now_s=vector["now_s"],
        challenge=vector["challenge"] and Challenge(**vector["challenge"]),
    )


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_a_presentation_of_the_rfc_gives_the_claims_that_it_prints(vector: dict[str, Any]) -> None:
    """[CREDENTIAL-1] [CREDENTIAL-2]"""
    assert verified(vector, vector["presentation"]) == vector["processed"]


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_no_byte_of_a_presentation_of_the_rfc_can_be_another(vector: dict[str, Any]) -> None:
    """[CREDENTIAL-2]"""
    shown = vector["presentation"]
    for at in range(0, len(shown), 7):
        changed = shown[:at] + ("A" if shown[at] != "A" else "B") + shown[at + 1 :]
        with pytest.raises((InvalidInput, IntegrityError)):
            verified(vector, changed)


def test_digests_of_another_hash_than_the_suites_are_refused() -> None:
    """[CREDENTIAL-1]"""
    vector = VECTORS["vectors"][0]
    with pytest.raises(InvalidInput, match="sm3 is needed") as error:
        verified(vector, vector["presentation"], profile=replace(ES256, sd_alg="sm3"))
    assert error.value.code == "privacy.sd_jwt_algorithm_wrong"
