"""Calendar arithmetic of tax periods. A month is an int: months since January 1970."""

from __future__ import annotations

from datetime import date, timedelta

from shuiqiao.sandbox.economy.model import Window

_EPOCH = date(1970, 1, 1)
MONTHS_PER_YEAR = 12
MONTHS_PER_QUARTER = 3
_DUE_DAY = 15
"""Returns and payments are due on the 15th of the following month (holiday shifts are left out)."""


def month_of(day: date) -> int:
    """Return the month that contains a day."""
    return (day.year - _EPOCH.year) * MONTHS_PER_YEAR + day.month - 1


def first_day(month: int) -> date:
    """Return the first day of a month."""
    return date(_EPOCH.year + month // MONTHS_PER_YEAR, month % MONTHS_PER_YEAR + 1, 1)


def last_day(month: int) -> date:
    """Return the last day of a month."""
    return first_day(month + 1) - timedelta(days=1)


def due_day(last_month: int) -> date:
    """Return the day on which the return of a period ending with a month is due."""
    return first_day(last_month + 1).replace(day=_DUE_DAY)


def day_number(day: date) -> int:
    """Return days since 1970-01-01."""
    return (day - _EPOCH).days


def date_of(number: int) -> date:
    """Return the day with a number."""
    return _EPOCH + timedelta(days=number)


def year_of(month: int) -> int:
    """Return the calendar year that contains a month."""
    return _EPOCH.year + month // MONTHS_PER_YEAR


def window_before(as_of: date, *, months: int) -> Window:
    """Return the last ``months`` whole calendar months that end on or before ``as_of``."""
    end = month_of(as_of + timedelta(days=1))
    return Window(as_of=as_of, first_month=end - months, months=months)
