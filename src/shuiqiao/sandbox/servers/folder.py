"""The folder of a sandbox: where its homes, its data, its log-ins and its servers' logs lie.

```
DIR/sandbox.json     what was made (this file's plan), written last
DIR/accounts.json    users, passwords and second factors of every institution, its owner's alone
DIR/genesis.json     the public genesis            DIR/data/   what was generated, tax/ for the bureau to take in
DIR/homes/<member>/  one home per institution, its passphrase beside it      DIR/run/    process ids and logs
```
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from shuiqiao.base.durable import replace_file
from shuiqiao.base.encoding import typed
from shuiqiao.base.errors import Conflict, InvalidInput, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.base.wire import MemberName
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import Home

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId

MAX_FILE_BYTES: Final = 1 << 20
Text = Annotated[str, msgspec.Meta(max_length=1_024)]


class SandboxPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What sandbox.json holds. members: in the order in which their servers are named. taxpayers, seed: of the data."""

    version: Literal[1] = 1
    suite: Literal["intl", "gm"]
    engine: Literal["embedded", "cometbft"]
    members: Annotated[tuple[MemberName, ...], msgspec.Meta(min_length=1, max_length=16)]
    taxpayers: Annotated[int, msgspec.Meta(ge=1)]
    seed: Annotated[int, msgspec.Meta(ge=0)]
    has_records: bool = False
    """Whether the bureau took the data in."""
    examples: Annotated[tuple[Text, ...], msgspec.Meta(max_length=16)] = ()
    """Some of the taxpayers, by number, for people to try things with."""


class Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A user of one institution. second_factor: the secret of its device in base32, empty where it has none."""

    user: Text
    roles: tuple[Text, ...]
    password: Text
    second_factor: Text = ""

    def __repr__(self) -> str:
        return f"Account(user={self.user!r})"


class InstitutionAccounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The users of one institution."""

    member: MemberName
    role: Role
    users: tuple[Account, ...]

    def with_role(self, role: str) -> Account:
        """Return the user who holds a role; raises InvalidInput ``sandbox.role_missing``."""
        for account in self.users:
            if role in account.roles:
                return account
        raise InvalidInput("sandbox.role_missing", f"nobody at {self.member} is a {role[:40]}")


@dataclass(frozen=True, slots=True)
class SandboxFolder:
    """A sandbox's folder and what is kept in it."""

    folder: Path

    @property
    def plan(self) -> Path:
        """sandbox.json, written last: without it the folder is no sandbox."""
        return self.folder / "sandbox.json"

    @property
    def accounts(self) -> Path:
        """The log-ins of every institution."""
        return self.folder / "accounts.json"

    @property
    def genesis(self) -> Path:
        """The public genesis."""
        return self.folder / "genesis.json"

    @property
    def data(self) -> Path:
        """The synthetic economy."""
        return self.folder / "data"

    @property
    def run(self) -> Path:
        """Where servers leave their ids and logs."""
        return self.folder / "run"

    def home(self, member: str) -> Home:
        """The home of one institution."""
        return Home(self.folder / "homes" / member)

    def load_plan(self) -> SandboxPlan:
        """Return what was made; raises Unavailable ``sandbox.missing``, InvalidInput ``sandbox.folder_damaged``."""
        try:
            found: SandboxPlan = _read(self.plan, SandboxPlan)
        except OSError as error:
            raise Unavailable(
                "sandbox.missing",
                f"{self.folder} is no sandbox: {self.plan.name} cannot be read: {error.strerror}",
                next_step=f"shuiqiao sandbox up --dir {self.folder}",
            ) from error
        return found

    def save_plan(self, plan: SandboxPlan) -> None:
        """Keep what was made."""
        replace_file(self.plan, _json(plan))

    def load_accounts(self) -> tuple[InstitutionAccounts, ...]:
        """Return every institution's users; raises Unavailable ``sandbox.missing``, ``sandbox.folder_damaged``."""
        try:
            found: tuple[InstitutionAccounts, ...] = _read(self.accounts, tuple[InstitutionAccounts, ...])
        except OSError as error:
            raise Unavailable(
                "sandbox.missing", f"the log-ins in {self.accounts} cannot be read: {error.strerror}"
            ) from error
        return found

    def save_accounts(self, accounts: tuple[InstitutionAccounts, ...]) -> None:
        """Keep the users of every institution, their owner's alone."""
        replace_file(self.accounts, _json(accounts))

    def accounts_of(self, member: MemberId) -> InstitutionAccounts:
        """Return an institution's users; raises as ``load_accounts``, InvalidInput ``sandbox.member_unknown``."""
        known = {found.member: found for found in self.load_accounts()}
        if member not in known:
            raise member_unknown(member, known=tuple(known))
        return known[member]

    def require_new(self) -> None:
        """Return if nothing is here yet; raises Conflict ``sandbox.folder_not_empty``."""
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise Conflict(
                "sandbox.folder_not_empty",
                f"{self.folder} holds files and no finished sandbox",
                next_step="name a new or an empty folder with --dir, or remove this one",
            )


def member_unknown(name: str, *, known: tuple[str, ...]) -> InvalidInput:
    """Return the refusal of a name that no institution of a sandbox has."""
    return InvalidInput("sandbox.member_unknown", f"{name[:40]!r} is none of {', '.join(known)}")


def _read(path: Path, form: Any) -> Any:
    data = read_regular(path, max_bytes=MAX_FILE_BYTES)
    try:
        return typed(msgspec.json.decode(data), form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("sandbox.folder_damaged", f"{path}: {error}") from error


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
