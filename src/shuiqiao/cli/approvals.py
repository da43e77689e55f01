"""``shuiqiao approvals``: acts that need two people: propose one, see what waits, approve or reject it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.options import Home, Json, command_group, open_home
from shuiqiao.cli.output import joined, say, show
from shuiqiao.cli.users import TokenFile, caller_of

if TYPE_CHECKING:
    import msgspec

    from shuiqiao.node.accounts.model import ActName, Principal
    from shuiqiao.node.accounts.opening import InstitutionAccounts
    from shuiqiao.node.institution import Institution

approvals_app = command_group("Acts that one person proposes and another approves 双人复核.")
propose_app = command_group("Propose an act to a second person 制单.")
approvals_app.add_typer(propose_app, name="propose")

ApprovalId = Annotated[str, typer.Argument(help="Its id, as list shows it 编号.")]
Days = Annotated[int, typer.Option(min=1, max=7, help="For how long, in days 天数.")]


class Purpose(StrEnum):
    """The keys that a member replaces itself; as ``cli.members``."""

    SIGNING = "signing"
    SEALING = "sealing"


class Reason(StrEnum):
    """Why records are destroyed; as ``vault.model.ErasureReason``."""

    DATA_LIFE_OVER = "data_life_over"
    RETENTION_OVER = "retention_over"
    TAXPAYER_REQUEST = "taxpayer_request"
    LEGAL_ORDER = "legal_order"


def _with_approvals(
    home: Path,
    token_file: Path | None,
    act: Callable[[InstitutionAccounts, Institution, Principal], Mapping[str, Any]],
) -> Mapping[str, Any]:
    from shuiqiao.node.accounts.opening import InstitutionAccounts

    with open_home(home) as institution:
        accounts = InstitutionAccounts(institution)
        return act(accounts, institution, caller_of(accounts.service, token_file))


@approvals_app.command("list")
def approvals_list(
    *,
    home: Home,
    only_for_me: Annotated[bool, typer.Option("--for-me", help="Only what waits for me to check 待我复核.")] = False,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """List acts that I may make or check, the newest first 列出."""

    def act(accounts: InstitutionAccounts, _institution: Institution, by: Principal) -> Mapping[str, Any]:
        return {"approvals": accounts.approvals.rows(by, only_for_me=only_for_me)}

    show(_with_approvals(home, token_file, act), as_json=json, speak=_speak_list)


@approvals_app.command("approve")
def approvals_approve(
    *,
    approval: ApprovalId,
    home: Home,
    digest: Annotated[str, typer.Option(help="The digest of what I looked at, in hex 摘要.")],
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Approve an act that another person made, and carry it out 复核通过."""

    def act(accounts: InstitutionAccounts, _institution: Institution, by: Principal) -> Mapping[str, Any]:
        return accounts.approvals.approve(by, approval, digest=digest)

    show(_with_approvals(home, token_file, act), as_json=json, speak=_speak)


@approvals_app.command("reject")
def approvals_reject(
    *,
    approval: ApprovalId,
    home: Home,
    reason: Annotated[str, typer.Option(help="Why, for its maker 理由.")],
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Reject an act, or withdraw one's own 驳回."""

    def act(accounts: InstitutionAccounts, _institution: Institution, by: Principal) -> Mapping[str, Any]:
        return accounts.approvals.reject(by, approval, reason=reason)

    show(_with_approvals(home, token_file, act), as_json=json, speak=_speak)


@propose_app.command("freeze")
def propose_freeze(
    *,
    home: Home,
    reason: Annotated[Path, typer.Option(help="The file that says why; it stays with the regulator 理由.")],
    days: Days = 7,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Stop the network for a time, as a regulator 冻结网络."""
    from shuiqiao.node.accounts.approvals.acts import freeze_of_days
    from shuiqiao.node.accounts.model import ActName
    from shuiqiao.node.governance import file_digest

    def body(institution: Institution) -> msgspec.Struct:
        return freeze_of_days(institution, days=days, reason_digest=file_digest(reason, suite=institution.suite))

    _propose(home, token_file, ActName.FREEZE, body, as_json=json)


@propose_app.command("unfreeze")
def propose_unfreeze(*, home: Home, token_file: TokenFile = None, json: Json = False) -> None:
    """Lift the freeze in force 解除冻结."""
    from shuiqiao.node.accounts.approvals.acts import unfreeze_of_now
    from shuiqiao.node.accounts.model import ActName

    _propose(home, token_file, ActName.UNFREEZE, unfreeze_of_now, as_json=json)


@propose_app.command("suspension")
def propose_suspension(
    *,
    member: Annotated[str, typer.Argument(help="A member by id 成员.")],
    home: Home,
    days: Annotated[int, typer.Option(min=1, max=30, help="How long it is open to vote, in days 投票天数.")] = 14,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Put the suspension of a member to the vote 提案停权."""
    from shuiqiao.node.accounts.approvals.acts import suspension_proposal
    from shuiqiao.node.accounts.model import ActName

    def body(institution: Institution) -> msgspec.Struct:
        return suspension_proposal(institution, member, days=days)

    _propose(home, token_file, ActName.PROPOSE_SUSPENSION, body, as_json=json)


@propose_app.command("emergency")
def propose_emergency(
    *,
    member: Annotated[str, typer.Argument(help="A member by id 成员.")],
    home: Home,
    evidence: Annotated[Path, typer.Option(help="The file that says why; it stays with the regulator 证据.")],
    days: Days = 7,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Suspend a member for some days, as a regulator 紧急停权."""
    from shuiqiao.node.accounts.approvals.acts import emergency_suspension
    from shuiqiao.node.accounts.model import ActName
    from shuiqiao.node.governance import file_digest

    def body(institution: Institution) -> msgspec.Struct:
        digest = file_digest(evidence, suite=institution.suite)
        return emergency_suspension(institution, member, days=days, evidence_digest=digest)

    _propose(home, token_file, ActName.SUSPEND, body, as_json=json)


@propose_app.command("rotation")
def propose_rotation(
    *,
    home: Home,
    purpose: Annotated[Purpose, typer.Option(help="Which of this home's keys 密钥用途.")] = Purpose.SIGNING,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Replace one of this home's keys 轮换密钥."""
    from shuiqiao.members.model import KeyPurpose
    from shuiqiao.node.accounts.approvals.acts import key_rotation
    from shuiqiao.node.accounts.model import ActName

    def body(institution: Institution) -> msgspec.Struct:
        return key_rotation(institution, KeyPurpose(purpose.value))

    _propose(home, token_file, ActName.ROTATE_KEY, body, as_json=json)


@propose_app.command("erasure")
def propose_erasure(
    *,
    batch: Annotated[str, typer.Argument(help="The batch, 32 hex characters 批次.")],
    home: Home,
    reason: Annotated[Reason, typer.Option(help="Why the records are destroyed 理由.")],
    leaf: Annotated[
        list[int] | None, typer.Option(min=0, help="A record of it; repeat it; left out, all of the batch 记录序号.")
    ] = None,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Destroy records of a batch, as a bureau 销毁记录."""
    from shuiqiao.node.accounts.approvals.acts import record_erasure
    from shuiqiao.node.accounts.model import ActName

    def body(_institution: Institution) -> msgspec.Struct:
        return record_erasure(batch, indexes=leaf or [], reason=reason.value)

    _propose(home, token_file, ActName.ERASE, body, as_json=json)


def _propose(
    home: Path,
    token_file: Path | None,
    name: ActName,
    body: Callable[[Institution], msgspec.Struct],
    *,
    as_json: bool,
) -> None:
    def act(accounts: InstitutionAccounts, institution: Institution, by: Principal) -> Mapping[str, Any]:
        return accounts.approvals.propose(by, name, body(institution))

    show(_with_approvals(home, token_file, act), as_json=as_json, speak=_speak)


def _speak_list(result: Mapping[str, Any]) -> None:
    for each in result["approvals"]:
        _speak(each)
    if not result["approvals"]:
        say("nothing waits 无待处理事项")


def _speak(each: Mapping[str, Any]) -> None:
    say(f"{each['approval']}  {each['state']}  {each['act']}")
    for name, value in each["what"].items():
        say(f"  {name:20} {joined(value)}")
    say(f"  {'digest':20} {each['digest']}")
    for name in ("reason", "outcome"):
        if each[name]:
            say(f"  {name:20} {each[name]}")
