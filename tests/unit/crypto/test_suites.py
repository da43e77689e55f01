"""What both suites promise alike."""

from __future__ import annotations

import ctypes.util
import hashlib
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from patience import PATIENCE_S
from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.crypto import suites
from shuiqiao.crypto.kdf import hkdf, hkdf_expand, verify_hash_present
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite, own_symbols, verify_provider

SEED = bytes(range(32))


def test_a_suite_is_found_by_name_and_is_one_object():
    assert get_suite("gm") is get_suite(SuiteName.GM)
    assert get_suite("intl").name == SuiteName.INTL


def test_an_unknown_suite_is_refused():
    with pytest.raises(InvalidInput, match=r"crypto.suite_unknown: 'rsa'"):
        get_suite("rsa")


def test_numbers_and_names_of_the_formats():
    facts = [(s.cose_algorithm, s.hash_name) for s in map(get_suite, SuiteName)]
    assert facts == [(-19, "sha256"), (-65537, "sm3")]


def test_the_hash_is_the_named_one(suite):
    running = suite.new_hash()
    running.update(b"tax")
    assert hashlib.new(suite.hash_name, b"tax").digest() == suite.digest(b"tax") == running.digest()


def test_a_key_id_is_the_start_of_the_hash_of_the_key(suite):
    key = suite.signing_key_from_seed(SEED)
    assert suite.digest(key.public_key)[:16] == key.key_id == suite.key_id(key.public_key)


def test_generated_keys_come_from_the_injected_randomness(suite):
    asked = []

    def entropy(count):
        asked.append(count)
        return SEED

    assert suite.signing_key_from_seed(SEED).public_key == suite.generate_signing_key(entropy).public_key
    assert suite.sealing_key_from_seed(SEED).public_key == suite.generate_sealing_key(entropy).public_key
    assert asked == [32, 32]


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_seed_has_32_bytes(suite, length):
    for make in (suite.signing_key_from_seed, suite.sealing_key_from_seed):
        with pytest.raises(InvalidInput, match=r"crypto.seed_length"):
            make(bytes(length))
    with pytest.raises(InvalidInput, match=r"crypto.seed_length"):
        suite.derive_seed(bytes(length), label="consent", context=b"1")


def test_child_seeds_follow_the_stated_formula_and_part_ways(suite):
    child = suite.derive_seed(SEED, label="consent", context=b"\x01")
    assert hkdf(SEED, hash_name=suite.hash_name, info=b"consent\x00\x01", length=32) == child
    others = {
        suite.derive_seed(SEED, label=label, context=context) for label, context in [("consent", b""), ("c", b"")]
    }
    assert len({child} | others) == 3


@pytest.mark.parametrize("label", ["", "con\0sent"])
def test_a_label_that_could_be_read_two_ways_is_refused(suite, label):
    with pytest.raises(InvalidInput, match=r"crypto.seed_label"):
        suite.derive_seed(SEED, label=label, context=b"")


def test_keys_of_a_seed_never_change(suite):
    # Stored seeds must open tomorrow what they sealed today: these bytes are part of the format.
    known = {
        "intl": ("03a107bff3ce10be1d70dd18e74bc099", "8f40c5adb68f25624ae5b214ea767a6e"),
        "gm": (GM_SIGN, GM_SEAL),
    }
    keys = suite.signing_key_from_seed(SEED), suite.sealing_key_from_seed(SEED)
    assert known[suite.name] == tuple(key.public_key[:16].hex() for key in keys)


GM_SIGN = "04250857692122818369c15cf9c99052"
GM_SEAL = "04f883c80ea94683684cc0159d6e6af4"


def test_bulk_verification_says_for_each_item_what_single_verification_says(suite, other_suite):
    key, foreign = suite.signing_key_from_seed(SEED), other_suite.signing_key_from_seed(SEED)
    good = key.sign(b"one")
    items = [
        (key.public_key, b"one", good),
        (key.public_key, b"two", good),
        (foreign.public_key, b"one", good),
        (key.public_key, b"one", good[:-1]),
        (b"", b"", b""),
        (key.public_key, b"one", good),
    ]
    bad = "crypto.signature_invalid"
    results = suite.verify_signatures(items)
    assert [None, bad, bad, bad, bad, None] == results == pickle.loads(pickle.dumps(results))


def test_threads_may_share_a_suite(suite):
    key = suite.signing_key_from_seed(SEED)
    messages = [index.to_bytes(2, "big") for index in range(80)]
    items = [
        (key.public_key, message, key.sign(message if index % 3 else b"other"))
        for index, message in enumerate(messages)
    ]
    expected = [None if index % 3 else "crypto.signature_invalid" for index in range(80)]
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(suite.verify_signatures, [items] * 4):
            assert expected == results


def test_a_signature_of_the_other_suite_is_none(suite, other_suite):
    key = suite.signing_key_from_seed(SEED)
    with pytest.raises(IntegrityError, match=r"crypto.signature_invalid"):
        other_suite.verify_signature(public_key=key.public_key, message=b"m", signature=key.sign(b"m"))


def test_an_empty_and_a_large_message_are_signed(suite):
    key = suite.signing_key_from_seed(SEED)
    for message in (b"", bytes(1_000_000)):
        suite.verify_signature(public_key=key.public_key, message=message, signature=key.sign(message))


def test_a_missing_hash_is_refused_with_the_next_step():
    with pytest.raises(Unavailable, match=r"crypto.hash_missing") as caught:
        verify_hash_present("sm3-of-another-world")
    assert "OpenSSL 3" in caught.value.next_step


def test_a_provider_that_computes_wrongly_is_refused(suite, monkeypatch):
    # The published signature is replaced by a wrong one: to the check that is the same as a provider gone wrong.
    key, message, signature = suites._KNOWN_SIGNATURES[suite.name]
    monkeypatch.setitem(suites._KNOWN_SIGNATURES, suite.name, (key, message, signature[::-1]))
    with pytest.raises(Unavailable, match=r"crypto.provider_wrong"):
        verify_provider(suite)


def test_a_suite_proves_itself_before_it_is_given(suite, monkeypatch):
    made_anew = suites._proven_suite.__wrapped__
    assert made_anew(suite.name).name == suite.name
    with monkeypatch.context() as patch:
        patch.setattr(type(suite), "hash_name", "sm3-of-another-world")
        with pytest.raises(Unavailable, match=r"crypto\.hash_missing"):
            made_anew(suite.name)
    key, message, signature = suites._KNOWN_SIGNATURES[suite.name]
    monkeypatch.setitem(suites._KNOWN_SIGNATURES, suite.name, (key, message, signature[::-1]))
    with pytest.raises(Unavailable, match=r"crypto\.provider_wrong"):
        made_anew(suite.name)
    monkeypatch.setitem(sys.modules, type(suite).__module__, None)
    with pytest.raises(Unavailable, match=r"crypto\.provider_missing"):
        made_anew(suite.name)


def test_a_missing_provider_is_refused_and_not_replaced():
    code = (
        "import sys; sys.modules['tongsuopy'] = None\n"
        "from shuiqiao.base.errors import Unavailable\n"
        "from shuiqiao.crypto.suites import get_suite\n"
        "try: get_suite('gm')\n"
        "except Unavailable as error: print(error.code, bool(error.next_step))\n"
        "get_suite('intl')"
    )
    assert _python(code) == "crypto.provider_missing True"


def test_another_openssl_in_the_process_does_not_reach_the_provider():
    library = ctypes.util.find_library("crypto")
    if library is None or not hasattr(os, "RTLD_DEEPBIND"):
        pytest.skip("no system libcrypto, or no way to keep libraries apart")
    code = f"import ctypes; ctypes.CDLL({library!r}, mode=ctypes.RTLD_GLOBAL)\nfrom shuiqiao.crypto.suites import get_suite\nprint(get_suite('gm').name)"
    assert _python(code) == "gm"


def _python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return done.stdout.strip()


@pytest.mark.parametrize("length", [0, 255 * 32 + 1])
def test_hkdf_gives_at_most_255_blocks(length):
    with pytest.raises(InvalidInput, match=r"crypto.derived_length"):
        hkdf_expand(bytes(32), hash_name="sha256", info=b"", length=length)


def test_libraries_are_kept_apart_inside_the_block_only():
    before = sys.getdlopenflags()
    with own_symbols():
        assert sys.getdlopenflags() == before | getattr(os, "RTLD_DEEPBIND", 0)
    assert sys.getdlopenflags() == before
    with pytest.raises(ImportError), own_symbols():
        raise ImportError
    assert sys.getdlopenflags() == before
