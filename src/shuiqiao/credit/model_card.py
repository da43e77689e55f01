"""The model card: what a model was made of, how well it did, and where it must not be trusted.

Management of internet loans (CBIRC 2020 No. 9, articles 34 to 42) asks for models whose making, testing and limits are
on record. Numbers are text with four decimals, so that the card can be hashed like every other document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from shuiqiao.credit.model import MICRO, Interval
from shuiqiao.credit.scorecard import BASE_ODDS, BASE_SCORE, POINTS_TO_DOUBLE, Scorecard, ScorecardFeature
from shuiqiao.credit.validation import Validation
from shuiqiao.features.catalogue import FEATURE_BY_NAME

STANDING_LIMITS = (
    "Few bad firms: the interval of the AUC is the figure to read, not the AUC.",
    "Where the data has no dates of default, look-ahead in the labels cannot be excluded.",
    "The status of an invoice is the one on record when it was read, not the one on the day of judgement.",
    "No discrimination test by owner or region has been run on this card.",
)


def model_card(card: Scorecard, *, validation: Validation, data: str, limits: Sequence[str] = ()) -> dict[str, Any]:
    """Return the card as a JSON-ready map of text, integers and lists. data: one sentence on the training data."""
    calibration = [
        {"n": band.n, "bad": band.bad, "mean_predicted": _text(band.mean_predicted)} for band in validation.calibration
    ]
    return _content(card, data=data, metrics=_metrics(validation), calibration=calibration, limits=limits)


def given_model_card(
    card: Scorecard, *, data: str, metrics: Mapping[str, str], limits: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the card of a model that was developed elsewhere. metrics: as its owner says, with ``auc`` and ``ks``."""
    told = {"validation": "elsewhere, as its owner says", **metrics}
    return _content(card, data=data, metrics=told, calibration=[], limits=limits)


def _content(
    card: Scorecard,
    *,
    data: str,
    metrics: Mapping[str, str],
    calibration: list[dict[str, Any]],
    limits: Sequence[str],
) -> dict[str, Any]:
    return {
        "model": card.name,
        "data": data,
        "n": card.n,
        "bad": card.bad,
        "scale": {"base_score": BASE_SCORE, "base_odds": BASE_ODDS, "points_to_double": POINTS_TO_DOUBLE},
        "base_points": card.base_points,
        "metrics": dict(metrics),
        "calibration": calibration,
        "features": [_feature(feature) for feature in card.features],
        "limits": [*STANDING_LIMITS, *limits],
    }


def model_card_markdown(content: Mapping[str, Any]) -> str:
    """Return a model card as Markdown."""
    metrics = [f"| {name} | {value} |" for name, value in content["metrics"].items()]
    bands = [f"| {band['n']} | {band['bad']} | {band['mean_predicted']} |" for band in content["calibration"]]
    lines = [
        f"# Model card: {content['model']}",
        "",
        f"{content['data']} Trained on {content['n']} firms, {content['bad']} of them bad.",
        "",
        "| metric (nested, out of fold) | value |",
        "|---|---|",
        *metrics,
        "",
        "| firms | bad | mean predicted |",
        "|---|---|---|",
        *bands,
        "",
        f"Base points {content['base_points']}.",
        *(line for feature in content["features"] for line in _feature_markdown(feature)),
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in content["limits"]),
        "",
    ]
    return "\n".join(lines)


def _metrics(validation: Validation) -> dict[str, str]:
    comparison = validation.comparison
    return {
        "validation": f"{validation.repeats} x stratified {validation.outer_folds}-fold, nested",
        "auc": _text(validation.area.auc),
        "auc_ci_95": _interval(validation.area.interval),
        "baseline_auc": _text(validation.baseline.auc),
        "baseline_auc_ci_95": _interval(validation.baseline.interval),
        "difference": _text(comparison.difference),
        "difference_ci_95": f"{_text(comparison.interval_low)} to {_text(comparison.interval_high)}",
        "difference_p_value": _text(comparison.p_value),
        "ks": _text(validation.ks),
        "brier": _text(validation.brier),
    }


def _feature(feature: ScorecardFeature) -> dict[str, Any]:
    definition = FEATURE_BY_NAME[feature.name]
    return {
        "name": feature.name,
        "name_zh": definition.name_zh,
        "formula": definition.formula,
        "window": definition.window,
        "bins": [
            {"values": span, "points": points, "n": count, "bad": bad}
            for span, points, count, bad in zip(
                (*_spans(feature.cuts), "unknown"),
                (*feature.points, feature.unknown_points),
                feature.counts,
                feature.bad,
                strict=True,
            )
        ],
    }


def _feature_markdown(feature: Mapping[str, Any]) -> list[str]:
    return [
        "",
        f"## {feature['name']} {feature['name_zh']}",
        "",
        f"{feature['formula']} ({feature['window']})",
        "",
        "| values | points | firms | bad |",
        "|---|---|---|---|",
        *(f"| {entry['values']} | {entry['points']} | {entry['n']} | {entry['bad']} |" for entry in feature["bins"]),
    ]


def _spans(cuts: Sequence[int]) -> list[str]:
    edges = [_text(cut / MICRO) for cut in cuts]
    if not edges:
        return ["any"]
    between = [f"{low} to under {high}" for low, high in pairwise(edges)]
    return [f"under {edges[0]}", *between, f"{edges[-1]} and over"]


def _interval(interval: Interval) -> str:
    return f"{_text(interval.low)} to {_text(interval.high)}"


def _text(value: float) -> str:
    return f"{value:.4f}"
