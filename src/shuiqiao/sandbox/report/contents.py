"""Computes what the page's templates show of a run and its result does not hold as such.

Nothing is invented here: a number comes from the result or is counted from it, and one that is missing stays None,
which the page shows as not measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from shuiqiao.base.words import Words
from shuiqiao.sandbox.report import amounts
from shuiqiao.sandbox.report.words import Html, both, say, show_name, words_of
from shuiqiao.sandbox.scenario.result import (
    DecisionRow,
    ModelFigures,
    ScenarioResult,
    Visibility,
)

_SIGNIFICANT = 0.05
_MOST_REASONS = 6
_SHARED_KINDS = 1.5
"""Mean number of parties that a kind of data concerns, from which one table of all says more than a card each."""


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


def step_seconds(result: ScenarioResult, begins: str) -> str | None:
    """Return the seconds of the step whose name begins so, None where the run had no such step."""
    steps = result.details.step_seconds
    return next((amounts.seconds(seconds) for name, seconds in steps.items() if name.startswith(begins)), None)


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


def kinds_of_data(visibility: Sequence[Visibility]) -> tuple[Words, ...]:
    """Return each kind of data that any party saw or did not see, in order of first mention."""
    return tuple(dict.fromkeys(kind for party in visibility for kind in (*party.seen, *party.hidden)))


def reasons_of(row: DecisionRow) -> tuple[Words, ...]:
    """Return the reasons of a decision, each once: several features may give the same words."""
    return tuple(dict.fromkeys(row.reasons))


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
        "limits.audit_time": step_seconds(result, "audit") is None,
    }
    return tuple(say("limits.missing_figure", name=words_of(key)) for key, is_absent in absent.items() if is_absent)


def common_reasons(result: ScenarioResult) -> list[tuple[Words, int]]:
    """Return the reasons of refusals and referrals, the most frequent first, with the number of decisions each."""
    counts = Counter(
        words for row in result.details.decisions if row.outcome != "approved" for words in reasons_of(row)
    )
    return counts.most_common(_MOST_REASONS)
