"""Amounts of an invoice: fen of what is written, Chinese capitals (大写), rates and their table."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.money import FEN_PER_YUAN

_AMOUNT: Final = re.compile(r"[¥￥]?([+-]?)[¥￥]?([0-9]{1,15})(?:\.([0-9]{1,12}))?", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,20})?", re.ASCII)
_RATE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,12})?)(%?)", re.ASCII)

RATES: Final = frozenset(map(Decimal, ("0.13", "0.09", "0.06", "0", "0.05", "0.03", "0.015", "0.01", "0.005")))
"""VAT rates and levy rates of today."""
FORMER_RATES: Final = frozenset(map(Decimal, ("0.17", "0.16", "0.11", "0.10")))
"""Rates of before May 2018 and April 2019, which red-letter and late invoices keep."""
EXEMPT_WORDS: Final = frozenset({"免税", "不征税"})
UNSAID_RATES: Final = frozenset({"", "***", "*", "-", "--", "—"})
"""How a rate is written where lines differ, or where the invoice does not say it."""

_DIGITS: Final = {character: value for value, character in enumerate("零壹贰叁肆伍陆柒捌玖")} | {"〇": 0, "两": 2}
_PLACES: Final = {"拾": 10, "佰": 100, "仟": 1_000}
_SPELLINGS: Final = str.maketrans(
    {"元": "圆", "園": "圆", "萬": "万", "億": "亿", "正": "整", "貳": "贰", "叄": "叁", "陸": "陆"}
)
_MINUS: Final = re.compile(r"^[（(]?负数?[)）]?")
_SMALL: Final = {"角": 10, "分": 1}
_WAN: Final = 10_000
_YI: Final = 100_000_000
_MAX_CAPITALS: Final = 60


def read_fen(text: str) -> int | None:
    """Return the fen of an amount in yuan, None for an empty text; part of a fen is refused, never rounded.

    Raises InvalidInput ``invoices.amount_malformed``.
    """
    if text in UNSAID_RATES:
        return None
    found = _AMOUNT.fullmatch(text.replace(",", ""))
    decimals = (found[3] or "").rstrip("0") if found else ""
    if found is None or len(decimals) > 2:  # noqa: PLR2004 - jiao and fen
        raise InvalidInput("invoices.amount_malformed", f"{text[:40]!r} is no amount in yuan and fen")
    fen = int(found[2]) * FEN_PER_YUAN + int(decimals.ljust(2, "0") or 0)
    return -fen if found[1] == "-" else fen


def read_number(text: str) -> Decimal | None:
    """Return a quantity or a price, None for what is no plain number."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def read_rate(text: str) -> Decimal | None:
    """Return a rate as a fraction, ``0.13``, ``13%`` or ``13.00%``; None for words and for what is not said."""
    found = _RATE.fullmatch(text)
    if found is None:
        return None
    return Decimal(found[1]) / 100 if found[2] else Decimal(found[1])


def read_capitals(text: str) -> int | None:
    """Return the fen of an amount in Chinese capitals, None for what is none.

    ::

        read_capitals("壹仟零陆拾圆伍角整") == 106_050
    """
    text = "".join(text.split()).translate(_SPELLINGS).lstrip("¥￥⊗").removeprefix("人民币").removesuffix("整")
    is_negative = _MINUS.match(text) is not None
    whole, has_yuan, small = _MINUS.sub("", text).lstrip("¥￥⊗").partition("圆")
    if not has_yuan:
        whole, small = "", whole
    yuan = _read_whole(whole) if whole else 0
    fen = _read_small(small)
    if len(text) > _MAX_CAPITALS or yuan is None or fen is None or not (whole or small):
        return None
    total = yuan * FEN_PER_YUAN + fen
    return -total if is_negative else total


def _read_whole(text: str) -> int | None:
    """Read units of 亿 and 万 above what is below ten thousand."""
    total = section = 0
    digit: int | None = None
    for character in text:
        if character in _DIGITS:
            if digit:
                return None
            digit = _DIGITS[character]
        elif character in _PLACES:
            section += (1 if digit is None else digit) * _PLACES[character]
            digit = None
        elif character == "万":
            total += (section + (digit or 0)) * _WAN
            section, digit = 0, None
        elif character == "亿":
            total = (total + section + (digit or 0)) * _YI
            section, digit = 0, None
        else:
            return None
    return total + section + (digit or 0)


def _read_small(text: str) -> int | None:
    total = 0
    digit = 0
    for character in text:
        if character in _DIGITS:
            if digit:
                return None
            digit = _DIGITS[character]
        elif character in _SMALL and digit:
            total += digit * _SMALL[character]
            digit = 0
        else:
            return None
    return None if digit else total
