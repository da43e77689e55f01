"""The drawings of the page by name, each in both languages; the bar charts and the strip of scores are drawn here.

Counts by name, outcomes stacked by bank, limits by size: every bar carries its number. Scores against what happened
later: one mark an enterprise, one lane for each ending.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from shuiqiao.base.money import FEN_PER_YUAN
from shuiqiao.base.words import Words
from shuiqiao.sandbox.report import amounts
from shuiqiao.sandbox.report.contents import approved_limits, common_reasons, outcomes_by_bank
from shuiqiao.sandbox.report.curves import draw_calibration, draw_intervals, draw_ks, draw_roc
from shuiqiao.sandbox.report.drawing import Anchor, Drawing, clipped, mark, text_width, wrapped
from shuiqiao.sandbox.report.flow import decisions_in, draw_flow
from shuiqiao.sandbox.report.words import Html, Language, in_both, name_of, say_in, split_name
from shuiqiao.sandbox.scenario.result import DecisionRow, ScenarioResult

Painter = Callable[[ScenarioResult, Language], Html]

WIDTH = 360.0
OUTCOMES = ("approved", "referred", "refused")
_ROW, _LINE = 40.0, 16.0
_LABEL_SIZE = 13.5
_FEN_PER_WAN = 10_000 * FEN_PER_YUAN
_MOST_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar. label and value in the language of the drawing; style: class that colours it."""

    label: str
    amount: float
    value: str
    style: str = "accent"
    outcome: str | None = None


def draw_bars(bars: Sequence[Bar], *, language: Language, label: str) -> Html:
    """Draw horizontal bars, name above on one line or two, and the number at the end of the first."""
    names = [wrapped(bar.label, width=_room(bar.value) - _indent(bar), size=_LABEL_SIZE) for bar in bars]
    height = sum(_ROW + _LINE * (len(lines) - 1) for lines in names) + 4
    drawing = Drawing(width=WIDTH, height=max(height, _ROW), language=language, label=label)
    most = max((bar.amount for bar in bars), default=0) or 1
    top = 0.0
    for bar, lines in zip(bars, names, strict=True):
        _draw_bar(drawing, bar, lines=lines, top=top, most=most)
        top += _ROW + _LINE * (len(lines) - 1)
    return drawing.finish()


def _draw_bar(drawing: Drawing, bar: Bar, *, lines: Sequence[str], top: float, most: float) -> None:
    if bar.outcome:
        mark(drawing, (6, top + 11), outcome=bar.outcome)
    for number, line in enumerate(lines):
        drawing.text((_indent(bar), top + 15 + number * _LINE), line)
    drawing.text((WIDTH, top + 15), bar.value, style="num", anchor="end")
    base = top + 21 + _LINE * (len(lines) - 1)
    drawing.rect((0, base), (WIDTH, 10), style="track", radius=2)
    length = max(2.0, WIDTH * bar.amount / most) if bar.amount else 0
    drawing.rect((0, base), (length, 10), style=f"fill {bar.style}", radius=2)


def _indent(bar: Bar) -> float:
    return 16.0 if bar.outcome else 0.0


def _room(value: str) -> float:
    """Return the width that a bar's number leaves to its name."""
    return WIDTH - text_width(value, size=_LABEL_SIZE) - 12


def draw_stacks(rows: Sequence[tuple[str, tuple[int, int, int]]], *, language: Language, label: str) -> Html:
    """Draw one stacked bar a row: (name, (approved, referred, refused)), with a key above and the sum beside."""
    drawing = Drawing(width=WIDTH, height=28 + 46 * max(1, len(rows)), language=language, label=label)
    _key(drawing, language=language)
    most = max((sum(counts) for _, counts in rows), default=0) or 1
    for row, (name, counts) in enumerate(rows):
        top = 30 + row * 46
        total = f"{' + '.join(f'{count:,}' for count in counts)} = {sum(counts):,}"
        drawing.text((0, top + 14), clipped(name, width=_room(total), size=_LABEL_SIZE))
        drawing.text((WIDTH, top + 14), total, style="num", anchor="end")
        _stack(drawing, top + 20, counts, scale=WIDTH / most)
    return drawing.finish()


def _key(drawing: Drawing, *, language: Language) -> None:
    left = 6.0
    for outcome in OUTCOMES:
        name = say_in(language, f"outcome.{outcome}")
        mark(drawing, (left, 10), outcome=outcome)
        drawing.text((left + 11, 14.5), name)
        left += 34 + text_width(name, size=_LABEL_SIZE)


def _stack(drawing: Drawing, top: float, counts: tuple[int, int, int], *, scale: float) -> None:
    left = 0.0
    for outcome, count in zip(OUTCOMES, counts, strict=True):
        length = count * scale
        if not count:
            continue
        drawing.rect((left, top), (max(1.5, length - 1.5), 17), style=f"fill {outcome} texture-{outcome}", radius=2)
        if length > text_width(str(count), size=11.5) + 8:
            drawing.text((left + 5, top + 13), str(count), style=f"inside inside-{outcome}")
        left += length


def draw_limits(limits_fen: Sequence[int], *, language: Language, label: str) -> Html:
    """Draw how approved limits are spread, in bins of a round size; an empty book gets a sentence instead."""
    drawing = Drawing(width=WIDTH, height=210, language=language, label=label)
    if not limits_fen:
        drawing.text((0, 24), say_in(language, "decide.limits_none"))
        return drawing.finish()
    edges = _edges(max(limits_fen) / _FEN_PER_WAN)
    counts = [sum(low < fen / _FEN_PER_WAN <= high for fen in limits_fen) for low, high in pairwise(edges)]
    step, most = WIDTH / len(counts), max(counts)
    for place, count in enumerate(counts):
        height = 130 * count / most
        left = place * step
        drawing.rect((left + 1, 158 - height), (step - 2, height), style="fill accent", radius=2)
        if count:
            drawing.text((left + step / 2, 152 - height), str(count), style="num", anchor="middle")
    drawing.line((0, 158), (WIDTH, 158), style="axis")
    _limit_ticks(drawing, edges, step=step)
    drawing.text((WIDTH / 2, 200), say_in(language, "decide.limits_axis"), style="soft", anchor="middle")
    return drawing.finish()


def _limit_ticks(drawing: Drawing, edges: Sequence[float], *, step: float) -> None:
    for place, edge in enumerate(edges):
        anchor: Anchor = "start" if place == 0 else "end" if place == len(edges) - 1 else "middle"
        drawing.text((place * step, 175), f"{edge:,g}", style="soft num", anchor=anchor)


def _edges(largest_wan: float) -> list[float]:
    """Return round bin edges from zero that hold the largest amount, at most ten bins."""
    step = 1.0
    while largest_wan > step * _MOST_BINS:
        step *= 2.5 if f"{step:g}"[0] == "2" else 2
    bins = max(1, int(-(-largest_wan // step)))
    return [step * place for place in range(bins + 1)]


MOST_MARKS = 600
"""Marks that a strip holds before they hide one another."""
_EDGE = 8.0
_SLOTS = 46
"""Places along the axis; marks that fall into the same place are stacked."""
_STACK, _RISE = 96.0, 9.0
"""Pixels of the highest stack, and from mark to mark while it is not reached."""
_ENDINGS: tuple[tuple[bool | None, str], ...] = (
    (False, "decide.lane_repaid"),
    (True, "decide.lane_default"),
    (None, "decide.lane_unknown"),
)


def draw_strip(rows: Sequence[DecisionRow], *, language: Language) -> Html:
    """Draw decisions by score in a lane for each ending that occurs; the mark's shape is the outcome."""
    points = [row.points for row in rows] or [0]
    low, high = min(points), max(*points, min(points) + 1)
    lanes = [_Lane.of(rows, ending=ending, key=key, bounds=(low, high)) for ending, key in _ENDINGS]
    lanes = [lane for lane in lanes if lane.rows]
    height = sum(lane.height for lane in lanes) + 44
    drawing = Drawing(width=WIDTH, height=height, language=language, label=say_in(language, "decide.strip"))
    top = 0.0
    for lane in lanes:
        drawing.text((0, top + 14), say_in(language, lane.key, count=lane.count))
        lane.draw(drawing, base=top + lane.height - 6)
        top += lane.height
    drawing.text((0, height - 25), f"{low:,}", style="soft num")
    drawing.text((WIDTH, height - 25), f"{high:,}", style="soft num", anchor="end")
    drawing.text((WIDTH / 2, height - 6), say_in(language, "decide.strip_axis"), style="soft", anchor="middle")
    return drawing.finish()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lane:
    """The decisions of one ending. rows: (place along the axis, outcome) of those that are drawn; count: of all."""

    key: str
    rows: tuple[tuple[int, str], ...]
    count: int
    rise: float
    height: float

    @classmethod
    def of(cls, rows: Sequence[DecisionRow], *, ending: bool | None, key: str, bounds: tuple[int, int]) -> _Lane:
        """Place the decisions that ended so along the axis; a lane is as high as its tallest stack."""
        chosen = [row for row in rows if row.defaulted is ending]
        scale = (_SLOTS - 1) / (bounds[1] - bounds[0])
        placed = sorted((round((row.points - bounds[0]) * scale), row.outcome) for row in chosen[:MOST_MARKS])
        tallest = max(Counter(slot for slot, _ in placed).values(), default=1)
        rise = min(_RISE, _STACK / tallest)
        return cls(key=key, rows=tuple(placed), count=len(chosen), rise=rise, height=36 + rise * tallest)

    def draw(self, drawing: Drawing, *, base: float) -> None:
        """Draw the marks upwards from the base line."""
        drawing.line((0, base), (WIDTH, base), style="axis")
        filled: Counter[int] = Counter()
        for slot, outcome in self.rows:
            x = _EDGE + slot * (WIDTH - 2 * _EDGE) / (_SLOTS - 1)
            mark(drawing, (x, base - 7 - filled[slot] * self.rise), outcome=outcome, size=2.9)
            filled[slot] += 1


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


def _counts(title: str, counts_of: Callable[[ScenarioResult], Iterable[tuple[Words, int]]]) -> Painter:
    """Return what draws counts by name, under a title."""

    def paint(result: ScenarioResult, language: Language) -> Html:
        counts = counts_of(result)
        bars = [Bar(label=language.of(words), amount=count, value=f"{count:,}") for words, count in counts]
        return draw_bars(bars, language=language, label=say_in(language, title))

    return paint


def _named(section: str, counts: Mapping[str, int]) -> list[tuple[Words, int]]:
    return [(name_of(section, name), count) for name, count in counts.items()]


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


_PAINTERS: Mapping[str, Painter] = {
    "flow": draw_flow,
    "roc": draw_roc,
    "ks": draw_ks,
    "calibration": draw_calibration,
    "intervals": draw_intervals,
    "strip": lambda result, language: draw_strip(result.details.decisions, language=language),
    "limits": lambda result, language: draw_limits(
        approved_limits(result), language=language, label=say_in(language, "decide.limits")
    ),
    "outcomes": lambda result, language: draw_bars(
        _outcome_bars(result, language), language=language, label=say_in(language, "decide.outcomes")
    ),
    "banks": lambda result, language: draw_stacks(
        [(language.of(words), counts) for words, counts in outcomes_by_bank(result)],
        language=language,
        label=say_in(language, "decide.by_bank"),
    ),
    "steps": _steps,
    "reasons": _counts("reason.title", common_reasons),
    "kinds": _counts("ledger.kinds", lambda result: _named("kind", result.details.transactions_by_kind)),
    "kept": _counts("kept.by_rule", lambda result: _named("rule", result.details.kept_out)),
}


def draw(result: ScenarioResult, name: str) -> Html:
    """Return one of the page's drawings by name, in both languages; a KeyError names one that does not exist."""
    painter = _PAINTERS[name]
    return in_both(lambda language: painter(result, language), tag="div")
