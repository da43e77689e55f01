"""Bar charts: counts by name, outcomes stacked by grade, limits by size. Every bar carries its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from shuiqiao.base.money import FEN_PER_YUAN
from shuiqiao.sandbox.report.drawing import Anchor, Drawing, clipped, mark, text_width, wrapped
from shuiqiao.sandbox.report.markup import Html, Language
from shuiqiao.sandbox.report.words import say_in

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
