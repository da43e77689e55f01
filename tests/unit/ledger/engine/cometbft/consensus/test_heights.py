"""The position file: which height a ledger stands at, after any torn write and any crash."""

from __future__ import annotations

import pytest

from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.engine.cometbft.consensus.heights import SLOT_BYTES, HeightFile, HeightRecord


def position(height: int, block: int) -> HeightRecord:
    return HeightRecord(
        height=height,
        time_ms=height * 1000,
        block=block,
        app_hash=bytes([block]) * 32,
        previous=height - 1,
        previous_time_ms=(height - 1) * 1000,
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "consensus" / "position"


def saved(path, *records: HeightRecord) -> None:
    file = HeightFile(path, disk=Disk())
    for record in records:
        file.save(record, is_durable=True)
    file.close()


def loaded(path, *, block: int) -> HeightRecord | None:
    file = HeightFile(path, disk=Disk())
    try:
        return file.load(block=block)
    finally:
        file.close()


def test_the_newest_record_holds(path):
    assert loaded(path, block=0) is None
    saved(path, position(1, 0), position(2, 1), position(3, 1), position(4, 2))
    assert loaded(path, block=2) == position(4, 2)


def test_an_announced_block_that_is_not_there_leaves_the_height_before(path):  # [ABCI-14]
    saved(path, position(1, 0), position(2, 1), position(3, 2))
    assert loaded(path, block=1) == position(2, 1)
    # Decided again, it takes the place of the announcement, not of the height before.
    saved(path, position(3, 2))
    assert loaded(path, block=1) == position(2, 1)
    assert loaded(path, block=2) == position(3, 2)


def test_the_very_first_block_may_be_announced_and_not_there(path):
    saved(path, position(1, 1))
    assert loaded(path, block=0) is None
    assert loaded(path, block=1) == position(1, 1)


@pytest.mark.parametrize("cut", [1, 40, 100])
def test_a_torn_very_first_record_is_none(cut, path):
    saved(path, position(1, 0))
    path.write_bytes(path.read_bytes()[:cut])
    assert loaded(path, block=0) is None
    with pytest.raises(IntegrityError):
        loaded(path, block=1)


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("cut", [0, 10, 40, 100])
def test_a_torn_slot_leaves_the_other(slot, cut, path):
    records = [position(7, 3), position(8, 3)]
    saved(path, *records)
    data = bytearray(path.read_bytes())
    data[slot * SLOT_BYTES + cut : (slot + 1) * SLOT_BYTES] = bytes(SLOT_BYTES - cut)
    path.write_bytes(data)
    assert loaded(path, block=3) == records[1 - slot]


@pytest.mark.parametrize("block", [0, 1, 4, 9])
def test_a_ledger_that_is_not_what_any_record_leads_to_is_told(block, path):
    saved(path, position(7, 3), position(8, 3))
    with pytest.raises(IntegrityError) as raised:
        loaded(path, block=block)
    assert raised.value.code == "ledger.position_damaged"


def test_an_announcement_whose_height_before_is_gone_is_told(path):
    saved(path, position(7, 3))
    with pytest.raises(IntegrityError) as raised:
        loaded(path, block=2)
    assert raised.value.code == "ledger.position_damaged"
