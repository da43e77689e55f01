"""Bands, items and lists of exposures."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import OwnedId
from shuiqiao.exchange.modes.exposure import EXPOSURE_BANDS
from shuiqiao.lending.exposures.model import (
    BAND_TOPS_FEN,
    Exposure,
    InputEntry,
    InputList,
    band_of,
    binding_of,
    decode_inputs,
    item_of,
)

TAXPAYER = "91440300MA5LEAKME7"
CONSENT = OwnedId("tax-a/" + "4f" * 16)


def test_an_amount_is_in_the_band_that_ends_at_or_above_it():
    """[PSI-8]"""
    assert len(BAND_TOPS_FEN) == EXPOSURE_BANDS
    assert [band_of(top) for top in BAND_TOPS_FEN] == list(range(EXPOSURE_BANDS))
    assert [band_of(top + 1) for top in BAND_TOPS_FEN] == [1, 2, 3, 4, 5, 6, 7, 7]
    assert band_of(1) == 0


def test_an_item_is_of_one_taxpayer_band_and_network():
    """[PSI-8]"""
    one = item_of(TAXPAYER, 1, network=b"n" * 32)
    others = {
        item_of(TAXPAYER, 2, network=b"n" * 32),
        item_of(TAXPAYER[:-1] + "8", 1, network=b"n" * 32),
        item_of(TAXPAYER, 1, network=b"m" * 32),
    }
    assert len({one, *others}) == 4
    assert one == item_of(TAXPAYER, 1, network=b"n" * 32)


def test_what_both_signed_is_bound_in_this_order():
    """[PSI-7]"""
    assert binding_of(b"question", b"statement") != binding_of(b"statement", b"question")


def test_a_list_is_read_as_it_was_written_and_nothing_else_is_one():
    """[PSI-10]"""
    entries = [
        InputEntry(consent=CONSENT, taxpayer=TAXPAYER, request=bytes(16)),
        InputEntry(consent=CONSENT, taxpayer=TAXPAYER, band=7),
    ]
    found = InputList(salt=bytes(32), entries=entries)
    raw = found.encode()
    assert decode_inputs(raw) == found
    beyond = InputList(salt=bytes(32), entries=[InputEntry(consent=CONSENT, taxpayer=TAXPAYER, band=8)]).encode()
    for none in (b"", raw + b"\x00", raw[:-1], beyond, b"\xa0"):
        with pytest.raises(InvalidInput, match=r"lending\.exposure_list_malformed"):
            decode_inputs(none)


@pytest.mark.parametrize(
    ("band", "from_fen", "counted_fen"), [(None, None, 0), (0, 0, 10_000_000), (7, 500_000_000, 1_000_000_000)]
)
def test_a_band_counts_as_its_upper_end(band, from_fen, counted_fen):
    """[PSI-9]"""
    told = Exposure(
        consent=CONSENT,
        bank="bank-b",
        taxpayer=TAXPAYER,
        request=OwnedId("bank-a/" + "7a" * 16),
        band=band,
        asked_ms=1,
        erase_after_ms=2,
    )
    said = told.as_json()
    assert (said["from_fen"], said["counted_fen"]) == (from_fen, counted_fen)
    assert TAXPAYER not in str(said)
