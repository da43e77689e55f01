"""The identity of each numbered party: its uscc, name, province and industry, and what a taxpayer registered.

A party is an int. Taxpayers of the economy are numbered from 0; public suppliers (power, telecom, tolls) and each
taxpayer's private outside partners have ranges of their own. All this is a pure function of (seed, party).

No number can belong to a real firm: the region code of every uscc begins with 99, which GB/T 2260 assigns to nobody.
Check characters follow GB 32100-2015 (mod 31) and GB 11714-1997 (mod 11), so that validation accepts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from shuiqiao.base.ids import Uscc
from shuiqiao.sandbox.economy.behaviour import Character
from shuiqiao.sandbox.economy.industries import INDUSTRIES, PROVINCES
from shuiqiao.sandbox.economy.model import MONTHS_PER_YEAR, Taxpayer, Window, first_day
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


YOUNG_SHARE = 0.24
"""Firms that were registered within the window, so that their history is shorter."""
MEAN_AGE_YEARS = 6.0
_CAPITAL_WAN = (10, 50, 100, 100, 200, 500, 500, 1000, 2000, 5000)
_WAN_FEN = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """Who the members of a neighbourhood are; parallel sequences."""

    indices: IntArray
    usccs: tuple[str, ...]
    names: tuple[str, ...]
    industries: tuple[int, ...]
    provinces: tuple[int, ...]


def identify(seed: int, indices: IntArray) -> Identities:
    """Return the identities of taxpayers by their index."""
    return Identities(
        indices=indices,
        usccs=tuple(uscc_texts(seed, indices)),
        names=tuple(party_names(seed, indices)),
        industries=tuple(industry_indices(seed, indices).tolist()),
        provinces=tuple(province_indices(seed, indices).tolist()),
    )


def age_at_start(generator: np.random.Generator, window: Window) -> int:
    """Draw a firm's age at the window's start in months; negative when it is registered later."""
    if generator.random() < YOUNG_SHARE:
        # At least six months of history: younger firms do not apply for loans.
        return -int(generator.integers(1, max(2, window.months - 6)))
    return int(generator.exponential(MEAN_AGE_YEARS * MONTHS_PER_YEAR))


def register(
    generator: np.random.Generator,
    *,
    identities: Identities,
    position: int,
    character: Character,
    window: Window,
    age_months: int,
    is_abnormal: bool,
) -> Taxpayer:
    """Return the registration facts of one member of a neighbourhood."""
    index = int(identities.indices[position])
    day = first_day(window.first_month - age_months) + timedelta(days=int(generator.integers(28)))
    yearly_yuan = MONTHS_PER_YEAR * character.volume * character.ticket_yuan
    staff = 2 + yearly_yuan / 600_000 * float(np.exp(0.5 * generator.standard_normal()))
    return Taxpayer(
        index=index,
        uscc=Uscc(identities.usccs[position]),
        name=identities.names[position],
        section=INDUSTRIES[character.industry].section,
        province_code=PROVINCES[identities.provinces[position]][0],
        kind=character.kind,
        registered_on=day,
        capital_fen=_CAPITAL_WAN[int(generator.integers(len(_CAPITAL_WAN)))] * _WAN_FEN,
        staff=min(int(staff), 5000),
        legal_representative=f"SYN{int(generator.integers(1 << 48)):012X}",
        is_abnormal=is_abnormal,
    )
