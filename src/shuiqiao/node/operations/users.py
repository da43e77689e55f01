"""Manages the accounts of an institution for a message of the API; each act writes its own entry of the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.client.resources import users
from shuiqiao.node.accounts.model import OWNER
from shuiqiao.node.operations.paging import page_after

if TYPE_CHECKING:
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.sessions import SessionToken, UserProof
    from shuiqiao.node.operations.calling import AccountCall


def log_in(call: AccountCall, proof: UserProof) -> SessionToken:
    """Give a token to a user who proves a password; raises what ``AccountService.log_in`` raises."""
    from shuiqiao.client.resources.sessions import SessionToken

    issued = call.accounts.service.log_in(proof.name, password=proof.password, code=proof.code, request=call.request)
    return SessionToken(token=issued.token, ends_ms=issued.ends_ms, idle_ms=issued.idle_ms)


def list_users(call: AccountCall, asked: PageQuery) -> users.UserPage:
    """Return the users, by name."""
    rows = [users.UserRecord(**row) for row in call.accounts.service.users(call.caller)]
    items, following = page_after(rows, asked, name=lambda row: row.user)
    return users.UserPage(items=items, next=following)


def list_clients(call: AccountCall, asked: PageQuery) -> users.ClientPage:
    """Return the machine clients, by name."""
    rows = [users.ClientRecord(**row) for row in call.accounts.service.clients(call.caller)]
    items, following = page_after(rows, asked, name=lambda row: row.client)
    return users.ClientPage(items=items, next=following)


def add_user(call: AccountCall, asked: users.NewUser) -> users.NewUserPassword:
    """Add a user; raises what ``AccountService.add_user`` raises."""
    password = call.accounts.service.add_user(call.caller, asked.user, roles=asked.roles, request=call.request)
    return users.NewUserPassword(user=asked.user, roles=tuple(sorted(set(asked.roles))), first_password=password)


def add_first_user(call: AccountCall, asked: users.NewUser) -> users.NewUserPassword:
    """Add the user who adds the others; raises what ``AccountService.add_first_user`` raises."""
    password = call.accounts.service.add_first_user(asked.user, roles=asked.roles)
    return users.NewUserPassword(user=asked.user, roles=tuple(sorted(set(asked.roles))), first_password=password)


def give_roles(call: AccountCall, asked: users.RoleChange) -> users.UserRecord:
    """Give a user these roles and no others; raises what ``AccountService.give_roles`` raises."""
    row = call.accounts.service.give_roles(call.caller, asked.user, roles=asked.roles, request=call.request)
    return users.UserRecord(**row)


def rename_user(call: AccountCall, asked: users.NameChange) -> users.UserRecord:
    """Let a user log in under another name; raises what ``AccountService.rename`` raises."""
    return users.UserRecord(**call.accounts.service.rename(call.caller, asked.user, to=asked.to, request=call.request))


def disable_user(call: AccountCall, chosen: users.UserChoice) -> users.UserRecord:
    """Let a user and its programs in no more; raises what ``AccountService.disable`` raises."""
    return users.UserRecord(**call.accounts.service.disable(call.caller, chosen.user, request=call.request))


def enable_user(call: AccountCall, chosen: users.UserChoice) -> users.UserRecord:
    """Let a user in again; raises what ``AccountService.enable`` raises."""
    return users.UserRecord(**call.accounts.service.enable(call.caller, chosen.user, request=call.request))


def reset_user(call: AccountCall, chosen: users.UserChoice) -> users.ResetPassword:
    """Give a user a new first password; raises what ``AccountService.reset`` raises."""
    password = call.accounts.service.reset(call.caller, chosen.user, request=call.request)
    return users.ResetPassword(user=chosen.user, first_password=password)


def reset_as_owner(call: AccountCall, chosen: users.UserChoice) -> users.ResetPassword:
    """Reset who manages users, as the owner of the home; raises what ``AccountService.reset`` raises."""
    password = call.accounts.service.reset(OWNER, chosen.user, request=call.request)
    return users.ResetPassword(user=chosen.user, first_password=password)


def add_client(call: AccountCall, asked: users.NewClient) -> users.ClientSecret:
    """Add a program's account; raises what ``AccountService.add_client`` raises."""
    client, secret = call.accounts.service.add_client(
        call.caller, asked.client, owner=asked.owner, roles=asked.roles, request=call.request
    )
    return users.ClientSecret(client=asked.client, client_id=client, client_secret=secret)


def disable_client(call: AccountCall, chosen: users.ClientChoice) -> users.DisabledClient:
    """Let a program in no more; raises what ``AccountService.disable_client`` raises."""
    call.accounts.service.disable_client(call.caller, chosen.client, request=call.request)
    return users.DisabledClient(client=chosen.client, is_disabled=True)


def change_password(call: AccountCall, asked: users.PasswordChange) -> users.PasswordChanged:
    """Change one's own password; raises what ``AccountService.change_password`` raises."""
    call.accounts.service.change_password(call.caller, old=asked.old, new=asked.new, request=call.request)
    return users.PasswordChanged(user=call.caller.name, changed=True)


def make_second_factor(call: AccountCall, asked: users.OwnPassword) -> users.SecondFactorSecret:
    """Make a secret for one's own device; raises what ``AccountService.make_second_factor`` raises."""
    made = call.accounts.service.make_second_factor(call.caller, password=asked.password, request=call.request)
    return users.SecondFactorSecret(user=call.caller.name, secret=made.secret, uri=made.uri)


def confirm_second_factor(call: AccountCall, asked: users.SecondFactorCode) -> users.SecondFactorConfirmed:
    """Take one's own secret into use; raises what ``AccountService.confirm_second_factor`` raises."""
    call.accounts.service.confirm_second_factor(call.caller, code=asked.code, request=call.request)
    return users.SecondFactorConfirmed(user=call.caller.name, confirmed=True)
