"""A scorecard as bytes: canonical JSON of integers and text, so that one model has one digest.

Reading is strict: what does not re-encode to the same bytes, or is no possible card, is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.scorecard import BASE_ODDS, BASE_SCORE, POINTS_TO_DOUBLE, Scorecard, ScorecardFeature

MAX_SCORECARD_BYTES = 1_000_000
"""Largest scorecard file: 64 features of 64 bins need under 200 kB."""

FORMAT: Literal["shuiqiao-scorecard@1"] = "shuiqiao-scorecard@1"

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Points = Annotated[int, msgspec.Meta(ge=-100_000, le=100_000)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern="^[a-z0-9][a-z0-9_.@-]*$")]
_MAX_BINS = 64


class _FeatureForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: _Name
    cuts: Annotated[tuple[_Int64, ...], msgspec.Meta(max_length=_MAX_BINS - 1)]
    points: Annotated[tuple[_Points, ...], msgspec.Meta(min_length=1, max_length=_MAX_BINS)]
    unknown_points: _Points
    counts: Annotated[tuple[_Count, ...], msgspec.Meta(max_length=_MAX_BINS + 1)]
    bad: Annotated[tuple[_Count, ...], msgspec.Meta(max_length=_MAX_BINS + 1)]


class _CardForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: Literal["shuiqiao-scorecard@1"]
    name: _Name
    base_score: int
    base_odds: int
    points_to_double: int
    base_points: _Points
    features: Annotated[tuple[_FeatureForm, ...], msgspec.Meta(max_length=64)]
    n: _Count
    bad: _Count


def encode_scorecard(card: Scorecard) -> bytes:
    """Return the canonical bytes of a card."""
    form = _CardForm(
        format=FORMAT,
        name=card.name,
        base_score=BASE_SCORE,
        base_odds=BASE_ODDS,
        points_to_double=POINTS_TO_DOUBLE,
        base_points=card.base_points,
        features=tuple(
            _FeatureForm(
                name=feature.name,
                cuts=feature.cuts,
                points=feature.points,
                unknown_points=feature.unknown_points,
                counts=feature.counts,
                bad=feature.bad,
            )
            for feature in card.features
        ),
        n=card.n,
        bad=card.bad,
    )
    return encode_json(msgspec.to_builtins(form))


def decode_scorecard(data: bytes) -> Scorecard:
    """Return the card that canonical bytes stand for.

    Raises InvalidInput ``credit.scorecard_malformed`` (and those of ``base.encoding.decode_json``).
    """
    try:
        form = typed(decode_json(data, max_bytes=MAX_SCORECARD_BYTES), _CardForm)
    except msgspec.ValidationError as error:
        raise InvalidInput("credit.scorecard_malformed", f"not a scorecard: {error}") from error
    problem = _problem(form)
    if problem:
        raise InvalidInput("credit.scorecard_malformed", f"not a scorecard: {problem}")
    card = Scorecard(
        name=form.name,
        base_points=form.base_points,
        features=tuple(_feature(entry) for entry in form.features),
        n=form.n,
        bad=form.bad,
    )
    if encode_scorecard(card) != data:
        raise InvalidInput("credit.scorecard_malformed", "the bytes are not the canonical form of their content")
    return card


def scorecard_digest(card: Scorecard, *, digest: Callable[[bytes], bytes]) -> bytes:
    """Return the model's digest under a suite hash: the name by which a network registers and approves it."""
    return digest(encode_scorecard(card))


def _feature(form: _FeatureForm) -> ScorecardFeature:
    return ScorecardFeature(
        name=form.name,
        cuts=form.cuts,
        points=form.points,
        unknown_points=form.unknown_points,
        counts=form.counts,
        bad=form.bad,
    )


def _problem(form: _CardForm) -> str:
    """Say what is impossible about a well-typed card, or nothing."""
    scale = (form.base_score, form.base_odds, form.points_to_double)
    if scale != (BASE_SCORE, BASE_ODDS, POINTS_TO_DOUBLE):
        return f"its scale is {scale}, not {(BASE_SCORE, BASE_ODDS, POINTS_TO_DOUBLE)}"
    names = [feature.name for feature in form.features]
    if len(set(names)) != len(names):
        return "a feature stands in it twice"
    for feature in form.features:
        if len(feature.points) != len(feature.cuts) + 1:
            return f"{feature.name} has {len(feature.cuts)} cuts and {len(feature.points)} bins"
        if list(feature.cuts) != sorted(set(feature.cuts)):
            return f"the cuts of {feature.name} do not rise"
        if not len(feature.counts) == len(feature.bad) == len(feature.points) + 1:
            return f"{feature.name} does not count the firms of each of its bins"
    return ""
