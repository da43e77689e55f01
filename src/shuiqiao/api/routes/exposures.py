"""``/exposures``: what other banks have lent to this bank's applicants, as they told it in bands."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import exposures as api

exposures = Routes("exposures")

RunOf = Annotated[
    str, Path(pattern=r"^[0-9a-f]{64}$", description="The run, SHA-256 of its question", examples=["3d" * 32])
]


@exposures.perform(api.LIST_EXPOSURES, permission="requests.read", codes=("node.role_wrong",))
def list_exposures(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.ExposurePage:
    """List what other banks told of this bank's applicants, oldest first."""
    return performed(running, caller, api.LIST_EXPOSURES, PageQuery(limit=limit, cursor=cursor))


@exposures.perform(
    api.ASK_EXPOSURES,
    permission="requests.write",
    problems=(412, 503),
    codes=(
        "node.role_wrong",
        "members.role_wrong",
        "consent.unknown",
        "consent.artefact_missing",
        "consent.not_covered",
        "consent.revoked",
        "consent.paused",
        "lending.exposure_itself",
        "lending.exposure_nobody",
        "lending.exposure_repeated",
        "lending.exposure_wrong",
        "privacy.extra_missing",
        "privacy.secure_not_set_up",
        "privacy.secure_peer_silent",
    ),
)
def ask_exposures(asked: api.ExposureAsking, running: Running, caller: Caller) -> api.ExposuresTold:
    """Ask another bank, once for all, what it has lent to applicants who consented at both; it is not told to whom."""
    return performed(running, caller, api.ASK_EXPOSURES, asked)


@exposures.perform(api.LIST_RUNS, permission="requests.read", codes=("node.role_wrong",))
def list_runs(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.RunPage:
    """List the runs in which this bank was told, or told, oldest first."""
    return performed(running, caller, api.LIST_RUNS, PageQuery(limit=limit, cursor=cursor))


@exposures.perform(
    api.READ_EVIDENCE, permission="requests.read", codes=("node.role_wrong", "lending.exposure_run_unknown")
)
def read_evidence(run: RunOf, running: Running, caller: Caller) -> api.Evidence:
    """Return what this bank put into a run, and what both banks signed, for an auditor."""
    return performed(running, caller, api.READ_EVIDENCE, api.RunChoice(run=run))


@exposures.perform(
    api.CHECK_EVIDENCE,
    permission="ledger.read",
    problems=(422,),
    codes=("lending.exposure_input_unfounded", "lending.exposure_list_malformed", "consent.commitment_mismatch"),
)
def check_evidence(given: api.Evidence, running: Running, caller: Caller) -> api.CheckedRun:
    """Hold what a bank put into a run against what it signed and against the ledger: each taxpayer by a consent."""
    return performed(running, caller, api.CHECK_EVIDENCE, given)
