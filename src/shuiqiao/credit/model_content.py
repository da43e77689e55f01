"""The content of a model that a provider runs for a bank: a scorecard, and what of its points may leave.

    content = canonical JSON of {"format": "shuiqiao-model@1", "outputs": {...}, "scorecard": {...}}

The scorecard is its own canonical form. The outputs are declared with it, so that whoever reviews a model sees the
bands and the threshold by which it answers, and nobody asks by another one. Points leave only if they can have at most
4,096 values, which is 12 bits [MODEL-8].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.consent.model import Output
from shuiqiao.credit.scorecard import (
    MAX_REASONS,
    MAX_SCORECARD_BYTES,
    Points,
    Scorecard,
    decode_scorecard,
    definition_of,
    encode_scorecard,
)
from shuiqiao.models.model import ContentFacts

FORMAT: Literal["shuiqiao-model@1"] = "shuiqiao-model@1"

MAX_BANDS = 64
MAX_POINTS_VALUES = 4_096
"""Different scores of a card whose points may leave: 12 bits."""

BandName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z", max_length=32)]

_MAX_BYTES = MAX_SCORECARD_BYTES + 16_384


class OutputDeclarations(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What of a card's points may leave.

    bands: their names from the worst to the best; band i holds points p with cuts[i-1] <= p < cuts[i]. yes_from: the
    least points that are a yes. What is left out, or false, never leaves.
    """

    points: bool = False
    bands: Annotated[tuple[BandName, ...], Meta(max_length=MAX_BANDS)] = ()
    cuts: Annotated[tuple[Points, ...], Meta(max_length=MAX_BANDS - 1)] = ()
    yes_from: Points | None = None
    reasons: bool = False

    @property
    def allowed(self) -> tuple[Output, ...]:
        """The outputs that are declared, in order."""
        declared = {
            Output.BAND: bool(self.bands),
            Output.POINTS: self.points,
            Output.REASONS: self.reasons,
            Output.YES_NO: self.yes_from is not None,
        }
        return tuple(output for output, is_declared in declared.items() if is_declared)


class ModelContent(msgspec.Struct, frozen=True, kw_only=True):
    """A card with what of it may leave."""

    card: Scorecard
    outputs: OutputDeclarations

    def band_of(self, points: int) -> str:
        """Return the name of the declared band that points fall into."""
        return self.outputs.bands[sum(points >= cut for cut in self.outputs.cuts)]


def read_outputs(declared: Mapping[str, Any], *, card: Scorecard) -> ModelContent:
    """Return a card's content with outputs as a person declares them; raises as ``decode_content``."""
    try:
        outputs = typed(dict(declared), OutputDeclarations)
    except msgspec.ValidationError as error:
        raise _malformed(f"its outputs are not declared rightly: {error}") from error
    return _checked(ModelContent(card=card, outputs=outputs))


def encode_content(content: ModelContent) -> bytes:
    """Return the canonical bytes of a content."""
    card = decode_json(encode_scorecard(content.card), max_bytes=_MAX_BYTES)
    return encode_json({"format": FORMAT, "outputs": msgspec.to_builtins(content.outputs), "scorecard": card})


def decode_content(data: bytes) -> ModelContent:
    """Return the content that canonical bytes stand for; what does not re-encode to the same bytes is refused.

    Raises InvalidInput ``credit.content_malformed``, ``credit.output_too_fine``, ``credit.feature_unknown``, what
    ``decode_scorecard`` raises::

        _, data = registry.runnable(model, digest=asked.digest, provider=bureau)
        content = decode_content(data)
        content.band_of(int(content.card.points(values)[0]))
    """
    file = decode_json(data, max_bytes=_MAX_BYTES)
    if not isinstance(file, dict) or file.keys() != {"format", "outputs", "scorecard"} or file["format"] != FORMAT:
        raise _malformed(f"it is not of the form {FORMAT}")
    if not isinstance(file["outputs"], dict):
        raise _malformed("its outputs are no table")
    content = read_outputs(file["outputs"], card=decode_scorecard(encode_json(file["scorecard"])))
    if encode_content(content) != data:
        raise _malformed("the bytes are not the canonical form of their content")
    return content


def read_content_facts(data: bytes) -> ContentFacts:
    """Return what a reviewer has to know of a content; raises as ``decode_content``."""
    content = decode_content(data)
    values = {output: output_values(content, output) for output in content.outputs.allowed}
    return ContentFacts(outputs=values, inputs=content.card.feature_names, rank=1)


def output_values(content: ModelContent, output: Output) -> int:
    """Return how many different values an output of a card can have at most: what one answer reveals, in bits."""
    if output is Output.YES_NO:
        return 2
    if output is Output.BAND:
        return len(content.outputs.bands)
    if output is Output.POINTS:
        return reachable_points(content.card)
    # Up to four features in an order, each named as lost or as not known.
    features = len(content.card.features)
    return sum(math.perm(features, count) << count for count in range(min(features, MAX_REASONS) + 1))


def reachable_points(card: Scorecard) -> int:
    """Return how many different scores a card can give: the sums of one bin, or the unknown one, of each feature."""

    def with_feature(reached: int, points: tuple[int, ...]) -> int:
        least = min(points)
        return reduce(lambda found, earned: found | reached << (earned - least), points, 0)

    bins = ((*feature.points, feature.unknown_points) for feature in card.features)
    return reduce(with_feature, bins, 1).bit_count()


def _checked(content: ModelContent) -> ModelContent:
    """Return a content that can be run; raises as ``decode_content``."""
    outputs = content.outputs
    for name in content.card.feature_names:
        definition_of(name)
    if not outputs.allowed:
        raise _malformed("no output of it is declared")
    if outputs.bands and len(outputs.bands) != len(outputs.cuts) + 1:
        raise _malformed(f"{len(outputs.bands)} bands with {len(outputs.cuts)} cuts between them")
    if outputs.cuts and not outputs.bands:
        raise _malformed("it has cuts without bands")
    if len(set(outputs.bands)) != len(outputs.bands) or list(outputs.cuts) != sorted(set(outputs.cuts)):
        raise _malformed("a band stands in it twice, or its cuts do not rise")
    if outputs.points and (values := reachable_points(content.card)) > MAX_POINTS_VALUES:
        raise InvalidInput(
            "credit.output_too_fine",
            f"the points of this card can have {values} values where {MAX_POINTS_VALUES} may leave: declare bands",
        )
    return content


def _malformed(problem: str) -> InvalidInput:
    return InvalidInput("credit.content_malformed", f"not a model that can be run: {problem}")
