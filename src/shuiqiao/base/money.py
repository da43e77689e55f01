"""Money is whole fen (分) in an int; rates are Decimal; a float never holds money.

Yuan amounts that arrive as text or as the doubles of a spreadsheet become fen here, exactly or not at all.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow

from shuiqiao.base.errors import InvalidInput

FEN_PER_YUAN = 100
MAX_FEN = 10**17
"""Largest absolute amount accepted, in fen (10^15 yuan): beyond any national total, below 2^63."""

_MAX_DIGITS = 40
"""An amount with more significant digits than this is not exact in fen or beyond MAX_FEN."""

_WAN = 10_000
_YI = 100_000_000


def fen_from_yuan(amount: str | float | Decimal) -> int:
    """Return whole fen for an amount in yuan.

    A float is read by its shortest decimal form, as a spreadsheet shows it. Raises InvalidInput
    (``base.amount_invalid``) for what is not a finite number, has a part of a fen, or is beyond MAX_FEN.
    """
    try:
        # The default context would round a thirtieth digit away before anyone can see that it is part of a fen.
        exact = Context(prec=_MAX_DIGITS, traps=[InvalidOperation, Inexact, Overflow])
        fen = exact.multiply(Decimal(repr(amount) if isinstance(amount, float) else amount), FEN_PER_YUAN)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise _invalid(amount) from error
    if not fen.is_finite() or abs(fen) > MAX_FEN or fen != fen.to_integral_value():
        raise _invalid(amount)
    return int(fen)


def _invalid(amount: object) -> InvalidInput:
    return InvalidInput(
        "base.amount_invalid",
        f"{str(amount)[:40]!r} is not an amount in yuan with at most two decimals within ±10^15",
    )


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
