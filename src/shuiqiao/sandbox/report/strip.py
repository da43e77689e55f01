"""Scores against what happened later: one mark an enterprise, one lane for each ending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from shuiqiao.sandbox.report.drawing import Drawing, mark
from shuiqiao.sandbox.report.markup import Html, Language
from shuiqiao.sandbox.report.words import say_in
from shuiqiao.sandbox.scenario.result import DecisionRow

WIDTH = 360.0
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
