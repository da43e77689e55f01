"""What a holder shows a bank, and what a bureau hands a holder: SD-JWT in both suites, predicates by AnonCreds."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec

from anoncreds_world import CLAIMS, RULES, AnonCredsWorld
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.suites import get_suite
from shuiqiao.privacy.credentials import anoncreds
from shuiqiao.privacy.sd_jwt import Challenge, issue, jose_profile, present, verify
from target import FOLDER, Target

TYPE = "dc+sd-jwt"
NOW_S = 1_790_000_000
CHALLENGE = Challenge(audience="bank-a", nonce="nonce")


def as_text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """A door hands on text alone: other bytes never came so far."""

    def of_bytes(data: bytes) -> object:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise InvalidInput("base.json_malformed", "no text") from error
        return read(text)

    return of_bytes


class SdJwt:
    """A bureau and a holder of one suite."""

    def __init__(self, suite_name: str) -> None:
        suite = get_suite(suite_name)
        self.profile = jose_profile(suite)
        self.issuer, self.holder = (suite.signing_key_from_seed(bytes([number]) * 32) for number in (1, 2))

    def shown(self) -> bytes:
        """A presentation of some claims, deep ones among them."""
        claims = {"grade": "A", "bands": [1, 2, {"deep": [None, True]}], "flag": True}
        issued = issue(
            {"iss": "tax-a", "exp": NOW_S + 1},
            claims,
            media_type=TYPE,
            holder=self.holder.public_key,
            key=self.issuer,
            profile=self.profile,
            entropy=system_entropy,
        )
        asked = {"challenge": CHALLENGE, "now_s": NOW_S, "key": self.holder, "profile": self.profile}
        return present(issued, names=["bands", "grade"], **asked).encode()

    def payload(self) -> bytes:
        """What the bureau signs of it, with the disclosures behind."""
        token, *rest, _ = self.shown().decode().split("~")
        payload = token.split(".")[1]
        return b"~".join([base64.urlsafe_b64decode(payload + "=="), *map(str.encode, rest)])

    def read(self, text: str, *, challenge: Challenge | None = CHALLENGE) -> object:
        """Read it as a bank does."""
        return verify(
            text,
            issuer_key=lambda _header, _payload: self.issuer.public_key,
            media_type=TYPE,
            profile=self.profile,
            now_s=NOW_S,
            challenge=challenge,
        )

    def read_signed(self, data: bytes) -> object:
        """Read a payload with its disclosures that the bureau itself signed, whatever it is."""
        payload, *rest = data.split(b"~")
        header = json.dumps({"alg": self.profile.alg, "typ": TYPE}).encode()
        message = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
        signature = base64.urlsafe_b64encode(self.issuer.sign(message)).rstrip(b"=")
        return as_text(lambda text: self.read(text, challenge=None))(
            b"~".join([message + b"." + signature, *rest, b""])
        )


@cache
def sd_jwt(suite_name: str) -> SdJwt:
    return SdJwt(suite_name)


@cache
def world() -> AnonCredsWorld:
    return AnonCredsWorld(FOLDER)


@cache
def proof() -> bytes:
    return world().proof(world().holder(place=3), challenge=b"asked")


def read_proof(data: bytes) -> object:
    made = world()
    return anoncreds.verify(made.definition, data, rules=RULES, challenge=b"asked", registry=made.registry)


@cache
def blinded() -> tuple[bytes, bytes]:
    return anoncreds.blind(world().definition, request=bytes(16), link_secret=bytes(32))


def sign_blinded(data: bytes) -> bytes:
    made = world()
    asked = {"secret": made.made.secret, "request": bytes(16), "claims": CLAIMS, "place": 4, "registry": made.registry}
    return anoncreds.sign(made.definition, data, **asked)


@cache
def signed() -> bytes:
    return sign_blinded(blinded()[0])


def take(data: bytes) -> bytes:
    return anoncreds.take(world().definition, data, metadata=blinded()[1], link_secret=bytes(32))


def shown() -> Sequence[bytes]:
    return [anoncreds.encode_shown(world().definition, proof()).encode()]


TARGETS: dict[str, Target] = {
    **{
        f"sd-jwt-{name}": Target(
            read=as_text(lambda text, name=name: sd_jwt(name).read(text)),
            seeds=lambda name=name: [sd_jwt(name).shown()],
        )
        for name in ("intl", "gm")
    },
    "sd-jwt-claims": Target(
        read=lambda data: sd_jwt("intl").read_signed(data), seeds=lambda: [sd_jwt("intl").payload()]
    ),
}
if find_spec("anoncreds") is not None:
    TARGETS |= {
        "anoncreds-shown": Target(read=as_text(anoncreds.decode_shown), seeds=shown),
        "anoncreds-definition": Target(read=anoncreds.decode_definition, seeds=lambda: [world().definition.raw]),
        # A proof that is whole takes 150 ms to verify.
        "anoncreds-proof": Target(read=read_proof, seeds=lambda: [proof()], executions=60),
        "anoncreds-blinded": Target(read=sign_blinded, seeds=lambda: [blinded()[0]], executions=60),
        "anoncreds-credential": Target(read=take, seeds=lambda: [signed()], executions=60),
    }
