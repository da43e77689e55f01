"""The model's curves: ROC with the baseline, KS, calibration with counts, and the areas with their intervals.

Curves carry their names beside them; line patterns differ as well as colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from shuiqiao.sandbox.report.drawing import Anchor, Drawing
from shuiqiao.sandbox.report.words import Html, Language, say_in
from shuiqiao.sandbox.scenario.result import ScenarioResult

WIDTH, HEIGHT = 360.0, 330.0
_LEFT, _TOP, _SIDE = 44.0, 26.0, 300.0
_DEPTH = 250.0
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_ROOM_FOR_NAME = 60.0
"""Pixels that a curve's name needs to its left."""
_WIDTH_OF_COUNT, _HEIGHT_OF_COUNT = 24.0, 14.0
_Z95 = 1.959964
_MOST_POINTS = 400
"""Points of a curve that are drawn: more than the eye resolves at this size."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """A square of 0..top on both axes, placed in a drawing."""

    top: float = 1.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies in the drawing."""
        return _LEFT + _SIDE * min(x / self.top, 1), _TOP + _DEPTH * (1 - min(y / self.top, 1))


def draw_roc(result: ScenarioResult, language: Language) -> Html:
    """Draw the ROC of the model and of the baseline on the same folds."""
    model, figures = result.details.model, result.figures.model
    drawing, axes = _frame(language, title="model.roc", x="model.roc_x", y="model.roc_y")
    drawing.path([axes.at(0, 0), axes.at(1, 1)], style="curve chance")
    drawing.text(axes.at(0.7, 0.63), say_in(language, "model.chance"), style="soft")
    drawing.path(_placed(model.baseline_roc, axes), style="curve second")
    drawing.path(_placed(model.roc, axes), style="curve first")
    names = (("first", "model.this_model", figures.auc), ("second", "model.revenue_only", figures.baseline_auc))
    for row, (style, key, area) in enumerate(names):
        y = _TOP + _DEPTH - 52 + row * 22
        drawing.line((_LEFT + 138, y), (_LEFT + 166, y), style=f"curve {style}")
        drawing.text((_LEFT + 172, y + 4.5), f"{say_in(language, key)} {area:.3f}", style="strong" if row == 0 else "")
    return drawing.finish()


def draw_ks(result: ScenarioResult, language: Language) -> Html:
    """Draw the cumulative shares of good and bad by score, and the largest distance between them."""
    model, figures = result.details.model, result.figures.model
    drawing, axes = _frame(language, title="model.ks_title", x="model.ks_x", y="model.ks_y")
    drawing.path(_placed(model.ks_good, axes), style="curve second")
    drawing.path(_placed(model.ks_bad, axes), style="curve first")
    x, low, high = widest_gap(model.ks_good, model.ks_bad)
    drawing.line(axes.at(x, low), axes.at(x, high), style="gap")
    middle = axes.at(x, (low + high) / 2)
    drawing.text((middle[0] + 7, middle[1] + 4), f"KS {figures.ks:.3f}", style="strong")
    _name_curve(drawing, axes, model.ks_bad, say_in(language, "model.bad_label"), share=0.93, above=True)
    _name_curve(drawing, axes, model.ks_good, say_in(language, "model.good_label"), share=0.55, above=False)
    return drawing.finish()


def draw_calibration(result: ScenarioResult, language: Language) -> Html:
    """Draw predicted against observed default rates with the number of firms and a 95 % interval of each band."""
    model = result.details.model
    ends = [max(predicted, wilson_interval(observed, firms)[1]) for predicted, observed, firms in model.calibration]
    top = _round_up(max(ends, default=1.0))
    drawing, axes = _frame(
        language, title="model.calibration", x="model.calibration_x", y="model.calibration_y", top=top
    )
    drawing.path([axes.at(0, 0), axes.at(top, top)], style="curve chance")
    for predicted, observed, firms in model.calibration:
        low, high = wilson_interval(observed, firms)
        drawing.line(axes.at(predicted, low), axes.at(predicted, high), style="whisker")
        drawing.circle(axes.at(predicted, observed), 4.5, style="mark accent")
    _name_bands(drawing, axes, model.calibration)
    return drawing.finish()


def _name_bands(drawing: Drawing, axes: Axes, bands: Sequence[tuple[float, float, int]]) -> None:
    """Write each band's number of firms above its interval, lifted where it would run into its neighbour's."""
    before = (-_WIDTH_OF_COUNT, 0.0)
    for predicted, observed, firms in sorted(bands):
        x, y = axes.at(predicted, wilson_interval(observed, firms)[1])
        y -= 6
        if x - before[0] < _WIDTH_OF_COUNT and abs(y - before[1]) < _HEIGHT_OF_COUNT:
            y = before[1] - _HEIGHT_OF_COUNT
        drawing.text((x, y), f"{firms:,}", style="num", anchor="middle")
        before = (x, y)


def draw_intervals(result: ScenarioResult, language: Language) -> Html:
    """Draw both areas with their 95 % intervals on one scale, from a half or below, where an interval goes there."""
    model, figures = result.details.model, result.figures.model
    drawing = Drawing(width=WIDTH, height=150, language=language, label=say_in(language, "model.intervals"))
    rows = (
        ("model.this_model", figures.auc, figures.auc_ci, "first"),
        ("model.revenue_only", figures.baseline_auc, model.baseline_auc_ci, "second"),
    )
    lowest = min(value for _, area, interval, _ in rows for value in (area, *(interval or ())))
    ticks = [tick / 10 for tick in range(min(5, int(lowest * 10)), 11)]
    for row, (key, area, interval, style) in enumerate(rows):
        top = row * 50.0
        drawing.text((0, top + 14), say_in(language, key))
        drawing.text((WIDTH, top + 14), _interval_text(area, interval, language=language), style="num", anchor="end")
        if interval is not None:
            ends = [(_area_at(end, ticks), top + 30) for end in interval]
            drawing.line(ends[0], ends[1], style=f"range {style}")
        drawing.circle((_area_at(area, ticks), top + 30), 5.5, style=f"mark {style}")
    _area_axis(drawing, ticks)
    return drawing.finish()


def _area_axis(drawing: Drawing, ticks: Sequence[float]) -> None:
    drawing.line((0, 112), (WIDTH, 112), style="axis")
    for tick in ticks:
        anchor: Anchor = "start" if tick == ticks[0] else "end" if tick == ticks[-1] else "middle"
        drawing.line((_area_at(tick, ticks), 112), (_area_at(tick, ticks), 117), style="axis")
        drawing.text((_area_at(tick, ticks), 132), f"{tick:.1f}", style="soft num", anchor=anchor)


def _area_at(area: float, ticks: Sequence[float]) -> float:
    return WIDTH * (area - ticks[0]) / (ticks[-1] - ticks[0])


def widest_gap(good: Points, bad: Points) -> tuple[float, float, float]:
    """Return (x, low y, high y) where two cumulative curves lie furthest apart."""
    places = sorted({x for x, _ in (*good, *bad)})
    return max((_gap(good, bad, x) for x in places), key=lambda gap: gap[2] - gap[1], default=(0.0, 0.0, 0.0))


def _gap(good: Points, bad: Points, x: float) -> tuple[float, float, float]:
    one, other = _height(good, x), _height(bad, x)
    return x, min(one, other), max(one, other)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of an observed share among so many; all of 0..1 where there are none."""
    if count <= 0:
        return 0.0, 1.0
    spread = _Z95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = _Z95 / (1 + spread) * sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def _frame(language: Language, *, title: str, x: str, y: str, top: float = 1.0) -> tuple[Drawing, Axes]:
    drawing = Drawing(width=WIDTH, height=HEIGHT, language=language, label=say_in(language, title))
    axes = Axes(top=top)
    for tick in _TICKS:
        across, along = axes.at(0, tick * top), axes.at(tick * top, 0)
        drawing.line(across, axes.at(top, tick * top), style="grid")
        drawing.text((_LEFT - 7, across[1] + 4), _tick(tick * top), style="soft num", anchor="end")
        anchor: Anchor = "end" if tick == 1 else "middle"
        drawing.text((along[0], _TOP + _DEPTH + 18), _tick(tick * top), style="soft num", anchor=anchor)
    drawing.text((0, 12), say_in(language, y), style="soft")
    drawing.text((_LEFT + _SIDE / 2, HEIGHT - 14), say_in(language, x), style="soft", anchor="middle")
    return drawing, axes


def _placed(points: Points, axes: Axes) -> list[tuple[float, float]]:
    stride = -(-len(points) // _MOST_POINTS) or 1
    chosen = [*points[::stride], *points[-1:]]
    return [axes.at(x, y) for x, y in chosen] or [axes.at(0, 0)]


def _name_curve(drawing: Drawing, axes: Axes, points: Points, name: str, *, share: float, above: bool) -> None:
    """Write a curve's name where it first reaches a height, above to the left or below to the right."""
    x, y = next(((x, y) for x, y in points if y >= share), (1.0, 1.0))
    place = axes.at(x, y)
    at, anchor = _beside(place, above=above)
    drawing.text(at, name, anchor=anchor)


def _beside(place: tuple[float, float], *, above: bool) -> tuple[tuple[float, float], Anchor]:
    if not above:
        return (place[0] + 10, place[1] + 14), "start"
    if place[0] < _LEFT + _ROOM_FOR_NAME:
        return (place[0] + 8, place[1] - 6), "start"
    return (place[0] - 8, place[1] - 6), "end"


def _height(points: Points, x: float) -> float:
    """Return a curve's height at x: straight between points, the last point's where there are several at x."""
    before = (0.0, 0.0)
    for point in points:
        if point[0] > x:
            width = point[0] - before[0]
            return before[1] + (point[1] - before[1]) * (x - before[0]) / width
        before = point
    return before[1]


def _round_up(value: float) -> float:
    return next((top for top in (0.1, 0.2, 0.4, 0.6, 0.8) if value <= top), 1.0)


def _tick(value: float) -> str:
    return f"{value:.0%}" if round(value * 100, 6) == round(value * 100) else f"{value:.1%}"


def _interval_text(area: float, interval: tuple[float, float] | None, *, language: Language) -> str:
    if interval is None:
        return f"{area:.3f} · {say_in(language, 'page.not_measured')}"
    return f"{area:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
