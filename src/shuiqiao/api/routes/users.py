"""``/users``, ``/clients``, ``/me``: accounts of people and programs, for who manages them and for oneself."""

from __future__ import annotations

from shuiqiao.api.access import ANY_CALLER
from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import users as api

users = Routes("users")

_OF_ROLES = ("node.role_unknown", "node.roles_conflict")
_OF_NAME = ("node.user_name_invalid", "node.user_exists")
_OF_OTHERS = ("node.user_unknown", "node.own_account")
_OF_PASSWORD = ("node.login_refused", "node.login_locked")


@users.perform(api.LIST_USERS, permission="users.read")
def list_users(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.UserPage:
    """List the users with their roles, by name."""
    return performed(running, caller, api.LIST_USERS, PageQuery(limit=limit, cursor=cursor))


@users.perform(api.ADD_USER, permission="users.manage", codes=(*_OF_NAME, *_OF_ROLES))
def add_user(asked: api.NewUser, running: Running, caller: Caller) -> api.NewUserPassword:
    """Add a user; the first password is told this once, and its user has to change it."""
    return performed(running, caller, api.ADD_USER, asked)


@users.perform(api.GIVE_ROLES, permission="users.manage", codes=(*_OF_OTHERS, *_OF_ROLES))
def give_roles(asked: api.RoleChange, running: Running, caller: Caller) -> api.UserRecord:
    """Give a user these roles and no others, from its next call on."""
    return performed(running, caller, api.GIVE_ROLES, asked)


@users.perform(api.RENAME_USER, permission="users.manage", codes=(*_OF_OTHERS, *_OF_NAME))
def rename_user(asked: api.NameChange, running: Running, caller: Caller) -> api.UserRecord:
    """Let a user log in under another name; who they are does not change."""
    return performed(running, caller, api.RENAME_USER, asked)


@users.perform(api.DISABLE_USER, permission="users.manage", codes=_OF_OTHERS)
def disable_user(chosen: api.UserChoice, running: Running, caller: Caller) -> api.UserRecord:
    """Let a user and its programs in no more, from now on."""
    return performed(running, caller, api.DISABLE_USER, chosen)


@users.perform(api.ENABLE_USER, permission="users.manage", codes=_OF_OTHERS)
def enable_user(chosen: api.UserChoice, running: Running, caller: Caller) -> api.UserRecord:
    """Let a user in again that was disabled."""
    return performed(running, caller, api.ENABLE_USER, chosen)


@users.perform(api.RESET_USER, permission="users.manage", codes=_OF_OTHERS)
def reset_user(chosen: api.UserChoice, running: Running, caller: Caller) -> api.ResetPassword:
    """Give a user a new first password and forget its second factor; its tokens end."""
    return performed(running, caller, api.RESET_USER, chosen)


@users.perform(api.LIST_CLIENTS, permission="users.read")
def list_clients(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.ClientPage:
    """List the machine clients with their roles and who answers for them, by name."""
    return performed(running, caller, api.LIST_CLIENTS, PageQuery(limit=limit, cursor=cursor))


@users.perform(api.ADD_CLIENT, permission="users.manage", codes=("node.user_unknown", *_OF_NAME, *_OF_ROLES))
def add_client(asked: api.NewClient, running: Running, caller: Caller) -> api.ClientSecret:
    """Add a program's account; its secret is told this once."""
    return performed(running, caller, api.ADD_CLIENT, asked)


@users.perform(api.DISABLE_CLIENT, permission="users.manage", codes=("node.user_unknown",))
def disable_client(chosen: api.ClientChoice, running: Running, caller: Caller) -> api.DisabledClient:
    """Let a program in no more."""
    return performed(running, caller, api.DISABLE_CLIENT, chosen)


@users.perform(
    api.CHANGE_PASSWORD,
    permission=ANY_CALLER,
    codes=(*_OF_PASSWORD, "node.password_length", "node.password_same", "node.permission_missing"),
)
def change_password(asked: api.PasswordChange, running: Running, caller: Caller) -> api.PasswordChanged:
    """Change one's own password, which ends one's tokens; a first password allows nothing else."""
    return performed(running, caller, api.CHANGE_PASSWORD, asked)


@users.perform(
    api.MAKE_SECOND_FACTOR,
    permission=ANY_CALLER,
    codes=(*_OF_PASSWORD, "node.second_factor_exists", "node.permission_missing"),
)
def make_second_factor(asked: api.OwnPassword, running: Running, caller: Caller) -> api.SecondFactorSecret:
    """Make a secret for one's own device; it counts once a code of it was confirmed."""
    return performed(running, caller, api.MAKE_SECOND_FACTOR, asked)


@users.perform(api.CONFIRM_SECOND_FACTOR, permission=ANY_CALLER, codes=(*_OF_PASSWORD, "node.permission_missing"))
def confirm_second_factor(asked: api.SecondFactorCode, running: Running, caller: Caller) -> api.SecondFactorConfirmed:
    """Take one's own second factor into use by a code of it; each log-in needs one from then on."""
    return performed(running, caller, api.CONFIRM_SECOND_FACTOR, asked)
