"""Signed documents that travel between institutions off the ledger: artefacts, requests, answers, manifests.

One envelope for all of them: tagged COSE_Sign (RFC 9052 section 4.1), deterministic CBOR or refused, protected headers
exactly {alg, kid}, unprotected ones empty: the same form as a transaction. The name of the document stands in the
external data that every signature covers, so a signature made for one document is worth nothing on another or on a
transaction. The bytes received are the bytes verified, stored and hashed. Rule: docs/spec/consent-exchange.md.

It does not know who may sign what: each room names the public keys it expects, all of them and no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import cbor2
import msgspec

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.crypto.model import KEY_ID_BYTES
from shuiqiao.ledger.model import Signature
from shuiqiao.ledger.transactions.transaction import TAG_HEAD, protected_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shuiqiao.crypto.model import CipherSuite, SigningKey

MAX_DOCUMENT_SIGNATURES = 4
"""Two parties and a witness for each: no document of the field needs more."""

_COSE_SIGN_TAG = 98
_NO_HEADERS = b""
_DOMAIN = "shuiqiao/document/"
_PAYLOAD_FIELDS = {"network", "body"}
_MESSAGE_PARTS = 4
_SIGNATURE_PARTS = 3
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
    signatures = [_sign(payload, name=name, suite=suite, key=key) for key in ordered]
    return encode_cbor(cbor2.CBORTag(_COSE_SIGN_TAG, [_NO_HEADERS, {}, payload, signatures]))


def decode_document(
    raw: bytes, body: type[Body], *, name: str, network: bytes, suite: CipherSuite, max_bytes: int
) -> Document[Body]:
    """Return the document in outside bytes, its form checked and its signatures not: call verify_document next.

    Raises InvalidInput: ``base.cbor_*``, ``ledger.document_malformed``, ``ledger.document_network_wrong`` or
    ``ledger.document_body_invalid``.
    """
    if not raw.startswith(TAG_HEAD):
        raise _malformed("not a tagged COSE_Sign message")
    payload_bytes, parts = _message_parts(decode_cbor_strict(raw[len(TAG_HEAD) :], max_bytes=max_bytes - len(TAG_HEAD)))
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
        signatures=tuple(_signature(part, suite) for part in parts),
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
        message = _signed_message(document.payload_bytes, name=document.name, protected=signature.protected)
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


def _sign(payload: bytes, *, name: str, suite: CipherSuite, key: SigningKey) -> list[Any]:
    protected = protected_head(suite.cose_algorithm) + key.key_id
    return [protected, {}, key.sign(_signed_message(payload, name=name, protected=protected))]


def _signed_message(payload: bytes, *, name: str, protected: bytes) -> bytes:
    """Return the Sig_structure of RFC 9052 section 4.4 with the document's name as external data."""
    return encode_cbor(["Signature", _NO_HEADERS, protected, f"{_DOMAIN}{name}".encode(), payload])


def _message_parts(message: Any) -> tuple[bytes, Sequence[Any]]:
    if type(message) is not list or len(message) != _MESSAGE_PARTS:
        raise _malformed(f"a COSE_Sign message has {_MESSAGE_PARTS} parts")
    protected, unprotected, payload, signatures = message
    if protected != _NO_HEADERS or unprotected != {}:
        raise _malformed("the message carries headers of its own")
    if type(payload) is not bytes or type(signatures) is not list:
        raise _malformed("payload or signatures are of a wrong type")
    if not 1 <= len(signatures) <= MAX_DOCUMENT_SIGNATURES:
        raise _malformed(f"{len(signatures)} signatures where 1 to {MAX_DOCUMENT_SIGNATURES} are allowed")
    return payload, signatures


def _signature(part: Any, suite: CipherSuite) -> Signature:
    """Return one signer's signature. Its protected header is compared with the one form it has, not decoded."""
    if type(part) is not list or len(part) != _SIGNATURE_PARTS:
        raise _malformed(f"a signature has {_SIGNATURE_PARTS} parts")
    protected, unprotected, signature = part
    if type(protected) is not bytes or type(signature) is not bytes:
        raise _malformed("a signature's parts are of a wrong type")
    if unprotected != {}:
        raise _malformed("a signature carries unprotected headers")
    key_id = protected[-KEY_ID_BYTES:]
    if protected != protected_head(suite.cose_algorithm) + key_id:
        raise _malformed(
            f"a signature's protected header is not exactly this network's algorithm {suite.cose_algorithm} and a kid"
        )
    return Signature(key_id=key_id, signature=signature, protected=protected)


def _names(key_ids: Sequence[bytes]) -> str:
    return ", ".join(key_id.hex()[:16] for key_id in key_ids) or "nobody"


def _malformed(message: str) -> InvalidInput:
    return InvalidInput("ledger.document_malformed", message)
