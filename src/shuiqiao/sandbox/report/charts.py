"""The drawings of the page by name, each in both languages."""

from __future__ import annotations

from collections.abc import Mapping

from shuiqiao.sandbox.report import amounts
from shuiqiao.sandbox.report.bars import OUTCOMES, Bar, draw_bars, draw_limits, draw_stacks
from shuiqiao.sandbox.report.contents import approved_limits
from shuiqiao.sandbox.report.curves import draw_calibration, draw_intervals, draw_ks, draw_roc
from shuiqiao.sandbox.report.flow import decisions_in, draw_flow_narrow, draw_flow_wide
from shuiqiao.sandbox.report.markup import Html, Language, in_both
from shuiqiao.sandbox.report.strip import draw_strip
from shuiqiao.sandbox.report.words import name_of, say_in
from shuiqiao.sandbox.scenario.result import ScenarioResult


def draw(name: str, result: ScenarioResult) -> Html:
    """Return one of the page's drawings by name, in both languages."""
    figures, details = result.figures, result.details

    def in_language(language: Language) -> Html:
        match name:
            case "flow":
                wide = draw_flow_wide(result, language=language)
                return Html(wide.text + draw_flow_narrow(result, language=language).text)
            case "roc":
                return draw_roc(details.model, figures.model, language=language)
            case "ks":
                return draw_ks(details.model, figures.model, language=language)
            case "calibration":
                return draw_calibration(details.model, language=language)
            case "intervals":
                return draw_intervals(details.model, figures.model, language=language)
            case "strip":
                return draw_strip(details.decisions, language=language)
            case _:
                return _draw_counts(name, result, language=language)

    return in_both(in_language, tag="div")


def _draw_counts(name: str, result: ScenarioResult, *, language: Language) -> Html:
    details = result.details
    match name:
        case "outcomes":
            return draw_bars(
                _outcome_bars(result, language), language=language, label=_title("decide.outcomes", language)
            )
        case "grades":
            rows = [
                (language.of(name_of("grade", grade)), (approved, referred, refused))
                for grade, approved, refused, referred in details.statistics
            ]
            return draw_stacks(rows, language=language, label=_title("decide.by_grade", language))
        case "limits":
            return draw_limits(approved_limits(result), language=language, label=_title("decide.limits", language))
        case "steps":
            bars = _bars("step", details.step_seconds, language=language)
            return draw_bars(bars, language=language, label=_title("paper.steps_title", language))
        case "kinds":
            bars = _bars("kind", details.transactions_by_kind, language=language)
            return draw_bars(bars, language=language, label=_title("ledger.kinds", language))
        case "kept":
            bars = _bars("rule", {entry.rule: entry.records for entry in details.kept_out}, language=language)
            return draw_bars(bars, language=language, label=_title("kept.by_rule", language))
        case _:
            raise KeyError(name)


def _title(key: str, language: Language) -> str:
    return say_in(language, key)


def _outcome_bars(result: ScenarioResult, language: Language) -> list[Bar]:
    counts, total = result.figures.decisions, decisions_in(result)
    by_outcome = {"approved": counts.approved, "referred": counts.referred, "refused": counts.refused}
    return [
        Bar(
            label=say_in(language, f"outcome.{outcome}"),
            amount=by_outcome[outcome],
            value=say_in(
                language, "decide.count", count=by_outcome[outcome], share=amounts.share(by_outcome[outcome], total)
            ),
            style=f"{outcome} texture-{outcome}",
            outcome=outcome,
        )
        for outcome in OUTCOMES
    ]


def _bars(section: str, counts: Mapping[str, float], *, language: Language) -> list[Bar]:
    return [
        Bar(
            label=language.of(name_of(section, name)),
            amount=amount,
            value=say_in(language, "paper.seconds", seconds=amounts.seconds(amount))
            if section == "step"
            else f"{amount:,.0f}",
        )
        for name, amount in counts.items()
    ]
