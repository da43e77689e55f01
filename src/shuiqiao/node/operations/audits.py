"""Audits a member's copy of the ledger, and joint computations, for a message of the API."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.ids import OwnedId, system_entropy
from shuiqiao.client.resources import upkeep
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from shuiqiao.client.wire import Nothing
    from shuiqiao.node.home_reader import HomeReader
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.obligations.review import ReviewedObligation
    from shuiqiao.oversight.computations import ComputationReport


def audit(institution: Institution, _asked: Nothing) -> upkeep.Audit:
    """Replay the ledger from genesis and check everything, one audit at a time.

    Raises Unavailable ``node.audit_running``, and what ``audit_institution`` raises.
    """
    from shuiqiao.node.auditing import audit_institution

    with _alone(institution):
        return upkeep.Audit(**audit_institution(institution).as_json())


def audit_at(reader: HomeReader, _asked: Nothing) -> upkeep.Audit:
    """Do the same at a home that is looked at; raises what ``audit_home`` raises."""
    from shuiqiao.node.auditing import audit_home

    return upkeep.Audit(**audit_home(reader, clock=SystemClock(), entropy=system_entropy).as_json())


def review(institution: Institution, _asked: Nothing) -> upkeep.ObligationReview:
    """Audit, and hold this institution against the rules that bind it; raises as ``audit``."""
    from shuiqiao.node.auditing import audit_institution
    from shuiqiao.node.obligations.checks import Facts
    from shuiqiao.node.obligations.review import review_obligations

    with _alone(institution):
        facts = Facts(
            copy=institution,
            report=audit_institution(institution),
            database=lambda: nullcontext(institution.database),
            cipher=lambda _database: institution.cipher,
        )
        return _told(review_obligations(facts))


def review_at(reader: HomeReader, _asked: Nothing) -> upkeep.ObligationReview:
    """Do the same at a home that is looked at; raises what ``audit_home`` raises."""
    from shuiqiao.node.auditing import audit_home
    from shuiqiao.node.obligations.checks import Facts
    from shuiqiao.node.obligations.review import review_obligations

    report = audit_home(reader, clock=SystemClock(), entropy=system_entropy)
    facts = Facts(copy=reader, report=report, database=reader.database, cipher=reader.cipher)
    return _told(review_obligations(facts))


def show_computation(institution: Institution, asked: upkeep.ComputationChoice) -> upkeep.ComputationEvidence:
    """Seal this party's evidence of a computation to the regulator; raises as ``sealed_evidence``."""
    from shuiqiao.exchange.computation import decode_evidence_file
    from shuiqiao.node.applications import regulator_of
    from shuiqiao.node.computations import sealed_evidence

    require_role(institution.settings, Role.BANK, Role.TAX_BUREAU)
    regulator = regulator_of(institution.engine.state())
    data = sealed_evidence(institution, OwnedId(asked.computation), regulator=regulator)
    file = decode_evidence_file(data)
    return upkeep.ComputationEvidence(
        party=file.party,
        regulator=file.regulator,
        computation=file.request,
        evidence=urlsafe_b64encode(data).rstrip(b"=").decode(),
    )


def replay_computation(institution: Institution, asked: upkeep.ComputationAsked) -> upkeep.ComputationReplay:
    """Replay a computation from what its parties handed in, or, where nothing was, from what they show when asked.

    Raises as ``replay_computation`` of ``node``, and what ``PeerClient.ask`` raises as Unavailable.
    """
    from shuiqiao.node.computations import replay_computation as replayed

    request = OwnedId(asked.computation)
    if not asked.evidence:
        return _told_replay(replayed(institution, request, institution.evidence_of_parties(request)))
    try:
        files = [urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in asked.evidence]
    except ValueError as error:
        raise InvalidInput("exchange.evidence_malformed", f"the evidence is not base64url: {error}") from error
    return _told_replay(replayed(institution, request, files))


def _told_replay(found: ComputationReport) -> upkeep.ComputationReplay:
    return upkeep.ComputationReplay.model_validate(found.as_json())


def _told(found: Sequence[ReviewedObligation]) -> upkeep.ObligationReview:
    return upkeep.ObligationReview(obligations=tuple(upkeep.Obligation(**each.as_json()) for each in found))


@contextmanager
def _alone(institution: Institution) -> Generator[None]:
    if not institution.auditing.acquire(blocking=False):
        raise Unavailable("node.audit_running", f"{institution.member} is being audited already", retry_after_s=60.0)
    try:
        yield
    finally:
        institution.auditing.release()
