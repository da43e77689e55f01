"""Reads one text cell: the plain, slow meaning of each field type. Returns None where the text has no such meaning.

Rule: docs/spec/standard.md, [STD-17] to [STD-22]. ``conversion`` calls these once per distinct value.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

from shuiqiao.base.money import FEN_PER_YUAN, MAX_FEN

FIRST_YEAR = 1900
LAST_YEAR = 2099
"""Years outside are taken for typing errors: no living taxpayer has facts there."""

_YUAN = re.compile(r"-?[0-9]{1,16}(?:\.[0-9]{1,2})?", re.ASCII)
_RATE = re.compile(r"(-?[0-9]{1,9}(?:\.[0-9]{1,10})?)(%?)", re.ASCII)
_WHOLE = re.compile(r"(-?[0-9]{1,18})(?:\.0{1,18})?", re.ASCII)
_TIME = r"(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
_DATES = tuple(
    re.compile(form + _TIME, re.ASCII)
    for form in (
        r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})",
        r"([0-9]{4})/([0-9]{1,2})/([0-9]{1,2})",
        r"([0-9]{4})年([0-9]{1,2})月([0-9]{1,2})日",
        r"([0-9]{4})([0-9]{2})([0-9]{2})",
    )
)
_YEAR = re.compile(r"([0-9]{4})年?", re.ASCII)
_MONTH = re.compile(r"([0-9]{4})(?:-([0-9]{2})|([0-9]{2})|年([0-9]{1,2})月)", re.ASCII)
_BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE", "1", "Y", "y", "是"), True),
    **dict.fromkeys(("false", "False", "FALSE", "0", "N", "n", "否"), False),
}


def read_yuan(text: str) -> int | None:
    """Return whole fen for an amount in yuan with at most two decimals, within MAX_FEN."""
    if not _YUAN.fullmatch(text):
        return None
    fen = int(Decimal(text) * FEN_PER_YUAN)
    return fen if abs(fen) <= MAX_FEN else None


def read_whole(text: str) -> int | None:
    """Return an integer of at most 18 digits."""
    found = _WHOLE.fullmatch(text)
    return int(found[1]) if found else None


def read_rate(text: str) -> str | None:
    """[STD-19]: return a rate in its shortest decimal form: ``6%`` and ``0.060`` are both ``0.06``."""
    found = _RATE.fullmatch(text)
    if found is None:
        return None
    rate = Decimal(found[1]).scaleb(-2) if found[2] else Decimal(found[1])
    return format(rate.normalize(), "f") if rate else "0"


def read_date(text: str) -> date | None:
    """Return the day of a date written 2020-01-31, 2020/1/31, 2020年1月31日 or 20200131, a time of day left out."""
    for form in _DATES:
        found = form.fullmatch(text)
        if found:
            return _day(int(found[1]), int(found[2]), int(found[3]))
    return None


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def read_year(text: str) -> int | None:
    """[STD-21]: return a year written 2020 or 2020年."""
    found = _YEAR.fullmatch(text)
    return int(found[1]) if found else None


def read_month(text: str) -> str | None:
    """Return a month as ``2020-01``, written so or 202001 or 2020年1月."""
    found = _MONTH.fullmatch(text)
    if found is None:
        return None
    year, month = int(found[1]), int(found[2] or found[3] or found[4])
    first = _day(year, month, 1)
    return f"{year:04d}-{month:02d}" if first and FIRST_YEAR <= year <= LAST_YEAR else None


def read_boolean(text: str) -> bool | None:
    """[STD-22]: return the truth of true, 1, Y, 是 or of false, 0, N, 否."""
    return _BOOLEANS.get(text)


def is_utf8(cell: bytes | None) -> bool:
    """Whether the bytes of a text cell are UTF-8."""
    try:
        (cell or b"").decode()
    except UnicodeDecodeError:
        return False
    return True
