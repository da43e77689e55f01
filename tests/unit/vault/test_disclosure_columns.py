from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.vault.disclosure import WireColumn, decode_column, encode_column


def ends_of(*ends: int) -> bytes:
    return np.array(ends, dtype="<u4").tobytes()


def test_the_three_byte_strings_of_a_column():
    # Holds [VAULT-WIRE-2].
    assert encode_column(pa.array(["税", None, "ab"])) == WireColumn(
        valid=b"\x05", ends=ends_of(3, 3, 5), data="税ab".encode()
    )
    assert encode_column(pa.array([None, -1], pa.int64())) == WireColumn(
        valid=b"\x02", ends=b"", data=bytes(8) + b"\xff" * 8
    )
    assert encode_column(pa.array([True, None, True])) == WireColumn(valid=b"\x05", ends=b"", data=b"\x05")
    assert encode_column(pa.array([19_000], pa.date32())) == WireColumn(
        valid=b"", ends=b"", data=(19_000).to_bytes(4, "little")
    )
    assert encode_column(pa.array([], pa.string())) == WireColumn(valid=b"", ends=b"", data=b"")


def test_what_stands_in_the_place_of_a_null_does_not_travel():
    # Holds [VAULT-WIRE-2]: a text, a number and a boolean that a null hides.
    second_is_null = pa.py_buffer(b"\x01")
    offsets = pa.py_buffer(np.array([0, 2, 8], dtype=np.int32))
    text = pa.Array.from_buffers(pa.string(), 2, [second_is_null, offsets, pa.py_buffer(b"absecret")])
    whole = pa.Array.from_buffers(pa.int64(), 2, [second_is_null, pa.py_buffer(np.array([7, 99]))])
    bits = pa.Array.from_buffers(pa.bool_(), 2, [second_is_null, pa.py_buffer(b"\x03")])
    for hidden, plain in (
        (text, pa.array(["ab", None])),
        (whole, pa.array([7, None], pa.int64())),
        (bits, pa.array([True, None])),
    ):
        assert encode_column(hidden) == encode_column(plain)


@pytest.mark.parametrize("array", [pa.array(["a", "税务", None, "", "b" * 40] * 3), pa.array([None, 1, -(2**63)] * 5)])
def test_a_slice_is_encoded_as_if_it_stood_alone(array: Any):
    # Holds [VAULT-WIRE-2].
    for start in range(len(array)):
        alone = pa.array(array.slice(start, 3).to_pylist(), type=array.type)
        assert encode_column(array.slice(start, 3)) == encode_column(alone)


@pytest.mark.parametrize(
    ("ends", "data"),
    [
        (ends_of(3, 2), b"ab"),  # falls
        (ends_of(1, 3), b"ab"),  # beyond the data
        (ends_of(1, 1), b"ab"),  # data that no row owns
        (ends_of(2**32 - 1, 2), b"ab"),  # negative as Arrow reads it
        (ends_of(2), b"ab"),  # one row too few
        (ends_of(1, 3), "税".encode()),  # cuts a character
        (ends_of(1, 2), b"a\xff"),  # no UTF-8
    ],
)
def test_texts_that_are_not_cut_where_they_can_be_are_refused(ends: bytes, data: bytes):
    # Holds [VAULT-WIRE-2].
    with pytest.raises(InvalidInput, match=r"vault\.column_malformed"):
        decode_column(WireColumn(valid=b"", ends=ends, data=data), kind=pa.string(), rows=2)


def test_a_column_of_no_rows_holds_no_bytes():
    # Holds [VAULT-WIRE-2].
    assert decode_column(WireColumn(valid=b"", ends=b"", data=b""), kind=pa.string(), rows=0).to_pylist() == []
    with pytest.raises(InvalidInput, match=r"vault\.column_malformed"):
        decode_column(WireColumn(valid=b"", ends=b"", data=b"a"), kind=pa.string(), rows=0)
