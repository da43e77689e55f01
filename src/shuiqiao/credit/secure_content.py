"""The content of a model whose weights stay at the bank: which indicators there are, and which functions are computed.

    content = canonical CBOR of {"features": [{"cuts": [...], "name": ...}], "format": "shuiqiao-secure@1",
                                 "outputs": {output: {"function": bytes32, "values": n}}, "weights": bytes32}

Rule: docs/spec/secure.md [SECURE-10], [SECURE-11]. Bank and bureau compute an output together, by one function for
each output. The weights, and the cuts of bands, are the bank's and stand in no content: a salted commitment to its card
does, so that a regulator can have the card shown that the bank says it put in.

LIMIT: nothing proves that what a bank puts into a run is what it committed to.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.wire import Digest
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
from shuiqiao.credit.model_content import MAX_POINTS_VALUES, ModelContent, encode_content
from shuiqiao.credit.model_runner import score_of
from shuiqiao.exchange.modes.score import ScoreOutput
from shuiqiao.ledger.transactions.document import to_plain
from shuiqiao.models.model import ContentFacts, commitment_of
from shuiqiao.privacy.secure.model import MAX_INDICATORS, SecureFunction, SecureOutput

FORMAT: Literal["shuiqiao-secure@1"] = "shuiqiao-secure@1"

SALT_BYTES = 32

MAX_SECURE_BYTES = 131_072
"""Of a content: 1,024 indicators, with 512 names of 80 characters, have under 60 kB."""

_KINDS = {
    Output.BAND: SecureOutput.BAND,
    Output.POINTS: SecureOutput.POINTS,
    Output.YES_NO: SecureOutput.YES_NO,
}


class DeclaredOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An output: by which function it is computed, and how many values it can have."""

    function: Digest
    values: Annotated[int, Meta(ge=2, le=MAX_POINTS_VALUES)]


class SecureContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model without its weights."""

    features: Annotated[tuple[BinnedFeature, ...], Meta(min_length=1, max_length=MAX_INDICATORS // 2)]
    format: Literal["shuiqiao-secure@1"]
    outputs: Annotated[dict[Output, DeclaredOutput], Meta(min_length=1, max_length=len(_KINDS))]
    weights: Digest

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features that it reads, in order."""
        return tuple(feature.name for feature in self.features)

    def function(self, output: Output, *, rows: int = 1) -> SecureFunction:
        """Return what computes an output that it declares of so many taxpayers.

        Raises InvalidInput ``credit.content_malformed``, what ``SecureFunction`` raises.
        """
        declared = self.outputs.get(output)
        if declared is None or output not in _KINDS:
            raise malformed(f"it computes no {output}")
        return _function(self.features, output, values=declared.values, rows=rows)


def secure_content(content: ModelContent, *, salt: bytes) -> bytes:
    """Return the content of a card that computes its declared outputs and shows no weight. salt: 32 random bytes.

    Raises InvalidInput ``credit.output_too_fine``, ``credit.content_malformed``,
    ``privacy.secure_function_differs``::

        data = secure_content(content, salt=entropy(32))
    """
    weights, features = centred_points(content.card), features_of(content.card)
    if not 0 < len(weights) <= MAX_INDICATORS:
        raise malformed(f"it has {len(weights)} indicators; 1 to {MAX_INDICATORS} are computed with")
    values = {Output.BAND: len(content.outputs.bands), Output.POINTS: MAX_POINTS_VALUES, Output.YES_NO: 2}
    beyond = sorted(set(content.outputs.allowed) - set(_KINDS))
    if beyond or not content.outputs.allowed:
        raise malformed(f"{', '.join(beyond) or 'nothing'} may leave it, and it computes {', '.join(_KINDS)}")
    if Output.BAND in content.outputs.allowed and values[Output.BAND] == 1:
        raise malformed("its one band says nothing")
    functions = {each: _function(features, each, values=values[each]) for each in content.outputs.allowed}
    made = SecureContent(
        features=features,
        format=FORMAT,
        outputs={each: DeclaredOutput(function=found.digest, values=values[each]) for each, found in functions.items()},
        weights=committed_weights(encode_content(content), salt=salt),
    )
    return encode_cbor(_plain(made))


def committed_weights(card: bytes, *, salt: bytes) -> bytes:
    """Return the commitment to a card in clear that stands in its content."""
    return commitment_of(card, salt=salt, digest=lambda data: hashlib.sha256(data).digest())


def decode_secure(data: bytes) -> SecureContent:
    """Return the content that canonical bytes stand for, its functions the ones of this version.

    Raises InvalidInput ``credit.content_malformed``, ``credit.feature_unknown``,
    ``privacy.secure_function_differs``.
    """
    try:
        value = decode_cbor_strict(data, max_bytes=MAX_SECURE_BYTES)
        found = typed(value, SecureContent, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise malformed(f"it is not of the form {FORMAT}: {error}") from error
    if _plain(found) != value:
        raise malformed("the bytes are not the canonical form of their content")
    verify_features(found.features)
    for output, declared in found.outputs.items():
        function = found.function(output)
        if (declared.values, declared.function) != (function.outputs, function.digest):
            raise InvalidInput(
                "privacy.secure_function_differs",
                f"the model computes {output} by another function than this version, which has {function.digest.hex()}",
            )
    return found


def read_secure_facts(data: bytes) -> ContentFacts:
    """Return what a reviewer has to know of a content; raises as ``decode_secure``."""
    content = decode_secure(data)
    values = {output: declared.values for output, declared in content.outputs.items()}
    return ContentFacts(outputs=values, inputs=content.feature_names, rank=1)


def bank_values(content: ModelContent, output: Output) -> list[int]:
    """Return what the bank puts into a run: the weights, then the cuts of an output, all from the middle of the card.

    Raises InvalidInput ``credit.output_too_fine``.
    """
    middle = middle_of(content.card)
    threshold = content.outputs.yes_from
    cuts = {
        Output.BAND: content.outputs.cuts,
        Output.YES_NO: () if threshold is None else (threshold,),
    }.get(output, ())
    return [*centred_points(content.card), *(cut - middle for cut in cuts)]


def output_in(content: ModelContent, output: Output, *, found: int) -> ScoreOutput:
    """Return what an opened output says of a taxpayer; of points, also band and yes or no by the bank's own card.

    Raises IntegrityError ``exchange.output_wrong`` for points that the card cannot give.
    """
    if output is Output.BAND:
        return ScoreOutput(band=content.outputs.bands[found])
    if output is Output.YES_NO:
        return ScoreOutput(yes_no=bool(found))
    points, (least, most) = found + middle_of(content.card), points_range(content.card)
    if not least <= points <= most:
        raise IntegrityError("exchange.output_wrong", f"the model cannot give this: {points} is no score of it")
    return score_of(content, points=points)


def _function(features: tuple[BinnedFeature, ...], output: Output, *, values: int, rows: int = 1) -> SecureFunction:
    kind = _KINDS[output]
    return SecureFunction(
        indicators=sum(feature.indicators for feature in features),
        cuts=0 if kind is SecureOutput.POINTS else values - 1,
        output=kind,
        rows=rows,
    )


def _plain(content: SecureContent) -> dict[str, Any]:
    return {**to_plain(content), "features": plain_features(content.features)}
