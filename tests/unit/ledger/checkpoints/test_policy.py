"""[NOTE-5]: a policy that could not be kept, or would count one party twice, is never made."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.ledger.checkpoints.policy import MAX_ORIGIN_BYTES
from shuiqiao.ledger.checkpoints.signed_note import MAX_COSIGNATURES, MAX_SIGNED_NOTE_BYTES


def keys(count: int) -> dict[str, bytes]:
    return {f"bank-{number:03d}": number.to_bytes(32, "big") for number in range(1, count + 1)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"origin": ""}, "key name"),
        ({"origin": "two words"}, "key name"),
        ({"origin": "a+b"}, "key name"),
        ({"origin": "a\nb"}, "key name"),
        ({"origin": "x" * 97}, "key name"),
        ({"operator": None}, "go together"),
        ({"operator_key": None}, "go together"),
        ({"operator": None, "operator_key": None, "quorum": 0}, "from 1 to 3"),
        ({"quorum": -1}, "from 0 to 3"),
        ({"quorum": 4}, "from 0 to 3"),
        ({"witnesses": {}}, "from 0 to 0"),
        ({"witnesses": keys(MAX_COSIGNATURES + 1)}, "65 witnesses where 64"),
        ({"witnesses": {"Bank": bytes(32), "other": bytes(31) + b"1"}}, "member id"),
        ({"witnesses": {"a": bytes(32), "other": bytes(31) + b"1"}}, "member id"),
        ({"witnesses": {"bank/one": bytes(32), "other": bytes(31) + b"1"}}, "member id"),
        ({"witnesses": {"bank\n": bytes(32), "other": bytes(31) + b"1"}}, "member id"),
        ({"operator": "Bureau"}, "member id"),
        ({"witnesses": {"bank": bytes(31), "other": bytes(32)}}, "32 nor 65"),
        ({"witnesses": {"bank": b"", "other": bytes(32)}}, "32 nor 65"),
        ({"operator_key": b""}, "32 nor 65"),
        ({"witnesses": {"bank": bytes(32), "other": bytes(32)}}, "one key"),
    ],
)
def test_a_policy_without_sense_is_refused(intl_log, changes, reason):
    with pytest.raises(InvalidInput) as caught:
        replace(intl_log.policy(), **changes)
    assert caught.value.code == "ledger.policy_invalid"
    assert reason in caught.value.message


def test_the_operator_is_no_witness_of_itself(intl_log):
    with pytest.raises(InvalidInput, match="one key"):
        replace(intl_log.policy(), witnesses={"bureau": intl_log.key("bureau").public_key}, quorum=1)


def test_the_bounds_fit_each_other(intl_log):
    """64 witnesses with the longest names under the longest origin still make a note within its bound."""
    policy = replace(intl_log.policy(), witnesses=keys(MAX_COSIGNATURES), origin="x" * MAX_ORIGIN_BYTES)
    line = len("—  \n".encode()) + len(policy.witness_name("b" * 32)) + len("x" * 104)
    assert MAX_COSIGNATURES * line + 2 * (MAX_ORIGIN_BYTES + 120) < MAX_SIGNED_NOTE_BYTES


def test_witnesses_are_in_order_whatever_order_they_were_given_in(intl_log):
    policy = intl_log.policy()
    turned = replace(policy, witnesses=dict(reversed(policy.witnesses.items())))
    assert policy == turned
    assert sorted(policy.witnesses) == list(turned.witnesses)
    assert policy == pickle.loads(pickle.dumps(policy))


def test_names_and_members_belong_together(intl_log):
    policy = intl_log.policy()
    assert f"{policy.origin}/regulator" == policy.witness_name("regulator")
    assert policy.member_of(policy.witness_name("regulator")) == "regulator"
    for name in (
        "regulator",
        policy.origin,
        f"{policy.origin}/",
        f"{policy.origin}/bureau",
        f"{policy.origin}//regulator",
    ):
        assert policy.member_of(name) is None
