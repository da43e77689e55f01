"""Who calls a server and what they may do: permissions, roles, the acts that need two people, and the caller itself.

Permissions are a closed list. Which role has which of them at which kind of institution stands in ``roles.toml``, by
least privilege; docs/reference/roles.md is made from it. An act that needs two people has a permission to make it and
another to check it, and no role has both. Whoever holds roles with both still never checks what they made themselves:
``approvals`` sees to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Annotated, Final

import msgspec

from shuiqiao.base.encoding import decode_toml, typed
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.ids import MemberId, OwnedId
from shuiqiao.members.model import Role

MAX_ROLES_OF_ONE = 8
"""Roles that one user or machine client may hold."""

NAME_PATTERN: Final = r"^[a-z][a-z0-9._-]{1,31}\Z"
"""The name by which a user logs in, or of a machine client."""


class Permission(StrEnum):
    """What a caller may be allowed; ``roles.toml`` has each in words."""

    LEDGER_READ = "ledger.read"
    INGEST_READ = "ingest.read"
    INGEST_WRITE = "ingest.write"
    RECORDS_READ = "records.read"
    ERASURES_MAKE = "erasures.make"
    ERASURES_CHECK = "erasures.check"
    ENROLMENTS_READ = "enrolments.read"
    ENROLMENTS_WRITE = "enrolments.write"
    CONSENTS_READ = "consents.read"
    CONSENTS_WRITE = "consents.write"
    REQUESTS_READ = "requests.read"
    REQUESTS_WRITE = "requests.write"
    DISPUTES_WRITE = "disputes.write"
    PRODUCTS_READ = "products.read"
    PRODUCTS_MAKE = "products.make"
    PRODUCTS_CHECK = "products.check"
    APPLICATIONS_READ = "applications.read"
    APPLICATIONS_WRITE = "applications.write"
    DECISIONS_MAKE = "decisions.make"
    DECISIONS_CHECK = "decisions.check"
    MODELS_READ = "models.read"
    MODELS_MAKE = "models.make"
    MODELS_APPROVE = "models.approve"
    MODELS_REVIEW = "models.review"
    MODELS_RETIRE = "models.retire"
    MEMBERS_PROPOSE = "members.propose"
    MEMBERS_CHECK = "members.check"
    KEYS_ROTATE = "keys.rotate"
    KEYS_CHECK = "keys.check"
    OVERSIGHT_READ = "oversight.read"
    OVERSIGHT_PUBLISH = "oversight.publish"
    OVERSIGHT_FREEZE = "oversight.freeze"
    OVERSIGHT_UNFREEZE = "oversight.unfreeze"
    OVERSIGHT_CHECK = "oversight.check"
    USERS_READ = "users.read"
    USERS_MANAGE = "users.manage"
    JOBS_READ = "jobs.read"
    JOBS_MANAGE = "jobs.manage"
    JOURNAL_READ = "journal.read"
    REGISTERS_READ = "registers.read"
    REGISTERS_WRITE = "registers.write"
    AUDITS_RUN = "audits.run"
    OWN_READ = "own.read"
    OWN_WRITE = "own.write"


class ActName(StrEnum):
    """The acts that need a maker and a checker; ``roles.toml`` says which permissions those need."""

    FREEZE = "oversight.freeze"
    UNFREEZE = "oversight.unfreeze"
    PROPOSE_SUSPENSION = "members.propose_suspension"
    VOTE_SUSPENSION = "members.vote_suspension"
    SUSPEND = "members.suspend"
    ROTATE_KEY = "keys.rotate"
    ERASE = "records.erase"
    APPROVE_MODEL = "models.approve"
    OFFER_MODEL = "models.offer"
    APPROVE_RUN = "models.approve_run"
    DECIDE = "decisions.make"
    CHANGE_PRODUCT = "products.change"


class PrincipalKind(StrEnum):
    """What a caller is."""

    USER = "user"
    """A person, by password and token."""
    MACHINE = "machine"
    """A program of the institution, by client id and secret; a person answers for it."""
    ENTERPRISE = "enterprise"
    """A taxpayer, by a key of its own."""
    OWNER = "owner"
    """Whoever owns the home folder and so holds its keys, at the home's own socket or command line."""
    MEMBER = "member"
    """Another member of the network, by a message that it signed; it has no token."""


class PermissionWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A permission in words."""

    name: Permission
    en: str
    zh: str


class ActRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which permissions an act's maker and checker need."""

    name: ActName
    make: Permission
    check: Permission
    zh: str


class RoleRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a role may do, and at which kinds of institution there is one."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z_]{1,31}\Z")]
    zh: str
    en: str
    institutions: frozenset[Role]
    permissions: frozenset[Permission]


class _RolesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    permission: list[PermissionWords]
    act: list[ActRule]
    role: list[RoleRule]


ENTERPRISE_ROLE: Final = "enterprise"
"""The role of callers of kind ENTERPRISE; no user and no machine client holds it."""


@cache
def _roles_file() -> _RolesFile:
    text = files("shuiqiao.node.accounts").joinpath("roles.toml").read_text(encoding="utf-8")
    return typed(decode_toml(text), _RolesFile)


def permission_words() -> Mapping[Permission, PermissionWords]:
    """Return every permission with its words, in the order of ``roles.toml``."""
    return {each.name: each for each in _roles_file().permission}


def act_rules() -> Mapping[ActName, ActRule]:
    """Return who makes and who checks each act that needs two people."""
    return {each.name: each for each in _roles_file().act}


@cache
def check_permissions() -> frozenset[Permission]:
    """Return the permissions that check what another person made; they need a second factor."""
    return frozenset(rule.check for rule in act_rules().values())


@cache
def make_permissions() -> frozenset[Permission]:
    """Return the permissions that make what another person checks."""
    return frozenset(rule.make for rule in act_rules().values())


def roles_of(institution: Role) -> Mapping[str, RoleRule]:
    """Return the roles that there are at a kind of institution, by name.

    ::

        assert Permission.INGEST_WRITE in roles_of(Role.TAX_BUREAU)["data_officer"].permissions
    """
    return {each.name: each for each in _roles_file().role if institution in each.institutions}


def permissions_of(roles: Iterable[str], *, institution: Role) -> frozenset[Permission]:
    """Return what roles may do together; a role that an earlier release had and this one has not may do nothing."""
    known = roles_of(institution)
    return frozenset[Permission]().union(*(known[name].permissions for name in roles if name in known))


def require_roles(roles: Iterable[str], *, institution: Role, kind: PrincipalKind) -> tuple[str, ...]:
    """Return roles that a user or machine client may hold together, sorted, each once.

    Who manages users makes and checks nothing, or one person could make the accounts of two. A program checks nothing
    and manages nobody. Raises InvalidInput ``node.role_unknown``, Denied ``node.roles_conflict``.
    """
    chosen = tuple(sorted(set(roles)))
    known = roles_of(institution).keys() - {ENTERPRISE_ROLE}
    unknown = [name for name in chosen if name not in known]
    if unknown or not 0 < len(chosen) <= MAX_ROLES_OF_ONE:
        named = unknown[0][:40] if unknown else f"{len(chosen)} roles"
        raise InvalidInput(
            "node.role_unknown",
            f"{named!r} where 1 to {MAX_ROLES_OF_ONE} of the roles of a {institution} are needed: "
            f"{', '.join(sorted(known))}",
        )
    permissions = permissions_of(chosen, institution=institution)
    two_person = permissions & (make_permissions() | check_permissions())
    if Permission.USERS_MANAGE in permissions and two_person:
        raise Denied(
            "node.roles_conflict",
            f"{', '.join(chosen)} would manage users and also {min(two_person)}, which needs two people",
        )
    not_for_programs = permissions & (check_permissions() | {Permission.USERS_MANAGE})
    if kind is PrincipalKind.MACHINE and not_for_programs:
        raise Denied(
            "node.roles_conflict", f"{', '.join(chosen)} would let a program {min(not_for_programs)}: people do that"
        )
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whoever calls: what they are, who they are, and what they may do in this call.

    ::

        principal.require(Permission.RECORDS_READ)
    """

    kind: PrincipalKind
    id: str
    """Never changes and is never given to another: of a user or machine client a random id, of an enterprise its
    consent or taxpayer number, of the owner ``owner``."""
    name: str
    """As people know it; it may change."""
    person: str
    """The id of the person who answers for this caller: of a machine client the user who owns it, else its own."""
    permissions: frozenset[Permission]
    taxpayer: str = ""
    """Of an enterprise at its bureau: its number. What it reads and changes is of this taxpayer alone."""
    consent: OwnedId | None = None
    """Of an enterprise at a bank: the consent whose key it proved. What it reads and changes is under this one."""
    must_change: bool = False
    """Of a user whose password somebody else knows: it may do nothing until it changed it."""

    def may(self, permission: Permission) -> bool:
        """Tell whether the caller has a permission."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Return if the caller has a permission; raises Denied ``node.permission_missing``."""
        if self.must_change:
            raise password_first()
        if permission not in self.permissions:
            raise Denied("node.permission_missing", f"{self.name} has not the permission {permission}")


def password_first() -> Denied:
    """Return the refusal of whoever has to change a first password."""
    return Denied("node.password_first", "somebody else knows this password: it is to be changed before anything else")


OWNER: Final = Principal(
    kind=PrincipalKind.OWNER, id="owner", name="owner of the home", person="owner", permissions=frozenset()
)
"""Who needs no token: at the home's own socket and command line, and only for what asks for no permission."""


def member_caller(member: MemberId) -> Principal:
    """Return as whom another member stands in the journal; it may do nothing at a door."""
    return Principal(kind=PrincipalKind.MEMBER, id=member, name=member, person=member, permissions=frozenset())
