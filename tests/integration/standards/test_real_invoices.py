"""The public invoices of 425 firms, read whole: what the data's own description says must come out."""

from __future__ import annotations

import pytest

from shuiqiao.base.encoding import encode_json
from shuiqiao.standards.columns import encode_group
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.readers.source import open_source
from shuiqiao.standards.validation import validate_batch
from standards_world import group_as_dict

FAILING = {
    "input_invoices_att1": [
        (100450, "amount_fen=-2254 tax_fen=68 total_fen=-2322"),
        (114399, "amount_fen=-12093 tax_fen=69 total_fen=-12162"),
    ],
    "output_invoices_att1": [(105084, "amount_fen=-464 tax_fen=46 total_fen=-510")],
    "input_invoices_att2": [
        (183189, "amount_fen=-542 tax_fen=32 total_fen=-574"),
        (183194, "amount_fen=-216 tax_fen=13 total_fen=-229"),
    ],
    "output_invoices_att2": [],
}
ROWS = {
    "input_invoices_att1": 210_947,
    "output_invoices_att1": 162_484,
    "input_invoices_att2": 395_175,
    "output_invoices_att2": 330_835,
}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_real_row_is_canonical_but_the_five_whose_sums_fail(data_folder, name):
    # Holds [STD-12], [STD-17], [STD-23].
    source = open_source(data_folder / "cumcm2020c" / f"{name}.parquet", record_type=None, catalogue=load_catalogue())
    assert source.record_type.id == ("invoice_received" if name.startswith("input") else "invoice_issued")
    assert source.row_count == ROWS[name]
    read, good, issues = 0, 0, []
    for batch in source.batches(65_536):
        validated = validate_batch(source.record_type, batch, first_row=read + 1)
        read += batch.num_rows
        good += validated.rows.num_rows
        issues += validated.issues
    assert read == ROWS[name]
    assert good == ROWS[name] - len(FAILING[name])
    assert {issue.rule for issue in issues} <= {"amount_plus_tax_is_total"}
    assert [(issue.row, issue.value) for issue in issues] == FAILING[name]


def test_the_first_attachment_has_the_rows_that_its_description_counts():
    assert ROWS["input_invoices_att1"] + ROWS["output_invoices_att1"] == 373_431


def test_groups_of_real_rows_are_the_canonical_json_of_their_values(data_folder):
    # Holds [STD-50].
    path = data_folder / "cumcm2020c" / "output_invoices_att1.parquet"
    source = open_source(path, record_type=None, catalogue=load_catalogue())
    rows = validate_batch(source.record_type, next(source.batches(5000)), first_row=1).rows
    for group_id in source.record_type.group_ids:
        expected = [encode_json(group_as_dict(source.record_type, group_id, row)) for row in rows.to_pylist()]
        assert encode_group(source.record_type, group_id, rows).to_pylist() == expected
