"""Small files of a ledger folder that are as long as nobody wrote them: refused before they are in memory."""

from __future__ import annotations

import os

import pytest

from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import IntegrityError
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.store.alarm_file import AlarmFile
from shuiqiao.ledger.store.checkpoint_file import CheckpointFile
from shuiqiao.ledger.witness.witness import WitnessFile

DISK = Disk()
TEBIBYTE = 1 << 40
"""More than any memory; the file system keeps nothing of it but its length."""

FILES = {
    "ledger.alarm_damaged": lambda folder: AlarmFile(folder, disk=DISK).load(),
    "ledger.witness_record_damaged": lambda folder: WitnessFile(folder, origin="o", disk=DISK).load(),
    "ledger.checkpoint_malformed": lambda folder: CheckpointFile(
        folder, suite=get_suite("intl"), disk=DISK
    ).claimed_size(),
}


@pytest.mark.parametrize("code", FILES)
def test_a_file_that_is_far_too_long_is_refused(code, tmp_path):
    for name in ("fork", "last", "latest"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, TEBIBYTE)
    with pytest.raises(IntegrityError) as caught:
        FILES[code](tmp_path)
    assert caught.value.code == code
