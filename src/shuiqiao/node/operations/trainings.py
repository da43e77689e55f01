"""Agrees on trainings and lists them, for a message of the API; whose records they are on is shown to nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shuiqiao.base.encoding import typed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.client.resources import trainings as api
from shuiqiao.consent.model import Items
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.node.operations.paging import page_of

if TYPE_CHECKING:
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.exchange.training import AgreedTraining
    from shuiqiao.node.institution import Institution


def agree_training(institution: Institution, asked: api.NewTraining) -> api.TrainingRecord:
    """Agree on a training of all firms that allow it; raises as ``InstitutionServices.agree_on_training``."""
    wanted = {type_id: sorted(set(groups)) for type_id, groups in asked.items.items()}
    try:
        items = typed(wanted, Items)
    except msgspec.ValidationError as error:
        raise InvalidInput("exchange.plan_malformed", f"no records are named so: {error}") from error
    plan = institution.agree_on_training(
        MemberId(asked.bureau), items=items, period_from=asked.period_from, period_to=asked.period_to
    )
    return next(_told(each) for each in institution.trainings.all() if each.training == plan.name)


def list_trainings(institution: Institution, asked: PageQuery) -> api.TrainingPage:
    """Return the trainings that this bank or bureau keeps the cohorts of; raises Denied ``node.role_wrong``."""
    require_role(institution.settings, Role.BANK, Role.TAX_BUREAU)
    rows, following = page_of(institution.trainings.all(), asked, place=lambda row: row.training)
    return api.TrainingPage(items=tuple(map(_told, rows)), next=following)


def _told(found: AgreedTraining) -> api.TrainingRecord:
    return api.TrainingRecord(
        training=found.training,
        other=found.other,
        size=found.size,
        ended=found.ended,
        made_ms=found.made_ms,
        is_agreed=found.is_agreed,
    )
