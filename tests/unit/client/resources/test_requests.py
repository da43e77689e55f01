"""A day by which somebody asks for the past is one of the calendar [API-15]."""

from __future__ import annotations

import re
from datetime import date

import pytest

from shuiqiao.base.forms import DAY_FORM


def is_of_calendar(year, month, day):
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("year", [1900, 2000, 2023, 2024, 2100, 2400])
def test_a_day_that_its_month_does_not_have_has_not_the_form_of_one(year):
    for month in range(14):
        for day in range(33):
            text = f"{year}-{month:02}-{day:02}"
            assert bool(re.search(DAY_FORM, text)) == is_of_calendar(year, month, day), text


@pytest.mark.parametrize("text", ["", "2026-11-3", "26-11-30", "2026-11-30 ", "２０２６-11-30", "2026/11/30"])
def test_what_is_no_day_has_not_its_form(text):
    assert re.search(DAY_FORM, text) is None
