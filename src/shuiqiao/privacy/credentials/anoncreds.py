"""Predicates that nobody can link: AnonCreds v1 as the library anoncreds has it. The one file that knows the library.

Rule: docs/spec/credentials.md section 5. A bureau makes a definition (two keys and a registry of places), whose digest
stands on the ledger. It signs the taxpayer's attributes without seeing the secret of the holder that they are bound
to. The holder proves that a band is at least some number, that flags are 1, and that its place is not revoked; each
proof is made anew, so that two of them share nothing but what is public.

What the library leaves to its caller is done here [CREDENTIAL-15]: the encoding of a shown value is computed again, the
bounds that are proven are those that were asked for, all of that is shown and not left out, the one credential is of
this definition, and its status is in the proof.

LIMIT: the signature is of Camenisch and Lysyanskaya over RSA groups of 2,048 bits with SHA-256, the registry of the
curve BN254 at about 100 bits of security. The suite gm has no such scheme: in its networks the same one stands.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import OWNED_ID_CHARS, OWNED_ID_PATTERN, MemberId, OwnedId, split_owned_id
from shuiqiao.privacy.credentials.model import LIST_SIZE, MAX_BLINDED_BYTES, Registry, is_set
from shuiqiao.privacy.credentials.presentation import GRADE_CLAIM, ProveRules
from shuiqiao.standards.tax_credit_grade import Grade

INSTALL = "uv pip install --python .venv/bin/python 'anoncreds==0.2.3'"

PLACES: Final = 1_024
"""Of a registry: among so many a holder hides, and its tails have 262 kB."""

MAX_DEFINITION_BYTES: Final = 65_536
"""A definition of twelve attributes has 30 kB."""

MAX_TAILS_BYTES: Final = 2 + 128 * (2 * LIST_SIZE + 1)
MAX_CREDENTIAL_BYTES: Final = 24_576
MAX_METADATA_BYTES: Final = 4_096
MAX_PROOF_BYTES: Final = 131_072
"""A proof of three bands has 60 kB."""

_MAX_ITEMS = 20_000
_MAX_SECRET_BYTES = 65_536

GRADE_FLAGS: Final = {
    frozenset({Grade.A}): "grade_a",
    frozenset({Grade.A, Grade.B}): "grade_ab",
    frozenset({Grade.A, Grade.B, Grade.M}): "grade_abm",
    frozenset({Grade.A, Grade.B, Grade.M, Grade.C}): "grade_abmc",
}
"""A set of grades is shown as one flag, so that it does not say which of them it is."""

BANDS: Final = ("tax_paid_12m_band", "sales_12m_band", "registered_band")
FLAGS: Final = ("no_arrears", "no_serious_violation_36m")
ATTRIBUTES: Final = (*BANDS, *FLAGS, *GRADE_FLAGS.values(), "taxpayer")
"""Of the schema. What the bureau does not state is 0, which no rule takes."""

_NONCE_BYTES = 10
"""80 bits, as the library's own nonces."""

_OFFER = b"shuiqiao/privacy/anoncreds-offer/1\x00"
_CHALLENGE = b"shuiqiao/privacy/anoncreds-challenge/1\x00"
_SCHEMA = "shuiqiao:tax-facts@1"
_SHOWN = "1"

Json = dict[str, Any]
_SecondsS = Annotated[int, Meta(ge=0, le=2**40)]


class DefinitionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What holders and banks need of a definition, and all of it is public; its digest stands on the ledger.

    tails: SHA-256 of the tails' bytes. closes_s, expires_s: until when it is issued by, and until when that holds.
    """

    version: Literal[1] = 1
    network: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    status_list: Annotated[str, Meta(pattern=OWNED_ID_PATTERN, max_length=OWNED_ID_CHARS)]
    closes_s: _SecondsS
    expires_s: _SecondsS
    places: Annotated[int, Meta(ge=2, le=LIST_SIZE)]
    tails: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    schema: Json
    keys: Json
    keys_proof: Json
    registry: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition in the bytes whose digest the ledger has."""

    raw: bytes
    body: DefinitionBody

    @property
    def status_list(self) -> OwnedId:
        """Under which name the ledger has it."""
        return OwnedId(self.body.status_list)

    @property
    def issuer(self) -> MemberId:
        """The bureau whose it is."""
        return split_owned_id(self.status_list)[0]

    @property
    def keys_id(self) -> str:
        """The library's name of the keys."""
        return f"shuiqiao:{self.body.status_list}/keys"

    @property
    def registry_id(self) -> str:
        """The library's name of the registry."""
        return f"shuiqiao:{self.body.status_list}"

    def status(self, registry: Registry) -> Json:
        """Return the library's form of what the ledger has of the registry."""
        return {
            "revRegDefId": self.registry_id,
            "issuerId": _issuer_id(self.issuer),
            "revocationList": [int(is_set(registry.bits, place)) for place in range(self.body.places)],
            "currentAccumulator": registry.accumulator.decode(),
            "timestamp": registry.revision,
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MadeDefinition:
    """A definition with what only its bureau keeps. accumulator: of a registry in which no place is revoked."""

    definition: Definition
    tails: bytes
    secret: bytes
    accumulator: bytes


def decode_definition(raw: bytes) -> Definition:
    """Return a definition in outside bytes; whose it is says the ledger by its digest.

    Raises InvalidInput ``base.json_*``, ``privacy.definition_malformed``.
    """
    try:
        body = typed(decode_json(raw, max_bytes=MAX_DEFINITION_BYTES), DefinitionBody)
    except msgspec.ValidationError as error:
        raise _no_definition(str(error)) from error
    return Definition(raw=raw, body=body)


def require_library() -> None:
    """Return if the extra is installed; raises Unavailable ``privacy.extra_missing``."""
    _library()


# At the bureau


def make_definition(
    *, network: bytes, status_list: OwnedId, closes_s: int, expires_s: int, places: int = PLACES
) -> MadeDefinition:
    """Return fresh keys and a registry; finding their primes takes many seconds.

    status_list: ``<bureau>/<id>``, a name that the ledger does not have yet. Raises Unavailable
    ``privacy.extra_missing``.
    """
    library = _library()
    issuer = _issuer_id(split_owned_id(status_list)[0])
    with _guarded(_failed), tempfile.TemporaryDirectory() as folder:
        schema = library.Schema.create("tax-facts", "1", issuer, list(ATTRIBUTES))
        keys, keys_secret, keys_proof = library.CredentialDefinition.create(
            _SCHEMA, schema, issuer, "1", "CL", support_revocation=True
        )
        name = f"shuiqiao:{status_list}"
        registry, registry_secret = library.RevocationRegistryDefinition.create(
            f"{name}/keys", keys, issuer, "1", "CL_ACCUM", places, tails_dir_path=folder
        )
        status = library.RevocationStatusList.create(keys, name, registry, registry_secret, issuer, timestamp=1)
        (tails_file,) = Path(folder).iterdir()
        tails = tails_file.read_bytes()
        public = registry.to_dict()
        public["value"]["tailsLocation"] = ""
        body = DefinitionBody(
            network=network.hex(),
            status_list=status_list,
            closes_s=closes_s,
            expires_s=expires_s,
            places=places,
            tails=hashlib.sha256(tails).hexdigest(),
            schema=schema.to_dict(),
            keys=keys.to_dict(),
            keys_proof=keys_proof.to_dict(),
            registry=public,
        )
        secret = encode_json({"keys": keys_secret.to_dict(), "registry": registry_secret.to_dict()})
        accumulator = str(status.to_dict()["currentAccumulator"]).encode()
    raw = encode_json(msgspec.to_builtins(body))
    definition = Definition(raw=raw, body=body)
    return MadeDefinition(definition=definition, tails=tails, secret=secret, accumulator=accumulator)


def sign(
    definition: Definition,
    blinded: bytes,
    *,
    secret: bytes,
    request: bytes,
    claims: Mapping[str, Any],
    place: int,
    registry: Registry,
) -> bytes:
    """Return a credential of a taxpayer's claims, bound to the secret that a holder blinded.

    request: the id of the holder's request, for which it blinded it. Raises InvalidInput ``privacy.blinded_malformed``.
    """
    library, secrets = _library(), _secrets(secret)
    with _guarded(_no_blinded_secret):
        asked = library.CredentialRequest.load(decode_json(blinded, max_bytes=MAX_BLINDED_BYTES))
        signed = library.Credential.create(
            _json(definition.body.keys),
            _json(secrets["keys"]),
            _json(_offer(definition, request)),
            asked,
            attributes_of(claims),
            revocation_config=library.CredentialRevocationConfig(
                _json(definition.body.registry),
                _json(secrets["registry"]),
                _json(definition.status(registry)),
                place,
            ),
        )
        return encode_json(signed.to_dict())


def accumulator_without(definition: Definition, *, secret: bytes, registry: Registry, revoked: Sequence[int]) -> bytes:
    """Return the accumulator of a registry once places of it are revoked besides those that are."""
    library, secrets = _library(), _secrets(secret)
    with _guarded(_failed):
        status = library.RevocationStatusList.load(_json(definition.status(registry)))
        after = status.update(
            library.CredentialDefinition.load(_json(definition.body.keys)),
            _json(definition.body.registry),
            library.RevocationRegistryDefinitionPrivate.load(_json(secrets["registry"])),
            None,
            list(revoked),
            None,
        )
        return str(after.to_dict()["currentAccumulator"]).encode()


def attributes_of(claims: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes that claims make: bands, flags of 0 or 1, and whose they are [CREDENTIAL-13].

    ::

        attributes_of({"tax_credit_grade": "B", "no_arrears": None, ...})["grade_ab"]  # "1"
    """
    grade = claims[GRADE_CLAIM]
    numbers = {
        **{name: claims[name] or 0 for name in BANDS},
        **{name: int(claims[name] is True) for name in FLAGS},
        **{flag: int(grade in grades) for grades, flag in GRADE_FLAGS.items()},
    }
    return {**{name: str(number) for name, number in numbers.items()}, "taxpayer": str(claims["taxpayer"])}


# At the holder


def blind(definition: Definition, *, request: bytes, link_secret: bytes) -> tuple[bytes, bytes]:
    """Return a holder's secret blinded for one request, and what it needs to take the credential that comes.

    link_secret: 32 bytes, which follow from the enterprise's seed. Raises InvalidInput
    ``privacy.definition_malformed``, for keys that are not proven to be well made too.
    """
    library = _library()
    with _guarded(_no_definition):
        asked, metadata = library.CredentialRequest.create(
            request.hex(),
            None,
            _json(definition.body.keys),
            _number(link_secret),
            "1",
            _json(_offer(definition, request)),
        )
        return encode_json(asked.to_dict()), encode_json(metadata.to_dict())


def take(definition: Definition, credential: bytes, *, metadata: bytes, link_secret: bytes) -> bytes:
    """Return a credential as it is kept, once the bureau's signature on it holds.

    Raises InvalidInput ``privacy.credential_malformed``.
    """
    library = _library()
    with _guarded(_no_credential):
        loaded = library.Credential.load(_json(decode_json(credential, max_bytes=MAX_CREDENTIAL_BYTES)))
        kept = loaded.process(
            _json(decode_json(metadata, max_bytes=MAX_METADATA_BYTES)),
            _number(link_secret),
            _json(definition.body.keys),
            _json(definition.body.registry),
        )
        found = kept.to_dict()
    if any(value["encoded"] != encoded(value["raw"]) for value in found["values"].values()):
        raise _no_credential("it says other values than are signed")
    return encode_json(found)


def place_of(credential: bytes) -> int:
    """Return the place that a kept credential has in its registry."""
    found = _library().Credential.load(_json(decode_json(credential, max_bytes=MAX_CREDENTIAL_BYTES))).rev_reg_index
    if found is None:
        raise IntegrityError("privacy.credential_malformed", "a credential that is kept has no place of a registry")
    return int(found)


def values_of(credential: bytes) -> dict[str, str]:
    """Return the attributes that a kept credential has."""
    found = decode_json(credential, max_bytes=MAX_CREDENTIAL_BYTES)
    return {name: str(value["raw"]) for name, value in found["values"].items()}


def claims_of(credential: bytes) -> dict[str, str | int | bool | None]:
    """Return what a kept credential can say, under the names of claims; D, and no grade, are not told apart."""
    values = values_of(credential)
    grades = [flag.removeprefix("grade_")[-1].upper() for flag in GRADE_FLAGS.values() if values[flag] == _SHOWN]
    bands = {name: int(values[name]) for name in BANDS}
    return {GRADE_CLAIM: grades[0] if grades else None, **bands, **{name: values[name] == _SHOWN for name in FLAGS}}


def unmet(rules: ProveRules, attributes: Mapping[str, str]) -> tuple[str, ...]:
    """Return the claims of a product's rules that a holder's attributes cannot prove, in order."""
    asked = Asked.of(rules)
    failed = [name for name, least in asked.least.items() if int(attributes[name]) < least]
    failed += [claim for flag, claim in asked.flags.items() if attributes[flag] != _SHOWN]
    return tuple(sorted(failed))


def present(
    definition: Definition,
    credential: bytes,
    *,
    rules: ProveRules,
    challenge: bytes,
    registry: Registry,
    link_secret: bytes,
    tails: Path,
) -> bytes:
    """Return a proof, made for one signed request of a bank, that a credential meets a product's rules.

    challenge: the bytes of that request. registry: as the ledger has it now. Raises Denied
    ``privacy.rules_not_provable``, ``privacy.rules_unmet``, ``privacy.credential_revoked``.
    """
    library = _library()
    attributes, place = values_of(credential), place_of(credential)
    if missing := unmet(rules, attributes):
        raise Denied("privacy.rules_unmet", f"the credential does not prove {', '.join(missing)}: nothing was shown")
    if is_set(registry.bits, place):
        raise Denied("privacy.credential_revoked", f"the bureau {definition.issuer} revoked this credential")
    asked = Asked.of(rules)
    with _guarded(_no_credential):
        state = library.CredentialRevocationState.create(
            _json(definition.body.registry), _json(definition.status(registry)), place, str(tails)
        )
        chosen = library.PresentCredentials()
        loaded = library.Credential.load(_json(decode_json(credential, max_bytes=MAX_CREDENTIAL_BYTES)))
        status = {"timestamp": registry.revision, "rev_state": state}
        chosen.add_attributes(loaded, *asked.revealed, reveal=True, **status)
        chosen.add_predicates(loaded, *asked.least, **status)
        proof = library.Presentation.create(
            _json(asked.request(definition, challenge=challenge, registry=registry)),
            chosen,
            None,
            _number(link_secret),
            {_SCHEMA: _json(definition.body.schema)},
            {definition.keys_id: _json(definition.body.keys)},
        )
        return encode_json(proof.to_dict())


# At a bank


def verify(
    definition: Definition, proof: bytes, *, rules: ProveRules, challenge: bytes, registry: Registry
) -> dict[str, str | bool]:
    """Return what a proof shows: bands by their bounds, flags, the set of grades, and the taxpayer if asked for.

    Raises InvalidInput ``privacy.proof_malformed``; IntegrityError ``privacy.proof_invalid``; Denied
    ``privacy.claims_differ``, ``privacy.rules_not_provable``; Unavailable ``privacy.status_changed``.
    """
    library, asked = _library(), Asked.of(rules)
    found = decode_json(proof, max_bytes=MAX_PROOF_BYTES, max_items=_MAX_ITEMS)
    with _guarded(_no_proof):
        loaded = library.Presentation.load(_json(found))
        shown = _require_shape(loaded.to_dict(), definition=definition, asked=asked, registry=registry)
    with _guarded(_invalid):
        is_valid = loaded.verify(
            _json(asked.request(definition, challenge=challenge, registry=registry)),
            {_SCHEMA: _json(definition.body.schema)},
            {definition.keys_id: _json(definition.body.keys)},
            {definition.registry_id: _json(definition.body.registry)},
            [_json(definition.status(registry))],
        )
    if not is_valid:
        raise _invalid("it is not of this request, this bureau's keys or a place that is not revoked")
    return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a product's rules ask of a proof. flags: attributes that must be 1, with the claims that they stand for."""

    least: Mapping[str, int]
    flags: Mapping[str, str]
    grades: tuple[Grade, ...]
    names_taxpayer: bool

    @classmethod
    def of(cls, rules: ProveRules) -> Asked:
        """Read a product's rules; raises Denied ``privacy.rules_not_provable`` for a set of grades without a flag."""
        flags = {str(name): str(name) for name in rules.flags}
        if rules.grades:
            flag = GRADE_FLAGS.get(frozenset(rules.grades))
            if flag is None:
                raise Denied(
                    "privacy.rules_not_provable",
                    f"grades {', '.join(rules.grades)} have no flag: {', '.join(GRADE_FLAGS.values())} are there",
                )
            flags[flag] = GRADE_CLAIM
        return cls(
            least={str(name): least for name, least in rules.least.items()},
            flags=flags,
            grades=tuple(rules.grades),
            names_taxpayer=rules.names_taxpayer,
        )

    @property
    def revealed(self) -> tuple[str, ...]:
        """The attributes that are shown as they are."""
        return (*self.flags, *(("taxpayer",) if self.names_taxpayer else ()))

    def request(self, definition: Definition, *, challenge: bytes, registry: Registry) -> Json:
        """Return the library's form of it: its nonce binds a proof to the bytes of one signed request."""
        only = [{"cred_def_id": definition.keys_id}]
        return {
            "name": "shuiqiao",
            "version": "1.0",
            "nonce": _nonce(_CHALLENGE, definition.raw, challenge),
            "requested_attributes": {name: {"name": name, "restrictions": only} for name in self.revealed},
            "requested_predicates": {
                name: {"name": name, "p_type": ">=", "p_value": least, "restrictions": only}
                for name, least in self.least.items()
            },
            "non_revoked": {"from": registry.revision, "to": registry.revision},
        }

    def shown(self, revealed: Mapping[str, str]) -> dict[str, str | bool]:
        """Return what was shown, under the names of claims."""
        said: dict[str, str | bool] = {name: f">= {least}" for name, least in self.least.items()}
        for claim in self.flags.values():
            said[claim] = " ".join(self.grades) if claim == GRADE_CLAIM else True
        return said | ({"taxpayer": revealed["taxpayer"]} if self.names_taxpayer else {})


def encoded(raw: str) -> str:
    """Return the number that a value is signed as: itself where it is a 32-bit number, else its SHA-256.

    ::

        encoded("4")  # "4"
    """
    try:
        number = int(raw)
    except ValueError:
        number = None
    if number is not None and str(number) == raw and -(2**31) <= number < 2**31:
        return raw
    return str(int.from_bytes(hashlib.sha256(raw.encode()).digest(), "big"))


def encode_shown(definition: Definition, proof: bytes) -> str:
    """Return a proof with the definition that it is by, as text that a message carries."""
    return "~".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (definition.raw, proof))


def decode_shown(text: str) -> tuple[Definition, bytes]:
    """Return the two parts; raises InvalidInput ``privacy.proof_malformed`` and what ``decode_definition`` raises."""
    definition, _, proof = text.partition("~")
    return decode_definition(decode_text(definition)), decode_text(proof)


def encode_text(data: bytes) -> str:
    """Return bytes as text that a message carries."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_text(text: str) -> bytes:
    """Return the bytes of such text; raises InvalidInput ``privacy.proof_malformed``."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise _no_proof("a part of what is shown is no base64url") from error


def _require_shape(found: Json, *, definition: Definition, asked: Asked, registry: Registry) -> dict[str, str | bool]:
    """Return what is shown, if all that was asked for is in it, of one credential, with its status [CREDENTIAL-15]."""
    said, proofs = found["requested_proof"], found["proof"]["proofs"]
    if len(found["identifiers"]) != 1 or len(proofs) != 1:
        raise _differ("a proof is of one credential")
    (identifier,) = found["identifiers"]
    expected = {"schema_id": _SCHEMA, "cred_def_id": definition.keys_id, "rev_reg_id": definition.registry_id}
    if any(identifier.get(name) != value for name, value in expected.items()):
        raise _differ("a proof is by other keys than its definition")
    if identifier.get("timestamp") != registry.revision:
        raise Unavailable(
            "privacy.status_changed",
            "a place of the registry was revoked between question and answer",
            retry_after_s=1,
        )
    if not proofs[0].get("non_revoc_proof"):
        raise _differ("a proof does not say that its place is not revoked")
    revealed: Json = said["revealed_attrs"]
    left_out = any(said.get(name) for name in ("self_attested_attrs", "unrevealed_attrs", "revealed_attr_groups"))
    if left_out or revealed.keys() != set(asked.revealed) or said["predicates"].keys() != asked.least.keys():
        raise _differ(f"a proof shows {', '.join(sorted(revealed))[:200]} otherwise than was asked for")
    _require_proven(proofs[0]["primary_proof"], asked=asked, revealed=revealed)
    for name, value in revealed.items():
        if value["encoded"] != encoded(value["raw"]):
            raise _invalid(f"{name} says another value than is signed")
    if any(revealed[flag]["raw"] != _SHOWN for flag in asked.flags):
        raise _differ("a flag that was asked for is not set")
    return asked.shown({name: str(value["raw"]) for name, value in revealed.items()})


def _require_proven(primary: Json, *, asked: Asked, revealed: Json) -> None:
    """Return if what is proven is what is said: the library compares the names of predicates, and not their bounds."""
    proven = [each["predicate"] for each in primary["ge_proofs"]]
    wanted = [{"attr_name": name, "p_type": "GE", "value": least} for name, least in sorted(asked.least.items())]
    if sorted(proven, key=lambda each: str(each["attr_name"])) != wanted:
        raise _differ("a proof is of other bounds than were asked for")
    if primary["eq_proof"]["revealed_attrs"] != {name: value["encoded"] for name, value in revealed.items()}:
        raise _differ("a proof shows other values than it says")


def _offer(definition: Definition, request: bytes) -> Json:
    """Return what the library calls an offer: both sides know it by the request's id, so nobody sends it."""
    return {
        "schema_id": _SCHEMA,
        "cred_def_id": definition.keys_id,
        "key_correctness_proof": definition.body.keys_proof,
        "nonce": _nonce(_OFFER, definition.raw, request),
    }


def _nonce(domain: bytes, *parts: bytes) -> str:
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return str(int.from_bytes(hashlib.sha256(domain + digests).digest()[:_NONCE_BYTES], "big"))


def _number(link_secret: bytes) -> str:
    return str(int.from_bytes(link_secret, "big"))


def _issuer_id(member: MemberId) -> str:
    return f"shuiqiao:{member}"


def _secrets(secret: bytes) -> Json:
    found: Json = decode_json(secret, max_bytes=_MAX_SECRET_BYTES)
    return found


def _json(value: Any) -> str:
    return encode_json(value).decode()


def _differ(problem: str) -> Denied:
    return Denied("privacy.claims_differ", f"{problem}: show exactly what was asked for")


def _invalid(problem: str) -> IntegrityError:
    return IntegrityError("privacy.proof_invalid", f"the proof does not hold: {problem}")


def _library() -> Any:
    try:
        import anoncreds
    except ImportError as error:
        raise Unavailable(
            "privacy.extra_missing",
            f"predicate proofs need the extra privacy: {error.name or 'anoncreds'} is not installed",
            next_step=INSTALL,
        ) from error
    return anoncreds


@contextmanager
def _guarded(refusal: Callable[[str], ShuiqiaoError]) -> Generator[None]:
    """Turn what the library throws, and what is missing in its JSON, into a refusal of this house."""
    from anoncreds import AnoncredsError

    try:
        yield
    except ShuiqiaoError:
        raise
    except (AnoncredsError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise refusal(str(error)[:300]) from error


def _failed(problem: str) -> IntegrityError:
    return IntegrityError("privacy.anoncreds_failed", f"the library of predicate proofs fails: {problem}")


def _no_blinded_secret(problem: str) -> InvalidInput:
    return InvalidInput("privacy.blinded_malformed", f"not a blinded secret for this request: {problem}")


def _no_definition(problem: str) -> InvalidInput:
    return InvalidInput("privacy.definition_malformed", f"not a definition that is read here: {problem}")


def _no_credential(problem: str) -> InvalidInput:
    return InvalidInput("privacy.credential_malformed", f"not a credential of this definition: {problem}")


def _no_proof(problem: str) -> InvalidInput:
    return InvalidInput("privacy.proof_malformed", f"not a proof that is read here: {problem}")
