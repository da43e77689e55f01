from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.encoding import encode_json
from shuiqiao.standards.columns import MAX_ROWWISE, canonical_schema, encode_group, encode_group_list
from shuiqiao.standards.model import Field, FieldType, RecordType
from shuiqiao.standards.publication import load_catalogue
from standards_world import group_as_dict

# Every scalar value but surrogates, with those that JSON escapes or engines treat apart drawn often.
TEXT = st.text(
    st.one_of(
        st.sampled_from('"\\/\b\f\n\r\t\x00\x1f\x7f\x80\u2028\ud7ff\uffff😀税'),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=12,
)
INTEGERS = st.integers(min_value=-(2**63), max_value=2**63 - 1)


def values_of(field: Field) -> st.SearchStrategy[Any]:
    match field.type:
        case FieldType.BOOLEAN:
            values: st.SearchStrategy[Any] = st.booleans()
        case FieldType.DATE:
            values = st.dates(min_value=date(1900, 1, 1), max_value=date(2099, 12, 31))
        case FieldType.INTEGER | FieldType.AMOUNT_FEN | FieldType.YEAR:
            values = INTEGERS
        case _:
            values = TEXT
    return values if field.required else st.none() | values


def records_of(record_type: RecordType) -> st.SearchStrategy[list[dict[str, Any]]]:
    record = st.fixed_dictionaries({entry.name: values_of(entry) for entry in record_type.fields})
    return st.lists(record, min_size=1, max_size=5)


@pytest.mark.parametrize("record_type", list(load_catalogue()), ids=lambda entry: entry.id)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_columns_become_exactly_the_canonical_json_of_each_row(record_type, data):
    # Holds [STD-50], [STD-53].
    records = data.draw(records_of(record_type))
    rows = pa.RecordBatch.from_pylist(records, schema=canonical_schema(record_type))
    for group_id in record_type.group_ids:
        written = encode_group(record_type, group_id, rows).to_pylist()
        assert written == [encode_json(group_as_dict(record_type, group_id, record)) for record in records]
        assert encode_group_list(record_type, group_id, rows) == written


@pytest.mark.parametrize("record_type", list(load_catalogue()), ids=lambda entry: entry.id)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_many_rows_and_few_rows_are_written_alike(record_type, data):
    # Holds [STD-50]: the rows of a list long enough for whole columns are those of its short parts.
    records = data.draw(records_of(record_type))
    times = MAX_ROWWISE // len(records) + 1
    rows = pa.RecordBatch.from_pylist(records * times, schema=canonical_schema(record_type))
    assert rows.num_rows > MAX_ROWWISE
    for group_id in record_type.group_ids:
        few = encode_group_list(record_type, group_id, rows.slice(1, len(records)))
        assert encode_group_list(record_type, group_id, rows)[1 : len(records) + 1] == few
