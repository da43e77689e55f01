"""Numbers and names of parties: valid by their check characters, and nobody's."""

from __future__ import annotations

import re

import numpy as np

from shuiqiao.sandbox.economy.taxpayers import (
    MAX_TAXPAYERS,
    PRIVATE_FIRST,
    PRIVATE_PER_TAXPAYER,
    PUBLIC_COUNT,
    PUBLIC_FIRST,
    party_names,
    private_party,
    uscc_texts,
)

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)


def check_character(seventeen: str) -> str:
    """GB 32100-2015, 4.5: written out with the standard's own weights."""
    total = sum(ALPHABET.index(char) * weight for char, weight in zip(seventeen, WEIGHTS, strict=True))
    return ALPHABET[(31 - total % 31) % 31]


def organisation_check(eight: str) -> str:
    """GB 11714-1997: mod 11 over the body, X for ten."""
    total = sum(int(char, 36) * weight for char, weight in zip(eight, (3, 7, 9, 10, 5, 8, 4, 2), strict=True))
    return "0123456789X0"[11 - total % 11]


def test_the_check_used_here_accepts_the_example_of_the_standard() -> None:
    # The example code of GB 32100-2015.
    assert check_character("91350100M000100Y4") == "3"
    assert organisation_check("M000100Y") == "4"


def test_every_uscc_has_both_check_characters() -> None:
    parties = np.concatenate((np.arange(3000), PUBLIC_FIRST + np.arange(200), private_party(77, np.arange(3000))))

    for text in uscc_texts(5, parties):
        assert check_character(text[:17]) == text[17]
        assert organisation_check(text[8:16]) == text[16]


def test_no_uscc_lies_in_an_assigned_region() -> None:
    texts = uscc_texts(5, np.arange(2000))

    assert {"9199"} == {text[:4] for text in texts}


def test_usccs_never_repeat_even_at_the_end_of_the_ranges() -> None:
    edges = [0, 1, MAX_TAXPAYERS - 1, PUBLIC_FIRST, PUBLIC_FIRST + PUBLIC_COUNT - 1, PRIVATE_FIRST]
    last = PRIVATE_FIRST + MAX_TAXPAYERS * PRIVATE_PER_TAXPAYER - 1
    parties = np.concatenate((np.array([*edges, last]), np.arange(100, 50_100), private_party(9, np.arange(4096))))

    assert len(parties) == len(set(uscc_texts(1, parties)))


def test_names_are_evidently_synthetic_and_distinct() -> None:
    names = party_names(3, np.arange(5000))

    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"样例\w+\d{7}号", name) for name in names)


def test_another_seed_gives_other_numbers() -> None:
    parties = np.arange(1000)

    assert set() == set(uscc_texts(1, parties)) & set(uscc_texts(2, parties))
