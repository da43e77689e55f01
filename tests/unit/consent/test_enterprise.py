from __future__ import annotations

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.consent.enterprise import EnterpriseKeys
from shuiqiao.crypto.suites import get_suite

NETWORK = bytes(range(32))


@pytest.fixture(scope="module", params=["intl", "gm"])
def keys(request):
    return EnterpriseKeys(b"\x11" * 32, suite=get_suite(request.param))


def test_the_same_seed_gives_the_same_keys(keys):
    """[CONSENT-2]: nothing but the seed has to be kept."""
    again = EnterpriseKeys(b"\x11" * 32, suite=keys.suite)
    assert (
        keys.consent_key(bytes(16), network=NETWORK).public_key
        == again.consent_key(bytes(16), network=NETWORK).public_key
    )


def test_every_consent_network_bureau_and_seed_has_a_key_of_its_own(keys):
    """[CONSENT-2] [CONSENT-3]"""
    other = EnterpriseKeys(b"\x12" * 32, suite=keys.suite)
    made = [
        key.public_key
        for holder in (keys, other)
        for network in (NETWORK, bytes(32))
        for key in (
            *(holder.consent_key(bytes([number]) * 16, network=network) for number in range(3)),
            *(holder.enrolment_key(MemberId(bureau), network=network) for bureau in ("bureau-a", "bureau-b")),
        )
    ]
    assert len(made) == len(set(made)) == 20


@pytest.mark.parametrize("seed", [b"", b"\x11" * 31, b"\x11" * 33])
def test_a_seed_of_another_length_is_refused(keys, seed):
    with pytest.raises(InvalidInput, match=rf"^consent\.seed_invalid.*{len(seed)} bytes"):
        EnterpriseKeys(seed, suite=keys.suite)
