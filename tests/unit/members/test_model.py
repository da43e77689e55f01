"""What a field of a body may hold, at every edge, and the limits of the room: they change with the network alone."""

from __future__ import annotations

import pytest

from field_edges import is_held
from shuiqiao.base import wire
from shuiqiao.members import model

DAY_MS = 86_400_000

UNSEEN = (
    "\u00ad\u034f\u061c\u0890\u08e2\u115f\u180e\u2800\u3164\ufe0f\uffa0\ufff9\U00013430\U0001d173\U000e0041\U000e0100"
)
"""Marks that are drawn as nothing: two names that differ by one look the same, and one alone looks like no name [MEMBER-27]."""

EDGES = [
    (wire.Id, [b"x" * 16], [b"x" * 15, b"x" * 17]),
    (wire.Digest, [b"x" * 32], [b"x" * 31, b"x" * 33]),
    (wire.TimeMs, [0, 2**53 - 1], [-1, 2**53, 1.0]),
    (wire.MemberName, ["ab", "a" + "9" * 31, "a-b"], ["a", "a" + "9" * 32, "Ab", "9b", "ab\n", "税务"]),
    (wire.PublicKey, [b"x" * 32, b"x" * 65], [b"x" * 31, b"x" * 66]),
    (model.ValidatorKey, [b"", b"x" * 32], [b"x" * 33]),
    (model.KeyProof, [b"", b"x" * 64], [b"x" * 65]),
    (
        model.DisplayName,
        ["a", "税" * 80, "税 务\u3000局"],
        ["", "税" * 81, "a\nb", "a\tb", "a\u202eb", "a\x7f", "\ufeffa", " ", "\u3000\xa0"]
        + [f"{name}{mark}" for mark in UNSEEN for name in ("", "a")],
    ),
]


@pytest.mark.parametrize(("field_type", "good", "bad"), EDGES)
def test_a_field_reaches_its_edges_and_no_further(field_type, good, bad):
    assert [value for value in good if not is_held(value, field_type)] == []
    assert [value for value in bad if is_held(value, field_type)] == []


def test_the_limits_are_those_that_the_network_agreed_to():
    """Another number would part the nodes that have it from those that have not."""
    assert (model.MAX_MEMBERS, model.MAX_WITNESSES, model.MAX_GOVERNING) == (256, 64, 64)
    assert (model.MAX_GENESIS_BYTES, model.MAX_NAME_CHARACTERS) == (1_048_576, 80)
    assert (model.MAX_PROPOSAL_MS, model.MAX_EXECUTION_MS) == (30 * DAY_MS, 7 * DAY_MS)
    assert (model.MAX_EMERGENCY_MS, model.EMERGENCY_PAUSE_MS, model.EMERGENCY_SHARE) == (7 * DAY_MS, 30 * DAY_MS, 3)
    assert (model.MAX_FREEZE_MS, model.FREEZE_PAUSE_MS) == (7 * DAY_MS, 30 * DAY_MS)
    assert (model.MAX_ROTATIONS, model.ROTATION_PERIOD_MS) == (4, 30 * DAY_MS)
    assert (model.VALIDATOR_KEY_BYTES, model.PROOF_BYTES, model.VALIDATOR_POWER) == (32, 64, 10)
