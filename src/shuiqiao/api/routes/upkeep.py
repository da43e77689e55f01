"""What keeps an institution's node going: keys, publication, audits, and evidence of joint computations."""

from __future__ import annotations

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources import upkeep as api
from shuiqiao.client.wire import Nothing

upkeep = Routes("upkeep")


@upkeep.perform(api.READ_KEYS, permission="ledger.read")
def read_keys(running: Running, caller: Caller) -> api.OwnKeys:
    """Show the public keys of this institution that are in use."""
    return performed(running, caller, api.READ_KEYS, Nothing())


@upkeep.perform(
    api.READ_PUBLICATION,
    permission="jobs.read",
    problems=(422,),
    codes=("ledger.tile_foreign",),
)
def read_publication(running: Running, caller: Caller) -> api.PublicationState:
    """Tell how far the log was published as static files."""
    return performed(running, caller, api.READ_PUBLICATION, Nothing())


@upkeep.perform(api.AUDIT_LEDGER, permission="audits.run", problems=(422,), codes=("node.audit_running",))
def audit_ledger(asked: Nothing, running: Running, caller: Caller) -> api.Audit:
    """Replay the ledger from genesis and check everything; what is wrong is told in the answer."""
    return performed(running, caller, api.AUDIT_LEDGER, asked)


@upkeep.perform(api.REVIEW_OBLIGATIONS, permission="audits.run", problems=(422,), codes=("node.audit_running",))
def review_obligations(asked: Nothing, running: Running, caller: Caller) -> api.ObligationReview:
    """Audit, and hold this institution against the rules that bind it: control and live evidence, unmet first."""
    return performed(running, caller, api.REVIEW_OBLIGATIONS, asked)


@upkeep.perform(
    api.SHOW_COMPUTATION,
    permission="audits.run",
    problems=(422,),
    codes=(
        "exchange.log_missing",
        "exchange.evidence_too_large",
        "node.regulator_unclear",
        "node.role_wrong",
    ),
)
def show_computation(asked: api.ComputationChoice, running: Running, caller: Caller) -> api.ComputationEvidence:
    """Seal this party's evidence of a joint computation to the regulator."""
    return performed(running, caller, api.SHOW_COMPUTATION, asked)


@upkeep.perform(
    api.REPLAY_COMPUTATION,
    permission="audits.run",
    problems=(413, 422),
    codes=(
        "exchange.evidence_malformed",
        "exchange.evidence_misdirected",
        "oversight.computation_unknown",
        "node.role_wrong",
        "crypto.seal_broken",
    ),
)
def replay_computation(asked: api.ComputationAsked, running: Running, caller: Caller) -> api.ComputationReplay:
    """Replay a joint computation from its parties' evidence, as a regulator; who departed is told in the answer."""
    return performed(running, caller, api.REPLAY_COMPUTATION, asked)
