"""Finds a cipher suite by name; its provider must pass a self-test first.

A suite whose provider is absent or computes the published vectors wrongly is refused: no other provider steps in,
because nodes that verify with different providers may part (ADR 0002).

Tongsuo's wheel contains an OpenSSL whose symbols are visible. Where another OpenSSL is visible to the whole process
(preloaded, or loaded globally by an embedding program), the loader would join the two, and Tongsuo then refuses every
signature. With RTLD_DEEPBIND a library looks into itself first. The suite's self-test would notice, and stop the node;
``own_symbols`` keeps it from having to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from typing import assert_never

from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.crypto import sm2
from shuiqiao.crypto.kdf import verify_hash_present
from shuiqiao.crypto.model import CipherSuite, SuiteName

_KNOWN_SIGNATURES: dict[SuiteName, tuple[str, str, str]] = {
    # RFC 8032 section 7.1, test 2.
    SuiteName.INTL: (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    SuiteName.GM: sm2.KNOWN_SIGNATURE,
}


def get_suite(name: SuiteName | str) -> CipherSuite:
    """Return the suite of a name, the same object each time.

    Raises InvalidInput (``crypto.suite_unknown``), Unavailable (``crypto.provider_missing``, ``crypto.hash_missing``,
    ``crypto.provider_wrong``).

    Example::

        key = get_suite("gm").signing_key_from_seed(seed)
    """
    try:
        known = SuiteName(name)
    except ValueError as error:
        names = ", ".join(SuiteName)
        raise InvalidInput("crypto.suite_unknown", f"{str(name)[:40]!r} is none of the suites {names}") from error
    return _proven_suite(known)


@lru_cache(maxsize=len(SuiteName))
def _proven_suite(name: SuiteName) -> CipherSuite:
    try:
        suite = _load_suite(name)
    except ImportError as error:
        raise Unavailable(
            "crypto.provider_missing",
            f"a library of suite {name} does not load: {error}",
            next_step="install the locked packages again; on a platform without wheels see ADR 0002",
        ) from error
    verify_hash_present(suite.hash_name)
    verify_provider(suite)
    return suite


def _load_suite(name: SuiteName) -> CipherSuite:
    match name:
        case SuiteName.INTL:
            from shuiqiao.crypto.intl import IntlSuite

            return IntlSuite()
        case SuiteName.GM:
            with own_symbols():
                from shuiqiao.crypto.gm import GmSuite

            return GmSuite()
        case _:
            assert_never(name)


def verify_provider(suite: CipherSuite) -> None:
    """Return if the suite accepts its published signature and refuses it over another message.

    Raises Unavailable (``crypto.provider_wrong``).
    """
    public_key, message, signature = (bytes.fromhex(part) for part in _KNOWN_SIGNATURES[suite.name])
    results = suite.verify_signatures([(public_key, message, signature), (public_key, message + b"\0", signature)])
    if results != [None, "crypto.signature_invalid"]:
        raise Unavailable(
            "crypto.provider_wrong",
            f"{suite.verifying_provider} answered {results} to the published {suite.name} signature and a changed one",
        )


@contextmanager
def own_symbols() -> Generator[None]:
    """Let compiled modules that are imported inside the block prefer their own symbols, where the system can."""
    before = sys.getdlopenflags()
    sys.setdlopenflags(before | getattr(os, "RTLD_DEEPBIND", 0))
    try:
        yield
    finally:
        sys.setdlopenflags(before)
