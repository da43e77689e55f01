"""The content of a model whose weights stay encrypted: which indicators there are, and a ciphertext for each.

    content = canonical CBOR of {"features": [{"cuts": [...], "name": ...}], "format": "shuiqiao-blind@1",
                                 "public": bytes, "weights": [bytes, ...]}

Rule: docs/spec/blind.md [BLIND-7], [BLIND-8]. The indicators of a feature are its bins in order, then that it is not
known. A bank makes the content of a card that it keeps: points are counted from the middle of what the card can give,
and what the card gives to everybody stands in the weights of its first feature. Names and cuts are open to whoever
evaluates, points are not.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.consent.model import Output
from shuiqiao.credit.binning import UNKNOWN
from shuiqiao.credit.model_content import MAX_POINTS_VALUES, ModelContent
from shuiqiao.credit.scorecard import Integers, Name, Scorecard, definition_of
from shuiqiao.models.model import MAX_CONTENT_BYTES, ContentFacts
from shuiqiao.privacy.blind.scheme import BlindKeys, blind_scheme

FORMAT: Literal["shuiqiao-blind@1"] = "shuiqiao-blind@1"

MAX_INDICATORS = 112
"""Of one model: with 212,992 bytes for each weight it stays under the 24 MiB of a content."""

_MAX_BINS = 64
_MAX_CIPHERTEXT_BYTES = 400_000

Ciphertext = Annotated[bytes, Meta(min_length=1, max_length=_MAX_CIPHERTEXT_BYTES)]
Cut = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class BlindFeature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One feature: bin i holds values v with cuts[i-1] <= v < cuts[i], in millionths."""

    cuts: Annotated[tuple[Cut, ...], Meta(max_length=_MAX_BINS - 1)]
    name: Name

    @property
    def indicators(self) -> int:
        """One for each bin, and one for a value that is not known."""
        return len(self.cuts) + 2


class BlindContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model of encrypted weights."""

    features: Annotated[tuple[BlindFeature, ...], Meta(min_length=1, max_length=MAX_INDICATORS // 2)]
    format: Literal["shuiqiao-blind@1"]
    public: Ciphertext
    weights: Annotated[tuple[Ciphertext, ...], Meta(min_length=2, max_length=MAX_INDICATORS)]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features that it reads, in order."""
        return tuple(feature.name for feature in self.features)

    def indicators_of(self, values: Integers) -> npt.NDArray[np.bool_]:
        """Return which indicators hold. values: taxpayers x features, in millionths, UNKNOWN where null."""
        return np.concatenate(
            [_holding(feature, values[:, place]) for place, feature in enumerate(self.features)], axis=0
        )


def encrypt_card(content: ModelContent, *, keys: BlindKeys) -> bytes:
    """Return the content of encrypted weights of a card whose points may leave.

    Raises InvalidInput ``credit.output_too_fine``, ``credit.content_malformed``; what ``blind_scheme`` raises::

        data = encrypt_card(content, keys=blind_scheme().generate_keys())
    """
    if Output.POINTS not in content.outputs.allowed:
        raise _malformed("points of it may not leave, and of encrypted weights nothing else does")
    card = content.card
    least, most = points_range(card)
    if most - least >= MAX_POINTS_VALUES:
        raise InvalidInput(
            "credit.output_too_fine",
            f"the points of this card lie from {least} to {most}; {MAX_POINTS_VALUES} values are carried at the most",
        )
    rows = [[*feature.points, feature.unknown_points] for feature in card.features]
    if not 0 < sum(len(row) for row in rows) <= MAX_INDICATORS:
        raise _malformed(f"it has {sum(len(row) for row in rows)} indicators; 1 to {MAX_INDICATORS} are encrypted")
    rows[0] = [points + card.base_points - middle_of(card) for points in rows[0]]
    made = BlindContent(
        features=tuple(BlindFeature(cuts=feature.cuts, name=feature.name) for feature in card.features),
        format=FORMAT,
        public=keys.public,
        weights=tuple(blind_scheme().encrypt_weights([each for row in rows for each in row], secret=keys.secret)),
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
        raise _malformed(f"it is not of the form {FORMAT}: {error}") from error
    if _plain(found) != value:
        raise _malformed("the bytes are not the canonical form of their content")
    for name in found.feature_names:
        definition_of(name)
    if len(set(found.feature_names)) != len(found.features):
        raise _malformed("a feature stands in it twice")
    if any(list(feature.cuts) != sorted(set(feature.cuts)) for feature in found.features):
        raise _malformed("cuts of it do not rise")
    wanted = sum(feature.indicators for feature in found.features)
    if wanted != len(found.weights):
        raise _malformed(f"it has {len(found.weights)} weights for {wanted} indicators")
    return found


def read_blind_facts(data: bytes) -> ContentFacts:
    """Return what a reviewer has to know of a content, each of its ciphertexts read once; raises as ``decode_blind``.

    Also what ``BlindScheme.read_weights`` raises.
    """
    content = decode_blind(data)
    blind_scheme().read_weights(content.weights, public=content.public)
    return ContentFacts(outputs={Output.POINTS: MAX_POINTS_VALUES}, inputs=content.feature_names, rank=1)


def points_range(card: Scorecard) -> tuple[int, int]:
    """Return the least and the most points that a card can give."""
    scores = [(*feature.points, feature.unknown_points) for feature in card.features]
    return card.base_points + sum(map(min, scores)), card.base_points + sum(map(max, scores))


def middle_of(card: Scorecard) -> int:
    """Return the points that a result counts from, which the bank keeps."""
    least, most = points_range(card)
    return (least + most + 1) // 2


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


def _holding(feature: BlindFeature, values: Integers) -> npt.NDArray[np.bool_]:
    places = np.searchsorted(np.array(feature.cuts, dtype=np.int64), values, side="right")
    places = np.where(values == UNKNOWN, feature.indicators - 1, places)
    holds: npt.NDArray[np.bool_] = places == np.arange(feature.indicators)[:, np.newaxis]
    return holds


def _plain(content: BlindContent) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(content, builtin_types=(bytes,))
    return {
        **plain,
        "features": [{**each, "cuts": list(each["cuts"])} for each in plain["features"]],
        "weights": list(plain["weights"]),
    }


def _malformed(problem: str) -> InvalidInput:
    return InvalidInput("credit.content_malformed", f"not a model that can be run: {problem}")
