"""The operations that are about accounts alone, and what performs them where no ledger is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.client.operation import Operation, Sent, Told
from shuiqiao.client.resources import journal as journaled
from shuiqiao.client.resources import sessions
from shuiqiao.client.resources import users as known
from shuiqiao.node.operations import journal, users
from shuiqiao.node.operations.calling import entered

if TYPE_CHECKING:
    from shuiqiao.node.operations.calling import AccountCall


def perform_on_accounts(operation: Operation[Sent, Told], message: Sent, *, call: AccountCall) -> Told:
    """Perform an operation that is about accounts alone, and return what is told of it; raises what refuses it.

    ::

        perform_on_accounts(LIST_USERS, PageQuery(), call=call).items
    """
    journal_of, by = call.accounts.journal, call.caller
    with entered(operation, message, journal=journal_of, caller=by, request=call.request):
        told: Told = OF_ACCOUNTS[operation](call, message)
        return told


def _of_accounts(
    operation: Operation[Sent, Told], by: Callable[[AccountCall, Sent], Told]
) -> tuple[Operation[Any, Any], Any]:
    """Return an operation with the function that performs it; the types hold that the forms of both are the same."""
    return operation, by


OF_ACCOUNTS: Final[Mapping[Operation[Any, Any], Callable[[AccountCall, Any], Any]]] = dict(
    [
        _of_accounts(sessions.LOG_IN_USER, users.log_in),
        _of_accounts(known.LIST_USERS, users.list_users),
        _of_accounts(known.LIST_CLIENTS, users.list_clients),
        _of_accounts(known.ADD_USER, users.add_user),
        _of_accounts(known.ADD_FIRST_USER, users.add_first_user),
        _of_accounts(known.GIVE_ROLES, users.give_roles),
        _of_accounts(known.RENAME_USER, users.rename_user),
        _of_accounts(known.DISABLE_USER, users.disable_user),
        _of_accounts(known.ENABLE_USER, users.enable_user),
        _of_accounts(known.RESET_USER, users.reset_user),
        _of_accounts(known.RESET_AS_OWNER, users.reset_as_owner),
        _of_accounts(known.ADD_CLIENT, users.add_client),
        _of_accounts(known.DISABLE_CLIENT, users.disable_client),
        _of_accounts(known.CHANGE_PASSWORD, users.change_password),
        _of_accounts(known.MAKE_SECOND_FACTOR, users.make_second_factor),
        _of_accounts(known.CONFIRM_SECOND_FACTOR, users.confirm_second_factor),
        _of_accounts(journaled.LIST_JOURNAL, journal.list_journal),
    ]
)
