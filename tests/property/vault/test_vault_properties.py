from __future__ import annotations

import hashlib
from contextlib import suppress

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.standards.columns import binary_list, canonical_schema
from shuiqiao.vault.disclosure import (
    Disclosure,
    TypeDisclosure,
    decode_column,
    decode_disclosure,
    encode_column,
    encode_disclosure,
    granted_schema,
)
from shuiqiao.vault.identity import identify, period_days, taxpayer_order
from shuiqiao.vault.ingest.preparation import encode_and_hash
from shuiqiao.vault.tree import multiproof, root_from_multiproof, split_hashes, tree_levels
from vault_world import CATALOGUE, invoice

TREES = st.integers(1, 70).flatmap(
    lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1), min_size=1).map(sorted))
)


def leaves_of(count):
    return [hashlib.sha256(number.to_bytes(2, "big")).digest() for number in range(count)]


def proof_of(count, indexes):
    levels = tree_levels(leaves_of(count), hash_name="sha256")
    stored = b"".join(node for level in levels for node in level)
    return levels[-1][0], split_hashes(multiproof(stored, indexes, count=count))


@settings(max_examples=150, deadline=None)
@given(TREES)
def test_any_set_of_leaves_is_proven(tree):
    # Holds [VAULT-TREE-2].
    count, indexes = tree
    root, proof = proof_of(count, indexes)
    chosen = [leaves_of(count)[index] for index in indexes]
    assert root == root_from_multiproof(chosen, indexes, proof, count=count, hash_name="sha256")


@settings(max_examples=150, deadline=None)
@given(TREES, st.data())
def test_no_changed_leaf_place_or_proof_leads_to_the_root(tree, data):
    count, indexes = tree
    root, proof = proof_of(count, indexes)
    chosen = [leaves_of(count)[index] for index in indexes]
    what = data.draw(st.sampled_from(["leaf", "place", "proof", "shorter", "longer"]))
    places = list(indexes)
    if what == "leaf":
        chosen[data.draw(st.integers(0, len(chosen) - 1))] = bytes(32)
    elif what == "place":
        at = data.draw(st.integers(0, len(places) - 1))
        places[at] = data.draw(st.integers(-1, count).filter(lambda index: index != indexes[at]))
    elif what == "proof" and proof:
        proof[data.draw(st.integers(0, len(proof) - 1))] = bytes(32)
    elif what == "shorter" and proof:
        proof.pop()
    else:
        proof.append(bytes(32))
    try:
        found = root_from_multiproof(chosen, places, proof, count=count, hash_name="sha256")
    except IntegrityError:
        return
    assert found != root


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


ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 30), st.sampled_from(["valid", "void"]), st.sampled_from([13, 14])),
    min_size=1,
    max_size=30,
)


@settings(max_examples=80, deadline=None)
@given(ROWS, st.booleans())
def test_identities_agree_exactly_where_records_do(drawn, key_is_all):
    # Holds [VAULT-IDENTITY-1].
    record_type = CATALOGUE.get("invoice_issued")
    rows = [
        invoice(number, uscc=f"9132010{firm}", status=status, tax_rate=f"0.{rate}")
        for firm, number, status, rate in drawn
    ]
    schema = canonical_schema(record_type)
    columns = [pa.array([row.get(name) for row in rows], type=schema.field(name).type) for name in schema.names]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    order = taxpayer_order(record_type, batch)
    ordered = batch if order is None else batch.take(order)
    _, parts, _ = encode_and_hash(record_type, ordered, bytes(48 * len(rows)), hash_name="sha256")
    found = identify(record_type, ordered, parts, type_number=1, hash_name="sha256", key_is_all=key_is_all)

    def alike(values):
        return [[left == right for right in values] for left in values]

    values = ordered.to_pylist()
    key_fields = record_type.field_names if key_is_all else record_type.natural_key
    lasting = [name for name in record_type.field_names if key_is_all or name != "status"]
    assert alike(found.keys) == alike([[row[name] for name in key_fields] for row in values])
    assert alike(found.digests) == alike([[row[name] for name in lasting] for row in values])
    assert alike(found.states) == alike([not key_is_all and row["status"] for row in values])
    # Ordered rows are ordered in the index as well, but for records of one taxpayer.
    assert sorted(key[:-16] for key in found.keys) == [key[:-16] for key in found.keys]
    assert found.days.tolist() == period_days(record_type, ordered).tolist()
