"""What a request may ask: no more than its consent's artefact grants, and no more than the purpose's ceilings allow.

Rule: docs/spec/consent-exchange.md [EXCHANGE-7], [EXCHANGE-19]. The ceilings themselves are
``consent.ceilings.ceiling_of``: an artefact was held against them when it was granted, and each request is again,
because they may be stricter by now. What adds up is counted over all consents of one taxpayer to one recipient for one
purpose, so that several consents are worth no more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import MemberId
from shuiqiao.consent.ceilings import (
    period_months,
    verify_items_within,
    verify_mode_within,
    verify_period_within,
)
from shuiqiao.consent.model import Fetch
from shuiqiao.privacy.model import Charge

if TYPE_CHECKING:
    from shuiqiao.base.ids import OwnedId
    from shuiqiao.consent.ceilings import Ceiling
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.exchange.model import RequestMessage
    from shuiqiao.privacy.model import Revealed


YEAR_MS = 365 * MS_PER_DAY
"""Answers are counted over a year of 365 days [EXCHANGE-19]."""

_MONTHS_PER_YEAR = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAnswer:
    """An answer about the same taxpayer to the same recipient for the same purpose, under this or another consent."""

    consent: OwnedId
    answered_ms: int
    period_from: date
    period_to: date


def verify_covered(message: RequestMessage, artefact: ConsentArtefact) -> None:
    """Return if the artefact grants all that the request asks for.

    Raises Denied ``consent.recipient_wrong``, ``consent.purpose_wrong`` or ``consent.not_covered`` (types, groups,
    period, mode, outputs).
    """
    if message.sender != artefact.recipient:
        raise Denied("consent.recipient_wrong", f"{message.sender} asks; the consent names {artefact.recipient}")
    if message.purpose is not artefact.purpose:
        raise Denied("consent.purpose_wrong", f"{message.purpose} is asked; the consent is for {artefact.purpose}")
    for type_id, groups in message.items.items():
        beyond = sorted(set(groups) - set(artefact.items.get(type_id, [])))
        if beyond:
            raise Denied("consent.not_covered", f"the consent does not grant {', '.join(beyond)} of {type_id}")
    if message.period_from < artefact.period_from or message.period_to > artefact.period_to:
        raise Denied(
            "consent.not_covered",
            f"{message.period_from} to {message.period_to} is asked; "
            f"the consent covers {artefact.period_from} to {artefact.period_to}",
        )
    if message.mode not in artefact.modes:
        raise Denied("consent.not_covered", f"the consent does not allow the mode {message.mode}")
    if message.model is not None:
        beyond = sorted(set(message.model.outputs) - set(artefact.outputs or ()))
        if beyond:
            raise Denied("consent.not_covered", f"the consent does not let {', '.join(beyond)} of a score leave")


def verify_request_within_ceiling(message: RequestMessage, *, ceiling: Ceiling) -> None:
    """Return if the ceilings allow the request; else raise Denied ``consent.ceiling_exceeded`` (412)."""
    verify_items_within(message.items, purpose=message.purpose)
    verify_mode_within(message.mode, purpose=message.purpose)
    verify_period_within(message.period_from, message.period_to, purpose=message.purpose, ceiling=ceiling)


def counted_from_ms(artefact: ConsentArtefact, *, now_ms: int, ceiling: Ceiling) -> int:
    """Return the moment after which past answers count for a request now."""
    life_ms = ceiling.max_data_life_days * MS_PER_DAY
    since_ms = now_ms - max(artefact.frequency.window_ms, YEAR_MS, life_ms)
    # [CONSENT-25]: what is good once is so for its whole window.
    return min(since_ms, artefact.valid_from_ms - 1) if artefact.fetch is Fetch.ONE_TIME else since_ms


def verify_answers_within(
    message: RequestMessage,
    artefact: ConsentArtefact,
    *,
    now_ms: int,
    past: Sequence[PastAnswer],
    ceiling: Ceiling,
) -> None:
    """Return if one answer more is within the consent's frequency and the purpose's ceilings [EXCHANGE-19].

    past: what was answered after ``counted_from_ms``, this request left out. Raises Denied
    ``exchange.frequency_exceeded`` or ``consent.ceiling_exceeded`` (both 412).
    """
    _verify_frequency(artefact, now_ms=now_ms, past=past)
    answers = 1 + sum(each.answered_ms > now_ms - YEAR_MS for each in past)
    if answers > ceiling.max_answers_per_year:
        raise Denied(
            "consent.ceiling_exceeded",
            f"{answers} answers a year over all consents of this taxpayer to {artefact.recipient}, where "
            f"{artefact.purpose} allows {ceiling.max_answers_per_year}",
        )
    _verify_months(message, artefact, now_ms=now_ms, past=past, ceiling=ceiling)


def _verify_frequency(artefact: ConsentArtefact, *, now_ms: int, past: Sequence[PastAnswer]) -> None:
    frequency = artefact.frequency
    is_once = artefact.fetch is Fetch.ONE_TIME
    since_ms = artefact.valid_from_ms - 1 if is_once else now_ms - frequency.window_ms
    taken = sum(each.consent == artefact.name and each.answered_ms > since_ms for each in past)
    if taken >= frequency.count:
        raise Denied(
            "exchange.frequency_exceeded",
            f"{taken} answers under consent {artefact.name} "
            f"{'that is good once' if is_once else f'within a {frequency.unit}'}; it allows {frequency.count}",
        )


def _verify_months(
    message: RequestMessage,
    artefact: ConsentArtefact,
    *,
    now_ms: int,
    past: Sequence[PastAnswer],
    ceiling: Ceiling,
) -> None:
    """Count the months that the recipient may hold with this answer.

    The ceiling is a window that moves with the calendar: a bank that looks at the last two years in January and again
    in March holds two months more in March, so each month since the oldest of these answers adds one.
    """
    held = [each for each in past if each.answered_ms > now_ms - ceiling.max_data_life_days * MS_PER_DAY]
    months = set(_months(message.period_from, message.period_to))
    months.update(*(_months(each.period_from, each.period_to) for each in held))
    oldest_ms = min((each.answered_ms for each in held), default=now_ms)
    allowed = ceiling.max_period_months + period_months(_day(oldest_ms), _day(max(oldest_ms, now_ms))) - 1
    if len(months) > allowed:
        raise Denied(
            "consent.ceiling_exceeded",
            f"{len(months)} months of data over all consents of this taxpayer to {artefact.recipient}, where "
            f"{artefact.purpose} allows {allowed}",
        )


def _months(period_from: date, period_to: date) -> range:
    first, last = (day.year * _MONTHS_PER_YEAR + day.month for day in (period_from, period_to))
    return range(first, last + 1)


def _day(moment_ms: int) -> date:
    return datetime.fromtimestamp(moment_ms // 1000, tz=UTC).date()


def charge_of(message: RequestMessage, artefact: ConsentArtefact, *, charged_ms: int, revealed: Revealed) -> Charge:
    """Return the entry of the leakage account that the answer to a request makes, at both of its ends."""
    return Charge(
        reference=message.name,
        taxpayer=artefact.taxpayer,
        recipient=MemberId(message.sender),
        purpose=message.purpose,
        mode=message.mode,
        charged_ms=charged_ms,
        revealed=revealed,
    )


def data_life_days(artefact: ConsentArtefact, *, ceiling: Ceiling) -> int:
    """Return how many days a recipient may keep what it received: the artefact's life, capped by the ceiling."""
    return min(artefact.data_life_days, ceiling.max_data_life_days)
