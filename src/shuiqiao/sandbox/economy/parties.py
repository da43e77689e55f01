"""Who a number stands for: the uscc, name, province and industry of every party, inside the economy or outside it.

A party is an int. Taxpayers of the economy are numbered from 0; public suppliers (power, telecom, tolls) and each
taxpayer's private outside partners have ranges of their own. Everything here is a pure function of (seed, party).

No number can belong to a real firm: the region code of every uscc begins with 99, which GB/T 2260 assigns to nobody.
Check characters follow GB 32100-2015 (mod 31) and GB 11714-1997 (mod 11), so that validation accepts them.
"""

from __future__ import annotations

import numpy as np

from shuiqiao.sandbox.economy.industries import INDUSTRIES, PROVINCES
from shuiqiao.sandbox.economy.seeds import FloatArray, IntArray, Purpose, mix, uniform

MAX_TAXPAYERS = 1_000_000
"""Upper bound of an economy, so that the ranges below never meet."""
PUBLIC_FIRST = 1 << 20
PUBLIC_COUNT = 240
PRIVATE_FIRST = 1 << 21
PRIVATE_PER_TAXPAYER = 4096
CUSTOMER_SLOTS = 2048
"""Private partners below this slot are customers, from it on suppliers."""

RESERVED_REGION = "99"
"""Leading digits of the region code: unassigned in GB/T 2260."""

_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_BODY_CHARS = 8
_BODY_SPACE = 31**_BODY_CHARS
_SCRAMBLE = 1_859_775_391
"""Odd, below 2^31 (so that products stay in 63 bits) and no multiple of 31: a bijection of the body space."""
_GB32100_WEIGHTS = np.array([pow(3, place, 31) for place in range(17)], dtype=np.int64)
_GB11714_WEIGHTS = np.array([3, 7, 9, 10, 5, 8, 4, 2], dtype=np.int64)
_GB11714_VALUES = np.array([int(char, 36) for char in _ALPHABET], dtype=np.int64)
_CODES = np.frombuffer(_ALPHABET.encode(), dtype=np.uint8)

_WORD_CHARS = (
    "青禾松石云岭晨溪远帆白桦金穗海屿星野竹泉长庚南栀朔风临川沐野霁月"
    "松涛碧洲知秋望舒北辰清和听澜平芜岚山朝露疏影归雁素商鹿鸣连枝行舟"
)
_WORDS = tuple(_WORD_CHARS[at : at + 2] for at in range(0, len(_WORD_CHARS), 2))


def private_party(taxpayer: int, slots: IntArray) -> IntArray:
    """Return the party numbers of a taxpayer's private outside partners."""
    return PRIVATE_FIRST + taxpayer * PRIVATE_PER_TAXPAYER + slots


def province_indices(seed: int, parties: IntArray) -> IntArray:
    """Return each party's position in PROVINCES."""
    return _pick(np.array([share for _, _, share in PROVINCES]), uniform(seed, parties, Purpose.PROVINCE))


def industry_indices(seed: int, parties: IntArray) -> IntArray:
    """Return each party's position in INDUSTRIES."""
    return _pick(np.array([industry.weight for industry in INDUSTRIES]), uniform(seed, parties, Purpose.SECTION))


def _pick(weights: FloatArray, draws: FloatArray) -> IntArray:
    edges = np.cumsum(weights) / weights.sum()
    return np.minimum(np.searchsorted(edges, draws, side="right"), len(weights) - 1).astype(np.int64)


def uscc_texts(seed: int, parties: IntArray) -> list[str]:
    """Return the 18-character unified social credit code of each party, check characters included."""
    values = np.zeros((len(parties), 18), dtype=np.int64)
    values[:, :4] = (9, 1, 9, 9)
    provinces = np.array([[int(digit) for digit in code] for code, _, _ in PROVINCES], dtype=np.int64)
    values[:, 4:6] = provinces[province_indices(seed, parties)]
    values[:, 8:16] = _body_values(seed, parties)
    values[:, 16] = _organisation_check(values[:, 8:16])
    values[:, 17] = (31 - (values[:, :17] @ _GB32100_WEIGHTS) % 31) % 31
    rows = np.ascontiguousarray(_CODES[values])
    return [text.decode() for text in rows.view("S18").ravel().tolist()]


def _body_values(seed: int, parties: IntArray) -> IntArray:
    # Scrambled, so that neighbouring taxpayers do not get neighbouring numbers; a bijection, so that none repeats.
    offset = int(mix(seed, np.zeros(1, dtype=np.int64), Purpose.NUMBER)[0]) % _BODY_SPACE
    body = (parties * _SCRAMBLE + offset) % _BODY_SPACE
    places = 31 ** np.arange(_BODY_CHARS - 1, -1, -1, dtype=np.int64)
    values: IntArray = (body[:, None] // places) % 31
    return values


def _organisation_check(body: IntArray) -> IntArray:
    check = 11 - (_GB11714_VALUES[body] @ _GB11714_WEIGHTS) % 11
    check = np.where(check == 11, 0, check)  # noqa: PLR2004  (GB 11714: 11 is written 0)
    return np.where(check == 10, _ALPHABET.index("X"), check)  # noqa: PLR2004  (GB 11714: 10 is written X)


def party_names(seed: int, parties: IntArray) -> list[str]:
    """Return evidently synthetic names: 样例 (sample), a neutral word, a trade and the party's number."""
    words = (mix(seed, parties, Purpose.NAME) % np.uint64(len(_WORDS))).tolist()
    industries = industry_indices(seed, parties).tolist()
    return [
        f"样例{_WORDS[word]}{_trade(industry, party)}{party:07d}号"
        for word, industry, party in zip(words, industries, parties.tolist(), strict=True)
    ]


def _trade(industry: int, party: int) -> str:
    trades = INDUSTRIES[industry].trades
    return trades[party % len(trades)]
