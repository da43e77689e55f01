"""The record of a process that lives on after the command that started it."""

from __future__ import annotations

import pytest

from shuiqiao.node.localnet.process import RecordedProcess

RECORDS = [
    b"",
    b"\xff",
    b"[]",
    b"{}",
    b'{"pid":[],"began":"1"}',
    b'{"pid":"x","began":"1"}',
    b'{"pid":1e999,"began":"1"}',
    b"[" * 100_000,
    b"9" * 5000,
]


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_a_record_that_cannot_be_read_is_of_no_process(record, tmp_path):
    (tmp_path / "node.pid").write_bytes(record)
    process = RecordedProcess(tmp_path, name="node")
    assert (process.pid, process.is_expected) == (None, True)
