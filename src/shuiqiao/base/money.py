"""Money is whole fen (分) in an int; rates are Decimal; a float never holds money."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

FEN_PER_YUAN = 100
MAX_FEN = 10**17
"""Largest absolute amount accepted, in fen (10^15 yuan): beyond any national total, below 2^63."""

_WAN = 10_000
_YI = 100_000_000


def round_fen(amount: Decimal) -> int:
    """Round a computed amount in fen half to even."""
    return int(amount.to_integral_value(rounding=ROUND_HALF_EVEN))


def format_yuan(fen: int) -> str:
    """Return fen as yuan with thousands separators and two decimals, e.g. ``1,234.56``."""
    sign = "-" if fen < 0 else ""
    whole, part = divmod(abs(fen), FEN_PER_YUAN)
    return f"{sign}{whole:,}.{part:02d}"


def format_yuan_short(fen: int) -> str:
    """Return fen as a short Chinese amount, e.g. ``123.5万`` or ``1.20亿``."""
    yuan = Decimal(fen) / FEN_PER_YUAN
    if abs(yuan) >= _YI:
        return f"{yuan / _YI:,.2f}亿"
    if abs(yuan) >= _WAN:
        return f"{yuan / _WAN:,.1f}万"
    return f"{yuan:,.0f}"
