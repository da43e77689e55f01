from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
from jwcrypto.jwk import JWK
from sd_jwt.common import SDObj
from sd_jwt.holder import SDJWTHolder
from sd_jwt.issuer import SDJWTIssuer
from sd_jwt.verifier import SDJWTVerifier

from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.privacy.sd_jwt import Challenge, issue, jose_profile, present, verify

NOW_S = 1_790_000_000
TYPE = "dc+sd-jwt"
CHALLENGE = Challenge(audience="bank-a", nonce="n-1")
OPEN = {"iss": "tax-a", "exp": NOW_S + 1_000}
CLAIMS = {"grade": "A", "no_arrears": True, "vat_paid_12m_band": 4}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


@dataclass
class World:
    suite_name: SuiteName

    def __post_init__(self) -> None:
        self.suite = get_suite(self.suite_name)
        self.profile = jose_profile(self.suite)
        self.seeds = {name: Random(name).randbytes(32) for name in ("issuer", "holder", "other")}
        self.issuer, self.holder, self.other = map(self.suite.signing_key_from_seed, self.seeds.values())
        self.entropy = Random(7).randbytes

    def issue(self, open_claims: dict[str, Any] = OPEN, claims: dict[str, Any] = CLAIMS) -> str:
        return issue(
            open_claims,
            claims,
            media_type=TYPE,
            holder=self.holder.public_key,
            key=self.issuer,
            profile=self.profile,
            entropy=self.entropy,
        )

    def present(self, credential: str, *names: str, challenge: Challenge = CHALLENGE, now_s: int = NOW_S) -> str:
        return present(credential, names=names, challenge=challenge, now_s=now_s, key=self.holder, profile=self.profile)

    def verify(
        self, shown: str, *, challenge: Challenge | None = CHALLENGE, now_s: int = NOW_S, media_type: str = TYPE
    ) -> dict[str, Any]:
        return verify(
            shown,
            issuer_key=lambda _header, _claims: self.issuer.public_key,
            media_type=media_type,
            profile=self.profile,
            now_s=now_s,
            challenge=challenge,
        )

    def signed(self, payload: dict[str, Any], *disclosures: Any, header: dict[str, Any] | None = None) -> str:
        """An SD-JWT that the issuer signs whatever it says; disclosures as values, their digests by ``digest``."""
        head = {"alg": self.profile.alg, "typ": TYPE} | (header or {})
        full = {"_sd_alg": self.profile.sd_alg, **payload}
        message = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(full).encode())}"
        token = f"{message}.{b64(self.issuer.sign(message.encode()))}"
        return "~".join((token, *(b64(json.dumps(each).encode()) for each in disclosures), ""))

    def digest(self, disclosure: Any) -> str:
        return b64(self.suite.digest(b64(json.dumps(disclosure).encode()).encode()))


@pytest.fixture(params=list(SuiteName))
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


def test_a_holder_shows_the_claims_it_names_and_no_other(world: World) -> None:
    """[CREDENTIAL-1] [CREDENTIAL-2]"""
    credential = world.issue()
    shown = world.present(credential, "grade")
    assert world.verify(shown) == {
        **OPEN,
        "grade": "A",
        "cnf": {"jwk": world.profile.jwk_of(world.holder.public_key)},
    }
    hidden = [each for each in credential.split("~")[1:-1] if unb64(each)[1] != "grade"]
    assert len(hidden) == 2
    assert [each for each in hidden if each in shown] == []
    assert world.verify(credential, challenge=None).items() >= CLAIMS.items()


def test_a_presentation_names_the_algorithms_of_its_suite(world: World) -> None:
    """[CREDENTIAL-1]"""
    token = world.issue().split("~")[0].split(".")
    names = {SuiteName.INTL: ("EdDSA", "sha-256", "Ed25519"), SuiteName.GM: ("SM2SM3", "sm3", "SM2")}
    payload = unb64(token[1])
    found = (unb64(token[0])["alg"], payload["_sd_alg"], payload["cnf"]["jwk"]["crv"])
    assert found == names[world.suite_name]


def test_equal_claims_have_other_digests_in_each_credential(world: World) -> None:
    """[CREDENTIAL-3]"""
    one, two = (unb64(world.issue().split(".")[1])["_sd"] for _ in range(2))
    assert len(one) == len(CLAIMS)
    assert set(one) & set(two) == set()
    assert one == sorted(one)


def test_one_byte_of_a_presentation_changed_is_refused(world: World) -> None:
    """[CREDENTIAL-2]"""
    shown = world.present(world.issue(), "grade", "no_arrears")
    for at in range(len(shown)):
        changed = shown[:at] + ("A" if shown[at] != "A" else "B") + shown[at + 1 :]
        with pytest.raises((InvalidInput, IntegrityError)):
            world.verify(changed)


def _without_binding(world: World, shown: str) -> str:
    return shown[: shown.rindex("~") + 1]


def _bound_by_another(world: World, _shown: str) -> str:
    return present(
        world.issue(), names=["grade"], challenge=CHALLENGE, now_s=NOW_S, key=world.other, profile=world.profile
    )


def _with_another_claim(world: World, shown: str) -> str:
    """The same binding over one more disclosure of the same credential."""
    credential = world.issue()
    one, two = world.present(credential, "grade"), world.present(credential, "grade", "no_arrears")
    return two[: two.rindex("~") + 1] + one[one.rindex("~") + 1 :]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_without_binding, "privacy.key_binding_wrong"),
        (_bound_by_another, "crypto.signature_invalid"),
        (_with_another_claim, "privacy.key_binding_wrong"),
        (
            lambda w, s: w.present(w.issue(), "grade", challenge=replace(CHALLENGE, nonce="n-2")),
            "privacy.key_binding_wrong",
        ),
        (
            lambda w, s: w.present(w.issue(), "grade", challenge=replace(CHALLENGE, audience="bank-b")),
            "privacy.key_binding_wrong",
        ),
        (lambda w, s: w.present(w.issue(), "grade", now_s=NOW_S - 301), "privacy.key_binding_wrong"),
        (lambda w, s: w.present(w.issue(), "grade", now_s=NOW_S + 61), "privacy.key_binding_wrong"),
        (lambda w, s: w.present(w.issue({**OPEN, "exp": NOW_S}), "grade"), "privacy.sd_jwt_not_valid_now"),
        (lambda w, s: w.present(w.issue({**OPEN, "nbf": NOW_S + 1}), "grade"), "privacy.sd_jwt_not_valid_now"),
        (lambda w, s: w.present(w.issue({**OPEN, "exp": "never"}), "grade"), "privacy.sd_jwt_malformed"),
        (lambda w, s: w.signed({"cnf": "none"}) + s[s.rindex("~") + 1 :], "privacy.sd_jwt_malformed"),
        (
            lambda w, s: w.signed({"cnf": {"jwk": {"kty": "oct", "k": "AA"}}}) + s[s.rindex("~") + 1 :],
            "privacy.sd_jwt_malformed",
        ),
    ],
)
def test_what_the_holders_key_does_not_stand_behind_is_refused(
    world: World, spoil: Callable[[World, str], str], code: str
) -> None:
    """[CREDENTIAL-2]"""
    shown = world.present(world.issue(), "grade")
    world.verify(shown)
    with pytest.raises(ShuiqiaoError) as error:
        world.verify(spoil(world, shown))
    assert error.value.code == code


NAMED = ["salt", "grade", "A"]
ELEMENT = ["salt", "A"]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda w: w.signed({}, NAMED), "no digest"),
        (lambda w: w.signed({"_sd": [w.digest(NAMED)]}, NAMED, NAMED), "twice"),
        (lambda w: w.signed({"_sd": [w.digest(NAMED)] * 2}, NAMED), "twice"),
        (lambda w: w.signed({"_sd": [w.digest(NAMED)], "b": {"_sd": [w.digest(NAMED)]}}, NAMED), "twice"),
        (lambda w: w.signed({"_sd": [w.digest(NAMED)], "grade": "B"}, NAMED), "'grade' stands in it twice"),
        (lambda w: w.signed({"_sd": w.digest(NAMED)}, NAMED), "not in an array"),
        (lambda w: w.signed({"_sd": [7]}), "no text"),
        (lambda w: w.signed({"...": w.digest(ELEMENT)}, ELEMENT), "outside an array"),
        (lambda w: w.signed({"_sd": [w.digest(ELEMENT)]}, ELEMENT), "element is disclosed as a claim"),
        (lambda w: w.signed({"a": [{"...": w.digest(NAMED)}]}, NAMED), "claim is disclosed as an array"),
        (lambda w: w.signed({"_sd": [w.digest(["s", "_sd", []])]}, ["s", "_sd", []]), "reserved"),
        (lambda w: w.signed({"_sd": [w.digest(["s", "...", 1])]}, ["s", "...", 1]), "reserved"),
        (lambda w: w.signed({"_sd": [w.digest(["s", 1, 1])]}, ["s", 1, 1]), "without a name"),
        (lambda w: w.signed({"_sd": [w.digest([1, "a", 1])]}, [1, "a", 1]), "salt"),
        (lambda w: w.signed({"_sd": [w.digest(["s"])]}, ["s"]), "salt"),
        (lambda w: w.signed({}, *(["s", str(n), n] for n in range(65))), "65 disclosures"),
        (lambda w: w.signed({}) + "x" * 32_768, "characters"),
        (lambda w: w.signed({}).rstrip("~"), "no ~"),
        (lambda w: w.signed({}).replace(".", "", 1), "parts"),
        (lambda w: "=" + w.signed({}), "base64url"),
        (lambda w: w.signed({}) + "~", "base64url|binding|challenge|disclosure"),
    ],
)
def test_what_the_rfc_forbids_is_refused_though_the_issuer_signed_it(
    world: World, make: Callable[[World], str], problem: str
) -> None:
    """[CREDENTIAL-2]"""
    assert world.verify(world.signed({"_sd": [world.digest(NAMED)]}, NAMED), challenge=None) == {"grade": "A"}
    with pytest.raises(InvalidInput, match=problem) as error:
        world.verify(make(world), challenge=None)
    assert error.value.code == "privacy.sd_jwt_malformed"


@pytest.mark.parametrize(
    "header", [{"alg": "none"}, {"alg": "HS256"}, {"typ": "JWT"}, {"typ": "kb+jwt"}, {"crit": ["exp"]}]
)
def test_another_algorithm_type_or_extension_is_refused(world: World, header: dict[str, Any]) -> None:
    """[CREDENTIAL-1]"""
    with pytest.raises(InvalidInput) as error:
        world.verify(world.signed({}, header=header), challenge=None)
    assert error.value.code == "privacy.sd_jwt_algorithm_wrong"


def test_a_chain_of_disclosures_ends_somewhere(world: World) -> None:
    """[CREDENTIAL-2] Each disclosure lies in the one before it; too many are refused, none overflows the stack."""
    chain: list[Any] = [["s", "c", 1]]
    for _ in range(40):
        chain.append(["s", "c", {"_sd": [world.digest(chain[-1])]}])
    with pytest.raises(InvalidInput, match="nested"):
        world.verify(world.signed({"_sd": [world.digest(chain[-1])]}, *chain), challenge=None)


def test_a_claim_that_is_not_there_is_not_shown_and_a_presentation_is_not_shown_again(world: World) -> None:
    credential = world.issue()
    with pytest.raises(InvalidInput, match="sales_band") as error:
        world.present(credential, "sales_band")
    assert error.value.code == "privacy.claim_unknown"
    with pytest.raises(InvalidInput, match="shown to somebody already"):
        world.present(world.present(credential, "grade"), "grade")
    with pytest.raises(InvalidInput, match="nobody made"):
        world.verify(world.present(credential, "grade"), challenge=None)


@pytest.mark.parametrize("name", ["_sd", "...", "_sd_alg", "cnf"])
def test_a_claim_has_no_reserved_name(world: World, name: str) -> None:
    with pytest.raises(InvalidInput) as error:
        world.issue(claims={name: 1})
    assert error.value.code == "privacy.claim_reserved"


def test_an_issuer_that_nobody_knows_is_refused_before_anything_is_believed(world: World) -> None:
    def unknown(_header: object, claims: Any) -> bytes:
        raise Denied("privacy.issuer_unknown", f"{claims['iss']} is unknown")

    with pytest.raises(Denied, match="tax-a is unknown"):
        verify(world.issue(), issuer_key=unknown, media_type=TYPE, profile=world.profile, now_s=NOW_S, challenge=None)


# The oracle: the reference implementation of the specification, which knows the suite intl


def oracle_key(world: World, name: str) -> JWK:
    key = world.suite.signing_key_from_seed(world.seeds[name])
    return JWK(**world.profile.jwk_of(key.public_key), d=b64(world.seeds[name]))


def test_the_reference_implementation_accepts_what_is_issued_and_shown_here(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its verifier hands no other algorithm down than its default.
    monkeypatch.setattr("sd_jwt.verifier.DEFAULT_SIGNING_ALG", "EdDSA")
    world = World(SuiteName.INTL)
    shown = world.present(world.issue(), "grade", "no_arrears")
    found = SDJWTVerifier(
        shown, lambda _issuer, _header: oracle_key(world, "issuer"), CHALLENGE.audience, CHALLENGE.nonce
    ).get_verified_payload()
    assert found == world.verify(shown)
    assert found.items() >= {"grade": "A", "no_arrears": True}.items()


def test_what_the_reference_implementation_issues_and_shows_is_accepted_here() -> None:
    world = World(SuiteName.INTL)
    claims = {
        "iss": "tax-a",
        SDObj("grade"): "A",
        SDObj("firm"): {SDObj("age"): 7, "open": True},
        "kinds": [SDObj("a"), "b"],
    }
    issued = SDJWTIssuer(
        claims,
        oracle_key(world, "issuer"),
        oracle_key(world, "holder"),
        sign_alg="EdDSA",
        extra_header_parameters={"typ": TYPE},
        add_decoy_claims=True,
    )
    holder = SDJWTHolder(issued.sd_jwt_issuance)
    holder.create_presentation(
        {"firm": {"age": True}, "kinds": [True]},
        CHALLENGE.nonce,
        CHALLENGE.audience,
        oracle_key(world, "holder"),
        sign_alg="EdDSA",
    )
    made_s = unb64(holder.key_binding_jwt.serialize(compact=True).split(".")[1])["iat"]
    found = world.verify(holder.sd_jwt_presentation, now_s=made_s)
    assert found.items() >= {"firm": {"age": 7, "open": True}, "kinds": ["a", "b"]}.items()
    assert "grade" not in found
