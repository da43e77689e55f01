"""Asks other banks what they have lent to applicants, for a message of the API, and lists what they told."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId, OwnedId
from shuiqiao.base.progress import no_progress
from shuiqiao.client.resources import exposures as api
from shuiqiao.lending.exposures.evidence import verify_evidence
from shuiqiao.node.operations.paging import page_of, time_place

if TYPE_CHECKING:
    from shuiqiao.base.progress import Progress
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.lending.exposures.model import Exposure
    from shuiqiao.node.institution import Institution


def ask_exposures(
    institution: Institution, asked: api.ExposureAsking, progress: Progress = no_progress
) -> api.ExposuresTold:
    """Ask a bank, and keep what it tells; raises Denied ``node.role_wrong``, what ``ExposureService.ask`` raises."""
    found = institution.exposures.ask(
        MemberId(asked.member),
        way=institution.exposure_way,
        consents=() if asked.consent is None else (OwnedId(asked.consent),),
        progress=progress,
    )
    return api.ExposuresTold(
        exposures=tuple(map(_record, found.exposures)),
        refused=tuple(api.ConsentRefused(consent=consent, code=code) for consent, code in found.refused),
    )


def list_exposures(institution: Institution, asked: PageQuery) -> api.ExposurePage:
    """List what other banks told, oldest first; raises Denied ``node.role_wrong``."""
    rows, following = page_of(
        institution.exposures.all(), asked, place=lambda each: time_place(each.asked_ms, f"{each.request}/{each.bank}")
    )
    return api.ExposurePage(items=tuple(map(_record, rows)), next=following)


def list_runs(institution: Institution, asked: PageQuery) -> api.RunPage:
    """List the runs in which this bank took part, oldest first; raises Denied ``node.role_wrong``."""
    rows, following = page_of(
        institution.exposures.runs(), asked, place=lambda each: time_place(each.made_ms, each.run.hex())
    )
    items = (
        api.RunRecord(run=each.run.hex(), other=each.other, made_ms=each.made_ms, erase_after_ms=each.erase_after_ms)
        for each in rows
    )
    return api.RunPage(items=tuple(items), next=following)


def read_evidence(institution: Institution, asked: api.RunChoice) -> api.Evidence:
    """Return what an auditor verifies of a run; raises Denied ``node.role_wrong``, ``lending.exposure_run_unknown``."""
    raw = institution.exposures.evidence(bytes.fromhex(asked.run))
    return api.Evidence(evidence=b64encode(raw).decode())


def check_evidence(institution: Institution, given: api.Evidence) -> api.CheckedRun:
    """Hold what a bank put into a run against this member's copy of the ledger; raises as ``verify_evidence``."""
    try:
        raw = b64decode(given.evidence, validate=True)
    except ValueError as error:
        raise InvalidInput("lending.exposure_list_malformed", f"the evidence is no base64: {error}") from error
    found = verify_evidence(
        raw, state=institution.engine.state(), network=institution.parameters.network, suite=institution.suite
    )
    return api.CheckedRun(bank=found.bank, asks=found.asks, asked=found.asked, taxpayers=found.taxpayers)


def _record(exposure: Exposure) -> api.ExposureRecord:
    return api.ExposureRecord(**exposure.as_json())
