"""Audits a member's copy of the ledger for a message of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.client.resources import upkeep

if TYPE_CHECKING:
    from shuiqiao.client.wire import Nothing
    from shuiqiao.node.home_reader import HomeReader
    from shuiqiao.node.institution import Institution


def audit(institution: Institution, _asked: Nothing) -> upkeep.Audit:
    """Replay the ledger from genesis and check everything, one audit at a time.

    Raises Unavailable ``node.audit_running``, and what ``audit_institution`` raises.
    """
    from shuiqiao.node.auditing import audit_institution

    if not institution.auditing.acquire(blocking=False):
        raise Unavailable("node.audit_running", f"{institution.member} is being audited already", retry_after_s=60.0)
    try:
        return upkeep.Audit(**audit_institution(institution).as_json())
    finally:
        institution.auditing.release()


def audit_at(reader: HomeReader, _asked: Nothing) -> upkeep.Audit:
    """Do the same at a home that is looked at; raises what ``audit_home`` raises."""
    from shuiqiao.node.auditing import audit_home

    return upkeep.Audit(**audit_home(reader, clock=SystemClock(), entropy=system_entropy).as_json())
