"""``shuiqiao members propose``: every action that governing members may decide, one command each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shuiqiao.cli.members_words import DEFAULT_VOTE_DAYS, Home, Json, VoteDays, act, show, speak_proposal

if TYPE_CHECKING:
    from shuiqiao.members.action import Action
    from shuiqiao.node.institution import Institution

propose_app = typer.Typer(
    help="Put an action to the vote, which is one's own approval 提案.", no_args_is_help=True, rich_markup_mode=None
)

Member = Annotated[str, typer.Argument(help="A member by id.")]
Members = Annotated[str, typer.Argument(help="Members by id, with commas between, or an empty text for nobody.")]
Governing = Annotated[bool, typer.Option("--governing/--no-governing", help="Whether it votes on proposals 治理成员.")]
Witness = Annotated[bool, typer.Option("--witness/--no-witness", help="Whether it cosigns checkpoints 见证.")]


@propose_app.command("admit")
def propose_admit(
    file: Annotated[Path, typer.Argument(help="The member file of the institution 成员文件.")],
    home: Home,
    governing: Governing = True,  # noqa: FBT002 - a flag
    witness: Witness = False,  # noqa: FBT002 - a flag
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Take in an institution; with a validator key it becomes a validator 接纳成员."""
    from shuiqiao.node.member_file import load_admission

    action = load_admission(file, governing=governing, witness=witness)
    _propose(home, lambda _: action, days=days, as_json=json)


@propose_app.command("change-flags")
def propose_change_flags(
    member: Member,
    home: Home,
    governing: Annotated[
        bool | None, typer.Option("--governing/--no-governing", help="Left out, as it is 治理成员.")
    ] = None,
    witness: Annotated[bool | None, typer.Option("--witness/--no-witness", help="Left out, as it is 见证.")] = None,
    validator_key: Annotated[
        str | None, typer.Option(help="CometBFT key in hex, or an empty text for no validator; left out, as it is.")
    ] = None,
    validator_proof: Annotated[
        str, typer.Option(help="Of a new validator key: its proof in hex, from keys show at its holder's 密钥证明.")
    ] = "",
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Say anew whether a member governs, witnesses and validates 变更成员职责."""
    from shuiqiao.node.governance import changed_flags

    def action(institution: Institution) -> Action:
        return changed_flags(
            institution.engine.state(),
            member,
            governing=governing,
            witness=witness,
            validator_key=validator_key,
            validator_proof=validator_proof,
        )

    _propose(home, action, days=days, as_json=json)


@propose_app.command("suspend")
def propose_suspend(
    member: Member,
    home: Home,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Close a member's gate until it is reinstated by vote; then: members suspend 停权."""
    from shuiqiao.members.action import Suspend

    _propose(home, lambda _: Suspend(member=member), days=days, as_json=json)


@propose_app.command("reinstate")
def propose_reinstate(
    member: Member,
    home: Home,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Open a member's gate again; then: members reinstate 复权."""
    from shuiqiao.node.governance import look_up, reinstatement_of

    def wanted(institution: Institution) -> Action:
        return look_up(institution, lambda state: reinstatement_of(state, member))

    _propose(home, wanted, days=days, as_json=json)


@propose_app.command("unfreeze")
def propose_unfreeze(
    home: Home,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Lift the freeze in force before its time; then: members unfreeze 解除冻结."""
    from shuiqiao.node.governance import freeze_in_force, look_up

    _propose(home, lambda institution: look_up(institution, freeze_in_force), days=days, as_json=json)


@propose_app.command("set-quorum")
def propose_set_quorum(
    quorum: Annotated[int, typer.Argument(min=0, max=64, help="Cosignatures that a checkpoint needs 见证数.")],
    home: Home,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Change how many cosignatures a checkpoint needs 变更见证数."""
    from shuiqiao.members.action import SetQuorum

    _propose(home, lambda _: SetQuorum(quorum_count=quorum), days=days, as_json=json)


@propose_app.command("set-witnesses")
def propose_set_witnesses(
    members: Members,
    home: Home,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Name all witnesses of an embedded network anew 变更见证成员."""
    from shuiqiao.members.action import SetWitnesses

    _propose(home, lambda _: SetWitnesses(witnesses=_listed(members)), days=days, as_json=json)


@propose_app.command("set-governing")
def propose_set_governing(
    members: Members,
    home: Home,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Name all governing members anew 变更治理成员."""
    from shuiqiao.members.action import SetGoverning

    _propose(home, lambda _: SetGoverning(governing=_listed(members)), days=days, as_json=json)


@propose_app.command("hand-operator")
def propose_hand_operator(
    member: Member,
    home: Home,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Another member becomes the operator of an embedded network 移交运营方."""
    from shuiqiao.members.action import HandOperator

    _propose(home, lambda _: HandOperator(member=member), days=days, as_json=json)


@propose_app.command("publish-standard")
def propose_publish_standard(
    standard: Annotated[str, typer.Argument(help="A record type of this program, e.g. filing@1 标准.")],
    home: Home,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Fix the digest of one version of a record type 发布标准."""
    from shuiqiao.node.governance import publication

    _propose(home, lambda institution: publication(institution, standard), days=days, as_json=json)


@propose_app.command("activate-contract")
def propose_activate_contract(
    kind: Annotated[str, typer.Argument(help="A kind of transaction, e.g. anchor.commit 交易种类.")],
    version: Annotated[int, typer.Argument(min=2, max=9999, help="The version that is accepted from then on 版本.")],
    height: Annotated[int, typer.Argument(min=1, help="From which block of the ledger on 生效区块.")],
    home: Home,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """From a height on, accept another version of a kind 合约升级."""
    from shuiqiao.members.action import ActivateContract

    _propose(home, lambda _: ActivateContract(kind=kind, version=version, height=height), days=days, as_json=json)


def _listed(text: str) -> list[str]:
    return sorted(name for name in text.split(",") if name)


def _propose(home: Path, action: Callable[[Institution], Action], *, days: int, as_json: bool) -> None:
    from shuiqiao.node.governance import propose

    result = act(home, lambda institution: propose(institution, action(institution), days=days))
    show(result, as_json=as_json, speak=speak_proposal)
