"""A small SVG drawing: shapes in, one finished element out, every text escaped.

Colours are classes of the page's style sheet, so a drawing follows light, dark and print by itself. A drawing carries
its meaning in words for those who do not see it.
"""

from __future__ import annotations

from html import escape
from typing import Literal

from shuiqiao.sandbox.report.words import FIRST_CJK, Html, Language

Anchor = Literal["start", "middle", "end"]
CJK_WIDTH, LATIN_WIDTH = 1.0, 0.56
"""Estimated width of a character in units of the type size."""


class Drawing:
    """An SVG under construction. Sizes and positions are in its own units, which are pixels at full size."""

    def __init__(self, *, width: float, height: float, language: Language, label: str, style: str = "") -> None:
        self._parts: list[str] = []
        self._frame = (
            f'<svg class="{escape(f"chart {style}".strip())}" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" role="img" '
            f'lang="{language.value}" aria-label="{escape(label)}">'
        )

    def finish(self) -> Html:
        """Return the element."""
        return Html(self._frame + "".join(self._parts) + "</svg>")

    def line(self, start: tuple[float, float], end: tuple[float, float], *, style: str) -> None:
        """Draw a straight line."""
        self._parts.append(
            f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" class="{style}"/>'
        )

    def rect(self, corner: tuple[float, float], size: tuple[float, float], *, style: str, radius: float = 0) -> None:
        """Draw a rectangle from its upper left corner."""
        self._parts.append(
            f'<rect x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{max(0.0, size[0]):.1f}" '
            f'height="{max(0.0, size[1]):.1f}" rx="{radius:g}" class="{style}"/>'
        )

    def circle(self, centre: tuple[float, float], radius: float, *, style: str) -> None:
        """Draw a circle."""
        self._parts.append(f'<circle cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="{radius:.1f}" class="{style}"/>')

    def path(self, points: list[tuple[float, float]], *, style: str, closed: bool = False) -> None:
        """Draw straight strokes through points."""
        strokes = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self._parts.append(f'<path d="M{strokes}{"Z" if closed else ""}" class="{style}"/>')

    def text(self, at: tuple[float, float], content: str, *, style: str = "", anchor: Anchor = "start") -> None:
        """Write a line of text; ``at`` is its base line."""
        self._parts.append(
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}" class="{style}">{escape(content)}</text>'
        )


def text_width(content: str, *, size: float) -> float:
    """Return the estimated width of a line of text set in a type size."""
    return size * sum(CJK_WIDTH if ord(character) >= FIRST_CJK else LATIN_WIDTH for character in content)


def clipped(content: str, *, width: float, size: float) -> str:
    """Return a text that fits a width, with an ellipsis where something was cut."""
    if text_width(content, size=size) <= width:
        return content
    fitting = len(content) - 1
    while fitting > 1 and text_width(content[:fitting] + "…", size=size) > width:
        fitting -= 1
    return content[:fitting].rstrip() + "…"


def wrapped(content: str, *, width: float, size: float) -> list[str]:
    """Return a text on one line, or on two if it does not fit, the second clipped if it still does not."""
    if text_width(content, size=size) <= width:
        return [content]
    fitting = next(place for place in range(len(content), 0, -1) if text_width(content[:place], size=size) <= width)
    space = content.rfind(" ", 0, fitting + 1)
    cut = space if space > 0 else fitting
    return [content[:cut].rstrip(), clipped(content[cut:].lstrip(), width=width, size=size)]


def mark(drawing: Drawing, at: tuple[float, float], *, outcome: str, size: float = 4.2) -> None:
    """Draw the mark of an outcome: a disc approved, a cross refused, a diamond referred; shape tells, not colour."""
    x, y = at
    if outcome == "approved":
        drawing.circle(at, size, style="mark approved")
    elif outcome == "refused":
        drawing.line((x - size, y - size), (x + size, y + size), style="stroke refused")
        drawing.line((x - size, y + size), (x + size, y - size), style="stroke refused")
    else:
        corners = [(x, y - size - 1), (x + size + 1, y), (x, y + size + 1), (x - size - 1, y)]
        drawing.path(corners, style="hollow referred", closed=True)
