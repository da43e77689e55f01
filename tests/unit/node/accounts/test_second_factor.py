"""Codes of the second factor: of now and one step either way, each once."""

from __future__ import annotations

import pytest
from pyotp import TOTP

from shuiqiao.base.ids import system_entropy
from shuiqiao.node.accounts.second_factor import matching_step, new_secret, provisioning_uri

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
"""RFC 6238, appendix B: the ASCII string 12345678901234567890."""

NOW_MS = 1_775_001_600_000
STEP = NOW_MS // 30_000


@pytest.mark.parametrize(("second", "code"), [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")])
def test_codes_are_those_of_the_standard(second, code):
    assert matching_step(SECRET, code, now_ms=second * 1000, after_step=0) == second // 30


@pytest.mark.parametrize(("drift", "counts"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_one_step_off(drift, counts):
    code = TOTP(SECRET).generate_otp(STEP + drift)
    found = matching_step(SECRET, code, now_ms=NOW_MS, after_step=0)
    assert found == (STEP + drift if counts else None)


def test_no_code_of_a_step_that_was_used_or_of_an_earlier_one_counts():
    code, earlier = (TOTP(SECRET).generate_otp(STEP + drift) for drift in (0, -1))
    assert matching_step(SECRET, code, now_ms=NOW_MS, after_step=STEP) is None
    assert matching_step(SECRET, earlier, now_ms=NOW_MS, after_step=STEP) is None
    assert matching_step(SECRET, code, now_ms=NOW_MS, after_step=STEP - 1) == STEP


@pytest.mark.parametrize("code", ["", "12345", "1234567", "１２３４５６", "12345a", " 287082", "287082\n"])
def test_a_code_is_six_digits(code):
    assert matching_step(SECRET, code, now_ms=59_000, after_step=0) is None


def test_a_secret_has_160_bits_and_goes_into_the_address_for_a_device():
    secret = new_secret(system_entropy)
    assert len(secret) == 32
    assert secret != new_secret(system_entropy)
    assert provisioning_uri(SECRET, user="chen.wei", institution="Shuiqiao bureau") == (
        f"otpauth://totp/Shuiqiao%20bureau:chen.wei?secret={SECRET}&issuer=Shuiqiao%20bureau"
    )
