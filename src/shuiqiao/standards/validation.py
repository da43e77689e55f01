"""Validates a batch of source rows: good rows come out canonical, bad rows come out as issues, none disappears.

Rule: docs/spec/standard.md, [STD-11] to [STD-24]. What becomes of the issues (the quarantine file) and of rows that
repeat is for the vault to decide. Every row of the batch is either in ``rows`` or has at least one issue. A row rule
[STD-23] compares fields of one row: a row in which one of them is empty (or failed by itself) passes, for whether a
field may be empty is said by the field.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.money import MAX_FEN
from shuiqiao.standards import conversion
from shuiqiao.standards.columns import (
    FAULT_COLUMN,
    FAULT_VALUE_COLUMN,
    MAX_BATCH_ROWS,
    Mask,
    arrow_type,
    blank_out,
    canonical_schema,
    is_text,
    pc,
    true_mask,
    unit_of,
    valid_mask,
)
from shuiqiao.standards.conversion import Converted, convert_column, numbers_of
from shuiqiao.standards.model import Field, FieldType, RecordType, RowRule, RowRuleKind

MAX_VALUE_CHARS = 200
"""Longest value shown in an issue, in characters: enough to find the cell, too short to carry a file."""

_SHOWN_BYTES = 4 * MAX_VALUE_CHARS + 4
"""Bytes that hold a character more than an issue shows, whatever the characters."""

MAX_ISSUES_PER_ROW = 8
"""Most issues told per row: bounds the memory of a batch in which everything is wrong."""

_EPOCH = date(1970, 1, 1)
_FIRST_DAY = (date(conversion.FIRST_YEAR, 1, 1) - _EPOCH).days
_LAST_DAY = (date(conversion.LAST_YEAR, 12, 31) - _EPOCH).days


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One reason why a row is kept out.

    row: 1-based data row in the source. field: canonical field name, or names joined by commas, or an empty string
    for the whole line. rule: name of the rule that was broken. value: what stood there, at most 200 characters.
    """

    row: int
    field: str
    rule: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatedBatch:
    """rows: good rows in the canonical schema. source_rows: the 1-based source row of each. issues: by source row."""

    rows: Any
    source_rows: npt.NDArray[np.int64]
    issues: list[Issue]
    quarantined: int
    """Number of rows that are not in ``rows``; a row may have several issues."""


def validate_batch(record_type: RecordType, batch: pa.RecordBatch, *, first_row: int) -> ValidatedBatch:
    """Validate a source batch (see ``columns``) or a batch that is canonical already.

    first_row: the 1-based source row of the batch's first row.
    Raises InvalidInput ``standards.batch_too_large`` beyond MAX_BATCH_ROWS and ``standards.field_unknown``.

    Example::

        validated = validate_batch(source.record_type, batch, first_row=1)
        for issue in validated.issues: print(issue.row, issue.field, issue.rule)
    """
    if batch.num_rows > MAX_BATCH_ROWS:
        raise InvalidInput(
            "standards.batch_too_large", f"{batch.num_rows} rows in one batch where at most {MAX_BATCH_ROWS} fit"
        )
    issues = _Issues(size=batch.num_rows, first_row=first_row)
    issues.add_faults(batch)
    columns = {entry.name: _column(entry, batch, issues) for entry in record_type.fields}
    _refuse_unknown(record_type, batch)
    for rule in record_type.rules:
        rows = breaking_rows(rule, columns)
        if rows.any():
            issues.add(rows & issues.whole, field=",".join(rule.fields), rule=rule.name, show=_shown(rule, columns))
    return issues.finish(pa.RecordBatch.from_arrays(list(columns.values()), schema=canonical_schema(record_type)))


def _column(field: Field, batch: pa.RecordBatch, issues: _Issues) -> Any:
    """Return one canonical column, noting what is wrong in it."""
    position = batch.schema.get_field_index(field.name)
    if position < 0:
        raw = pa.nulls(batch.num_rows, arrow_type(field))
        converted = Converted(values=raw)
    else:
        raw = batch.column(position)
        converted = convert_column(field, raw, unit=unit_of(batch.schema.field(position)))
    values = converted.values
    failed = np.zeros(batch.num_rows, dtype=np.bool_)
    for failure in converted.failures:
        issues.add(failure.rows & issues.whole, field=field.name, rule=failure.rule, show=_shower(raw))
        failed |= failure.rows
    for rule, rows in _bound_failures(field, values):
        issues.add(rows & issues.whole, field=field.name, rule=rule, show=_shower(raw))
        failed |= rows
        values = blank_out(values, rows)
    if field.required and values.null_count:
        missing = ~valid_mask(values) & ~failed
        issues.add(missing & issues.whole, field=field.name, rule="required", show=_shower(raw))
    return values


def _bound_failures(field: Field, values: Any) -> Iterable[tuple[str, Mask]]:
    """Yield what lies outside the bounds of its type or field ([STD-18])."""
    match field.type:
        case FieldType.DATE:
            # As day numbers: a date32 reaches far beyond the calendar of Python.
            values = values.view(pa.int32())
            low, high, rule = _FIRST_DAY, _LAST_DAY, "date_out_of_range"
        case FieldType.YEAR:
            low, high, rule = conversion.FIRST_YEAR, conversion.LAST_YEAR, "year_out_of_range"
        case FieldType.AMOUNT_FEN:
            low, high, rule = _bounds(field, MAX_FEN, "amount_out_of_range")
        case FieldType.INTEGER:
            low, high, rule = _bounds(field, MAX_FEN, "integer_out_of_range")
        case _:
            return
    limits = pc.min_max(values)
    if limits["min"].is_valid and (limits["min"].as_py() < low or limits["max"].as_py() > high):
        yield rule, true_mask(pc.or_(pc.less(values, low), pc.greater(values, high)))


def _bounds(field: Field, limit: int, rule: str) -> tuple[int, int, str]:
    low = -limit if field.minimum is None else field.minimum
    high = limit if field.maximum is None else field.maximum
    return low, high, rule


def _refuse_unknown(record_type: RecordType, batch: pa.RecordBatch) -> None:
    for name in batch.schema.names:
        if name not in {FAULT_COLUMN, FAULT_VALUE_COLUMN}:
            record_type.field(name)


class _Issues:
    """Collects issues and which rows are good ([STD-12], [STD-13]).

    whole: rows that have cells at all, i.e. were not faulted by the reader; no rule looks at the others.
    """

    def __init__(self, *, size: int, first_row: int) -> None:
        self.whole: Mask = np.ones(size, dtype=np.bool_)
        self._good: Mask = np.ones(size, dtype=np.bool_)
        self._told = np.zeros(size, dtype=np.uint8)
        self._issues: list[Issue] = []
        self._first_row = first_row

    def add_faults(self, batch: pa.RecordBatch) -> None:
        """Add the rows that the reader could not cut into cells."""
        if FAULT_COLUMN not in batch.schema.names:
            return
        rules, values = batch.column(FAULT_COLUMN), batch.column(FAULT_VALUE_COLUMN)
        faulty = valid_mask(rules)
        for row in np.flatnonzero(faulty):
            self._tell(int(row), field="", rule=rules[int(row)].as_py(), value=values[int(row)].as_py() or "")
        self._good &= ~faulty
        self.whole &= ~faulty

    def add(self, rows: Mask, *, field: str, rule: str, show: Any) -> None:
        """Note that rows broke a rule. show: row index -> the value as text."""
        self._good &= ~rows
        for row in np.flatnonzero(rows & (self._told < MAX_ISSUES_PER_ROW)):
            self._tell(int(row), field=field, rule=rule, value=show(int(row)))

    def _tell(self, row: int, *, field: str, rule: str, value: str) -> None:
        self._told[row] += 1
        shown = value if len(value) <= MAX_VALUE_CHARS else value[: MAX_VALUE_CHARS - 1] + "…"
        self._issues.append(Issue(row=self._first_row + row, field=field, rule=rule, value=shown))

    def finish(self, rows: pa.RecordBatch) -> ValidatedBatch:
        """Return the good rows and the issues in the order of the source."""
        kept = np.flatnonzero(self._good)
        quarantined = rows.num_rows - len(kept)
        self._issues.sort(key=lambda issue: issue.row)
        return ValidatedBatch(
            rows=rows if quarantined == 0 else rows.filter(pa.array(self._good)),
            source_rows=(kept + self._first_row).astype(np.int64, copy=False),
            issues=self._issues,
            quarantined=quarantined,
        )


def _shower(raw: Any) -> Any:
    if is_text(raw.type):
        size = pa.large_binary() if pa.types.is_large_string(raw.type) else pa.binary()
        beginnings = pc.binary_slice(raw.cast(size), 0, _SHOWN_BYTES)
        return lambda row: _beginning(beginnings[row].as_py() or b"")

    def show(row: int) -> str:
        try:
            value = raw[row].as_py()
        except (ValueError, OverflowError):  # a date beyond Python's calendar
            days = raw.type.bit_width == 32  # noqa: PLR2004 - bits of date32
            return f"day or time number {raw[row : row + 1].view(pa.int32() if days else pa.int64())[0].as_py()}"
        return "" if value is None else str(value)

    return show


def _beginning(text: bytes) -> str:
    """Return what an issue may show of a text [STD-39]; one that is not UTF-8 as its bytes."""
    try:
        # What is cut may end within a character, which is left out.
        return getincrementaldecoder("utf-8")().decode(text, final=len(text) < _SHOWN_BYTES)
    except UnicodeDecodeError:
        return repr(text)


def _shown(rule: RowRule, columns: dict[str, Any]) -> Any:
    names: Sequence[str] = rule.fields

    def show(row: int) -> str:
        return " ".join(f"{name}={'' if (value := columns[name][row].as_py()) is None else value}" for name in names)

    return show


def breaking_rows(rule: RowRule, columns: Mapping[str, Any]) -> Mask:
    """Return a mask of the rows that break a rule. columns: canonical Arrow arrays by field name."""
    match rule.kind:
        case RowRuleKind.SUM_EQUALS:
            return _sum_differs(rule, columns)
        case RowRuleKind.NEGATIVE_EXACTLY_WHEN:
            negative = pc.less(columns[rule.field], 0)
            return true_mask(pc.not_equal(negative, columns[rule.flag]))
        case RowRuleKind.NOT_AFTER:
            return true_mask(pc.greater(columns[rule.field], columns[rule.other]))
        case RowRuleKind.ABSENT_UNLESS:
            return valid_mask(columns[rule.field]) & ~true_mask(columns[rule.flag])
        case RowRuleKind.NONZERO_UNLESS:
            excused = true_mask(pc.equal(columns[rule.other], rule.value))
            return true_mask(pc.equal(columns[rule.field], 0)) & ~excused


def _sum_differs(rule: RowRule, columns: Mapping[str, Any]) -> Mask:
    # Amounts are at most 10^17 and a rule has few terms, so the sums stay below 2^63.
    named = [term.field for term in rule.terms] + [rule.total]
    total = numbers_of(columns[rule.total])
    summed = np.zeros(len(total), dtype=np.int64)
    complete = np.ones(len(total), dtype=np.bool_)
    for term in rule.terms:
        summed += term.sign * numbers_of(columns[term.field])
    for name in named:
        complete &= valid_mask(columns[name])
    return np.asarray(complete & (np.abs(summed - total) > rule.tolerance), dtype=np.bool_)
