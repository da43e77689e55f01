"""``generate_economy``: the whole synthetic economy, neighbourhood by neighbourhood, the same for the same seed.

1. Each neighbourhood of 25 gets identities, hidden lives, characters and plans.
2. Everybody issues invoices; what goes to a neighbour is received there.
3. Everybody buys the rest outside, files, pays, errs and is graded.
4. The bank's view, the papers and the outcome are drawn.

A neighbourhood is generated whole even if the economy ends within it, so nobody's facts depend on the economy's size,
and only one is in memory at a time, so a large economy costs time and not memory. The same numpy gives the same values
on every machine. LIMIT: a numpy release that changes its samplers changes the economies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from shuiqiao.base.errors import InvalidInput
from shuiqiao.sandbox.economy import bank_side, behaviour, conduct, filings, invoices
from shuiqiao.sandbox.economy.model import (
    NEIGHBOURHOOD,
    Case,
    HiddenLife,
    InvoiceRows,
    TaxFacts,
    Taxpayer,
    Window,
    window_before,
)
from shuiqiao.sandbox.economy.seeds import Purpose, stream
from shuiqiao.sandbox.economy.taxpayers import MAX_TAXPAYERS, age_at_start, identify, register

MIN_MONTHS, MAX_MONTHS = 12, 120
"""A year for the yearly features; ten years is the longest that tax authorities keep at hand."""
MAX_SEED = 2**63 - 1
_FIRST_AS_OF, _LAST_AS_OF = date(2020, 1, 1), date(2068, 12, 31)
"""The VAT rates used here hold since April 2019; invoice numbers have a two-digit year."""
_ABNORMAL_MONTHS = 5
"""An abnormal household has stopped filing about this many months before the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Economy:
    """A synthetic economy that is generated while it is read; reading it again gives the same."""

    taxpayers: int
    seed: int
    window: Window

    @property
    def as_of(self) -> date:
        """The day on which the bureau's books are looked at; no fact is later."""
        return self.window.as_of

    def cases(self) -> Iterator[Case]:
        """Yield every taxpayer with all that is known, seen and true about it, in order of index."""
        for neighbourhood in self.neighbourhoods():
            yield from neighbourhood

    def neighbourhoods(self) -> Iterator[tuple[Case, ...]]:
        """Yield the taxpayers in blocks that trade among themselves; the last block may be cut short."""
        for first in range(0, self.taxpayers, NEIGHBOURHOOD):
            wanted = min(NEIGHBOURHOOD, self.taxpayers - first)
            yield _neighbourhood(self.seed, first, self.window, wanted)


def generate_economy(*, taxpayers: int, seed: int, as_of: date, months: int = 36) -> Economy:
    """Return a synthetic economy of the whole months that end on or before ``as_of``.

    Raises InvalidInput (``sandbox.taxpayers_out_of_range``, ``sandbox.seed_out_of_range``,
    ``sandbox.months_out_of_range``, ``sandbox.as_of_out_of_range``).
    """
    if not 1 <= taxpayers <= MAX_TAXPAYERS:
        raise InvalidInput(
            "sandbox.taxpayers_out_of_range", f"{taxpayers} taxpayers where 1 to {MAX_TAXPAYERS} are possible"
        )
    if not 0 <= seed <= MAX_SEED:
        raise InvalidInput("sandbox.seed_out_of_range", f"seed {seed} is not between 0 and {MAX_SEED}")
    if not MIN_MONTHS <= months <= MAX_MONTHS:
        raise InvalidInput(
            "sandbox.months_out_of_range", f"{months} months where {MIN_MONTHS} to {MAX_MONTHS} are possible"
        )
    if not _FIRST_AS_OF <= as_of <= _LAST_AS_OF:
        raise InvalidInput(
            "sandbox.as_of_out_of_range", f"{as_of.isoformat()} is not between {_FIRST_AS_OF} and {_LAST_AS_OF}"
        )
    return Economy(taxpayers=taxpayers, seed=seed, window=window_before(as_of, months=months))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """One taxpayer before the neighbourhood's trade is known."""

    taxpayer: Taxpayer
    life: HiddenLife
    character: behaviour.Character
    plan: behaviour.Plan
    age_months: int
    stops_filing_at: int | None


def _neighbourhood(seed: int, first: int, window: Window, wanted: int) -> tuple[Case, ...]:
    members = _found(seed, first, window)
    size = np.array([member.character.volume * member.character.ticket_yuan for member in members])
    issued = tuple(
        invoices.issue_invoices(
            stream(seed, first + position, Purpose.SALES),
            taxpayer=first + position,
            character=member.character,
            plan=member.plan,
            window=window,
            neighbour_shares=size / size.sum(),
        )
        for position, member in enumerate(members)
    )
    draws = stream(seed, first, Purpose.OUTCOME)
    risk = behaviour.default_risk(draws, np.array([member.life.final for member in members]))
    defaulted = behaviour.draw_defaults(draws, risk).tolist()
    return tuple(
        _case(seed, members[position], window, issued, defaulted=defaulted[position]) for position in range(wanted)
    )


def _found(seed: int, first: int, window: Window) -> tuple[_Member, ...]:
    """Return the members of a neighbourhood: identities first, then each one's life."""
    strata = stream(seed, first, Purpose.STRATA)
    firm_draws, volume_draws = behaviour.stratified_normals(strata), behaviour.stratified_normals(strata)
    identities = identify(seed, np.arange(first, first + NEIGHBOURHOOD, dtype=np.int64))
    members: list[_Member] = []
    for position in range(NEIGHBOURHOOD):
        index = first + position
        traits = stream(seed, index, Purpose.TRAITS)
        life = behaviour.live(seed, index, firm=float(firm_draws[position]), months=window.months)
        age_months = age_at_start(traits, window)
        character = behaviour.form_character(
            traits,
            industry=identities.industries[position],
            volume_draw=float(volume_draws[position]),
            life=life,
            first_month=max(0, 1 - age_months),
        )
        is_abnormal = bool(traits.random() < 1 / (1 + np.exp(5.6 + 1.3 * life.final)))
        taxpayer = register(
            traits,
            identities=identities,
            position=position,
            character=character,
            window=window,
            age_months=age_months,
            is_abnormal=is_abnormal,
        )
        plan = behaviour.make_plan(stream(seed, index, Purpose.PLAN), character=character, life=life, window=window)
        members.append(
            _Member(
                taxpayer=taxpayer,
                life=life,
                character=character,
                plan=plan,
                age_months=age_months + window.months,
                stops_filing_at=window.months - _ABNORMAL_MONTHS if is_abnormal else None,
            )
        )
    return tuple(members)


def _case(seed: int, member: _Member, window: Window, issued: tuple[InvoiceRows, ...], *, defaulted: bool) -> Case:
    index = member.taxpayer.index
    mine = issued[index % NEIGHBOURHOOD]
    bank = stream(seed, index, Purpose.BANK)
    return Case(
        taxpayer=member.taxpayer,
        life=member.life,
        facts=_facts(seed, member, window, issued),
        bank_view=bank_side.see_applicant(
            bank, life=member.life, window=window, issued=mine, age_months=member.age_months
        ),
        papers=bank_side.hand_in_papers(
            stream(seed, index, Purpose.PAPERS),
            seed=seed,
            taxpayer=index,
            life=member.life,
            window=window,
            issued=mine,
        ),
        defaulted=defaulted,
    )


def _facts(seed: int, member: _Member, window: Window, issued: tuple[InvoiceRows, ...]) -> TaxFacts:
    index, plan, character = member.taxpayer.index, member.plan, member.character
    mine = issued[index % NEIGHBOURHOOD]
    received = invoices.receive_invoices(
        stream(seed, index, Purpose.PURCHASES),
        taxpayer=index,
        character=character,
        plan=plan,
        window=window,
        sold_fen=invoices.monthly_total(mine, window),
        inside=invoices.bought_from_neighbours(issued, taxpayer=index),
    )
    returns = filings.file_returns(
        stream(seed, index, Purpose.FILINGS),
        taxpayer=index,
        character=character,
        plan=plan,
        window=window,
        issued=mine,
        received=received,
        stops_filing_at=member.stops_filing_at,
    )
    draws = stream(seed, index, Purpose.CONDUCT)
    violations = conduct.register_violations(
        draws, taxpayer=index, plan=plan, window=window, returns=returns, first_month=character.first_month
    )
    grades = conduct.grade_years(
        draws,
        taxpayer=member.taxpayer,
        life=member.life,
        window=window,
        is_active=plan.is_active,
        returns=returns,
        violations=violations,
    )
    return TaxFacts(
        issued=mine,
        received=received,
        filings=returns.filings,
        payments=returns.payments,
        arrears=returns.arrears,
        violations=violations,
        grades=grades,
    )
