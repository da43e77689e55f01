"""In which form an answer goes out [API-7] [API-8]."""

from __future__ import annotations

import csv
import io

import pytest
from starlette.requests import Request

from shuiqiao.api.forms import CSV, JSON, WireResponse, chosen_form, formed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.client.pages import Page
from shuiqiao.client.wire import Wire


class Row(Wire):
    name: str
    count: int | None
    tags: tuple[str, ...]


class RowPage(Page[Row]):
    pass


PAGE = RowPage(items=(Row(name="=1+1", count=-3, tags=("a", "b")), Row(name='x,"y"', count=None, tags=())), next="b/2")


def ask(**headers):
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/rows", "query_string": b"limit=2", "headers": sent}
    return Request(scope | {"server": ("h", 80), "scheme": "http"})


@pytest.mark.parametrize(
    ("accepted", "form"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/csv", CSV),
        ("text/*, application/json;q=0.5", CSV),
        ("text/csv;q=0.1, application/*", JSON),
        ("TEXT/CSV; Q=1", CSV),
        ("application/json;q=0, text/csv;q=0.001", CSV),
    ],
)
def test_the_form_that_is_accepted_most_is_taken(accepted, form):
    assert chosen_form(accepted, (JSON, CSV)) == form


@pytest.mark.parametrize("accepted", ["image/png", "application/json;q=0", "text/csv;q=x", ";;;,,,"])
def test_where_none_is_accepted_that_is_said(accepted):
    with pytest.raises(InvalidInput) as refused:
        chosen_form(accepted, (JSON, CSV))
    assert refused.value.code == "api.not_acceptable"


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_a_cell_that_a_spreadsheet_takes_for_a_formula_begins_with_an_apostrophe(first):
    page = RowPage(items=(Row(name=f"{first}1+1", count=None, tags=()),), next=None)
    table = list(csv.reader(io.StringIO(formed(ask(accept="text/csv"), WireResponse(page)).body.decode(), newline="")))
    assert table[1][0] == f"'{first}1+1"


def test_a_table_has_a_column_for_each_field_and_no_formulas():
    answer = formed(ask(accept="text/csv"), WireResponse(PAGE))
    assert answer.body.decode() == ('name,count,tags\r\n\'=1+1,-3,"[""a"", ""b""]"\r\n"x,""y""",,[]\r\n')
    assert answer.headers["link"] == '</rows?limit=2&cursor=b%2F2>; rel="next"'


def test_an_answer_that_did_not_change_is_not_sent_again():
    first = formed(ask(), WireResponse(PAGE))
    tag = first.headers["etag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = formed(ask(if_none_match=known), WireResponse(PAGE))
        assert (again.status_code, again.body, again.headers["etag"] == tag) == (304, b"", True)
    other = formed(ask(if_none_match=tag), WireResponse(RowPage(items=(), next=None)))
    assert (other.status_code, other.headers["etag"] == tag) == (200, False)
    assert formed(ask(accept="text/csv", if_none_match=tag), WireResponse(PAGE)).status_code == 200
