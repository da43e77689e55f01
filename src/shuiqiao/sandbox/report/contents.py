"""What the sections of the page say of a run: rows and cards, ready for the templates.

Nothing is invented here: a number comes from the result or is counted from it, and one that is missing stays None,
which the page shows as not measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median

from shuiqiao.base.words import Words
from shuiqiao.sandbox.report import amounts
from shuiqiao.sandbox.report.words import Html, Value, both, say, show_name, words_of
from shuiqiao.sandbox.scenario.result import (
    DecisionRow,
    ModelFigures,
    ScenarioFigures,
    ScenarioResult,
    TamperChecks,
    TamperStory,
    Visibility,
)

_SIGNIFICANT = 0.05
_MOST_REASONS = 6
_CONSENT_STEP, _AUDIT_STEP = "consent", "audit"
"""How the names of the run's steps begin whose time the comparison shows."""
_SHARED_KINDS = 1.5
"""Mean number of parties that a kind of data concerns, from which one table of all says more than a card each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperStep:
    """One step of the comparison. time: how long it took here, None where it was not measured."""

    name: str
    here: Html
    time: Html | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SightRow:
    """One kind of data, and for each party in turn: seen, hidden or neither."""

    kind: Html
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TamperCard:
    """One check with its story, if one was kept."""

    check: str
    is_caught: bool
    story: TamperStory | None


def checks_of(figures: ScenarioFigures) -> Mapping[str, bool]:
    """Return every check of a run by name."""
    groups = (figures.audit, figures.record_management_only, figures.tamper_checks)
    checks = {
        field.name: value
        for group in groups
        for field in fields(group)
        if isinstance(value := getattr(group, field.name), bool)
    }
    return checks if figures.network_checks is None else {**checks, **figures.network_checks.checks()}


def failures_of(result: ScenarioResult) -> list[str]:
    """Return the names of checks that failed, ``audit_problems`` among them where the audit found any."""
    failed = result.figures.failed_checks()
    return [*failed, "audit_problems"] if result.details.audit_problems else failed


def approved_limits(result: ScenarioResult) -> list[int]:
    """Return the limits of approved loans in fen."""
    return [row.limit_fen for row in result.details.decisions if row.outcome == "approved" and row.limit_fen > 0]


def limits_note(result: ScenarioResult) -> Html | None:
    """Return total and median of the approved limits, None where there is none."""
    limits = approved_limits(result)
    if not limits:
        return None
    middle = int(median(limits))
    return say("decide.limits_note", total=amounts.yuan_short(sum(limits)), median=amounts.yuan_short(middle))


def paper_steps(result: ScenarioResult) -> tuple[PaperStep, ...]:
    """Return the steps of the comparison with what this run measured."""
    figures, details = result.figures, result.details
    read = {"read": figures.records_read}
    return (
        _paper_step("gather", _ingest_time(figures), **read),
        _paper_step(
            "authorise",
            _time_of(details.step_seconds, _CONSENT_STEP, "paper.time_authorise"),
            consents=figures.consents,
        ),
        _paper_step("check", say("paper.time_within"), records=details.records_disclosed),
        _paper_step("judge", _decision_time(figures)),
        _paper_step("explain", say("paper.time_with")),
        _paper_step(
            "supervise",
            _time_of(details.step_seconds, _AUDIT_STEP, "paper.time_step"),
            replayed=figures.audit.replayed,
            signatures=figures.audit.signatures_verified,
            anchors=figures.audit.anchors_verified,
        ),
        _paper_step("withdraw", None),
    )


def _paper_step(name: str, time: Html | None, **values: Value) -> PaperStep:
    return PaperStep(name=name, here=say(f"paper.{name}_here", **values), time=time)


def _ingest_time(figures: ScenarioFigures) -> Html | None:
    if figures.ingest_records_per_s <= 0:
        return None
    seconds = figures.records_read / figures.ingest_records_per_s
    return say("paper.time_ingest", seconds=amounts.seconds(seconds), read=figures.records_read)


def _time_of(steps: Mapping[str, float], begins: str, key: str) -> Html | None:
    """Return the seconds of the step whose name begins so, None where the run had no such step."""
    found = next((seconds for name, seconds in steps.items() if name.startswith(begins)), None)
    return None if found is None else say(key, seconds=amounts.seconds(found))


def _decision_time(figures: ScenarioFigures) -> Html:
    times = figures.decision_ms
    return say("paper.time_decision", p50=amounts.milliseconds(times.p50), p99=amounts.milliseconds(times.p99))


def party_name(result: ScenarioResult, party: str) -> Html:
    """Return a party's name in both languages: a member's own, a known part's, or the id as it is."""
    for member in result.details.parties:
        if member.member == party:
            return both(member.names)
    return show_name("party", party)


def outcomes_by_bank(result: ScenarioResult) -> list[tuple[Words, tuple[int, int, int]]]:
    """Return each bank's name with its decisions: (approved, referred, refused)."""
    names = {party.member: party.names for party in result.details.parties}
    counts = Counter((row.bank, row.outcome) for row in result.details.decisions)
    return [
        (
            names.get(bank, Words(zh=bank, en=bank)),
            (counts[bank, "approved"], counts[bank, "referred"], counts[bank, "refused"]),
        )
        for bank in sorted({bank for bank, _ in counts})
    ]


def has_shared_kinds(visibility: Sequence[Visibility]) -> bool:
    """Return whether kinds of data concern several parties, so that one table of all of them says most."""
    mentions = [kind for party in visibility for kind in (*party.seen, *party.hidden)]
    return len(mentions) >= _SHARED_KINDS * len(set(mentions)) > 0


def sight_rows(visibility: Sequence[Visibility]) -> tuple[SightRow, ...]:
    """Return one row for each kind of data that any party saw or did not see, in order of first mention."""
    kinds = dict.fromkeys(kind for party in visibility for kind in (*party.seen, *party.hidden))
    return tuple(SightRow(kind=both(kind), cells=tuple(_cell(party, kind) for party in visibility)) for kind in kinds)


def _cell(party: Visibility, kind: Words) -> str:
    if kind in party.seen:
        return "seen"
    return "hidden" if kind in party.hidden else "neither"


def tamper_cards(result: ScenarioResult) -> tuple[TamperCard, ...]:
    """Return a card for every tamper check, in the order of the contract, with its story if there is one."""
    stories = {story.check: story for story in result.details.tamper}
    return tuple(
        TamperCard(
            check=field.name,
            is_caught=bool(getattr(result.figures.tamper_checks, field.name)),
            story=stories.get(field.name),
        )
        for field in fields(TamperChecks)
    )


def reasons_of(row: DecisionRow) -> tuple[Words, ...]:
    """Return the reasons of a decision, each once: several features may give the same words."""
    return tuple(dict.fromkeys(row.reasons))


def adds_up(figures: ScenarioFigures) -> bool:
    """Return whether every record read is ingested, quarantined or reported as a duplicate."""
    kept_out = figures.records_quarantined + figures.duplicates_reported
    return figures.records_read == figures.records_ingested + kept_out


def verdict_on_baseline(figures: ModelFigures, paired_p_value: float | None) -> Html:
    """Return the sentence that says whether the model was shown to be better than revenue alone."""
    gap = f"{figures.auc - figures.baseline_auc:+.3f}".replace("-", "−")
    if paired_p_value is None:
        return say("model.honest_untested", gap=gap)
    is_better = paired_p_value < _SIGNIFICANT and figures.auc > figures.baseline_auc
    return say("model.honest_better" if is_better else "model.honest_no_better", gap=gap, p=f"{paired_p_value:.3f}")


def missing_figures(result: ScenarioResult) -> tuple[Html, ...]:
    """Return the names of figures that the page wanted and this run did not measure."""
    details = result.details
    absent = {
        "model.paired": details.model.paired_p_value is None,
        "model.baseline_interval": details.model.baseline_auc_ci is None,
        "limits.audit_time": not any(name.startswith(_AUDIT_STEP) for name in details.step_seconds),
    }
    return tuple(say("limits.missing_figure", name=words_of(key)) for key, is_absent in absent.items() if is_absent)


def common_reasons(result: ScenarioResult) -> list[tuple[Words, int]]:
    """Return the reasons of refusals and referrals, the most frequent first, with the number of decisions each."""
    counts = Counter(
        words for row in result.details.decisions if row.outcome != "approved" for words in reasons_of(row)
    )
    return counts.most_common(_MOST_REASONS)


def money(fen: int) -> Html:
    """Return a short amount in both languages."""
    return both(amounts.yuan_short(fen))
