"""Accounts of people and programs at an institution, and what everybody does about their own account."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.resources.sessions import Secret
from shuiqiao.client.wire import Id, Name, Wire, example

MAX_ROLES: Final = 8
"""As ``node.accounts.model.MAX_ROLES_OF_ONE``."""

AccountName = Annotated[str, Field(min_length=1, max_length=64)]
Roles = Annotated[tuple[Name, ...], Field(max_length=4 * MAX_ROLES)]
"""Roles of docs/reference/roles.md; which of them go together the institution decides."""

_USER = {
    "user": "chen.wei",
    "id": "2f" * 16,
    "roles": ["internal_auditor"],
    "is_disabled": False,
    "must_change_password": False,
    "has_second_factor": True,
    "added": "2026-01-05T08:15:00Z",
}


class UserRecord(Wire):
    """A person who has an account."""

    model_config = example(**_USER)

    user: Name
    id: Id
    """Never changes, whatever the name becomes."""
    roles: tuple[Name, ...]
    is_disabled: bool
    must_change_password: bool
    has_second_factor: bool
    added: Name


class UserPage(Page[UserRecord]):
    """Users by name."""

    model_config = example(items=[_USER], next=None)


_CLIENT = {
    "client": "core-banking",
    "id": "3a" * 16,
    "owner": "chen.wei",
    "roles": ["relationship_manager"],
    "is_disabled": False,
    "added": "2026-01-05T08:15:00Z",
}


class ClientRecord(Wire):
    """A program that has an account. owner: the user who answers for it."""

    model_config = example(**_CLIENT)

    client: Name
    id: Id
    owner: Name
    roles: tuple[Name, ...]
    is_disabled: bool
    added: Name


class ClientPage(Page[ClientRecord]):
    """Machine clients by name."""

    model_config = example(items=[_CLIENT], next=None)


class UserChoice(Wire):
    """Names a user."""

    model_config = example(user="chen.wei")

    user: AccountName


class NewUser(Wire):
    """A user to add, with its roles."""

    model_config = example(user="chen.wei", roles=["internal_auditor"])

    user: AccountName
    roles: Roles


class NewUserPassword(Wire):
    """A user that was added, and the first password, told this once: its user has to change it."""

    model_config = example(user="chen.wei", roles=["internal_auditor"], first_password="kq4x2m7vd5w3n6tz")  # noqa: S106 - an example

    user: Name
    roles: tuple[Name, ...]
    first_password: Name


class ResetPassword(Wire):
    """A user's new first password, told this once."""

    model_config = example(user="chen.wei", first_password="kq4x2m7vd5w3n6tz")  # noqa: S106 - an example

    user: Name
    first_password: Name


class RoleChange(Wire):
    """The roles that a user has from now on, and no others."""

    model_config = example(user="chen.wei", roles=["data_officer"])

    user: AccountName
    roles: Roles


class NameChange(Wire):
    """Another name for a user to log in by."""

    model_config = example(user="chen.wei", to="chen.wei2")

    user: AccountName
    to: AccountName


class NewClient(Wire):
    """A program to add. owner: the user who answers for it."""

    model_config = example(client="core-banking", owner="chen.wei", roles=["relationship_manager"])

    client: AccountName
    owner: AccountName
    roles: Roles


class ClientSecret(Wire):
    """By what a program logs in; the secret is told this once."""

    model_config = example(client="core-banking", client_id="3a" * 16, client_secret="kept-by-the-program-alone")  # noqa: S106 - an example

    client: Name
    client_id: Id
    client_secret: Name


class ClientChoice(Wire):
    """Names a machine client."""

    model_config = example(client="core-banking")

    client: AccountName


class DisabledClient(Wire):
    """A program that is let in no more."""

    model_config = example(client="core-banking", is_disabled=True)

    client: Name
    is_disabled: bool


class PasswordChange(Wire):
    """One's own password, the old and the new one."""

    model_config = example(old="seven words that nobody knows", new="seven other words that nobody knows")

    old: Secret
    new: Secret


class PasswordChanged(Wire):
    """That a password was changed, which ended all tokens of its user."""

    model_config = example(user="chen.wei", changed=True)

    user: Name
    changed: bool


class OwnPassword(Wire):
    """One's own password, to prove that it is oneself who asks."""

    model_config = example(password="seven words that nobody knows")  # noqa: S106 - an example

    password: Secret


class SecondFactorSecret(Wire):
    """What one's own device needs to make codes, told this once."""

    model_config = example(
        user="chen.wei",
        secret="JBSWY3DPEHPK3PXP",  # noqa: S106 - an example
        uri="otpauth://totp/Shuiqiao%20first-bank:chen.wei?secret=JBSWY3DPEHPK3PXP",
    )

    user: Name
    secret: Name
    uri: Annotated[str, Field(max_length=1_000)]


class SecondFactorCode(Wire):
    """A code of one's own new device."""

    model_config = example(code="123456")

    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,8}$")]


class SecondFactorConfirmed(Wire):
    """That each log-in needs a code from now on."""

    model_config = example(user="chen.wei", confirmed=True)

    user: Name
    confirmed: bool


LIST_USERS: Final = Operation(method="GET", path="/users", sent=PageQuery, told=UserPage)
LIST_CLIENTS: Final = Operation(method="GET", path="/clients", sent=PageQuery, told=ClientPage)
ADD_USER: Final = Operation(path="/users", sent=NewUser, told=NewUserPassword, tells_secret=True)
GIVE_ROLES: Final = Operation(path="/users/roles", sent=RoleChange, told=UserRecord)
RENAME_USER: Final = Operation(path="/users/names", sent=NameChange, told=UserRecord)
DISABLE_USER: Final = Operation(path="/users/disablings", sent=UserChoice, told=UserRecord)
ENABLE_USER: Final = Operation(path="/users/enablings", sent=UserChoice, told=UserRecord)
RESET_USER: Final = Operation(path="/users/resets", sent=UserChoice, told=ResetPassword, tells_secret=True)
ADD_CLIENT: Final = Operation(path="/clients", sent=NewClient, told=ClientSecret, tells_secret=True)
DISABLE_CLIENT: Final = Operation(path="/clients/disablings", sent=ClientChoice, told=DisabledClient)
ADD_FIRST_USER: Final = Operation(
    prefix="/home", path="/first-user", sent=NewUser, told=NewUserPassword, tells_secret=True
)
RESET_AS_OWNER: Final = Operation(
    prefix="/home", path="/user-resets", sent=UserChoice, told=ResetPassword, tells_secret=True
)
CHANGE_PASSWORD: Final = Operation(path="/me/password", sent=PasswordChange, told=PasswordChanged)
MAKE_SECOND_FACTOR: Final = Operation(
    path="/me/second-factor", sent=OwnPassword, told=SecondFactorSecret, tells_secret=True
)
CONFIRM_SECOND_FACTOR: Final = Operation(
    path="/me/second-factor/confirmation", sent=SecondFactorCode, told=SecondFactorConfirmed
)
