from __future__ import annotations

from dataclasses import replace

import numpy as np

from shuiqiao.sandbox.economy.bank_side import see_applicant
from shuiqiao.sandbox.economy.generation import Economy
from shuiqiao.sandbox.economy.model import Case


def test_a_year_of_red_letters_alone_is_a_year_without_sales(economy: Economy, cases: tuple[Case, ...]) -> None:
    case = max(cases, key=lambda each: int(each.facts.issued.total_fen.sum()))
    issued = replace(case.facts.issued, total_fen=-np.abs(case.facts.issued.total_fen))
    for seed in range(8):
        seen = see_applicant(
            np.random.default_rng(seed), life=case.life, window=economy.window, issued=issued, age_months=40
        )
        assert (seen.turnover_12m_fen, seen.average_balance_fen, seen.other_debt_fen) == (0, 0, 0)
        assert seen.collateral_fen >= 0
