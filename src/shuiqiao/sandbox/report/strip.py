"""Scores against what happened later: one mark an enterprise, one lane for each ending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from shuiqiao.sandbox.report.drawing import Drawing, mark
from shuiqiao.sandbox.report.markup import Html, Language
from shuiqiao.sandbox.report.words import say_in
from shuiqiao.sandbox.scenario.result import DecisionRow

WIDTH = 360.0
MOST_MARKS = 600
"""Marks that a strip holds before they hide one another."""
_LANE = 108.0
_EDGE = 8.0
_SLOTS = 46
"""Places along the axis; marks that fall into the same place are stacked."""
_STACK = 78.0
_ENDINGS: tuple[tuple[bool | None, str], ...] = (
    (False, "decide.lane_repaid"),
    (True, "decide.lane_default"),
    (None, "decide.lane_unknown"),
)


def draw_strip(rows: Sequence[DecisionRow], *, language: Language) -> Html:
    """Draw decisions by score in a lane for each ending that occurs; the mark's shape is the outcome."""
    lanes = [(ending, key) for ending, key in _ENDINGS if any(row.defaulted is ending for row in rows)]
    height = _LANE * max(1, len(lanes)) + 40
    drawing = Drawing(width=WIDTH, height=height, language=language, label=say_in(language, "decide.strip"))
    points = [row.points for row in rows] or [0]
    low, high = min(points), max(max(points), min(points) + 1)
    for place, (ending, key) in enumerate(lanes):
        chosen = [row for row in rows if row.defaulted is ending]
        base = place * _LANE + _LANE - 4
        drawing.text((0, place * _LANE + 14), say_in(language, key, count=len(chosen)))
        drawing.line((0, base), (WIDTH, base), style="axis")
        _stack_marks(drawing, chosen[:MOST_MARKS], base=base, bounds=(low, high))
    drawing.text((0, height - 22), f"{low:,}", style="soft num")
    drawing.text((WIDTH, height - 22), f"{high:,}", style="soft num", anchor="end")
    drawing.text((WIDTH / 2, height - 6), say_in(language, "decide.strip_axis"), style="soft", anchor="middle")
    return drawing.finish()


def _stack_marks(drawing: Drawing, rows: Sequence[DecisionRow], *, base: float, bounds: tuple[int, int]) -> None:
    slots = [round((row.points - bounds[0]) / (bounds[1] - bounds[0]) * (_SLOTS - 1)) for row in rows]
    tallest = max(Counter(slots).values(), default=1)
    rise = min(9.0, _STACK / tallest)
    filled: Counter[int] = Counter()
    for row, slot in sorted(zip(rows, slots, strict=True), key=lambda pair: (pair[1], pair[0].outcome)):
        x = _EDGE + slot * (WIDTH - 2 * _EDGE) / (_SLOTS - 1)
        mark(drawing, (x, base - 7 - filled[slot] * rise), outcome=row.outcome, size=2.9)
        filled[slot] += 1
