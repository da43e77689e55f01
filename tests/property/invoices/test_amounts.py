"""Capitals there and back, for any amount an invoice can have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shuiqiao.invoices.amounts import read_capitals, read_fen
from shuiqiao.sandbox.issued.xml_invoice import write_capitals, yuan

FEN = st.integers(min_value=-(10**13), max_value=10**13)


@given(FEN)
def test_capitals_are_read_as_they_were_written(fen):
    assert read_capitals(write_capitals(fen)) == fen


@given(FEN)
def test_amounts_are_read_as_they_were_written(fen):
    assert read_fen(yuan(fen)) == fen


@given(FEN, FEN)
def test_other_amounts_have_other_capitals(one, other):
    assert (write_capitals(one) == write_capitals(other)) == (one == other)
