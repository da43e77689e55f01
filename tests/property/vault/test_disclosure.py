"""A disclosure comes back as it went, and other bytes are refused."""

from __future__ import annotations

from contextlib import suppress

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError
from shuiqiao.standards.columns import binary_list
from shuiqiao.vault.disclosure import (
    Disclosure,
    TypeDisclosure,
    decode_column,
    decode_disclosure,
    encode_column,
    encode_disclosure,
    granted_schema,
)
from vault_world import CATALOGUE, invoice

COLUMNS = st.one_of(
    st.lists(st.none() | st.text(max_size=12)).map(lambda values: pa.array(values, type=pa.string())),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)).map(lambda values: pa.array(values, type=pa.int64())),
    st.lists(st.none() | st.booleans()).map(lambda values: pa.array(values, type=pa.bool_())),
    st.lists(st.none() | st.dates()).map(lambda values: pa.array(values, type=pa.date32())),
)


@settings(max_examples=200, deadline=None)
@given(COLUMNS, st.integers(0, 3))
def test_a_column_comes_back_as_it_went(column, start):
    # Holds [VAULT-WIRE-2].
    part = column[start:]
    back = decode_column(encode_column(part), kind=part.type, rows=len(part))
    back.validate(full=True)
    assert part.to_pylist() == back.to_pylist()
    assert encode_column(part) == encode_column(back)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=9)), st.integers(0, 3), st.sampled_from([pa.binary(), pa.large_binary()]))
def test_binary_values_are_cut_at_their_ends(values, start, kind):
    assert values[start:] == binary_list(pa.array(values, type=kind)[start:])


def disclosure_of(rows):
    record_type = CATALOGUE.get("invoice_issued")
    schema = granted_schema(record_type, ("core",))
    columns = [pa.array([row.get(name) for row in rows], type=schema.field(name).type) for name in schema.names]
    entry = TypeDisclosure(
        standard="invoice_issued@2",
        groups=("core",),
        rows=pa.RecordBatch.from_arrays(columns, schema=schema),
        proofs=(),
    )
    days = {"period_from": invoice(0)["issue_date"], "period_to": invoice(0)["issue_date"]}
    return Disclosure(uscc="91320100", types=(entry,), **days)


WIRE = encode_disclosure(disclosure_of([]))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(WIRE) - 1), st.binary(min_size=1, max_size=4))
def test_spoilt_bytes_are_refused_with_a_code_and_nothing_else(place, junk):
    spoilt = WIRE[:place] + junk + WIRE[place + len(junk) :]
    # Some changes give another well-formed disclosure; every other is refused by an error of the one family.
    with suppress(ShuiqiaoError):
        decode_disclosure(spoilt, catalogue=CATALOGUE)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.binary() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_anything_else_in_cbor_is_no_disclosure(value):
    try:
        decode_disclosure(encode_cbor(value), catalogue=CATALOGUE)
    except InvalidInput:
        return
    raise AssertionError("nothing of this kind is a disclosure")
