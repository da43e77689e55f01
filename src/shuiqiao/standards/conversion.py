"""Turns one source column into canonical values, whole columns at a time, and names the cells that cannot become one.

Rule: docs/spec/standard.md, [STD-14] to [STD-22]. Amounts, dates and codes of few distinct values are converted once
per distinct value, by the ``read_*`` functions: the plain, slow meaning of each field type, None where a text has no
such meaning. Nothing is guessed: a cell either has one meaning or fails by a named rule.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuiqiao.base.money import FEN_PER_YUAN, MAX_FEN
from shuiqiao.standards.columns import MAX_CELL_BYTES, Mask, arrow_type, blank_out, is_text, pc, true_mask, valid_mask
from shuiqiao.standards.model import AmountUnit, Field, FieldType

FIRST_YEAR = 1900
LAST_YEAR = 2099
"""Years outside are taken for typing errors: no living taxpayer has facts there."""

_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3}){1,5}"
_YUAN = re.compile(
    r"(?P<opened>\()?(?P<minus>-)?(?:¥ ?)?(?P<inner>-)?"
    rf"(?P<whole>[0-9]{{1,16}}|{_GROUPED})?(?:\.(?P<part>[0-9]{{0,2}})0{{0,16}})? ?元?(?(opened)\))"
)
_GROUPED_WHOLE = re.compile(rf"-?{_GROUPED}")
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_RATE = re.compile(r"(-?[0-9]{1,9}(?:\.[0-9]{1,10})?)(%?)", re.ASCII)
_WHOLE = re.compile(r"(-?[0-9]{1,18})(?:\.0{1,18})?", re.ASCII)
_TIME = r"(?:[ T](?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?)?"
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


def half_width(text: str) -> str:
    """Return a number or date whose full-width digits and signs 全角字符 are plain ones, and a minus sign a hyphen."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-")


def read_yuan(text: str) -> int | None:
    """[STD-17]: return whole fen for an amount in yuan, however a spreadsheet shows it, within MAX_FEN.

    ::

        read_yuan("1,130.00") == read_yuan("￥1130") == 113_000 and read_yuan("(13.00)") == -1_300
    """
    found = _YUAN.fullmatch(half_width(text))
    if found is None or not (found["whole"] or found["part"]):
        return None
    signs = [sign for sign in (found["opened"], found["minus"], found["inner"]) if sign]
    whole = (found["whole"] or "0").replace(",", "")
    fen = int(whole) * FEN_PER_YUAN + int((found["part"] or "").ljust(2, "0"))
    if len(signs) > 1 or fen > MAX_FEN:
        return None
    return -fen if signs else fen


def read_whole(text: str) -> int | None:
    """Return an integer of at most 18 digits."""
    found = _WHOLE.fullmatch(text)
    return int(found[1]) if found else None


def read_grouped(text: str) -> int | None:
    """[STD-22]: return an integer of at most 18 digits, which may stand in groups of three: ``12,000``."""
    text = half_width(text)
    plain = text.replace(",", "") if _GROUPED_WHOLE.fullmatch(text) else text
    return int(plain) if _INTEGER.fullmatch(plain) else None


def read_rate(text: str) -> str | None:
    """[STD-19]: return a rate in its shortest decimal form: ``6%`` and ``0.060`` are both ``0.06``."""
    found = _RATE.fullmatch(half_width(text))
    if found is None:
        return None
    rate = Decimal(found[1]).scaleb(-2) if found[2] else Decimal(found[1])
    return format(rate.normalize(), "f") if rate else "0"


def read_date(text: str) -> date | None:
    """Return the day of a date written 2020-01-31, 2020/1/31, 2020年1月31日 or 20200131, a time of day left out."""
    text = half_width(text)
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
    found = _YEAR.fullmatch(half_width(text))
    return int(found[1]) if found else None


def read_month(text: str) -> str | None:
    """Return a month as ``2020-01``, written so or 202001 or 2020年1月."""
    found = _MONTH.fullmatch(half_width(text))
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


MAX_FEN_OF_DOUBLE = 10**14
"""Largest absolute amount taken from a double, in fen: up to here a double tells neighbouring fen apart."""

DOUBLE_TOLERANCE_FEN = 1e-4
"""How far, in fen, a double may lie from whole fen on top of its own rounding: sums of a spreadsheet stay below."""

_DOUBLE_ROUNDING = 2.0**-51
_SHORT_YUAN = r"^-?[0-9]{1,12}(?:\.[0-9]{1,2})?$"
_SHORT_INTEGER = r"^-?[0-9]{1,18}$"
_CONTROL = r"[\x00-\x1f\x7f\x{80}-\x{9f}\x{2028}\x{2029}\x{feff}]"
_READ_BYTES = 256
"""Longest text read as a number, date or code: the longest code has a fifth of it."""

_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_FAR_DAYS = 1_000_000
_SPACE = 0x20
_DELETE = 0x7F


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Cells that broke one rule. rows: boolean mask over the column."""

    rule: str
    rows: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A canonical column (null where a cell is empty or failed) and what failed."""

    values: Any
    failures: tuple[Failure, ...] = ()


def convert_column(field: Field, raw: Any, *, unit: AmountUnit) -> Converted:
    """Return the canonical values of a source column whose type ``columns.check_fits`` accepted.

    raw: an Arrow array of any fitting type. unit: of amounts only.
    """
    if pa.types.is_null(raw.type):
        return Converted(values=pa.nulls(len(raw), arrow_type(field)))
    if pa.types.is_dictionary(raw.type):
        raw = raw.dictionary_decode()
    if is_text(raw.type):
        return _convert_text(field, raw, unit=unit)
    return _convert_typed(field, raw, unit=unit)


def _convert_text(field: Field, raw: Any, *, unit: AmountUnit) -> Converted:
    raw, too_long = _without_long_cells(_narrow(raw) if pa.types.is_string_view(raw.type) else raw)
    text, failures = clean_text(raw)
    rule = _CELL_RULES.get(field.type, "")
    match field.type:
        case FieldType.TEXT:
            converted = _check_text(field, text)
        case FieldType.AMOUNT_FEN if unit is AmountUnit.YUAN:
            converted = _yuan_from_text(text)
        case FieldType.AMOUNT_FEN | FieldType.INTEGER:
            converted = _integers_from_text(text, rule=rule)
        case _:
            converted = _by_distinct_value(text, _cell_reader(field), kind=arrow_type(field), rule=rule)
    return Converted(values=converted.values, failures=(*too_long, *failures, *converted.failures))


def _convert_typed(field: Field, raw: Any, *, unit: AmountUnit) -> Converted:
    match field.type:
        case FieldType.AMOUNT_FEN if unit is AmountUnit.YUAN:
            return _fen_from_yuan(raw)
        case FieldType.AMOUNT_FEN | FieldType.INTEGER | FieldType.YEAR:
            return _whole_numbers(raw, rule=_CELL_RULES[field.type])
        case FieldType.DATE:
            return _days(raw)
        case FieldType.BOOLEAN if pa.types.is_boolean(raw.type):
            return Converted(values=raw)
        case _:
            return _convert_text(field, raw.cast(pa.string()), unit=unit)


def _without_long_cells(raw: Any) -> tuple[Any, Sequence[Failure]]:
    """[STD-39]: blank out what is longer than any text of the standard, before it is copied."""
    too_long = true_mask(pc.greater(pc.binary_length(raw), MAX_CELL_BYTES))
    return blank_out(raw, too_long), _failing("too_long", too_long)


def clean_text(raw: Any) -> tuple[Any, tuple[Failure, ...]]:
    """[STD-14]: return the text trimmed of white space, empty as null, and the cells that are no clean UTF-8."""
    text = raw if pa.types.is_string(raw.type) else _narrow(raw)
    lowest, highest = _byte_range(text)
    failures: list[Failure] = []
    if highest > _DELETE:
        text, broken = _without_broken_utf8(text)
        failures.extend(broken)
    if lowest <= _SPACE or highest >= _DELETE:
        text = pc.utf8_trim_whitespace(text)
        control = true_mask(pc.match_substring_regex(text, _CONTROL))
        failures.extend(_failing("control_character", control))
        text = blank_out(text, control)
    empty = true_mask(pc.equal(pc.binary_length(text), 0))
    return blank_out(text, empty), tuple(failures)


def _narrow(raw: Any) -> Any:
    # Going through binary keeps broken UTF-8 from failing the cast: it is reported cell by cell afterwards.
    large = pa.large_binary() if pa.types.is_large_string(raw.type) else pa.binary()
    return raw.cast(large).cast(pa.binary()).view(pa.string())


def _byte_range(text: Any) -> tuple[int, int]:
    """Return the lowest and highest byte of all cells (0x21, 0x21 where there is none)."""
    _, offsets, data = text.buffers()
    if data is None or len(text) == 0:
        return _SPACE + 1, _SPACE + 1
    bounds = np.frombuffer(offsets, dtype=np.int32)[[text.offset, text.offset + len(text)]]
    used = np.frombuffer(data, dtype=np.uint8)[bounds[0] : bounds[1]]
    return (int(used.min()), int(used.max())) if used.size else (_SPACE + 1, _SPACE + 1)


def _without_broken_utf8(text: Any) -> tuple[Any, Sequence[Failure]]:
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        broken = np.array([not is_utf8(cell) for cell in text.cast(pa.binary()).to_pylist()], dtype=np.bool_)
        return blank_out(text, broken), _failing("not_utf8", broken)
    return text, []


def _check_text(field: Field, text: Any) -> Converted:
    """[STD-15]: a text keeps its length and, as a whole, its pattern."""
    failures: list[Failure] = []
    if field.max_length is not None:
        failures.extend(_failing("too_long", true_mask(pc.greater(pc.utf8_length(text), field.max_length))))
    if field.pattern is not None:
        fits = pc.match_substring_regex(text, f"^(?:{field.pattern})$")
        failures.extend(_failing("pattern", true_mask(pc.invert(fits))))
    for failure in failures:
        text = blank_out(text, failure.rows)
    return Converted(values=text, failures=tuple(failures))


def _fen_from_yuan(raw: Any) -> Converted:
    """[STD-17]: a double in yuan becomes fen where it can only mean whole fen."""
    if not pa.types.is_floating(raw.type):
        return _yuan_from_text(raw.cast(pa.string()))
    present = valid_mask(raw)
    yuan = numbers_of(raw, np.float64)
    with np.errstate(all="ignore"):  # infinities and NaN are refused just below
        scaled = yuan * FEN_PER_YUAN
        fen = np.rint(scaled)
        outside = ~(np.abs(fen) <= MAX_FEN_OF_DOUBLE)
        off = np.abs(scaled - fen) > DOUBLE_TOLERANCE_FEN + np.abs(fen) * _DOUBLE_ROUNDING
    part = present & ~outside & off
    return _integer_column(fen, present, {"amount_out_of_range": outside & present, "part_of_a_fen": part})


def _yuan_from_text(text: Any) -> Converted:
    """[STD-17]: short amounts go through a double, which is exact for 12 digits; all others one by one."""
    present = valid_mask(text)
    short = true_mask(pc.match_substring_regex(text, _SHORT_YUAN))
    fen = np.rint(numbers_of(blank_out(text, ~short).cast(pa.float64()), np.float64) * FEN_PER_YUAN).astype(np.int64)
    bad = np.zeros(len(text), dtype=np.bool_)
    for row in np.flatnonzero(present & ~short):
        exact = read_yuan(text[int(row)].as_py()[:_READ_BYTES])
        bad[row] = exact is None
        fen[row] = exact or 0
    return _integer_column(fen, present, {"not_an_amount": bad})


def _integers_from_text(text: Any, *, rule: str) -> Converted:
    present = valid_mask(text)
    fits = true_mask(pc.match_substring_regex(text, _SHORT_INTEGER))
    numbers = numbers_of(blank_out(text, ~fits).cast(pa.int64()), np.int64)
    others = np.flatnonzero(present & ~fits)
    if not others.size:
        return _integer_column(numbers, present, {})
    bad, numbers = np.zeros(len(text), dtype=np.bool_), numbers.copy()
    for row in others:
        exact = read_grouped(text[int(row)].as_py()[:_READ_BYTES])
        bad[row] = exact is None
        numbers[row] = exact or 0
    return _integer_column(numbers, present, {rule: bad})


def _whole_numbers(raw: Any, *, rule: str) -> Converted:
    present = valid_mask(raw)
    if pa.types.is_decimal(raw.type):
        return _by_distinct_value(raw.cast(pa.string()), read_whole, kind=pa.int64(), rule=rule)
    numbers = numbers_of(raw, np.float64 if pa.types.is_floating(raw.type) else None)
    fits = (numbers <= MAX_FEN) & (numbers >= -MAX_FEN)
    if numbers.dtype.kind == "f":  # infinities and NaN compare false and are refused
        fits &= np.rint(numbers) == numbers
    return _integer_column(np.where(fits, numbers, 0), present, {rule: present & ~fits})


def _days(raw: Any) -> Converted:
    """[STD-20]: the day of a date or a moment without a zone; far days are refused before they could wrap round."""
    if pa.types.is_date32(raw.type):
        return Converted(values=raw)
    present = valid_mask(raw)
    per_day = _PER_DAY["ms" if pa.types.is_date(raw.type) else raw.type.unit]
    days = np.floor_divide(numbers_of(raw.view(pa.int64()), np.int64), per_day)
    far = np.abs(days) > _FAR_DAYS
    absent = ~present | far
    values = pa.array(np.where(absent, 0, days).astype(np.int32), mask=absent).view(pa.date32())
    return Converted(values=values, failures=tuple(_failing("date_out_of_range", present & far)))


def _integer_column(numbers: Any, present: Mask, failing: dict[str, Mask]) -> Converted:
    failures = [failure for rule, rows in failing.items() for failure in _failing(rule, rows)]
    absent = ~present
    for failure in failures:
        absent = absent | failure.rows
    numbers = np.where(absent, 0, numbers).astype(np.int64, copy=False)
    values = pa.array(numbers, mask=absent if absent.any() else None)
    return Converted(values=values, failures=tuple(failures))


def _by_distinct_value(text: Any, read: Callable[[str], object | None], *, kind: Any, rule: str) -> Converted:
    readable = true_mask(pc.less_equal(pc.binary_length(text), _READ_BYTES))
    encoded = blank_out(text, ~readable).dictionary_encode()
    read_values = [None if cell is None else read(cell) for cell in encoded.dictionary.to_pylist()]
    values = pa.array(read_values, type=kind).take(encoded.indices)
    bad = valid_mask(text) & ~valid_mask(values)
    return Converted(values=values, failures=tuple(_failing(rule, bad)))


def _cell_reader(field: Field) -> Callable[[str], object | None]:
    """[STD-16]: a code may be written as code, Chinese name or alias; it is kept as the code."""
    if field.code_list is not None:
        return field.code_list.spellings().get
    return _CELL_READERS[field.type]


_CELL_READERS: dict[FieldType, Callable[[str], object | None]] = {
    FieldType.RATE: read_rate,
    FieldType.DATE: read_date,
    FieldType.YEAR: read_year,
    FieldType.MONTH: read_month,
    FieldType.BOOLEAN: read_boolean,
}

_CELL_RULES: dict[FieldType, str] = {
    FieldType.CODE: "not_in_code_list",
    FieldType.RATE: "not_a_rate",
    FieldType.DATE: "not_a_date",
    FieldType.YEAR: "not_a_year",
    FieldType.MONTH: "not_a_month",
    FieldType.BOOLEAN: "not_a_boolean",
    FieldType.INTEGER: "not_an_integer",
    FieldType.AMOUNT_FEN: "not_an_amount",
}


def numbers_of(values: Any, dtype: Any = None) -> npt.NDArray[Any]:
    """Return the numbers of an Arrow array, zero in the place of a null."""
    filled = values.fill_null(0) if values.null_count else values
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=dtype)


def _failing(rule: str, rows: Mask) -> Sequence[Failure]:
    return [Failure(rule=rule, rows=rows)] if rows.any() else []
