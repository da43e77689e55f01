"""Accounts of one institution: the first user, further ones, roles, logging in, second factor, machine clients.

Who may do what follows from roles (``model``). A password that somebody else knows (a new user's, one that was reset)
allows nothing until its user changes it. What a checker may do needs a confirmed second factor. Wrong passwords and
codes lock a name for longer and longer (``lock_out``), and every reason for a refusal is told in the same words, at the
same cost, for a name that is known and for one that is not. What was not compared is not counted. Who logged in from an
address since the server started is counted there apart, so that strangers lock nobody out of where they work. Each act
is an entry of the journal, in one transaction with what it changes.

LIMIT: whoever owns the home holds its keys and its database, and can make accounts as they like; the anchored days of
the journal show it to others. LIMIT: one person with two accounts is two persons here, and who manages users can reset
an account and use it. Both are entries of the journal, and who manages users makes and checks nothing under their own
name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cachetools import LRUCache

from shuiqiao.base.clock import MS_PER_SECOND, iso_from_ms
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, Unavailable
from shuiqiao.base.ids import OwnedId, new_id
from shuiqiao.consent.login import CONSENT_CLAIM, TAXPAYER_CLAIM
from shuiqiao.node.accounts.lock_out import faded, lock_ms
from shuiqiao.node.accounts.model import (
    ENTERPRISE_ROLE,
    NAME_PATTERN,
    OWNER,
    Permission,
    Principal,
    PrincipalKind,
    check_permissions,
    permissions_of,
    require_roles,
)
from shuiqiao.node.accounts.second_factor import matching_step, new_secret, provisioning_uri
from shuiqiao.node.accounts.store import NO_ATTEMPTS, Attempts, MachineClient, User
from shuiqiao.node.accounts.tokens import Tokens, refused_token

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy, MemberId
    from shuiqiao.members.model import Role
    from shuiqiao.node.accounts.journal.service import Journal
    from shuiqiao.node.accounts.passwords import PasswordHashing
    from shuiqiao.node.accounts.store import AccountStore
    from shuiqiao.node.accounts.tokens import IssuedToken

SECRET_BYTES: Final = 32
"""Of a machine client's secret."""

_NAME: Final = re.compile(NAME_PATTERN)
_PASSWORD_BYTES: Final = 15
"""Of a password that is made here: 24 characters of base32, 120 bits."""

_ATTEMPT_TRIES: Final = 32

MAX_PLACES: Final = 10_000
"""Pairs of a user and an address, logged in from, that are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactor:
    """What a user's device needs to make codes; shown once."""

    secret: str
    uri: str

    def __repr__(self) -> str:
        return "SecondFactor()"


class AccountService:
    """The accounts of one institution.

    ::

        password = accounts.add_first_user("chen.wei")
        issued = accounts.log_in("chen.wei", password=password, code="")
        principal = accounts.authenticate(issued.token)
    """

    def __init__(
        self,
        store: AccountStore,
        *,
        journal: Journal,
        hashing: PasswordHashing,
        clock: Clock,
        entropy: Entropy,
        member: MemberId,
        role: Role,
    ) -> None:
        self._store = store
        self._journal = journal
        self._hashing = hashing
        self._clock = clock
        self._entropy = entropy
        self._member = member
        self._role = role
        self._tokens = Tokens(store, clock=clock, entropy=entropy)
        self._places: LRUCache[tuple[str, str], bool] = LRUCache(MAX_PLACES)
        self._remembering = threading.Lock()

    # Users

    def add_first_user(self, name: str, *, roles: Iterable[str] = ("administrator",)) -> str:
        """Add the user who adds the others, as the owner of the home; return its first password.

        Raises Denied ``node.users_exist`` once there is a user, what ``add_user`` raises.
        """
        user, password = self._new_user(name, roles)
        if Permission.USERS_MANAGE not in permissions_of(user.roles, institution=self._role):
            raise InvalidInput(
                "node.role_unknown", f"the first user adds the others: {name} needs the administrator's role"
            )
        with self._store.begin() as connection:
            # The entry first: it locks the journal, so that two first users cannot be added at once.
            self._journal.append(connection, OWNER, act="users.add_first", subject=f"user/{user.id}")
            if self._store.count_users(connection):
                raise Denied("node.users_exist", f"{self._member} has users: one who manages users adds {name}")
            self._store.add_user(connection, user)
        return password

    def has_users(self) -> bool:
        """Tell whether anybody has an account here."""
        return self._store.count_users() > 0

    def add_user(self, by: Principal, name: str, *, roles: Iterable[str], request: str = "") -> str:
        """Add a user; return the first password, which its user has to change.

        Raises Denied ``node.permission_missing``, ``node.roles_conflict``, InvalidInput ``node.user_name_invalid``,
        ``node.role_unknown``, Conflict ``node.user_exists``.
        """
        by.require(Permission.USERS_MANAGE)
        user, password = self._new_user(name, roles)
        with self._store.begin() as connection:
            self._store.add_user(connection, user)
            self._journal.append(connection, by, act="users.add", subject=f"user/{user.id}", request=request)
        return password

    def _new_user(self, name: str, roles: Iterable[str]) -> tuple[User, str]:
        chosen = require_roles(roles, institution=self._role, kind=PrincipalKind.USER)
        password = self._made_password()
        user = User(
            id=new_id(self._entropy).hex(),
            name=_require_name(name),
            password=self._hashing.hash(password),
            must_change=True,
            roles=chosen,
            secret=None,
            is_secret_confirmed=False,
            last_step=0,
            is_disabled=False,
            added_ms=self._clock.now_ms(),
        )
        return user, password

    def users(self, by: Principal) -> list[dict[str, Any]]:
        """Return every user as a JSON object, by name; raises Denied ``node.permission_missing``."""
        by.require(Permission.USERS_READ)
        return [_user_row(user) for user in self._store.users()]

    def give_roles(self, by: Principal, name: str, *, roles: Iterable[str], request: str = "") -> dict[str, Any]:
        """Give a user these roles and no others, from its next call on; return the user.

        Raises as ``add_user``; Denied ``node.own_account`` for one's own; InvalidInput ``node.user_unknown``.
        """
        chosen = require_roles(roles, institution=self._role, kind=PrincipalKind.USER)
        return self._change(by, name, act="users.roles", request=request, roles=chosen)

    def rename(self, by: Principal, name: str, *, to: str, request: str = "") -> dict[str, Any]:
        """Let a user log in under another name; who they are does not change."""
        return self._change(by, name, act="users.rename", request=request, name=_require_name(to))

    def disable(self, by: Principal, name: str, *, request: str = "") -> dict[str, Any]:
        """End a user's tokens and those of its machine clients, and let none of them in; ``enable`` undoes it."""
        return self._change(by, name, act="users.disable", request=request, is_disabled=True)

    def enable(self, by: Principal, name: str, *, request: str = "") -> dict[str, Any]:
        """Let a user in again that was disabled."""
        return self._change(by, name, act="users.enable", request=request, is_disabled=False)

    def reset(self, by: Principal, name: str, *, request: str = "") -> str:
        """Give a user a new first password and forget its second factor; return the password. Ends its tokens.

        Raises as ``give_roles``. The owner of the home resets whoever manages users, since nobody else may be left.
        """
        by = self._resetting(by, name)
        password = self._made_password()
        changes = {"password": self._hashing.hash(password), "must_change": True}
        user = self._change(
            by, name, act="users.reset", request=request, **changes, secret=None, is_secret_confirmed=False
        )
        self._store.clear_attempts(_attempts_of(user["id"]))
        return password

    def _resetting(self, by: Principal, name: str) -> Principal:
        if by.kind is not PrincipalKind.OWNER:
            return by
        if Permission.USERS_MANAGE not in permissions_of(self._user(name).roles, institution=self._role):
            raise Denied("node.permission_missing", f"the owner resets who manages users; {name} is reset by those")
        return replace(by, permissions=frozenset({Permission.USERS_MANAGE}))

    def _change(self, by: Principal, of: str, *, act: str, request: str, **changes: Any) -> dict[str, Any]:
        by.require(Permission.USERS_MANAGE)
        user = self._user(of)
        if user.id == by.person:
            raise Denied("node.own_account", f"{of} is your own account: another person who manages users changes it")
        with self._store.begin() as connection:
            changed = self._keep(connection, by, user, act=act, request=request, **changes)
        return _user_row(changed)

    def _keep(
        self, connection: Connection, by: Principal, user: User, *, act: str, request: str = "", **changes: Any
    ) -> User:
        """Keep what became of a user, with its entry; a new password or a disabled user ends all tokens.

        Others may have changed the user since it was looked at: only what is named here is changed, and what its user
        proved by a password that counts no longer is refused. Raises Denied ``node.login_refused``.
        """
        # The entry first: it locks the journal, so that of two who change a user neither undoes what the other did.
        self._journal.append(connection, by, act=act, subject=f"user/{user.id}", request=request)
        found = self._store.user(user.id, connection)
        if found is None or (by.person == user.id and _proof_of(found) != _proof_of(user)):
            raise _refused()
        changed = replace(found, **changes)
        self._store.change_user(connection, changed)
        if changes.keys() & {"password", "is_disabled"}:
            self._tokens.revoke_all(connection, PrincipalKind.USER, user.id)
        if "is_disabled" in changes:
            for client in self._store.clients_of(connection, user.id):
                self._tokens.revoke_all(connection, PrincipalKind.MACHINE, client.id)
        return changed

    def _user(self, name: str) -> User:
        user = self._store.user_named(name[:64])
        if user is None:
            raise InvalidInput("node.user_unknown", f"there is no user {name[:64]!r}")
        return user

    # One's own account

    def change_password(self, by: Principal, *, old: str, new: str, request: str = "") -> None:
        """Change one's own password, which ends all one's tokens: log in anew.

        Raises Denied ``node.login_refused``, Unavailable ``node.login_locked``, InvalidInput ``node.password_length``,
        ``node.password_same``.
        """
        user = self._self(by)
        self._prove_password(user, old)
        if new == old or new.lower() == user.name:
            raise InvalidInput("node.password_same", "the new password is the old one or the user's name")
        hashed = self._hashing.hash(new)
        with self._store.begin() as connection:
            self._keep(connection, by, user, act="own.password", request=request, password=hashed, must_change=False)

    def make_second_factor(self, by: Principal, *, password: str, request: str = "") -> SecondFactor:
        """Make a secret for one's own device; it counts once ``confirm_second_factor`` had a code of it.

        Raises as ``change_password``; Conflict ``node.second_factor_exists`` where one is confirmed: who manages users
        resets it.
        """
        user = self._self(by)
        self._prove_password(user, password)
        if user.is_secret_confirmed:
            raise Conflict("node.second_factor_exists", f"{user.name} has a second factor already")
        secret = new_secret(self._entropy)
        with self._store.begin() as connection:
            self._keep(connection, by, user, act="own.second_factor", request=request, secret=secret)
        uri = provisioning_uri(secret, user=user.name, institution=f"Shuiqiao {self._member}")
        return SecondFactor(secret=secret, uri=uri)

    def confirm_second_factor(self, by: Principal, *, code: str, request: str = "") -> None:
        """Take one's own secret into use by a code of it; from here on each log-in needs one.

        Raises Denied ``node.login_refused``, Unavailable ``node.login_locked``.
        """
        user = self._self(by)
        name = _attempts_of(user.id)
        counted = self._count_attempt(name)
        if user.is_secret_confirmed or not self._uses_code(user, code):
            raise _refused()
        self._take_back(name, counted)
        with self._store.begin() as connection:
            self._keep(
                connection, by, user, act="own.second_factor_confirmed", request=request, is_secret_confirmed=True
            )

    def _self(self, by: Principal) -> User:
        user = self._store.user(by.id) if by.kind is PrincipalKind.USER else None
        if user is None:
            raise Denied("node.permission_missing", f"{by.name} is no user: it has no password and no second factor")
        return user

    def _prove_password(self, user: User, password: str) -> None:
        name = _attempts_of(user.id)
        is_right, counted = self._compare(user, password, attempts=name)
        if not is_right:
            raise _refused()
        self._take_back(name, counted)

    # Logging in

    def log_in(self, name: str, *, password: str, code: str = "", request: str = "", address: str = "") -> IssuedToken:
        """Return a token for a user who proves a password, and a code where it has a second factor.

        address: whence it is asked, empty for this machine's own socket. Raises Denied ``node.login_refused`` whatever
        of it is wrong, Unavailable ``node.login_locked`` after too many failures, ``node.login_busy``.
        """
        user = self._store.user_named(name) if _NAME.match(name) else None
        attempts = self._store.row_of_unknown(name[:1024]) if user is None else _attempts_of(user.id)
        is_known = user is not None and self._was_at(user, address)
        if is_known:
            # Bounded, for a name logged in from there; a stranger elsewhere counts nothing here.
            attempts = f"{attempts}/{hashlib.sha256(address.encode()).hexdigest()[:16]}"
        is_right, counted = self._compare(user, password, attempts=attempts, address=address, is_known=is_known)
        # No entry of the journal is written for a refusal: a name that is known would take longer than another.
        if user is None or not is_right or user.is_disabled or not self._has_code(user, code):
            raise _refused()
        self._take_back(attempts, counted)
        self._remember(user, address)
        self._renew_hash(user, password)
        issued = self._tokens.issue(PrincipalKind.USER, user.id)
        self._journal.record(self._principal_of(user), act="own.log_in", request=request)
        return issued

    def log_out(self, token: str) -> None:
        """End a token."""
        self._tokens.revoke(token)

    def authenticate(self, token: str) -> Principal:
        """Return who calls with a token; raises Denied ``node.token_invalid``."""
        kind, holder = self._tokens.holder(token)
        match kind:
            case PrincipalKind.USER:
                user = self._store.user(holder)
                if user is not None and not user.is_disabled:
                    return self._principal_of(user)
            case PrincipalKind.MACHINE:
                client = self._store.client(holder)
                if client is not None and self._is_let_in(client):
                    return self._principal_of_client(client)
            case PrincipalKind.ENTERPRISE:
                return self._enterprise(holder)
            case PrincipalKind.OWNER | PrincipalKind.MEMBER:
                pass
        raise refused_token()

    def permissions_of_account(self, identifier: str) -> Collection[Permission] | None:
        """Return what a user or program may do today, nothing where it was disabled; None for who has no account."""
        if (user := self._store.user(identifier)) is not None:
            return () if user.is_disabled else self._principal_of(user).permissions
        if (client := self._store.client(identifier)) is not None:
            return self._principal_of_client(client).permissions if self._is_let_in(client) else ()
        return None

    def _principal_of(self, user: User) -> Principal:
        permissions = permissions_of(user.roles, institution=self._role)
        if not user.is_secret_confirmed:
            permissions -= check_permissions()
        return Principal(
            kind=PrincipalKind.USER,
            id=user.id,
            name=user.name,
            person=user.id,
            permissions=frozenset() if user.must_change else permissions,
            must_change=user.must_change,
        )

    def _has_code(self, user: User, code: str) -> bool:
        return not user.is_secret_confirmed or self._uses_code(user, code)

    def _uses_code(self, user: User, code: str) -> bool:
        """Tell whether a code counts, and use it up."""
        if user.secret is None:
            return False
        step = matching_step(user.secret, code, now_ms=self._clock.now_ms(), after_step=user.last_step)
        return step is not None and self._store.use_step(user.id, step)

    def _renew_hash(self, user: User, password: str) -> None:
        """Hash a password anew whose hash is of weaker parameters than today's; nothing else of its user changes."""
        if self._hashing.is_outdated(user.password):
            self._store.renew_hash(user.id, seen=user.password, now=self._hashing.hash(password))

    def _was_at(self, user: User, address: str) -> bool:
        with self._remembering:
            return bool(address) and (user.id, address) in self._places

    def _remember(self, user: User, address: str) -> None:
        with self._remembering:
            self._places[user.id, address] = True

    def _compare(
        self, user: User | None, password: str, *, attempts: str, address: str = "", is_known: bool = False
    ) -> tuple[bool, Attempts]:
        """Tell whether a password is right, and how its attempt was counted: once there is room to compare it."""
        self._require_unlocked(self._store.attempts(attempts))
        counted = list[Attempts]()
        is_right = self._hashing.is_right(
            None if user is None else user.password,
            password,
            admit=lambda: counted.append(self._count_attempt(attempts)),
            address=address,
            is_known=is_known,
        )
        return is_right, counted[0]

    def _count_attempt(self, name: str) -> Attempts:
        """Count an attempt before it is looked at, so that many at once are no more than many one after another.

        Raises Unavailable ``node.login_locked``.
        """
        for _ in range(_ATTEMPT_TRIES):
            seen = self._store.attempts(name)
            now_ms = self._require_unlocked(seen)
            failures = faded(seen.failures, rested_ms=now_ms - seen.locked_until_ms) + 1
            now = Attempts(failures=failures, locked_until_ms=now_ms + lock_ms(failures))
            if self._store.count_attempt(name, seen=seen, now=now):
                return now
        raise Unavailable("node.login_busy", "too many attempts to log in at once", retry_after_s=1.0)

    def _require_unlocked(self, seen: Attempts) -> int:
        """Return the time, if a name is not locked now."""
        now_ms = self._clock.now_ms()
        if lock_ms(seen.failures) and now_ms < seen.locked_until_ms:
            raise Unavailable(
                "node.login_locked",
                f"too many failures to log in; the next attempt counts after {iso_from_ms(seen.locked_until_ms)}",
                retry_after_s=(seen.locked_until_ms - now_ms) / MS_PER_SECOND,
            )
        return now_ms

    def _take_back(self, name: str, counted: Attempts) -> None:
        """Count an attempt no more that succeeded, and nothing of what else was counted, by whomever."""
        for _ in range(_ATTEMPT_TRIES):
            seen = self._store.attempts(name)
            if not seen.failures:
                return
            until_ms = seen.locked_until_ms
            if until_ms == counted.locked_until_ms:
                until_ms -= lock_ms(counted.failures)
            left = Attempts(failures=seen.failures - 1, locked_until_ms=until_ms) if seen.failures > 1 else NO_ATTEMPTS
            if self._store.count_attempt(name, seen=seen, now=left):
                return

    # Machine clients

    def add_client(
        self, by: Principal, name: str, *, owner: str, roles: Iterable[str], request: str = ""
    ) -> tuple[str, str]:
        """Add a program's account, for which the user named ``owner`` answers; return its client id and secret.

        The secret is shown once. Raises as ``add_user``, InvalidInput ``node.user_unknown``.
        """
        by.require(Permission.USERS_MANAGE)
        secret = self._entropy(SECRET_BYTES)
        client = MachineClient(
            id=new_id(self._entropy).hex(),
            name=_require_name(name),
            owner=self._user(owner).id,
            secret_hash=_secret_hash(secret),
            roles=require_roles(roles, institution=self._role, kind=PrincipalKind.MACHINE),
            is_disabled=False,
            added_ms=self._clock.now_ms(),
        )
        with self._store.begin() as connection:
            self._store.add_client(connection, client)
            self._journal.append(connection, by, act="clients.add", subject=f"client/{client.id}", request=request)
        return client.id, base64.urlsafe_b64encode(secret).decode()

    def clients(self, by: Principal) -> list[dict[str, Any]]:
        """Return every machine client as a JSON object, by name; raises Denied ``node.permission_missing``."""
        by.require(Permission.USERS_READ)
        names = {user.id: user.name for user in self._store.users()}
        return [_client_row(client, owner=names.get(client.owner, "")) for client in self._store.clients()]

    def disable_client(self, by: Principal, name: str, *, request: str = "") -> None:
        """End a machine client's tokens for good; raises InvalidInput ``node.user_unknown``."""
        by.require(Permission.USERS_MANAGE)
        client = self._store.client_named(name[:64])
        if client is None:
            raise InvalidInput("node.user_unknown", f"there is no machine client {name[:64]!r}")
        with self._store.begin() as connection:
            self._store.change_client(connection, replace(client, is_disabled=True))
            self._tokens.revoke_all(connection, PrincipalKind.MACHINE, client.id)
            self._journal.append(connection, by, act="clients.disable", subject=f"client/{client.id}", request=request)

    def log_in_client(self, client_id: str, *, secret: str, request: str = "") -> IssuedToken:
        """Return a token for a program that proves its secret; raises Denied ``node.login_refused``.

        Nothing locks a client id: its secret of 256 bits is not guessed, and a stranger must not be able to stop a
        program.
        """
        client = self._store.client(client_id[:64])
        digest = _secret_hash(_secret_bytes(secret))
        is_right = hmac.compare_digest(digest, bytes(32) if client is None else client.secret_hash)
        if client is None or not is_right or not self._is_let_in(client):
            raise _refused()
        issued = self._tokens.issue(PrincipalKind.MACHINE, client.id)
        self._journal.record(self._principal_of_client(client), act="own.log_in", request=request)
        return issued

    def _is_let_in(self, client: MachineClient) -> bool:
        owner = self._store.user(client.owner)
        return not client.is_disabled and owner is not None and not owner.is_disabled

    def _principal_of_client(self, client: MachineClient) -> Principal:
        return Principal(
            kind=PrincipalKind.MACHINE,
            id=client.id,
            name=client.name,
            person=client.owner,
            permissions=permissions_of(client.roles, institution=self._role),
        )

    # Enterprises

    def admit_enterprise(self, claim: str, *, request: str = "") -> IssuedToken:
        """Return a token for who proved a claim by a challenge (``challenges``), for its own objects only."""
        issued = self._tokens.issue(PrincipalKind.ENTERPRISE, claim)
        self._journal.record(self._enterprise(claim), act="own.log_in", request=request)
        return issued

    def end_enterprise(self, claim: str) -> None:
        """End every token of a claim, because another key proves it from now on."""
        with self._store.begin() as connection:
            self._tokens.revoke_all(connection, PrincipalKind.ENTERPRISE, claim)

    def _enterprise(self, holder: str) -> Principal:
        is_taxpayer = holder.startswith(TAXPAYER_CLAIM)
        return Principal(
            kind=PrincipalKind.ENTERPRISE,
            id=holder,
            name=holder,
            person=holder,
            permissions=permissions_of((ENTERPRISE_ROLE,), institution=self._role),
            taxpayer=holder.removeprefix(TAXPAYER_CLAIM) if is_taxpayer else "",
            consent=None if is_taxpayer else OwnedId(holder.removeprefix(CONSENT_CLAIM)),
        )

    def _made_password(self) -> str:
        return base64.b32encode(self._entropy(_PASSWORD_BYTES)).decode().lower()


def _require_name(name: str) -> str:
    if not _NAME.match(name):
        raise InvalidInput(
            "node.user_name_invalid",
            f"{name[:40]!r} is no name: 2 to 32 of a-z, 0-9, dot, dash and underscore, a letter first",
        )
    return name


def _proof_of(user: User) -> tuple[object, ...]:
    """Return all of a user that an act on one's own account rests on."""
    return user.password, user.secret, user.is_secret_confirmed, user.is_disabled


def _attempts_of(user: str) -> str:
    return f"user/{user}"


def _refused() -> Denied:
    return Denied("node.login_refused", "the name, the password, the secret or the code is wrong, or may not log in")


def _secret_hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _secret_bytes(secret: str) -> bytes:
    """Return the bytes that a client's secret is written for; of any other text none that a client has."""
    try:
        return base64.b64decode(secret[:64], altchars=b"-_", validate=True)
    except ValueError:
        return b""


def _user_row(user: User) -> dict[str, Any]:
    return {
        "user": user.name,
        "id": user.id,
        "roles": list(user.roles),
        "is_disabled": user.is_disabled,
        "must_change_password": user.must_change,
        "has_second_factor": user.is_secret_confirmed,
        "added": iso_from_ms(user.added_ms),
    }


def _client_row(client: MachineClient, *, owner: str) -> dict[str, Any]:
    return {
        "client": client.name,
        "id": client.id,
        "owner": owner,
        "roles": list(client.roles),
        "is_disabled": client.is_disabled,
        "added": iso_from_ms(client.added_ms),
    }
