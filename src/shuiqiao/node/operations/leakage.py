"""Tells what is known of a taxpayer by what this institution gave or received, for a message of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.ids import MemberId
from shuiqiao.client.resources import leakage as api
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.privacy.account import bits_text

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.operations.own import OwnScope
    from shuiqiao.privacy.model import Account


def read_leakage(institution: Institution, asked: api.LeakageQuestion) -> api.LeakageRecord:
    """Return the account of a taxpayer: all recipients at a bureau, a bank's own at that bank; of nobody, empty.

    A regulator asks the bureau that is named [LEAK-9]; raises what ``account_at`` raises.
    """
    if asked.bureau is None:
        account = institution.leakage.of(asked.taxpayer)
    else:
        account = institution.account_at(MemberId(asked.bureau), asked.taxpayer)
    return _record(asked.taxpayer, account)


def _record(taxpayer: str, account: Account) -> api.LeakageRecord:
    return api.LeakageRecord(
        taxpayer=taxpayer,
        lines=tuple(
            api.LeakageLine(
                recipient=line.recipient,
                purpose=line.purpose,
                mode=line.mode,
                answers=line.answers,
                fields=line.fields,
                bits=bits_text(line.millibits),
                rank=line.rank,
            )
            for line in account.lines
        ),
        budgets=tuple(
            api.LeakageBudget(
                recipient=use.recipient,
                purpose=use.purpose,
                bits=bits_text(use.millibits),
                most_bits=bits_text(use.most_millibits),
                rank=use.rank,
                most_rank=use.most_rank,
                feature=use.feature,
                feature_bits=bits_text(use.feature_millibits),
                most_feature_bits=bits_text(use.most_feature_millibits),
            )
            for use in account.budgets
        ),
    )


def read_own_leakage(institution: Institution, scope: OwnScope) -> api.LeakageRecord:
    """Return an enterprise's own account at its bureau; raises Denied ``node.role_wrong`` elsewhere."""
    require_role(institution.settings, Role.TAX_BUREAU)
    return _record(scope.taxpayer, institution.leakage.of(scope.taxpayer))
