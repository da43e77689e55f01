"""The operations of the API and the functions that perform them at an institution that is open in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.client.operation import Operation, Sent, Told
from shuiqiao.client.resources import answers as answered
from shuiqiao.client.resources import applications as applied
from shuiqiao.client.resources import consents, disputes, enrolments, own_files, requests
from shuiqiao.client.resources import governance as governing
from shuiqiao.client.resources import models as modelled
from shuiqiao.client.resources import products as offered
from shuiqiao.client.resources import records as recorded
from shuiqiao.node.operations import answers, applications, enterprises, governance, models, products, records

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution


def perform(
    operation: Operation[Sent, Told], message: Sent, *, institution: Institution, progress: Progress = no_progress
) -> Told:
    """Perform an operation and return what is told of it; raises what refuses it. progress: told of a long one.

    ::

        perform(VOTE, Vote(proposal="77ab", approve=True), institution=bank).status
    """
    told: Told = _PERFORMERS[operation](institution, message, progress)
    return told


Performer = Callable[["Institution", Any, Progress], Any]


def _performed(
    operation: Operation[Sent, Told], by: Callable[[Institution, Sent], Told]
) -> tuple[Operation[Any, Any], Performer]:
    """Return an operation with the function that performs it; the types hold that the forms of both are the same."""
    return operation, lambda institution, message, _progress: by(institution, message)


def _performed_long(
    operation: Operation[Sent, Told], by: Callable[[Institution, Sent, Progress], Told]
) -> tuple[Operation[Any, Any], Performer]:
    """Return the same of a function that tells how far it is."""
    return operation, by


_PERFORMERS: Final[Mapping[Operation[Any, Any], Performer]] = dict(
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
        _performed(own_files.AMEND_BY_FILE, records.amend_by_file),
        _performed(enrolments.ISSUE_CODE, enterprises.issue_code),
        _performed(consents.FILE_ARTEFACT, enterprises.file_artefact),
        _performed(consents.REVOKE_FOR_LOST_KEY, enterprises.revoke_for_lost_key),
        _performed(requests.LIST_USES, enterprises.list_uses),
        _performed(disputes.LIST_DISPUTES, enterprises.list_disputes),
        _performed(disputes.ANSWER_DISPUTE, enterprises.answer_dispute),
        _performed(recorded.SEARCH_RECORDS, records.search_records),
        _performed(recorded.ERASE_RECORDS, records.erase_records),
        _performed(answered.ASK_PROVIDER, answers.ask_provider),
        _performed(offered.LIST_PRODUCTS, products.list_products),
        _performed(offered.READ_PRODUCT, products.read_product),
        _performed(offered.CHANGE_RULES, products.change_rules),
        _performed(offered.CHANGE_CHURN, products.change_churn),
        _performed(modelled.LIST_MODELS, models.list_models),
        _performed(modelled.READ_MODEL, models.read_model),
        _performed(modelled.REGISTER_MODEL, models.register_model),
        _performed_long(modelled.DEVELOP_MODEL, models.develop_model),
        _performed(modelled.USE_MODEL, models.use_model),
        _performed(applied.HAND_IN, applications.hand_in),
        _performed(applied.LIST_APPLICATIONS, applications.list_applications),
        _performed(applied.READ_APPLICATION, applications.read_application),
        _performed(applied.PROCESS, applications.process),
        _performed(applied.CLOSE, applications.close),
        _performed(applied.ASK_ANEW, applications.ask_anew),
        _performed(applied.LIST_REFERRALS, applications.list_referrals),
        _performed(applied.LIST_DECISIONS, applications.list_decisions),
        _performed(applied.READ_DECISION, applications.read_decision),
        _performed(recorded.REDO_PENDING, records.redo_pending),
        _performed(recorded.ABANDON_PENDING, records.abandon_pending),
    ]
)
