"""``shuiqiao members``: who is a member, what is proposed, one's vote, one's keys, suspension and freeze."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.members_propose import Member, propose_app
from shuiqiao.cli.members_words import (
    Home,
    Json,
    act,
    look,
    show,
    speak_epochs,
    speak_members,
    speak_proposal,
    speak_proposals,
    speak_rows,
)
from shuiqiao.cli.output import progress_on_stderr

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.looking import Look

members_app = typer.Typer(
    help="Govern the network: members, votes, keys, suspension, freeze 成员治理.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
members_app.add_typer(propose_app, name="propose")

ProposalId = Annotated[str, typer.Argument(help="Its digest in hex, or enough of its beginning 提案摘要.")]
Ground = Annotated[
    str | None, typer.Option("--proposal", help="The approved proposal; left out, the newest that fits 提案编号.")
]


class Purpose(StrEnum):
    """The keys that a member replaces itself."""

    SIGNING = "signing"
    SEALING = "sealing"


@members_app.command("list")
def members_list(
    home: Home,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Show every member with its role, duties and suspension 成员列表."""
    show(look(home, _members), as_json=json, speak=speak_members)


def _members(look: Look) -> dict[str, Any]:
    from shuiqiao.members.epoch import read_epoch
    from shuiqiao.node.governance import freeze_of, member_standings

    state = look.engine.state()
    epoch = read_epoch(state)
    return {
        "epoch": epoch.number,
        "quorum": epoch.quorum,
        "frozen": freeze_of(state),
        "members": [each.as_json() for each in member_standings(state)],
    }


@members_app.command("epochs")
def members_epochs(
    home: Home,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Show whose signatures counted from when to when 纪元."""
    from shuiqiao.node.governance import epoch_rows

    show(look(home, lambda found: {"epochs": epoch_rows(found)}), as_json=json, speak=speak_epochs)


@members_app.command("proposals")
def members_proposals(
    home: Home,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Show the newest proposals and how they stand 提案列表."""
    from shuiqiao.base.clock import SystemClock
    from shuiqiao.node.governance import proposal_rows

    result = look(home, lambda found: {"proposals": proposal_rows(found.engine.state(), now_ms=SystemClock().now_ms())})
    show(result, as_json=json, speak=speak_proposals)


@members_app.command("vote")
def members_vote(
    proposal: ProposalId,
    home: Home,
    approve: Annotated[bool, typer.Option("--approve/--reject", help="Approve it or reject it 赞成或反对.")],
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Vote on a proposal, once and for good 投票."""
    from shuiqiao.node.governance import vote

    def do(institution: Institution) -> dict[str, Any]:
        return vote(institution, _found(institution, proposal), approve=approve)

    show(act(home, do), as_json=json, speak=speak_proposal)


def _found(institution: Institution, proposal: str) -> bytes:
    from shuiqiao.node.governance import find_proposal, look_up

    return look_up(institution, lambda state: find_proposal(state, proposal))


@members_app.command("rotate-key")
def members_rotate_key(
    home: Home,
    purpose: Annotated[Purpose, typer.Option(help="Which of this home's keys 密钥用途.")] = Purpose.SIGNING,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Replace one of this home's keys; the old one is kept as retired 轮换密钥."""
    with progress_on_stderr() as progress:
        progress("make, record and take into use a new key 轮换密钥", 0, None)
        result = _rotate(home, purpose)
    show(result, as_json=json, speak=speak_rows)


def _rotate(home: Path, purpose: Purpose) -> dict[str, Any]:
    from shuiqiao.members.model import KeyPurpose
    from shuiqiao.node.home.keys import find_passphrase
    from shuiqiao.node.home.settings import Home as HomeFolder
    from shuiqiao.node.rotation import rotate_key

    passphrase = find_passphrase(HomeFolder(home))

    def do(institution: Institution) -> dict[str, Any]:
        rotated = rotate_key(
            institution,
            purpose=KeyPurpose(purpose.value),
            passphrase=passphrase,
            entropy=institution.surroundings.entropy,
        )
        return rotated.as_json()

    return act(home, do, passphrase=passphrase)


@members_app.command("suspend")
def members_suspend(
    member: Member,
    home: Home,
    proposal: Ground = None,
    evidence: Annotated[
        Path | None, typer.Option(help="A regulator acts alone: the file that says why, which stays with it 证据.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=7, help="How long a regulator suspends, in days 天数.")] = 7,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Close a member's gate, as a vote approved or as a regulator for some days 执行停权."""
    from shuiqiao.node.governance import suspend

    def do(institution: Institution) -> dict[str, Any]:
        ground = None if proposal is None else _found(institution, proposal)
        return suspend(institution, member, proposal=ground, days=days, evidence=evidence)

    show(act(home, do), as_json=json, speak=speak_rows)


@members_app.command("reinstate")
def members_reinstate(
    member: Member,
    home: Home,
    proposal: Ground = None,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Open a member's gate: as a vote approved, or once a regulator's suspension is over 执行复权."""
    from shuiqiao.node.governance import reinstate

    def do(institution: Institution) -> dict[str, Any]:
        ground = None if proposal is None else _found(institution, proposal)
        return reinstate(institution, member, proposal=ground)

    show(act(home, do), as_json=json, speak=speak_rows)


@members_app.command("freeze")
def members_freeze(
    home: Home,
    reason: Annotated[Path, typer.Option(help="The file that says why; it stays with the regulator 理由.")],
    days: Annotated[int, typer.Option(min=1, max=7, help="For how long, in days 天数.")] = 7,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Stop the network for a time, as a regulator 冻结网络."""
    from shuiqiao.node.governance import freeze

    show(act(home, lambda institution: freeze(institution, days=days, reason=reason)), as_json=json, speak=speak_rows)


@members_app.command("unfreeze")
def members_unfreeze(
    home: Home,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Lift the freeze: a regulator at any time, any member after its time or as a vote approved 解除冻结."""
    from shuiqiao.node.governance import unfreeze

    show(act(home, unfreeze), as_json=json, speak=speak_rows)
