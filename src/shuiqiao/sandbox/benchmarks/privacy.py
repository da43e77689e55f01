"""How long the steps of the modes take in which a bank sees no record.

Verifying an SD-JWT is measured as a bank does it: issuer's signature, four of eight claims disclosed, the holder's key
binding; medians over single calls.
"""

from __future__ import annotations

import statistics
import time
from typing import Final

from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.privacy.sd_jwt import Challenge, issue, jose_profile, present, verify

CALLS: Final = 300
_NOW_S = 1_790_000_000
_TYPE = "dc+sd-jwt"


def run_privacy_bench() -> dict[str, object]:
    """Return {"sdjwt_verify_ms": {suite: median of one verification in ms}}."""
    return {"sdjwt_verify_ms": {suite.value: _sd_jwt_verify_ms(suite) for suite in SuiteName}}


def _sd_jwt_verify_ms(suite_name: SuiteName) -> float:
    suite, entropy = get_suite(suite_name), system_entropy
    profile = jose_profile(suite)
    issuer, holder = suite.generate_signing_key(entropy), suite.generate_signing_key(entropy)
    claims = {f"claim_{number}": number for number in range(8)}
    credential = issue(
        {"iss": "tax-a", "exp": _NOW_S + 1},
        claims,
        media_type=_TYPE,
        holder=holder.public_key,
        key=issuer,
        profile=profile,
        entropy=entropy,
    )
    challenge = Challenge(audience="bank-a", nonce="nonce")
    shown = present(
        credential, names=sorted(claims)[:4], challenge=challenge, now_s=_NOW_S, key=holder, profile=profile
    )
    taken: list[float] = []
    for _ in range(CALLS):
        began = time.perf_counter()
        verify(
            shown,
            issuer_key=lambda _header, _claims: issuer.public_key,
            media_type=_TYPE,
            profile=profile,
            now_s=_NOW_S,
            challenge=challenge,
        )
        taken.append(time.perf_counter() - began)
    return round(1000 * statistics.median(taken), 3)
