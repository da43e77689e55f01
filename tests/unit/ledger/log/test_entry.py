"""[LEDGER-BLOCK-1] to [LEDGER-BLOCK-3]: the block entry has one form, and no transaction looks like it."""

from __future__ import annotations

import msgspec
import pytest

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.log.entry import BlockEntry, decode_entry, encode_entry, is_entry, next_block_time

ENTRY = BlockEntry(height=7, time_ms=1_775_000_000_001, count=3, epoch=2, state_root=bytes(range(32)))
FIELDS = {
    "version": 3,
    "state_root": bytes(range(32)),
    "height": 7,
    "time_ms": 1_775_000_000_001,
    "count": 3,
    "epoch": 2,
}


def test_the_form_is_the_deterministic_map_of_six():
    """[LEDGER-BLOCK-1]"""
    assert encode_cbor(FIELDS) == encode_entry(ENTRY)
    assert decode_entry(encode_entry(ENTRY)) == ENTRY


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        encode_cbor([]),
        encode_entry(ENTRY) + b"\x00",
        encode_entry(ENTRY)[:-1],
        encode_cbor({**FIELDS, "version": 2}),
        encode_cbor({**FIELDS, "version": 4}),
        encode_cbor({**FIELDS, "epoch": -1}),
        encode_cbor({**FIELDS, "epoch": 2**53}),
        encode_cbor({key: value for key, value in FIELDS.items() if key != "epoch"}),
        encode_cbor({**FIELDS, "state_root": bytes(31)}),
        encode_cbor({**FIELDS, "state_root": "0" * 32}),
        encode_cbor({key: value for key, value in FIELDS.items() if key != "state_root"} | {"version": 1}),
        encode_cbor({**FIELDS, "count": 0}),
        encode_cbor({**FIELDS, "count": True}),
        encode_cbor({**FIELDS, "count": 2**53}),
        encode_cbor({**FIELDS, "height": 0}),
        encode_cbor({**FIELDS, "height": 2**53}),
        encode_cbor({**FIELDS, "time_ms": -1}),
        encode_cbor({**FIELDS, "time_ms": 2**53}),
        encode_cbor({**FIELDS, "height": "7"}),
        encode_cbor({key: value for key, value in FIELDS.items() if key != "count"}),
        encode_cbor("x" * 300),
        encode_cbor(FIELDS).replace(b"\x07", b"\x18\x07"),
    ],
)
def test_any_other_form_is_refused(data):
    with pytest.raises(IntegrityError) as caught:
        decode_entry(data)
    assert caught.value.code == "ledger.entry_malformed"


@pytest.mark.parametrize(
    "edge",
    [{"count": 1}, {"height": 1}, {"epoch": 0}, {"time_ms": 0}]
    + [{name: 2**53 - 1} for name in ("count", "height", "epoch", "time_ms")],
)
def test_the_ends_of_every_range_are_entries(edge):
    """[LEDGER-BLOCK-1]"""
    entry = msgspec.structs.replace(ENTRY, **edge)
    assert encode_cbor({**FIELDS, **edge}) == encode_entry(entry)
    assert decode_entry(encode_entry(entry)) == entry


def test_more_bytes_than_an_entry_may_have_are_not_decoded():
    with pytest.raises(IntegrityError, match="257 bytes"):
        decode_entry(bytes(257))
    with pytest.raises(IntegrityError, match="not the deterministic CBOR"):
        decode_entry(bytes(256))


def test_a_transaction_is_never_an_entry_and_an_entry_never_a_transaction(network):
    """[LEDGER-BLOCK-2]"""
    raw = network.write()
    assert (is_entry(raw), is_entry(encode_entry(ENTRY)), is_entry(b"")) == (False, True, False)
    with pytest.raises(IntegrityError):
        decode_entry(raw)
    with pytest.raises(InvalidInput) as caught:
        network.machine.decode(encode_entry(ENTRY))
    assert caught.value.code == "ledger.tx_malformed"


def test_block_time_follows_the_clock_but_never_stands_or_goes_back():
    """[LEDGER-BLOCK-3]"""
    clocks = [100, 100, 90, 101, 500]
    times, previous = [], 99
    for clock_ms in clocks:
        previous = next_block_time(clock_ms=clock_ms, previous_ms=previous)
        times.append(previous)
    assert times == [100, 101, 102, 103, 500]
