"""SD-JWT (RFC 9901): a signed statement whose holder shows its claims one by one, in both suites.

    SD-JWT     = issuer's JWT ~ disclosure ~ ... ~
    SD-JWT+KB  = issuer's JWT ~ disclosure ~ ... ~ key-binding JWT

===== ========== ========= ==================================================
suite ``alg``    ``_sd_alg`` key in ``cnf``
===== ========== ========= ==================================================
intl  EdDSA      sha-256   {"kty": "OKP", "crv": "Ed25519", "x"} (RFC 8037)
gm    SM2SM3     sm3       {"kty": "EC", "crv": "SM2", "x", "y"}
===== ========== ========= ==================================================

The names of ``gm`` are of this profile alone: no registry has any for SM2 with SM3 [CREDENTIAL-1]. What a claim means,
who issues and whether it was revoked is decided in ``credentials``. A JWT in another algorithm, of no algorithm or
with a critical header is refused; so is every second way to write one down.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shuiqiao.base.encoding import decode_json, encode_json
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.base.ids import Entropy
from shuiqiao.crypto.model import CipherSuite, SigningKey, SuiteName

MAX_BYTES = 32_768
"""Of an SD-JWT with all its disclosures: the largest example of RFC 9901 has 11 kB."""

MAX_DISCLOSURES = 64
"""Of one SD-JWT: each takes a hash and a decoding."""

MAX_NESTING = 16
"""Objects and arrays within each other, those that disclosures bring included."""

MAX_BINDING_AGE_S = 300
"""A key binding is made when it is asked for; seconds that a verifier takes it for."""

MAX_CLOCK_SKEW_S = 60
"""So far ahead may the holder's clock be."""

_SALT_BYTES = 16
"""128 bits, as RFC 9901 section 9.3 asks."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+\Z")
_BINDING_TYPE = "kb+jwt"
_RESERVED = frozenset({"_sd", "..."})
_JWT_PARTS = 3
_NAMED, _UNNAMED = 3, 2
"""Elements of a disclosure: salt, name and value of a claim, or salt and value of an array's element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoseProfile:
    """How a suite is written down in JSON. coordinates: the members of a JWK that hold the public key."""

    suite: CipherSuite
    alg: str
    sd_alg: str
    key_type: str
    curve: str
    coordinates: tuple[str, ...]

    def jwk_of(self, public_key: bytes) -> dict[str, str]:
        """Return the JWK of a raw public key; a point without its first byte, which says it is uncompressed."""
        raw = public_key[len(self._prefix) :]
        size = len(raw) // len(self.coordinates)
        parts = {name: _encode64(raw[at * size : (at + 1) * size]) for at, name in enumerate(self.coordinates)}
        return {"kty": self.key_type, "crv": self.curve, **parts}

    def public_key_of(self, jwk: Any) -> bytes:
        """Return the raw public key of a JWK; raises InvalidInput ``privacy.sd_jwt_malformed``."""
        if not isinstance(jwk, dict) or jwk.keys() != {"kty", "crv", *self.coordinates}:
            raise _malformed(f"a key is not of the members kty, crv, {', '.join(self.coordinates)}")
        if (jwk["kty"], jwk["crv"]) != (self.key_type, self.curve):
            raise _malformed(f"a key of {str(jwk['crv'])[:20]!r} where one of {self.curve} is needed")
        return self._prefix + b"".join(_decode64(jwk[name]) for name in self.coordinates)

    @property
    def _prefix(self) -> bytes:
        return b"\x04" if self.key_type == "EC" else b""


def jose_profile(suite: CipherSuite) -> JoseProfile:
    """Return how a suite is written down in JSON [CREDENTIAL-1]."""
    if suite.name is SuiteName.INTL:
        return JoseProfile(
            suite=suite, alg="EdDSA", sd_alg="sha-256", key_type="OKP", curve="Ed25519", coordinates=("x",)
        )
    return JoseProfile(suite=suite, alg="SM2SM3", sd_alg="sm3", key_type="EC", curve="SM2", coordinates=("x", "y"))


IssuerKey = Callable[[Mapping[str, Any], Mapping[str, Any]], bytes]
"""Returns the raw public key of an issuer by header and claims, which nobody has verified yet; raises for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a verifier asks a holder to sign. audience: the verifier's name. nonce: fresh, of the verifier."""

    audience: str
    nonce: str


def issue(
    claims: Mapping[str, Any],
    disclosable: Mapping[str, Any],
    *,
    media_type: str,
    holder: bytes,
    key: SigningKey,
    profile: JoseProfile,
    entropy: Entropy,
) -> str:
    """Return an SD-JWT: claims that everybody sees, and disclosable ones by the digests of their disclosures.

    media_type: its ``typ``. holder: the raw public key that it is bound to. The order of digests tells nothing of that
    of the claims [CREDENTIAL-3]::

        credential = issue({"iss": "tax-a"}, {"no_arrears": True}, media_type="dc+sd-jwt", holder=public_key, ...)
    """
    if taken := (_RESERVED | {"_sd_alg", "cnf"}) & (claims.keys() | disclosable.keys()):
        raise InvalidInput("privacy.claim_reserved", f"{', '.join(sorted(taken))} cannot be the name of a claim")
    disclosures = [
        _encode64(encode_json([_encode64(entropy(_SALT_BYTES)), name, value])) for name, value in disclosable.items()
    ]
    payload = {
        **claims,
        "_sd": sorted(_digest(disclosure, profile) for disclosure in disclosures),
        "_sd_alg": profile.sd_alg,
        "cnf": {"jwk": profile.jwk_of(holder)},
    }
    header = {"alg": profile.alg, "kid": _encode64(key.key_id), "typ": media_type}
    return "~".join((_sign(header, payload, key=key), *disclosures, ""))


def present(
    sd_jwt: str, *, names: Collection[str], challenge: Challenge, now_s: int, key: SigningKey, profile: JoseProfile
) -> str:
    """Return what a holder shows to one verifier: the named claims alone, bound to its challenge by the holder's key.

    sd_jwt: with its disclosures, as it was issued. now_s: of the holder's clock. Raises InvalidInput
    ``privacy.sd_jwt_malformed``, ``privacy.claim_unknown``::

        shown = present(credential, names=["no_arrears"], challenge=challenge, now_s=now_s, key=key, profile=profile)
    """
    token, found = _split(sd_jwt)
    if found.binding:
        raise _malformed("it was shown to somebody already")
    named = {_read_disclosure(each).name: each for each in found.disclosures}
    if missing := sorted(set(names) - named.keys()):
        raise InvalidInput("privacy.claim_unknown", f"the credential has no claim {', '.join(missing)[:200]}")
    shown = "~".join((token, *(named[name] for name in sorted(set(names))), ""))
    payload = {
        "aud": challenge.audience,
        "iat": now_s,
        "nonce": challenge.nonce,
        "sd_hash": _digest(shown, profile),
    }
    return shown + _sign({"alg": profile.alg, "typ": _BINDING_TYPE}, payload, key=key)


def verify(
    sd_jwt: str,
    *,
    issuer_key: IssuerKey,
    media_type: str,
    profile: JoseProfile,
    now_s: int,
    challenge: Challenge | None,
) -> dict[str, Any]:
    """Return the claims that a presentation shows, its digests taken away [CREDENTIAL-2].

    challenge: what the holder had to sign; None where a holder looks at what it was issued, which nobody presents.
    Raises InvalidInput ``privacy.sd_jwt_malformed``, ``privacy.sd_jwt_algorithm_wrong``; IntegrityError
    ``crypto.signature_invalid``, ``privacy.key_binding_wrong``; Denied ``privacy.sd_jwt_not_valid_now``, and what
    issuer_key raises::

        claims = verify(shown, issuer_key=find, media_type=TYPE, profile=profile, now_s=now_s, challenge=challenge)
    """
    token, found = _split(sd_jwt)
    jwt = _read_jwt(token, media_type=media_type, profile=profile)
    jwt.verify(issuer_key(jwt.header, jwt.payload), profile)
    if jwt.payload.get("_sd_alg", "sha-256") != profile.sd_alg:
        raise _algorithm(f"digests by {str(jwt.payload.get('_sd_alg'))[:20]!r} where {profile.sd_alg} is needed")
    claims = _Unfolding(found.disclosures, profile).run(jwt.payload)
    _require_valid(claims, now_s=now_s)
    if challenge is None:
        if found.binding:
            raise _malformed("it is bound to a challenge that nobody made")
        return claims
    confirmed = claims.get("cnf")
    if not isinstance(confirmed, dict) or confirmed.keys() != {"jwk"}:
        raise _malformed("it is bound to no key of a holder")
    _verify_binding(found, shown=sd_jwt, holder=confirmed["jwk"], challenge=challenge, profile=profile, now_s=now_s)
    return claims


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    disclosures: tuple[str, ...]
    binding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Jwt:
    header: dict[str, Any]
    payload: dict[str, Any]
    message: bytes
    signature: bytes

    def verify(self, public_key: bytes, profile: JoseProfile) -> None:
        profile.suite.verify_signature(public_key=public_key, message=self.message, signature=self.signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Disclosure:
    name: str | None
    """None of an array's element."""
    value: Any


def _split(sd_jwt: str) -> tuple[str, _Parts]:
    """Return the issuer's JWT and what follows it."""
    if len(sd_jwt) > MAX_BYTES or not sd_jwt.isascii():
        raise _malformed(f"{len(sd_jwt)} characters where at most {MAX_BYTES} of ASCII are read")
    token, *disclosures = sd_jwt.split("~")
    if not disclosures:
        raise _malformed("it has no ~ after the issuer's JWT")
    *disclosures, binding = disclosures
    if len(disclosures) > MAX_DISCLOSURES:
        raise _malformed(f"{len(disclosures)} disclosures where at most {MAX_DISCLOSURES} are read")
    return token, _Parts(disclosures=tuple(disclosures), binding=binding)


def _read_jwt(token: str, *, media_type: str, profile: JoseProfile) -> _Jwt:
    """Return a JWT whose header names the one algorithm and type that are taken; its signature is not verified yet."""
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        raise _malformed(f"a JWT of {len(parts)} parts where {_JWT_PARTS} are needed")
    header, payload = (_object(_decode64(part)) for part in parts[:2])
    if header.get("alg") != profile.alg:
        raise _algorithm(f"signed by {str(header.get('alg'))[:20]!r} where {profile.alg} is needed")
    if header.get("typ") != media_type:
        raise _algorithm(f"a JWT of the type {str(header.get('typ'))[:40]!r} where {media_type} is needed")
    if "crit" in header:
        raise _algorithm("its header holds what a reader must understand, and none is known here")
    message = token.rpartition(".")[0].encode()
    return _Jwt(header=header, payload=payload, message=message, signature=_decode64(parts[2]))


def _read_disclosure(encoded: str) -> _Disclosure:
    content = decode_json(_decode64(encoded), max_bytes=MAX_BYTES)
    if not isinstance(content, list) or len(content) not in {_NAMED, _UNNAMED} or not isinstance(content[0], str):
        raise _malformed("a disclosure is not of salt, name and value, or of salt and value")
    if len(content) == _UNNAMED:
        return _Disclosure(name=None, value=content[1])
    if not isinstance(content[1], str) or content[1] in _RESERVED:
        raise _malformed("a disclosure is of a claim without a name, or with a reserved one")
    return _Disclosure(name=content[1], value=content[2])


@dataclass(slots=True)
class _Unfolding:
    """Puts disclosed claims and elements where their digests stand (RFC 9901 section 7.1, step 3)."""

    disclosures: tuple[str, ...]
    profile: JoseProfile
    by_digest: dict[str, _Disclosure] = field(init=False)
    met: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.by_digest = {_digest(each, self.profile): _read_disclosure(each) for each in self.disclosures}
        if len(self.by_digest) != len(self.disclosures):
            raise _malformed("a disclosure stands in it twice")

    def run(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        claims: dict[str, Any] = self._value({k: v for k, v in payload.items() if k != "_sd_alg"}, depth=0)
        if self.by_digest.keys() - self.met:
            raise _malformed("a disclosure is of no digest that the issuer signed")
        return claims

    def _value(self, value: Any, *, depth: int) -> Any:
        if depth > MAX_NESTING:
            raise _malformed(f"nested more than {MAX_NESTING} deep")
        if isinstance(value, dict):
            return self._object(value, depth=depth + 1)
        if isinstance(value, list):
            return [each for item in value for each in self._element(item, depth=depth + 1)]
        return value

    def _object(self, value: dict[str, Any], *, depth: int) -> dict[str, Any]:
        if "..." in value:
            raise _malformed("an element's digest stands outside an array")
        digests = value.get("_sd", [])
        if not isinstance(digests, list):
            raise _malformed("digests of claims are not in an array")
        plain = {name: self._value(each, depth=depth) for name, each in value.items() if name != "_sd"}
        for disclosure in self._disclosed(digests):
            if disclosure.name is None:
                raise _malformed("an array's element is disclosed as a claim")
            if disclosure.name in plain:
                raise _malformed(f"the claim {disclosure.name[:80]!r} stands in it twice")
            plain[disclosure.name] = self._value(disclosure.value, depth=depth)
        return plain

    def _element(self, item: Any, *, depth: int) -> list[Any]:
        """Return an array's element, or none where it is not disclosed."""
        if not isinstance(item, dict) or item.keys() != {"..."}:
            return [self._value(item, depth=depth)]
        found = list(self._disclosed([item["..."]]))
        if any(disclosure.name is not None for disclosure in found):
            raise _malformed("a claim is disclosed as an array's element")
        return [self._value(disclosure.value, depth=depth) for disclosure in found]

    def _disclosed(self, digests: Iterable[Any]) -> Iterable[_Disclosure]:
        for digest in digests:
            if not isinstance(digest, str) or digest in self.met:
                raise _malformed("a digest is no text, or stands in it twice")
            self.met.add(digest)
            if digest in self.by_digest:
                yield self.by_digest[digest]


def _require_valid(claims: Mapping[str, Any], *, now_s: int) -> None:
    start, end = claims.get("nbf", 0), claims.get("exp", now_s + 1)
    if not (type(start) is int and type(end) is int):
        raise _malformed("its times are no whole seconds")
    if not start <= now_s < end:
        raise Denied("privacy.sd_jwt_not_valid_now", f"valid from {start} to {end}, it is {now_s} (seconds since 1970)")


def _verify_binding(
    parts: _Parts, *, shown: str, holder: Any, challenge: Challenge, profile: JoseProfile, now_s: int
) -> None:
    """Return if the holder signed this very presentation for this challenge just now (RFC 9901 section 7.3)."""
    if not parts.binding:
        raise _unbound("no key binding follows the disclosures")
    jwt = _read_jwt(parts.binding, media_type=_BINDING_TYPE, profile=profile)
    jwt.verify(profile.public_key_of(holder), profile)
    said = jwt.payload
    if said.get("aud") != challenge.audience:
        raise _unbound(f"it is made for {str(said.get('aud'))[:40]!r}, not for {challenge.audience}")
    if said.get("nonce") != challenge.nonce:
        raise _unbound("it answers another challenge")
    made_s = said.get("iat")
    if type(made_s) is not int or not -MAX_CLOCK_SKEW_S <= now_s - made_s <= MAX_BINDING_AGE_S:
        raise _unbound(f"it was made at {str(made_s)[:24]}, it is {now_s} (seconds since 1970)")
    if said.get("sd_hash") != _digest(shown.removesuffix(parts.binding), profile):
        raise _unbound("it was made for other disclosures")


def _sign(header: Mapping[str, Any], payload: Mapping[str, Any], *, key: SigningKey) -> str:
    message = f"{_encode64(encode_json(header))}.{_encode64(encode_json(payload))}"
    return f"{message}.{_encode64(key.sign(message.encode()))}"


def _digest(text: str, profile: JoseProfile) -> str:
    return _encode64(profile.suite.digest(text.encode()))


def _object(data: bytes) -> dict[str, Any]:
    value = decode_json(data, max_bytes=MAX_BYTES)
    if not isinstance(value, dict):
        raise _malformed("a part of a JWT is no object")
    return value


def _encode64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode64(text: Any) -> bytes:
    if not isinstance(text, str) or not _BASE64URL.match(text):
        raise _malformed("a part of it is no base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise _malformed("a part of it is no base64url") from error
    if _encode64(data) != text:
        raise _malformed("a part of it has a second spelling")
    return data


def _malformed(problem: str) -> InvalidInput:
    return InvalidInput("privacy.sd_jwt_malformed", f"not an SD-JWT that is read here: {problem}")


def _algorithm(problem: str) -> InvalidInput:
    return InvalidInput("privacy.sd_jwt_algorithm_wrong", f"not an SD-JWT that is taken here: {problem}")


def _unbound(problem: str) -> IntegrityError:
    return IntegrityError("privacy.key_binding_wrong", f"the holder's key does not stand behind it: {problem}")
