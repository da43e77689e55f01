"""Two rows have one identity exactly where they are about one record."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.standards.columns import canonical_schema
from shuiqiao.vault.identity import identify, period_days, taxpayer_order
from shuiqiao.vault.ingest.preparation import encode_and_hash
from vault_world import CATALOGUE, invoice

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
