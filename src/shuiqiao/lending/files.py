"""Files that a bank's people hand in about its own business: outcomes of the loan book, churn curves, product rules."""

from __future__ import annotations

import csv
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from shuiqiao.base.encoding import decode_toml
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.files import open_regular
from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.lending.product_rules import MAX_RULES_CHARS

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE_BYTES = 16 << 20
"""Of a file of outcomes or churn curves."""

MAX_OUTCOMES = 200_000
MAX_CURVE_RATES = 1_000
MAX_SCORECARD_CHARS = 262_144
MAX_OUTPUTS_CHARS = 16_384

_TRUE, _FALSE = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no"})


def outcomes_from_csv(path: Path) -> dict[str, bool]:
    """Return taxpayer to whether it defaulted, from a CSV file with the columns uscc and defaulted.

    Raises InvalidInput ``lending.outcomes_invalid``.
    """
    found: dict[str, bool] = {}
    for number, row in enumerate(_rows(path, code="lending.outcomes_invalid", most=MAX_OUTCOMES), start=2):
        taxpayer, defaulted = (row.get("uscc") or "").strip(), (row.get("defaulted") or "").strip().lower()
        if not taxpayer or taxpayer in found or defaulted not in _TRUE | _FALSE:
            raise InvalidInput(
                "lending.outcomes_invalid",
                f"{path.name} line {number}: uscc {taxpayer[:32]!r} and defaulted {defaulted[:16]!r}, where each firm "
                "stands once, with 1 or 0",
            )
        found[taxpayer] = defaulted in _TRUE
    return found


def churn_from_csv(path: Path) -> dict[str, ChurnCurve]:
    """Return churn curves by band from a CSV file with the columns annual_rate and churn_A, churn_B, ...

    Raises InvalidInput ``lending.churn_invalid``, ``credit.churn_curve_invalid``.
    """
    rows = _rows(path, code="lending.churn_invalid", most=MAX_CURVE_RATES)
    bands = sorted(name.removeprefix("churn_") for name in (rows[0] if rows else {}) if name.startswith("churn_"))
    if not bands:
        raise InvalidInput("lending.churn_invalid", f"{path.name} has no rows with a column churn_A")
    try:
        rates = tuple(Decimal(row["annual_rate"]) for row in rows)
        return {
            band: ChurnCurve(rates=rates, churn=tuple(Decimal(row[f"churn_{band}"]) for row in rows)) for band in bands
        }
    except (InvalidOperation, KeyError, TypeError) as error:
        raise InvalidInput("lending.churn_invalid", f"{path.name}: a rate or share is no number: {error}") from error


def _rows(path: Path, *, code: str, most: int) -> list[dict[str, Any]]:
    """Return the rows of a CSV file, at most so many."""
    with open_regular(path) as file:
        data = file.read(MAX_FILE_BYTES + 1)
    try:
        text = data.decode("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(code, f"{path.name} is no CSV file in UTF-8: {error}") from error
    if len(data) > MAX_FILE_BYTES or len(rows) > most:
        raise InvalidInput(code, f"{path.name} has more than {most} rows or {MAX_FILE_BYTES} bytes")
    return rows


def rules_in(path: Path) -> str:
    """Return the text of a product's rules; raises InvalidInput ``lending.product_invalid``."""
    return _text(path, code="lending.product_invalid", most=MAX_RULES_CHARS)


def scorecard_in(path: Path) -> str:
    """Return the text of a scorecard; raises InvalidInput ``credit.scorecard_malformed``."""
    return _text(path, code="credit.scorecard_malformed", most=MAX_SCORECARD_CHARS)


def outputs_in(path: Path) -> dict[str, Any]:
    """Return the outputs that a TOML file declares of a model; raises InvalidInput ``credit.content_malformed``."""
    try:
        return decode_toml(_text(path, code="credit.content_malformed", most=MAX_OUTPUTS_CHARS))
    except InvalidInput as error:
        raise InvalidInput("credit.content_malformed", error.message) from error


def _text(path: Path, *, code: str, most: int) -> str:
    with open_regular(path) as file:
        data = file.read(4 * most + 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(code, f"{path.name} is no text in UTF-8: {error}") from error
    if len(text) > most:
        raise InvalidInput(code, f"{path.name} has more than {most} characters")
    return text
