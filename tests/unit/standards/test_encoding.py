from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.columns import canonical_schema
from shuiqiao.standards.encoding import decode_groups, encode_group, group_as_dict

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


def test_decoding_gives_the_columns_back(issued):
    # Holds [STD-54].
    rows = rows_of(issued, RECORD, RECORD | {"counterparty_name": None, "is_red_letter": True})
    for group_id in issued.group_ids:
        decoded = decode_groups(issued, group_id, encode_group(issued, group_id, rows).to_pylist())
        assert decoded.equals(rows.select(decoded.schema.names))
        assert decoded.schema.names == list(issued.group(group_id).fields)
    assert decode_groups(issued, "core", []).num_rows == 0


GOOD = b'{"amount_fen":-100,"group":"amounts","tax_fen":0,"tax_rate":"0.06","total_fen":-100,"type":"invoice_issued@2"}'


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"tax_fen":0,', b"", "missing required field `tax_fen`"),
        (b'"tax_fen":0,', b'"extra":1,"tax_fen":0,', "unknown field `extra`"),
        (b'"tax_fen":0', b'"tax_fen":null', "Expected `int`, got `null`"),
        (b'"tax_fen":0', b'"tax_fen":0.0', "Expected `int`, got `float`"),
        (b'"tax_fen":0', b'"tax_fen":-0', "not the canonical JSON"),
        (b'"tax_fen":0', b'"tax_fen":1,"tax_fen":0', "not the canonical JSON"),
        (b'"tax_fen":0', b'"tax_fen": 0', "not the canonical JSON"),
        (b'"tax_fen":0', b'"tax_fen":9223372036854775808', "<= 9223372036854775807"),
        (b'"tax_fen":0', b'"tax_fen":"0"', "Expected `int`, got `str`"),
        (b'"0.06"', b'"0.0\\u0036"', "not the canonical JSON"),
        (b'"0.06"', b'"\xff"', "is refused"),
        (b'"0.06"', b'"\\ud800"', "is refused"),
        (b"amounts", b"core", "Invalid enum value 'core'"),
        (b"issued@2", b"issued@1", "Invalid enum value"),
        (b"}", b"} ", "not the canonical JSON"),
        (b"}", b"}{}", "trailing characters"),
        (b"}", b"", "truncated"),
        (b'"0.06"', b'"' + b"6" * 65_536 + b'"', "65642 bytes where at most 65536"),
    ],
)
def test_any_other_bytes_are_refused_with_their_position(issued, old, new, reason):
    # Holds [STD-54].
    assert old in GOOD
    with pytest.raises(InvalidInput) as refused:
        decode_groups(issued, "amounts", [GOOD, GOOD.replace(old, new, 1)])
    assert refused.value.code == "standards.group_malformed"
    assert refused.value.message.startswith("disclosed group 1 ")
    assert reason in refused.value.message
