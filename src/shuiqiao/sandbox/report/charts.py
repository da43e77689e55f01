"""The drawings of the page by name, each in both languages."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shuiqiao.sandbox.report import amounts
from shuiqiao.sandbox.report.bars import OUTCOMES, Bar, draw_bars, draw_limits, draw_stacks
from shuiqiao.sandbox.report.contents import approved_limits, common_reasons, outcomes_by_bank
from shuiqiao.sandbox.report.curves import draw_calibration, draw_intervals, draw_ks, draw_roc
from shuiqiao.sandbox.report.flow import decisions_in, draw_flow_narrow, draw_flow_wide
from shuiqiao.sandbox.report.markup import Html, Language, in_both
from shuiqiao.sandbox.report.strip import draw_strip
from shuiqiao.sandbox.report.words import name_of, say_in, split_name
from shuiqiao.sandbox.scenario.result import ScenarioResult


def draw(name: str, result: ScenarioResult) -> Html:
    """Return one of the page's drawings by name, in both languages; a KeyError names one that does not exist."""
    painter = _PAINTERS[name]
    return in_both(lambda language: painter(result, language), tag="div")


def _flow(result: ScenarioResult, language: Language) -> Html:
    wide = draw_flow_wide(result, language=language)
    return Html(wide.text + draw_flow_narrow(result, language=language).text)


def _roc(result: ScenarioResult, language: Language) -> Html:
    return draw_roc(result.details.model, result.figures.model, language=language)


def _ks(result: ScenarioResult, language: Language) -> Html:
    return draw_ks(result.details.model, result.figures.model, language=language)


def _calibration(result: ScenarioResult, language: Language) -> Html:
    return draw_calibration(result.details.model, language=language)


def _intervals(result: ScenarioResult, language: Language) -> Html:
    return draw_intervals(result.details.model, result.figures.model, language=language)


def _strip(result: ScenarioResult, language: Language) -> Html:
    return draw_strip(result.details.decisions, language=language)


def _limits(result: ScenarioResult, language: Language) -> Html:
    return draw_limits(approved_limits(result), language=language, label=say_in(language, "decide.limits"))


def _outcomes(result: ScenarioResult, language: Language) -> Html:
    return draw_bars(_outcome_bars(result, language), language=language, label=say_in(language, "decide.outcomes"))


def _banks(result: ScenarioResult, language: Language) -> Html:
    rows = [(language.of(words), counts) for words, counts in outcomes_by_bank(result)]
    return draw_stacks(rows, language=language, label=say_in(language, "decide.by_bank"))


def _steps(result: ScenarioResult, language: Language) -> Html:
    bars = [
        Bar(
            label=language.of(split_name(name)),
            amount=seconds,
            value=say_in(language, "paper.seconds", seconds=amounts.seconds(seconds)),
        )
        for name, seconds in result.details.step_seconds.items()
    ]
    return draw_bars(bars, language=language, label=say_in(language, "paper.steps_title"))


def _reasons(result: ScenarioResult, language: Language) -> Html:
    bars = [Bar(label=language.of(words), amount=count, value=f"{count:,}") for words, count in common_reasons(result)]
    return draw_bars(bars, language=language, label=say_in(language, "reason.title"))


def _kinds(result: ScenarioResult, language: Language) -> Html:
    bars = _bars("kind", result.details.transactions_by_kind, language=language)
    return draw_bars(bars, language=language, label=say_in(language, "ledger.kinds"))


def _kept(result: ScenarioResult, language: Language) -> Html:
    counts = {entry.rule: entry.records for entry in result.details.kept_out}
    bars = _bars("rule", counts, language=language)
    return draw_bars(bars, language=language, label=say_in(language, "kept.by_rule"))


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


def _bars(section: str, counts: Mapping[str, int], *, language: Language) -> list[Bar]:
    return [
        Bar(label=language.of(name_of(section, name)), amount=count, value=f"{count:,}")
        for name, count in counts.items()
    ]


_PAINTERS: Mapping[str, Callable[[ScenarioResult, Language], Html]] = {
    "flow": _flow,
    "roc": _roc,
    "ks": _ks,
    "calibration": _calibration,
    "intervals": _intervals,
    "strip": _strip,
    "limits": _limits,
    "outcomes": _outcomes,
    "banks": _banks,
    "steps": _steps,
    "reasons": _reasons,
    "kinds": _kinds,
    "kept": _kept,
}
