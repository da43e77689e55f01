"""The operations of the API and the functions that perform them, for whoever calls: a route, or a command.

An act that is named by its operation is an entry of the journal here, so it is one whichever way it is reached
[API-16].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.client.operation import Operation, Sent, Told
from shuiqiao.client.resources import answers as answered
from shuiqiao.client.resources import applications as applied
from shuiqiao.client.resources import approvals as approved
from shuiqiao.client.resources import consents, disputes, enrolments, own_files
from shuiqiao.client.resources import exposures as exposed
from shuiqiao.client.resources import governance as governing
from shuiqiao.client.resources import ingests as taken_in
from shuiqiao.client.resources import invoices as verified
from shuiqiao.client.resources import jobs as worked
from shuiqiao.client.resources import journal as journaled
from shuiqiao.client.resources import models as modelled
from shuiqiao.client.resources import oversight as overseen
from shuiqiao.client.resources import products as offered
from shuiqiao.client.resources import records as recorded
from shuiqiao.client.resources import registers as registered
from shuiqiao.client.resources import requests as requested
from shuiqiao.client.resources import trainings as trained
from shuiqiao.client.resources import upkeep as kept
from shuiqiao.client.resources.deliveries import LIST_DELIVERIES
from shuiqiao.client.resources.grades import EXPLAIN_GRADE, ISSUE_GRADE
from shuiqiao.client.resources.leakage import READ_LEAKAGE
from shuiqiao.client.resources.presentations import LIST_SHOWN
from shuiqiao.node.operations import (
    answers,
    applications,
    approvals,
    audits,
    deliveries,
    enterprises,
    exposures,
    governance,
    grades,
    invoices,
    jobs,
    journal,
    leakage,
    models,
    oversight,
    presentations,
    products,
    records,
    registers,
    requests,
    trainings,
    upkeep,
)
from shuiqiao.node.operations.account_performing import OF_ACCOUNTS
from shuiqiao.node.operations.calling import entered
from shuiqiao.node.operations.reading import OF_COPIES

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.operations.calling import Call


def perform(operation: Operation[Sent, Told], message: Sent, *, call: Call, progress: Progress = no_progress) -> Told:
    """Perform an operation and return what is told of it; raises what refuses it. progress: told of a long one.

    ::

        perform(VOTE, Vote(proposal="77ab", approve=True), call=Call.of_owner(bank)).status
    """
    journal_of, by = call.accounts.journal, call.caller
    with entered(operation, message, journal=journal_of, caller=by, request=call.request):
        told: Told = _PERFORMERS[operation](call, message, progress)
        return told


Performer = Callable[["Call", Any, Progress], Any]
_Pair = tuple[Operation[Any, Any], Any]


def _performed(operation: Operation[Sent, Told], by: Callable[[Institution, Sent], Told]) -> _Pair:
    """Return an operation with the function that performs it; the types hold that the forms of both are the same."""
    return operation, lambda call, message, _progress: by(call.institution, message)


def _performed_long(operation: Operation[Sent, Told], by: Callable[[Institution, Sent, Progress], Told]) -> _Pair:
    """Return the same of a function that tells how far it is."""
    return operation, lambda call, message, progress: by(call.institution, message, progress)


def _called(operation: Operation[Sent, Told], by: Callable[[Call, Sent], Told]) -> _Pair:
    """Return the same of a function that asks who calls."""
    return operation, lambda call, message, _progress: by(call, message)


_PERFORMERS: Final[Mapping[Operation[Any, Any], Performer]] = {
    **dict(_called(each, by) for each, by in OF_ACCOUNTS.items()),
    **dict(_performed(each, by) for each, by in OF_COPIES.items()),
    **dict(
        [
            _performed(governing.PROPOSE, governance.propose),
            _performed(governing.VOTE, governance.vote),
            _performed(governing.SUSPEND, governance.suspend),
            _performed(governing.REINSTATE, governance.reinstate),
            _performed(governing.FREEZE, governance.freeze),
            _performed(governing.UNFREEZE, governance.unfreeze),
            _performed(governing.PUBLISH_ENDPOINT, governance.publish_endpoint),
            _performed(governing.ROTATE_KEY, governance.rotate_key),
            _performed_long(own_files.TAKE_IN_FILES, records.take_in_files),
            _performed(own_files.ASK_INGEST, jobs.ask_ingest),
            _performed(own_files.AMEND_BY_FILE, records.amend_by_file),
            _performed(verified.VERIFY_INVOICE, invoices.verify_invoice),
            _performed(taken_in.LIST_QUARANTINED, records.list_quarantined),
            _performed(enrolments.ISSUE_CODE, enterprises.issue_code),
            _performed(enrolments.REVOKE_CREDENTIALS, enterprises.revoke_credentials),
            _performed(enrolments.READ_ENROLMENT, enterprises.read_enrolment),
            _performed(consents.FILE_ARTEFACT, enterprises.file_artefact),
            _performed(consents.REVOKE_FOR_LOST_KEY, enterprises.revoke_for_lost_key),
            _performed(exposed.LIST_EXPOSURES, exposures.list_exposures),
            _performed_long(exposed.ASK_EXPOSURES, exposures.ask_exposures),
            _performed(exposed.LIST_RUNS, exposures.list_runs),
            _performed(exposed.READ_EVIDENCE, exposures.read_evidence),
            _performed(exposed.CHECK_EVIDENCE, exposures.check_evidence),
            _performed(disputes.LIST_DISPUTES, enterprises.list_disputes),
            _performed(disputes.ANSWER_DISPUTE, enterprises.answer_dispute),
            _performed(registered.LIST_REGISTER, registers.list_register),
            _performed(registered.ASSESS, registers.assess),
            _performed(registered.REPORT_INCIDENT, registers.report_incident),
            _performed(registered.COMPLAIN, registers.complain),
            _performed(registered.CLOSE_ENTRY, registers.close_entry),
            _performed(recorded.SEARCH_RECORDS, records.search_records),
            _performed(recorded.PROVE_RECORD, records.prove_record),
            _performed(recorded.LIST_CHANGED, records.list_changed),
            _performed(recorded.ERASE_RECORDS, records.erase_records),
            _performed(recorded.LIST_PENDING, records.list_pending),
            _performed(LIST_DELIVERIES, deliveries.list_deliveries),
            _performed(recorded.REDO_PENDING, records.redo_pending),
            _performed(recorded.ABANDON_PENDING, records.abandon_pending),
            _performed(requested.LIST_REQUESTS, requests.list_requests),
            _performed(requested.READ_REQUEST, requests.read_request),
            _called(requested.LIST_USES, enterprises.list_uses),
            _performed(requested.OPEN_MANIFEST, requests.open_manifest),
            _performed(EXPLAIN_GRADE, grades.explain_grade),
            _performed(ISSUE_GRADE, grades.issue_grade),
            _performed(READ_LEAKAGE, leakage.read_leakage),
            _performed(trained.AGREE_TRAINING, trainings.agree_training),
            _performed(trained.LIST_TRAININGS, trainings.list_trainings),
            _performed(answered.ASK_PROVIDER, answers.ask_provider),
            _performed(LIST_SHOWN, presentations.list_shown),
            _performed(offered.LIST_PRODUCTS, products.list_products),
            _performed(offered.READ_PRODUCT, products.read_product),
            _performed(offered.CHANGE_RULES, products.change_rules),
            _performed(offered.CHANGE_CHURN, products.change_churn),
            _performed(modelled.LIST_MODELS, models.list_models),
            _performed(modelled.READ_MODEL, models.read_model),
            _performed(modelled.REGISTER_MODEL, models.register_model),
            _performed_long(modelled.DEVELOP_MODEL, models.develop_model),
            _performed(modelled.USE_MODEL, models.use_model),
            _performed(modelled.LIST_LEDGER_MODELS, models.list_ledger_models),
            _performed(modelled.READ_LEDGER_MODEL, models.read_ledger_model),
            _performed(modelled.OFFER_MODEL, models.offer_to_provider),
            _called(modelled.REVIEW_MODEL, models.review_model),
            _performed(modelled.APPROVE_RUN, models.approve_model_run),
            _performed(modelled.RETIRE_MODEL, models.retire_ledger_model),
            _performed(applied.HAND_IN, applications.hand_in),
            _performed(applied.LIST_APPLICATIONS, applications.list_applications),
            _performed(applied.READ_APPLICATION, applications.read_application),
            _performed(applied.PROCESS, applications.process),
            _performed(applied.CLOSE, applications.close),
            _performed(applied.ASK_ANEW, applications.ask_anew),
            _performed(applied.HAND_IN_OPENINGS, applications.hand_in_openings),
            _performed(applied.LIST_REFERRALS, applications.list_referrals),
            _performed(applied.LIST_DECISIONS, applications.list_decisions),
            _performed(applied.READ_DECISION, applications.read_decision),
            _performed(worked.LIST_JOBS, jobs.list_jobs),
            _performed(worked.READ_JOB, jobs.read_job),
            _performed(worked.CANCEL_JOB, jobs.cancel_job),
            _performed(worked.CONFIRM_JOB, jobs.confirm_job),
            _performed(overseen.LIST_STATISTICS, oversight.list_statistics),
            _performed(overseen.PUBLISH_STATISTICS, oversight.publish_statistics),
            _performed(overseen.LIST_ALARMS, oversight.list_alarms),
            _performed(overseen.LIST_STANDING_ALARMS, oversight.list_standing_alarms),
            _performed(kept.READ_KEYS, upkeep.read_keys),
            _performed(kept.READ_PUBLICATION, upkeep.read_publication),
            _performed(kept.PUBLISH_LOG, upkeep.publish),
            _performed(kept.AUDIT_LEDGER, audits.audit),
            _performed(kept.REVIEW_OBLIGATIONS, audits.review),
            _performed(kept.SHOW_COMPUTATION, audits.show_computation),
            _performed(kept.REPLAY_COMPUTATION, audits.replay_computation),
            _called(journaled.PROVE_JOURNAL_ENTRY, journal.prove_entry),
            _called(journaled.VERIFY_JOURNAL, journal.verify_journal),
            _called(journaled.LIST_JOURNAL_DAYS, journal.list_days),
            _called(journaled.ANCHOR_JOURNAL, journal.anchor_journal),
            _called(approved.LIST_APPROVALS, approvals.list_approvals),
            _called(approved.READ_APPROVAL, approvals.read_approval),
            _called(approved.APPROVE, approvals.approve),
            _called(approved.REJECT, approvals.reject),
            _called(approved.PROPOSE_FREEZE, approvals.propose_freeze),
            _called(approved.PROPOSE_UNFREEZE, approvals.propose_unfreeze),
            _called(approved.PROPOSE_SUSPENSION, approvals.propose_suspension),
            _called(approved.PROPOSE_SUSPENSION_VOTE, approvals.propose_suspension_vote),
            _called(approved.PROPOSE_EMERGENCY, approvals.propose_emergency),
            _called(approved.PROPOSE_ROTATION, approvals.propose_rotation),
            _called(approved.PROPOSE_ERASURE, approvals.propose_erasure),
            _called(approved.PROPOSE_DECISION, approvals.propose_decision),
            _called(approved.PROPOSE_MODEL, approvals.propose_model),
            _called(approved.PROPOSE_OFFER, approvals.propose_offer),
            _called(approved.PROPOSE_RUN, approvals.propose_run),
            _called(approved.PROPOSE_RULES, approvals.propose_rules),
            _called(approved.PROPOSE_CHURN, approvals.propose_churn),
        ]
    ),
}
