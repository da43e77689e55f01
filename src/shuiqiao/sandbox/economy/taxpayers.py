"""Registration facts of taxpayers: neutral, evidently synthetic, consistent with the party's number and industry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from shuiqiao.base.ids import Uscc
from shuiqiao.sandbox.economy.behaviour import Character
from shuiqiao.sandbox.economy.industries import INDUSTRIES, PROVINCES
from shuiqiao.sandbox.economy.model import Taxpayer, Window
from shuiqiao.sandbox.economy.parties import industry_indices, party_names, province_indices, uscc_texts
from shuiqiao.sandbox.economy.periods import MONTHS_PER_YEAR, first_day
from shuiqiao.sandbox.economy.seeds import IntArray

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
