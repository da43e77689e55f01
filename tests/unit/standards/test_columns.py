from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from shuiqiao.base.encoding import encode_json
from shuiqiao.standards.columns import canonical_schema, encode_group
from standards_world import group_as_dict

RECORD = {
    "uscc": "E1",
    "invoice_no": "12345678",
    "issue_date": date(2024, 3, 5),
    "status": "valid",
    "is_red_letter": False,
    "invoice_code": None,
    "invoice_kind": None,
    "original_invoice_no": None,
    "amount_fen": -100,
    "tax_fen": 0,
    "total_fen": -100,
    "tax_rate": "0.06",
    "counterparty_id": "B1",
    "counterparty_name": '甲"乙\\公司',
}


@pytest.fixture
def issued(catalogue):
    return catalogue.get("invoice_issued")


def rows_of(record_type, *records):
    return pa.RecordBatch.from_pylist(list(records), schema=canonical_schema(record_type))


def test_the_three_groups_of_an_invoice_byte_for_byte(issued):
    # Holds [STD-50], [STD-51], [STD-52], [STD-53].
    rows = rows_of(issued, RECORD)
    written = {group_id: encode_group(issued, group_id, rows).to_pylist() for group_id in issued.group_ids}
    assert written == {
        "core": [
            b'{"group":"core","invoice_code":null,"invoice_kind":null,"invoice_no":"12345678","is_red_letter":false,"issue_date":"2024-03-05","original_invoice_no":null,"status":"valid","type":"invoice_issued@2","uscc":"E1"}'
        ],
        "amounts": [
            b'{"amount_fen":-100,"group":"amounts","tax_fen":0,"tax_rate":"0.06","total_fen":-100,"type":"invoice_issued@2"}'
        ],
        "counterparty": [
            '{"counterparty_id":"B1","counterparty_name":"甲\\"乙\\\\公司","group":"counterparty","type":"invoice_issued@2"}'.encode()
        ],
    }


def test_no_group_but_core_names_the_taxpayer(catalogue):
    # Holds [STD-51].
    for record_type in catalogue:
        for group in record_type.groups:
            assert ("uscc" in group.fields) == (group.id == "core")


def test_groups_of_a_slice_are_those_of_its_rows(issued):
    # Holds [STD-50].
    records = [
        RECORD | {"uscc": f"E{n}", "counterparty_name": name} for n, name in enumerate(["a", 'q"', None, "\x01"])
    ]
    rows = rows_of(issued, *records)
    for group_id in issued.group_ids:
        whole = encode_group(issued, group_id, rows).to_pylist()
        assert whole == [encode_json(group_as_dict(issued, group_id, record)) for record in records]
        assert encode_group(issued, group_id, rows.slice(1, 2)).to_pylist() == whole[1:3]
        assert encode_group(issued, group_id, rows.slice(0, 0)).to_pylist() == []


def test_a_group_without_any_value_is_all_null(catalogue):
    # Holds [STD-52].
    registration = catalogue.get("registration")
    record = {
        "uscc": "E1",
        "taxpayer_name": "甲",
        "status": "normal",
        "industry_code": "C",
        "province_code": "44",
        "registered_on": date(2020, 1, 1),
    }
    rows = rows_of(registration, record, record)
    expected = (
        b'{"group":"person","legal_rep_id":null,"legal_rep_id_kind":null,"legal_rep_name":null,"type":"registration@1"}'
    )
    assert encode_group(registration, "person", rows).to_pylist() == [expected, expected]
