"""Users of an institution of the sandbox: one for each role, named after it, ready to log in.

They come to be as users do: who manages users adds them, each changes the password and takes a second factor into use
where the role checks what others made. All of it is in the institution's journal.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.crypto.keyfile import PassphraseCost
from shuiqiao.node.accounts.model import ENTERPRISE_ROLE, Principal, check_permissions, permissions_of, roles_of
from shuiqiao.node.accounts.opening import HomeAccounts, open_accounts
from shuiqiao.node.accounts.second_factor import code_at
from shuiqiao.node.home.keys import read_passphrase
from shuiqiao.node.home.settings import load_settings
from shuiqiao.sandbox.servers.folder import Account, InstitutionAccounts

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy
    from shuiqiao.members.model import Role
    from shuiqiao.node.accounts.service import AccountService
    from shuiqiao.node.home.settings import Home

ADMINISTRATOR: Final = "administrator"

COST: Final = PassphraseCost(memory_kib=1_024, passes=1, lanes=1)
"""Of the passwords that are made here: 120 random bits are not guessed, however cheap a guess is. A server hashes each
anew at its own cost when its user logs in."""

_PASSWORD_BYTES: Final = 15
_STEP_MS: Final = 30 * MS_PER_SECOND


def make_accounts(home: Home, *, clock: Clock, entropy: Entropy) -> InstitutionAccounts:
    """Make the users of a home that has none and its passphrase beside it, and return how each logs in.

    Raises Denied ``node.users_exist``, what ``read_passphrase`` and ``open_accounts`` raise::

        accounts = make_accounts(home, clock=SystemClock(), entropy=system_entropy)
        accounts.with_role("credit_officer").password
    """
    settings, passphrase = load_settings(home), read_passphrase(home.passphrase)
    with open_accounts(home, passphrase=lambda: passphrase, clock=clock, cost=COST) as accounts:
        making = _Making(accounts, role=settings.role, clock=clock, entropy=entropy)
        users = making.users()
    return InstitutionAccounts(member=settings.member, role=settings.role, users=users)


class _Making:
    """The making of one institution's users."""

    def __init__(self, accounts: HomeAccounts, *, role: Role, clock: Clock, entropy: Entropy) -> None:
        self._service: AccountService = accounts.service
        self._role = role
        self._clock = clock
        self._entropy = entropy

    def users(self) -> tuple[Account, ...]:
        """Make one user for each role; who manages users comes first."""
        first = self._service.add_first_user(ADMINISTRATOR)
        administrator = self._settled(ADMINISTRATOR, given=first)
        by = self._logged_in(administrator.user, administrator.password)
        others = [role for role in roles_of(self._role) if role not in (ADMINISTRATOR, ENTERPRISE_ROLE)]
        made = [self._settled(role, given=self._service.add_user(by, role, roles=[role])) for role in others]
        return (administrator, *made)

    def _settled(self, role: str, *, given: str) -> Account:
        """Give a new user its own password, and a second factor where it checks what others made."""
        by = self._logged_in(role, given)
        password = base64.b32encode(self._entropy(_PASSWORD_BYTES)).decode().lower()
        self._service.change_password(by, old=given, new=password)
        secret = ""
        if permissions_of([role], institution=self._role) & check_permissions():
            secret = self._service.make_second_factor(by, password=password).secret
            # The code of the step before, so that this step's is left for the first log-in.
            code = code_at(secret, now_ms=self._clock.now_ms() - _STEP_MS)
            self._service.confirm_second_factor(by, code=code)
        return Account(user=role, roles=(role,), password=password, second_factor=secret)

    def _logged_in(self, name: str, password: str) -> Principal:
        issued = self._service.log_in(name, password=password)
        found = self._service.authenticate(issued.token)
        self._service.log_out(issued.token)
        return found
