"""Measures what the crypto room does per second, per suite, as one JSON object.

Run: .venv/bin/python bench/crypto.py [--seconds 0.4] [--rounds 5] [--providers]

Each figure is the median of several rounds, per second of this thread's own processor time, so that a busy machine
disturbs it less than a clock on the wall would; ``*_2_threads`` is by the wall and says whether threads help.
``--providers`` adds the SM2 and Ed25519 verifiers that were weighed in ADR 0002.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

from shuiqiao.crypto import sm2
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite

MESSAGE = bytes(300)
"""A transaction of usual size."""

ANSWER = bytes(100_000)
"""An answer of a few hundred invoices."""

Act = Callable[[], object]


def calls_per_round(act: Act, seconds: float) -> int:
    """Return how many calls take about so many seconds of processor time."""
    count, spent = 1, 0.0
    while spent < seconds / 4:
        count *= 2
        start = time.thread_time()
        for _ in range(count):
            act()
        spent = time.thread_time() - start
    return max(1, int(count * seconds / spent))


def per_second(act: Act, *, seconds: float, rounds: int) -> float:
    """Return the median number of calls per second of this thread's processor time."""
    count = calls_per_round(act, seconds)
    rates: list[float] = []
    for _ in range(rounds):
        start = time.thread_time()
        for _ in range(count):
            act()
        rates.append(count / (time.thread_time() - start))
    return round(statistics.median(rates), 1)


def per_second_threads(act: Act, *, threads: int, seconds: float, rounds: int) -> float:
    """Return the median number of calls per second of the wall, from several threads at once."""
    count = calls_per_round(act, seconds)

    def work() -> None:
        for _ in range(count):
            act()

    rates: list[float] = []
    for _ in range(rounds):
        pool = [threading.Thread(target=work) for _ in range(threads)]
        start = time.perf_counter()
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join()
        rates.append(threads * count / (time.perf_counter() - start))
    return round(statistics.median(rates), 1)


def suite_acts(name: SuiteName) -> dict[str, Act]:
    """Return the acts of a suite by name."""
    suite = get_suite(name)
    key, sealing = suite.generate_signing_key(os.urandom), suite.generate_sealing_key(os.urandom)
    signature = key.sign(MESSAGE)
    sealed = suite.seal(ANSWER, recipient=sealing.public_key, associated_data=b"bound")

    def verify() -> None:
        suite.verify_signature(public_key=key.public_key, message=MESSAGE, signature=signature)

    return {
        "sign": lambda: key.sign(MESSAGE),
        "verify": verify,
        "hash_64_bytes": lambda: suite.digest(MESSAGE[:64]),
        "hash_100_kb": lambda: suite.digest(ANSWER),
        "seal_100_kb": lambda: suite.seal(ANSWER, recipient=sealing.public_key, associated_data=b"bound"),
        "open_100_kb": lambda: sealing.open_sealed(sealed, associated_data=b"bound"),
        "signing_key_from_seed": lambda: suite.signing_key_from_seed(bytes(32)),
    }


def libcrypto_verifier(public_key: bytes, der: bytes) -> Act | None:
    """Return a verification by the system's libcrypto over ctypes, or None where it has no SM2."""
    name = ctypes.util.find_library("crypto")
    if name is None:
        return None
    library, pointer = ctypes.CDLL(name), ctypes.c_void_p
    for function in ("EVP_PKEY_CTX_new_from_name", "EVP_MD_CTX_new", "EVP_PKEY_CTX_new", "EVP_sm3"):
        getattr(library, function).restype = pointer
    key = libcrypto_key(library, public_key)
    if key is None:
        return None
    sm3 = pointer(library.EVP_sm3())

    def verify() -> None:
        digest = pointer(library.EVP_MD_CTX_new())
        context = pointer(library.EVP_PKEY_CTX_new(key, None))
        library.EVP_PKEY_CTX_set1_id(context, sm2.USER_ID, ctypes.c_size_t(len(sm2.USER_ID)))
        library.EVP_MD_CTX_set_pkey_ctx(digest, context)
        library.EVP_DigestVerifyInit(digest, None, sm3, None, key)
        sizes = ctypes.c_size_t(len(der)), ctypes.c_size_t(len(MESSAGE))
        held = library.EVP_DigestVerify(digest, der, sizes[0], MESSAGE, sizes[1])
        library.EVP_MD_CTX_free(digest)
        library.EVP_PKEY_CTX_free(context)
        assert held == 1

    return verify


class _Parameter(ctypes.Structure):
    _fields_ = (
        ("key", ctypes.c_char_p),
        ("type", ctypes.c_uint),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("returned", ctypes.c_size_t),
    )


def libcrypto_key(library: Any, public_key: bytes) -> ctypes.c_void_p | None:
    """Return libcrypto's object for an SM2 public key, or None where it has no SM2."""
    group, point = ctypes.create_string_buffer(b"SM2"), ctypes.create_string_buffer(public_key, len(public_key))
    parameters = (_Parameter * 3)(
        _Parameter(b"group", 4, ctypes.cast(group, ctypes.c_void_p), 3, 0),
        _Parameter(b"pub", 5, ctypes.cast(point, ctypes.c_void_p), len(public_key), 0),
        _Parameter(None, 0, None, 0, 0),
    )
    made = library.EVP_PKEY_CTX_new_from_name(None, b"SM2", None)
    context, key = ctypes.c_void_p(made), ctypes.c_void_p()
    if not made or library.EVP_PKEY_fromdata_init(context) != 1:
        return None
    selection = 0x86  # EVP_PKEY_PUBLIC_KEY
    done = library.EVP_PKEY_fromdata(context, ctypes.byref(key), selection, ctypes.byref(parameters))
    library.EVP_PKEY_CTX_free(context)
    return key if done == 1 else None


def provider_acts() -> dict[str, Act]:
    """Return the verifications by every provider that was weighed."""
    import gmssl_pyx
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from nacl.bindings import crypto_sign_open
    from tongsuopy.crypto import hashes
    from tongsuopy.crypto.asymciphers import ec

    gm_key = get_suite("gm").generate_signing_key(os.urandom)
    der = sm2.encode_signature_der(gm_key.sign(MESSAGE))
    tongsuo = ec.EllipticCurvePublicKey.from_encoded_point(ec.SM2(), gm_key.public_key)
    algorithm = ec.ECDSA(hashes.SM3())
    intl_key = get_suite("intl").generate_signing_key(os.urandom)
    signature = intl_key.sign(MESSAGE)
    openssl = Ed25519PublicKey.from_public_bytes(intl_key.public_key)
    acts: dict[str, Act] = {
        "sm2_tongsuopy": lambda: tongsuo.verify(der, MESSAGE, algorithm),
        "sm2_gmssl_pyx": lambda: gmssl_pyx.sm2_verify(gm_key.public_key[1:], MESSAGE, der),
        "ed25519_pynacl": lambda: crypto_sign_open(signature + MESSAGE, intl_key.public_key),
        "ed25519_cryptography": lambda: openssl.verify(signature, MESSAGE),
    }
    libcrypto = libcrypto_verifier(gm_key.public_key, der)
    return acts | ({"sm2_libcrypto_ctypes": libcrypto} if libcrypto else {})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Crypto figures per second of processor time, as JSON.")
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--providers", action="store_true")
    options = parser.parse_args()
    effort = {"seconds": options.seconds, "rounds": options.rounds}
    result: dict[str, Any] = {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "load_average": os.getloadavg(),
        "suites": {},
    }
    for name in SuiteName:
        acts = suite_acts(name)
        figures = {act: per_second(call, **effort) for act, call in acts.items()}
        figures["verify_2_threads"] = per_second_threads(acts["verify"], threads=2, **effort)
        result["suites"][name.value] = {"verifying_provider": get_suite(name).verifying_provider, **figures}
    if options.providers:
        result["verifiers"] = {
            name: {
                "per_cpu_s": per_second(act, **effort),
                "2_threads_per_s": per_second_threads(act, threads=2, **effort),
            }
            for name, act in provider_acts().items()
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
