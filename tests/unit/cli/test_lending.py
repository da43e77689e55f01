"""Lists of a bank as CSV: what is shown to a person goes the same way in every form."""

from __future__ import annotations

from shuiqiao.cli.lending import ListForm, show_list


def test_a_list_as_csv_hides_nothing_from_a_terminal_and_is_nothing_where_there_is_nothing(capsys):
    rows = [{"name": "a\u202eb", "products": ["x", "y"]}, {"name": 'of "two"', "products": []}]
    show_list("models", rows, form=ListForm.CSV, as_json=False)
    assert capsys.readouterr().out == 'name,products\na\\u202eb,x y\n"of ""two""",\n'
    show_list("models", [], form=ListForm.CSV, as_json=False)
    assert capsys.readouterr().out == ""
