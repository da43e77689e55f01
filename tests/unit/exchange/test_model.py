"""What the messages of the exchange may hold, at every edge, and their limits."""

from __future__ import annotations

import pytest

from field_edges import is_held
from shuiqiao.base import wire
from shuiqiao.exchange import model

CELL = {"type": "filing@1", "month": "2024-03", "count": 1}

EDGES = [
    (wire.Id, [b"x" * 16], [b"x" * 15, b"x" * 17]),
    (model.Month, ["2024-03"], ["2024-3", "2024-033", "24-03", "2024-03\n"]),
    (model.ManifestCell, [CELL, CELL | {"count": 1_000_000}], [CELL | {"count": 0}, CELL | {"count": 1_000_001}]),
]


@pytest.mark.parametrize(("field_type", "good", "bad"), EDGES)
def test_a_field_reaches_its_edges_and_no_further(field_type, good, bad):
    assert [value for value in good if not is_held(value, field_type)] == []
    assert [value for value in bad if is_held(value, field_type)] == []


def test_a_message_is_within_the_limits_that_both_sides_know():
    assert (model.MAX_REQUEST_BYTES, model.MAX_CELLS, model.MAX_MANIFEST_BYTES) == (16_384, 8_192, 1_048_576)
    assert (model.MAX_DISCLOSURE_BYTES, model.MAX_ANSWER_BYTES) == (65_011_712, 66_064_384)
    assert model.MAX_ANSWER_BYTES < 64 << 20, "an answer fits one sealed message"
