"""The picture of the data flow with a run's numbers: parties and arrows on wide pages, a sequence on narrow ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shuiqiao.sandbox.report.amounts import size
from shuiqiao.sandbox.report.drawing import Drawing, text_width
from shuiqiao.sandbox.report.words import Html, Language, Value, say_in
from shuiqiao.sandbox.scenario.result import ScenarioResult

_WIDE, _TALL = 1080.0, 560.0
_NARROW, _ROW, _HEAD = 360.0, 54.0, 52.0
_LANES = ("enterprise", "bureau", "ledger", "bank", "regulator")
_ARROW = 7.0
_LABEL_SIZE = 13.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """A party in the wide picture."""

    name: str
    corner: Point
    size: Point
    style: str = "box"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrow:
    """A flow in the wide picture: strokes through points, its label centred at ``label``."""

    key: str
    points: tuple[Point, ...]
    label: Point
    note: str = ""
    is_strong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """A flow in the narrow picture: from lane to lane."""

    key: str
    start: int
    end: int


_BOXES = (
    _Box(name="sources", corner=(0, 22), size=(196, 76), style="box faint"),
    _Box(name="enterprise", corner=(412, 10), size=(256, 92)),
    _Box(name="bureau", corner=(0, 196), size=(264, 138)),
    _Box(name="bank", corner=(816, 196), size=(264, 138)),
    _Box(name="ledger", corner=(356, 424), size=(368, 120), style="box ledger"),
    _Box(name="outsider", corner=(0, 466), size=(196, 78), style="box faint"),
    _Box(name="regulator", corner=(884, 466), size=(196, 78)),
)

_ARROWS = (
    _Arrow(key="records", points=((98, 98), (98, 196)), label=(98, 152)),
    _Arrow(key="consents", points=((412, 56), (230, 56), (230, 196)), label=(312, 46)),
    _Arrow(key="applications", points=((668, 56), (948, 56), (948, 196)), label=(808, 46)),
    _Arrow(key="requests", points=((816, 234), (264, 234)), label=(540, 224)),
    _Arrow(key="answers", points=((264, 296), (816, 296)), label=(540, 286), note="answers_note", is_strong=True),
    _Arrow(key="anchors", points=((230, 334), (230, 450), (356, 450)), label=(293, 440)),
    _Arrow(key="decisions", points=((850, 334), (850, 450), (724, 450)), label=(787, 440)),
    _Arrow(key="receipts", points=((356, 505), (196, 505)), label=(276, 495)),
    _Arrow(key="audit", points=((724, 505), (884, 505)), label=(804, 495)),
)

_MESSAGES = (
    _Message(key="records", start=1, end=1),
    _Message(key="anchors", start=1, end=2),
    _Message(key="consents", start=0, end=2),
    _Message(key="applications", start=0, end=3),
    _Message(key="requests", start=3, end=1),
    _Message(key="answers", start=1, end=3),
    _Message(key="decisions", start=3, end=2),
    _Message(key="receipts", start=2, end=2),
    _Message(key="audit", start=2, end=4),
)


def draw_flow(result: ScenarioResult, language: Language) -> Html:
    """Draw the picture for wide pages and the one for narrow ones; the style sheet shows one of them."""
    return Html(_draw_wide(result, language).text + _draw_narrow(result, language).text)


def _draw_wide(result: ScenarioResult, language: Language) -> Html:
    """Draw parties as boxes around the ledger."""
    drawing = _start(language, width=_WIDE, height=_TALL, style="wide")
    values = _values(result)
    for box in _BOXES:
        _draw_box(drawing, box, language=language, values=values)
    for arrow in _ARROWS:
        style = "flow strongflow" if arrow.is_strong else "flow"
        _draw_arrow(drawing, arrow.points, style=style)
        _label(drawing, arrow.label, say_in(language, f"flow.{arrow.key}", **values[arrow.key]))
        if arrow.note:
            at = (arrow.label[0], arrow.label[1] + 29)
            drawing.text(at, say_in(language, f"flow.{arrow.note}"), style="soft", anchor="middle")
    return drawing.finish()


def _draw_narrow(result: ScenarioResult, language: Language) -> Html:
    """Draw the same flows from top to bottom between one lane for each kind of party."""
    height = _HEAD + _ROW * len(_MESSAGES) + 8
    drawing = _start(language, width=_NARROW, height=height, style="narrow")
    values = _values(result)
    for lane, name in enumerate(_LANES):
        x = _lane_x(lane)
        drawing.line((x, 34), (x, height), style="lane")
        drawing.rect((x - 34, 4), (68, 30), style="box ledger" if name == "ledger" else "box", radius=4)
        drawing.text((x, 24), say_in(language, f"flow.lane_{name}"), style="lanename", anchor="middle")
    for row, message in enumerate(_MESSAGES):
        label = say_in(language, f"flow.{message.key}", **values[message.key])
        _draw_message(drawing, message, label, y=_HEAD + row * _ROW + 32)
    return drawing.finish()


def _start(language: Language, *, width: float, height: float, style: str) -> Drawing:
    label = say_in(language, "flow.picture")
    return Drawing(width=width, height=height, language=language, label=label, style=f"flowpicture {style}")


def _values(result: ScenarioResult) -> dict[str, dict[str, Value]]:
    figures, details = result.figures, result.details
    banks = sum(party.role == "bank" for party in details.parties)
    return {
        "enterprise": {"taxpayers": figures.taxpayers},
        "bank": {"banks": banks},
        "ledger": {"transactions": figures.ledger.transactions, "height": figures.ledger.height},
        "records": {"count": figures.records_ingested},
        "anchors": {"count": figures.anchors},
        "consents": {"count": figures.consents},
        "applications": {"count": details.transactions_by_kind.get("application.submit", 0)},
        "requests": {"count": figures.requests, "refusals": figures.refusals},
        "answers": {"count": details.records_disclosed, "size": size(details.bytes_disclosed)},
        "decisions": {"count": decisions_in(result)},
        "receipts": {"count": details.receipts},
        "audit": {"count": figures.audit.replayed},
    }


def decisions_in(result: ScenarioResult) -> int:
    """Return how many decisions of any outcome a run made."""
    counts = result.figures.decisions
    return counts.approved + counts.refused + counts.referred


def _draw_box(drawing: Drawing, box: _Box, *, language: Language, values: dict[str, dict[str, Value]]) -> None:
    drawing.rect(box.corner, box.size, style=box.style, radius=6)
    centre = (box.corner[0] + box.size[0] / 2, box.corner[1] + box.size[1] / 2)
    drawing.text((centre[0], centre[1] - 4), say_in(language, f"flow.{box.name}"), style="party", anchor="middle")
    note = say_in(language, f"flow.{box.name}_note", **values.get(box.name, {}))
    drawing.text((centre[0], centre[1] + 20), note, style="soft", anchor="middle")


def _draw_arrow(drawing: Drawing, points: Sequence[Point], *, style: str) -> None:
    drawing.path(list(points), style=style)
    (x0, y0), (x1, y1) = points[-2], points[-1]
    along = ((x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0))
    back = (x1 - along[0] * _ARROW * 1.5, y1 - along[1] * _ARROW * 1.5)
    side = (along[1] * _ARROW * 0.75, along[0] * _ARROW * 0.75)
    head = [(x1, y1), (back[0] + side[0], back[1] + side[1]), (back[0] - side[0], back[1] - side[1])]
    drawing.path(head, style="head", closed=True)


def _label(drawing: Drawing, at: Point, text: str) -> None:
    """Write an arrow's label on a plate of the page's colour, so that no line runs through it."""
    width = text_width(text, size=14.5) + 10
    drawing.rect((at[0] - width / 2, at[1] - 16), (width, 22), style="plate")
    drawing.text(at, text, style="flowlabel", anchor="middle")


def _lane_x(lane: int) -> float:
    return 36 + lane * (_NARROW - 72) / (len(_LANES) - 1)


def _draw_message(drawing: Drawing, message: _Message, label: str, *, y: float) -> None:
    start, end = _lane_x(message.start), _lane_x(message.end)
    if start == end:
        drawing.circle((start, y), 5, style="head")
    else:
        _draw_arrow(drawing, [(start, y), (end, y)], style="flow")
    half = text_width(label, size=_LABEL_SIZE) / 2 + 4
    middle = min(max((start + end) / 2, half), _NARROW - half)
    drawing.rect((middle - half, y - 24), (2 * half, 17), style="plate")
    drawing.text((middle, y - 11), label, style="flowlabel small", anchor="middle")
