"""The content of a model whose weights stay encrypted: which indicators there are, and a ciphertext for each.

    content = canonical CBOR of {"features": [{"cuts": [...], "name": ...}], "format": "shuiqiao-blind@1",
                                 "public": bytes, "weights": [bytes, ...]}

Rule: docs/spec/blind.md [BLIND-7], [BLIND-8]. The indicators of a feature are its bins in order, then that it is not
known. A bank makes the content of a card that it keeps. Names and cuts are open to whoever
evaluates, points are not.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.consent.model import Output
from shuiqiao.credit.indicators import (
    BinnedFeature,
    centred_points,
    features_of,
    malformed,
    middle_of,
    plain_features,
    points_range,
    verify_features,
)
from shuiqiao.credit.model_content import MAX_POINTS_VALUES, ModelContent
from shuiqiao.credit.scorecard import Scorecard
from shuiqiao.models.model import MAX_CONTENT_BYTES, ContentFacts
from shuiqiao.privacy.blind.scheme import BlindKeys, blind_scheme

FORMAT: Literal["shuiqiao-blind@1"] = "shuiqiao-blind@1"

MAX_INDICATORS = 112
"""Of one model: with 212,992 bytes for each weight it stays under the 24 MiB of a content."""

_MAX_CIPHERTEXT_BYTES = 400_000

Ciphertext = Annotated[bytes, Meta(min_length=1, max_length=_MAX_CIPHERTEXT_BYTES)]


class BlindContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model of encrypted weights."""

    features: Annotated[tuple[BinnedFeature, ...], Meta(min_length=1, max_length=MAX_INDICATORS // 2)]
    format: Literal["shuiqiao-blind@1"]
    public: Ciphertext
    weights: Annotated[tuple[Ciphertext, ...], Meta(min_length=2, max_length=MAX_INDICATORS)]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features that it reads, in order."""
        return tuple(feature.name for feature in self.features)


def encrypt_card(content: ModelContent, *, keys: BlindKeys) -> bytes:
    """Return the content of encrypted weights of a card whose points may leave.

    Raises InvalidInput ``credit.output_too_fine``, ``credit.content_malformed``; what ``blind_scheme`` raises::

        data = encrypt_card(content, keys=blind_scheme().generate_keys())
    """
    if Output.POINTS not in content.outputs.allowed:
        raise malformed("points of it may not leave, and of encrypted weights nothing else does")
    weights = centred_points(content.card)
    if not 0 < len(weights) <= MAX_INDICATORS:
        raise malformed(f"it has {len(weights)} indicators; 1 to {MAX_INDICATORS} are encrypted")
    made = BlindContent(
        features=features_of(content.card),
        format=FORMAT,
        public=keys.public,
        weights=tuple(blind_scheme().encrypt_weights(weights, secret=keys.secret)),
    )
    return encode_cbor(_plain(made))


def decode_blind(data: bytes) -> BlindContent:
    """Return the content that canonical bytes stand for; its ciphertexts are read when they are evaluated.

    Raises InvalidInput ``credit.content_malformed``, ``credit.feature_unknown``.
    """
    try:
        value = decode_cbor_strict(data, max_bytes=MAX_CONTENT_BYTES)
        found = typed(value, BlindContent, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise malformed(f"it is not of the form {FORMAT}: {error}") from error
    if _plain(found) != value:
        raise malformed("the bytes are not the canonical form of their content")
    verify_features(found.features)
    wanted = sum(feature.indicators for feature in found.features)
    if wanted != len(found.weights):
        raise malformed(f"it has {len(found.weights)} weights for {wanted} indicators")
    return found


def read_blind_facts(data: bytes) -> ContentFacts:
    """Return what a reviewer has to know of a content, each of its ciphertexts read once; raises as ``decode_blind``.

    Also what ``BlindScheme.read_weights`` raises.
    """
    content = decode_blind(data)
    blind_scheme().read_weights(content.weights, public=content.public)
    return ContentFacts(outputs={Output.POINTS: MAX_POINTS_VALUES}, inputs=content.feature_names, rank=1)


def points_in(card: Scorecard, found: float) -> int:
    """Return the whole points that a decrypted result stands for.

    Raises IntegrityError ``exchange.output_wrong`` for a result that the card cannot give.
    """
    least, most = points_range(card)
    if not least - 1 <= found + middle_of(card) <= most + 1:
        raise IntegrityError(
            "exchange.output_wrong", "the model cannot give this: what came decrypts to no score of it"
        )
    return min(max(round(found) + middle_of(card), least), most)


def _plain(content: BlindContent) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(content, builtin_types=(bytes,))
    return {**plain, "features": plain_features(content.features), "weights": list(plain["weights"])}
