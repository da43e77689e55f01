"""What one request may ask: no more than its consent's artefact grants, and no more than the purpose's ceilings allow.

Rule: docs/spec/consent-exchange.md [EXCHANGE-7]. The ceilings themselves are ``consent.ceilings.CEILINGS``: an artefact
was held against them when it was granted, and each request is again, because the table may be stricter by now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import Denied
from shuiqiao.consent.ceilings import (
    CEILINGS,
    verify_items_within,
    verify_mode_within,
    verify_period_within,
)

if TYPE_CHECKING:
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.exchange.model import RequestMessage


def verify_covered(message: RequestMessage, artefact: ConsentArtefact) -> None:
    """Return if the artefact grants all that the request asks for.

    Raises Denied ``consent.recipient_wrong``, ``consent.purpose_wrong`` or ``consent.not_covered`` (types, groups,
    period, mode).
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


def verify_request_within_ceiling(message: RequestMessage) -> None:
    """Return if the purpose's ceilings allow the request; else raise Denied ``consent.ceiling_exceeded`` (412)."""
    verify_items_within(message.items, purpose=message.purpose)
    verify_mode_within(message.mode, purpose=message.purpose)
    verify_period_within(message.period_from, message.period_to, purpose=message.purpose)


def data_life_days(artefact: ConsentArtefact) -> int:
    """Return how many days a recipient may keep what it received: the artefact's life, capped by the ceiling."""
    return min(artefact.data_life_days, CEILINGS[artefact.purpose].max_data_life_days)
