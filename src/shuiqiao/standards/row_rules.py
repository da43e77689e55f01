"""Applies the row rules that a record type declares: comparisons across the fields of a row, whole columns at a time.

Rule: docs/spec/standard.md, [STD-23]. A row in which one of the fields is empty (or failed by itself) passes:
whether a field may be empty is said by the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shuiqiao.standards.columns import pc
from shuiqiao.standards.conversion import Mask, true_mask, valid_mask
from shuiqiao.standards.model import RowRule, RowRuleKind


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
    named = [name for _, name in rule.terms] + [rule.total]
    total = _integers(columns[rule.total])
    summed = np.zeros(len(total), dtype=np.int64)
    complete = np.ones(len(total), dtype=np.bool_)
    for sign, name in rule.terms:
        summed += sign * _integers(columns[name])
    for name in named:
        complete &= valid_mask(columns[name])
    return np.asarray(complete & (np.abs(summed - total) > rule.tolerance), dtype=np.bool_)


def _integers(values: Any) -> Any:
    filled = values.fill_null(0) if values.null_count else values
    return filled.to_numpy(zero_copy_only=False)
