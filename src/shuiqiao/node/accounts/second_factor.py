"""The second factor (TOTP, RFC 6238): six digits that a user's device and this server compute from one secret.

A code counts in its own step of 30 seconds and in the one before and after, for clocks differ; once a step was used, no
code of it or of an earlier one counts again, so a code that somebody read over a shoulder is worth nothing.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from pyotp.exceptions import OTPVerificationError
from pyotp.totp import TOTP

from shuiqiao.base.clock import MS_PER_SECOND

if TYPE_CHECKING:
    from shuiqiao.base.ids import Entropy

SECRET_BYTES: Final = 20
"""RFC 4226 section 4: 160 bits are recommended."""

DRIFT_STEPS: Final = 1
_CODE: Final = re.compile(r"[0-9]{6}", re.ASCII)


def new_secret(entropy: Entropy) -> str:
    """Return a fresh secret in base32, as authenticator programs take it."""
    return base64.b32encode(entropy(SECRET_BYTES)).decode()


def provisioning_uri(secret: str, *, user: str, institution: str) -> str:
    """Return the ``otpauth://`` address that a device reads, e.g. from a QR code."""
    return TOTP(secret).provisioning_uri(name=user, issuer_name=institution)


def code_at(secret: str, *, now_ms: int) -> str:
    """Return the code that a device with a secret shows at a moment."""
    return TOTP(secret).at(now_ms // MS_PER_SECOND)


def matching_step(secret: str, code: str, *, now_ms: int, after_step: int) -> int | None:
    """Return the step that a code is of, None where it is of none that counts now. after_step: the last one used."""
    if not _CODE.fullmatch(code):
        return None
    try:
        step = TOTP(secret).verify_and_get_timecode(code, for_time=now_ms // MS_PER_SECOND, valid_window=DRIFT_STEPS)
    except OTPVerificationError:
        return None
    return step if step > after_step else None
