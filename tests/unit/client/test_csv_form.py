"""A list as CSV: what a cell says, and that none is a formula."""

from __future__ import annotations

import pytest

from shuiqiao.client.csv_form import as_csv


def test_a_row_has_a_cell_for_each_column():
    rows = [{"a": None, "b": True, "c": -3, "d": ["x", 1], "e": 'say "no"', "left": "out"}]
    assert as_csv(["a", "b", "c", "d", "e"], rows, line_end="\n") == 'a,b,c,d,e\n,true,-3,"[""x"", 1]","say ""no"""\n'


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+cmd", "@sum", "\tx", "\uff1d1"])
def test_text_that_a_spreadsheet_takes_for_a_formula_begins_with_an_apostrophe(text):
    assert as_csv(["a"], [{"a": text}]) == f"a\r\n'{text}\r\n"
