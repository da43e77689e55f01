"""How numbers are written for people: thousands separators, 万 and 亿 in Chinese, m and bn in English."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from shuiqiao.base.money import FEN_PER_YUAN, format_yuan_short
from shuiqiao.base.words import Words

_MILLION = 1_000_000
_BILLION = 1_000_000_000
_SHORTENED = 100_000
"""Yuan from which English amounts are given in millions."""
_KIB = 1024
_SHORT_SECONDS = 10


def yuan(fen: int) -> str:
    """Return whole yuan with thousands separators; fen are shown only where there are any."""
    whole, part = divmod(abs(fen), FEN_PER_YUAN)
    sign = "-" if fen < 0 else ""
    return f"{sign}{whole:,}.{part:02d}" if part else f"{sign}{whole:,}"


def yuan_short(fen: int) -> Words:
    """Return a short amount of money, e.g. 123.5万元 and ¥1.24 m."""
    return Words(zh=f"{format_yuan_short(fen)}元", en=_short_english(Decimal(fen) / FEN_PER_YUAN))


def _short_english(amount: Decimal) -> str:
    if abs(amount) >= _BILLION:
        return f"¥{amount / _BILLION:,.2f} bn"
    if abs(amount) >= _SHORTENED:
        return f"¥{amount / _MILLION:,.2f} m"
    return f"¥{amount:,.0f}"


def size(count: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    amount = float(count)
    for unit in ("B", "KB", "MB"):
        if amount < _KIB:
            return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"
        amount /= _KIB
    return f"{amount:,.1f} GB"


def share(part: int, whole: int) -> str:
    """Return a part of a whole in percent, a dash where there is no whole."""
    return f"{part / whole:.0%}" if whole else "–"


def milliseconds(value: float) -> str:
    """Return milliseconds with one decimal."""
    return f"{value:,.1f}"


def seconds(value: float) -> str:
    """Return seconds: two decimals below ten, one above."""
    return f"{value:.2f}" if value < _SHORT_SECONDS else f"{value:,.1f}"


def fraction(value: float) -> str:
    """Return a share or an area of 0..1 with three decimals."""
    return f"{value:.3f}"


def percent(text: str) -> str:
    """Return a decimal text of 0..1 in percent with two decimals; what is no number is returned as it is."""
    try:
        return f"{Decimal(text) * 100:.2f}%"
    except InvalidOperation:
        return text
