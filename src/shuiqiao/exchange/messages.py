"""The two messages that cross between a bank and a provider: the signed request and the signed, sealed answer.

Rule: docs/spec/consent-exchange.md [EXCHANGE-6], [EXCHANGE-10]. The seal binds network, request, consent, sender and
receiver as associated data, and the sender's signature covers ciphertext and that data together, so an answer cannot
be moved to another request, consent or receiver. Pure: no clock, no ledger writes, no storage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.consent.ceilings import period_months
from shuiqiao.consent.model import Mode
from shuiqiao.exchange.model import (
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    AnswerContent,
    RequestMessage,
    SealedAnswer,
    is_recorded,
)
from shuiqiao.ledger.transactions.document import decode_document, sign_document, to_plain
from shuiqiao.members.roster import verify_signed_by
from shuiqiao.standards.model import CORE_GROUP

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite, SealingKey, SigningKey
    from shuiqiao.ledger.model import StateView
    from shuiqiao.ledger.transactions.document import Document

REQUEST_MESSAGE = "exchange.request/1"
ANSWER = "exchange.answer/1"

_ENVELOPE_BYTES = 4096
"""More than envelope, sealing header and content framing add to what they carry."""


def encode_request(message: RequestMessage, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return a request signed by the bank; raises InvalidInput ``exchange.request_invalid``."""
    verify_request_rules(message)
    return sign_document(message, name=REQUEST_MESSAGE, network=network, suite=suite, keys=(key,))


def decode_request(raw: bytes, *, state: StateView, network: bytes, suite: CipherSuite) -> RequestMessage:
    """Return the request in outside bytes, signed by the member it names as its sender.

    Where the ledger has this very request, a key counts that its sender replaced since [MEMBER-26].
    Raises InvalidInput for its form, Denied ``members.unknown``, IntegrityError for the signature.
    """
    document = _request_document(raw, network=network, suite=suite)
    message = document.body
    known = is_recorded(
        state, message.name, provider=message.receiver, field="request_digest", digest=suite.digest(raw)
    )
    verify_signed_by(document, member=MemberId(message.sender), state=state, suite=suite, is_recorded=known)
    verify_request_rules(message)
    return message


def read_request(raw: bytes, *, network: bytes, suite: CipherSuite) -> RequestMessage:
    """Return the request in the bytes of one's own store: verified when it was put there, and not again."""
    return _request_document(raw, network=network, suite=suite).body


def _request_document(raw: bytes, *, network: bytes, suite: CipherSuite) -> Document[RequestMessage]:
    return decode_document(
        raw, RequestMessage, name=REQUEST_MESSAGE, network=network, suite=suite, max_bytes=MAX_REQUEST_BYTES
    )


def verify_request_rules(message: RequestMessage) -> None:
    """Return if a request makes sense by itself; raises InvalidInput ``exchange.request_invalid``."""
    period_months(message.period_from, message.period_to)
    for type_id, groups in message.items.items():
        if groups != sorted(set(groups)) or CORE_GROUP not in groups:
            raise InvalidInput(
                "exchange.request_invalid",
                f"groups {groups} of {type_id} are not in order, each once, {CORE_GROUP} among them",
            )
    if (message.model is not None) != (message.mode is Mode.SCORE):
        raise InvalidInput("exchange.request_invalid", f"a model is named exactly in the mode {Mode.SCORE}")
    outputs = [] if message.model is None else message.model.outputs
    if outputs != sorted(set(outputs)):
        raise InvalidInput("exchange.request_invalid", f"outputs {outputs} are not in order, each once")


def seal_answer(
    content: AnswerContent,
    *,
    message: RequestMessage,
    network: bytes,
    suite: CipherSuite,
    recipient_key: bytes,
    key: SigningKey,
) -> tuple[bytes, bytes]:
    """Return (the answer's bytes, digest of its ciphertext).

    recipient_key: the bank's raw sealing key. key: the provider's signing key.
    """
    bound = associated_data(message, network=network)
    sealed = suite.seal(encode_cbor(to_plain(content)), recipient=recipient_key, associated_data=bound)
    body = SealedAnswer(
        request=message.request,
        consent=message.consent,
        sender=message.receiver,
        receiver=message.sender,
        sealed=sealed,
    )
    raw = sign_document(body, name=ANSWER, network=network, suite=suite, keys=(key,))
    return raw, suite.digest(sealed)


def open_answer(
    raw: bytes,
    *,
    message: RequestMessage,
    state: StateView,
    network: bytes,
    suite: CipherSuite,
    sealing_key: SealingKey,
) -> tuple[AnswerContent, bytes]:
    """Return (the content of an answer to this very request, digest of its ciphertext).

    What the signature covers beside the ciphertext stands in the request, so the ciphertext's digest on the ledger
    records all of it [MEMBER-26]. Raises InvalidInput for its form, IntegrityError for a signature or seal that does
    not hold (``crypto.*``), or ``exchange.answer_misdirected`` for an answer to something else.
    """
    document = decode_document(
        raw, SealedAnswer, name=ANSWER, network=network, suite=suite, max_bytes=MAX_ANSWER_BYTES + _ENVELOPE_BYTES
    )
    body = document.body
    digest = suite.digest(body.sealed)
    provider = MemberId(message.receiver)
    known = is_recorded(state, message.name, provider=provider, field="answer_digest", digest=digest)
    verify_signed_by(document, member=provider, state=state, suite=suite, is_recorded=known)
    found = (body.request, body.consent, body.sender, body.receiver)
    if found != (message.request, message.consent, message.receiver, message.sender):
        raise IntegrityError(
            "exchange.answer_misdirected",
            f"an answer by {body.sender} to {body.receiver} on request {body.request.hex()} came for "
            f"request {message.request.hex()} of {message.sender}",
        )
    plaintext = sealing_key.open_sealed(body.sealed, associated_data=associated_data(message, network=network))
    return _content(plaintext), digest


def _content(plaintext: bytes) -> AnswerContent:
    value = decode_cbor_strict(plaintext, max_bytes=MAX_ANSWER_BYTES)
    try:
        return typed(value, AnswerContent, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidInput("exchange.answer_malformed", f"the content of the answer: {error}") from error


def associated_data(message: RequestMessage, *, network: bytes) -> bytes:
    """Return what the seal of the answer to a request is bound to [EXCHANGE-10]."""
    return encode_cbor(
        {
            "network": network,
            "request": message.request,
            "consent": message.consent,
            "sender": message.receiver,
            "receiver": message.sender,
        }
    )
