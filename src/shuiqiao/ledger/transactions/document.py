"""Signed documents that travel between institutions off the ledger: artefacts, requests, answers, manifests.

One envelope for all of them, the same as a transaction's (``cose``): deterministic CBOR or refused. The name of the
document stands in the external data that every signature covers, so a signature made for one document is worth nothing
on another or on a transaction. The bytes received are the bytes verified, stored and hashed. Rule:
docs/spec/consent-exchange.md.

It does not know who may sign what: each room names the public keys it expects, all of them and no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.model import Signature
from shuiqiao.ledger.transactions.cose import (
    TAG_HEAD,
    NotCoseError,
    decode_message,
    encode_message,
    sign_message,
    signed_structure,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shuiqiao.crypto.model import CipherSuite, SigningKey

MAX_DOCUMENT_SIGNATURES = 4
"""Two parties and a witness for each: no document of the field needs more."""

_DOMAIN = "shuiqiao/document/"
_PAYLOAD_FIELDS = {"network", "body"}
Body = TypeVar("Body", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(Generic[Body]):
    """A decoded, not yet verified document together with the bytes it was decoded from."""

    raw: bytes
    name: str
    payload_bytes: bytes
    body: Body
    signatures: tuple[Signature, ...]


def sign_document(
    body: msgspec.Struct, *, name: str, network: bytes, suite: CipherSuite, keys: Sequence[SigningKey]
) -> bytes:
    """Return a body as a document signed by the keys, in order of kid.

    name: ``room.noun/version``, e.g. ``consent.artefact/1``. network: 32-byte network id.
    """
    payload = encode_cbor({"network": network, "body": to_plain(body)})
    ordered = sorted(keys, key=lambda key: key.key_id)
    signed = (sign_message(payload, suite=suite, key=key, external=_external(name)) for key in ordered)
    return encode_message(payload, signed)


def decode_document(
    raw: bytes, body: type[Body], *, name: str, network: bytes, suite: CipherSuite, max_bytes: int
) -> Document[Body]:
    """Return the document in outside bytes, its form checked and its signatures not: call verify_document next.

    Raises InvalidInput: ``base.cbor_*``, ``ledger.document_malformed``, ``ledger.document_network_wrong`` or
    ``ledger.document_body_invalid``.
    """
    if not raw.startswith(TAG_HEAD):
        raise _malformed("not a tagged COSE_Sign message")
    payload_bytes, signatures = _split(raw, algorithm=suite.cose_algorithm, max_bytes=max_bytes)
    payload = decode_cbor_strict(payload_bytes, max_bytes=max_bytes)
    if not isinstance(payload, dict) or set(payload) != _PAYLOAD_FIELDS:
        raise _malformed(f"the payload of a {name} has other fields than network and body")
    if payload["network"] != network:
        raise InvalidInput("ledger.document_network_wrong", f"this {name} was made for another network")
    return Document(
        raw=raw,
        name=name,
        payload_bytes=payload_bytes,
        body=_body_from_plain(payload["body"], body, name=name),
        signatures=signatures,
    )


def verify_document(document: Document[Any], *, public_keys: Sequence[bytes], suite: CipherSuite) -> None:
    """Return if exactly these keys signed the document, each once.

    Raises IntegrityError ``ledger.document_signers_wrong`` or ``crypto.signature_invalid``.
    """
    expected = {suite.key_id(key): key for key in public_keys}
    found = [signature.key_id for signature in document.signatures]
    if found != sorted(expected):
        raise IntegrityError(
            "ledger.document_signers_wrong",
            f"{document.name} is signed by {_names(found)} where {_names(list(expected))} must sign",
        )
    for signature in document.signatures:
        message = signed_structure(signature.protected, document.payload_bytes, external=_external(document.name))
        suite.verify_signature(public_key=expected[signature.key_id], message=message, signature=signature.signature)


def to_plain(body: msgspec.Struct) -> Any:
    """Return a struct as the CBOR data model: maps, lists, text, bytes, integers; dates as ISO text."""
    return msgspec.to_builtins(body, builtin_types=(bytes,))


def _body_from_plain(value: Any, body: type[Body], *, name: str) -> Body:
    try:
        found = typed(value, body, builtin_types=(bytes,))
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidInput("ledger.document_body_invalid", f"{name}: {error}") from error
    if to_plain(found) != value:
        raise InvalidInput("ledger.document_body_invalid", f"{name}: a value is not in its one written form")
    return found


def _external(name: str) -> bytes:
    """Return what every signature of a document covers besides its payload."""
    return f"{_DOMAIN}{name}".encode()


def _split(raw: bytes, *, algorithm: int, max_bytes: int) -> tuple[bytes, tuple[Signature, ...]]:
    fault = ""
    if len(raw) <= max_bytes:
        try:
            return decode_message(raw, algorithm=algorithm, max_signatures=MAX_DOCUMENT_SIGNATURES)
        except NotCoseError as error:
            fault = error.reason
    # What is too long, or no deterministic CBOR at all, is refused as that.
    decode_cbor_strict(raw[len(TAG_HEAD) :], max_bytes=max_bytes - len(TAG_HEAD))
    raise _malformed(fault)


def _names(key_ids: Sequence[bytes]) -> str:
    return ", ".join(key_id.hex()[:16] for key_id in key_ids) or "nobody"


def _malformed(message: str) -> InvalidInput:
    return InvalidInput("ledger.document_malformed", message)
