"""``shuiqiao members``: who is a member, what is proposed, one's vote, one's keys, suspension and freeze."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.home import all_items, home_at_work, home_to_read
from shuiqiao.cli.options import Home, Json, SuiteChoice, command_group
from shuiqiao.cli.output import progress_on_stderr, say, say_rows, show

if TYPE_CHECKING:
    from shuiqiao.client.operation import Operation, Sent, Told
    from shuiqiao.client.resources.governance import DraftedAction

members_app = command_group("Govern the network: members, votes, keys, suspension, freeze 成员治理.")
propose_app = command_group("Put an action to the vote, which is one's own approval 提案.")
members_app.add_typer(propose_app, name="propose")

DEFAULT_VOTE_DAYS = 14
"""As in ``node.governance``, which the help text must not wait for; a test holds the two together."""

Member = Annotated[str, typer.Argument(help="A member by id.")]
Members = Annotated[str, typer.Argument(help="Members by id, with commas between, or an empty text for nobody.")]
Governing = Annotated[bool, typer.Option("--governing/--no-governing", help="Whether it votes on proposals 治理成员.")]
Witness = Annotated[bool, typer.Option("--witness/--no-witness", help="Whether it cosigns checkpoints 见证.")]
VoteDays = Annotated[int, typer.Option("--days", min=1, max=30, help="How long it is open to vote, in days 投票天数.")]
ProposalId = Annotated[str, typer.Argument(help="Its digest in hex, or enough of its beginning 提案摘要.")]
Ground = Annotated[
    str | None, typer.Option("--proposal", help="The approved proposal; left out, the newest that fits 提案编号.")
]

_SHOWN_ID = 12
_STATUS_ZH = {"open": "投票中", "approved": "通过", "rejected": "否决", "void": "无效", "expired": "过期"}
_ROLE_ZH = {"tax_bureau": "税务局", "bank": "银行", "regulator": "监管"}


class Purpose(StrEnum):
    """The keys that a member replaces itself."""

    SIGNING = "signing"
    SEALING = "sealing"
    VALIDATOR = "validator"


@members_app.command("list")
def members_list(*, home: Home, json: Json = False) -> None:
    """Show every member with its role, duties and suspension 成员列表."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.members import LIST_MEMBERS, READ_STANDING
    from shuiqiao.client.wire import Nothing

    with home_to_read(home) as at_work:
        standing = at_work.perform(READ_STANDING, Nothing())
        members = all_items(at_work, LIST_MEMBERS, PageQuery())
    result = {**standing.model_dump(mode="json"), "members": [each.model_dump(mode="json") for each in members]}
    show(result, as_json=json, speak=_speak_members)


@members_app.command("genesis")
def members_genesis(
    *,
    files: Annotated[list[Path], typer.Argument(help="The member file of each founding member 成员文件.")],
    network: Annotated[str, typer.Option(help="Name of the network, for which the keys were made 网络名称.")],
    writer: Annotated[
        str | None, typer.Option(help="The member that orders transactions; without one validators do 记账者.")
    ] = None,
    witness: Annotated[
        list[str] | None, typer.Option(help="A member that cosigns checkpoints; repeatable 见证成员.")
    ] = None,
    quorum: Annotated[int, typer.Option(min=0, max=64, help="Cosignatures that a checkpoint needs 见证数.")] = 0,
    suite: Annotated[SuiteChoice, typer.Option(help="Cipher suite of the keys 密码套件.")] = SuiteChoice.INTL,
    out: Annotated[Path, typer.Option("--out", help="The file to write; it must not exist.")] = Path("genesis.json"),
    json: Json = False,
) -> None:
    """Make the genesis of a new network from its founding members' public files 建立创世文件."""
    from shuiqiao.base.clock import SystemClock
    from shuiqiao.cli.receipts import write_proof
    from shuiqiao.crypto.model import SuiteName
    from shuiqiao.members.genesis import decode_genesis, network_id
    from shuiqiao.node.founding import genesis_of_files

    if writer is None and (witness or quorum):
        raise typer.BadParameter(
            "--witness and --quorum are of a network with a --writer; validators sign all themselves"
        )
    data = genesis_of_files(
        files,
        network=network,
        suite=SuiteName(suite.value),
        writer=writer,
        witnesses=witness or (),
        quorum=quorum,
        created_ms=SystemClock().now_ms(),
    )
    write_proof(out, data, is_one=lambda _other: False)
    result = {
        "genesis": str(out),
        "network": network_id(data).hex(),
        "members": {member.id: member.signing_key.hex() for member in decode_genesis(data).members},
    }
    show(result, as_json=json, speak=_speak_genesis)


def _speak_genesis(result: Mapping[str, Any]) -> None:
    say(f"genesis  {result['genesis']}")
    say(f"network  {result['network']} (all founding members compare it 请各方核对)")
    for member, key in result["members"].items():
        say(f"  {member:20} signing key {key}")


@members_app.command("epochs")
def members_epochs(*, home: Home, json: Json = False) -> None:
    """Show whose signatures counted from when to when 纪元."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.members import LIST_EPOCHS

    with home_to_read(home) as at_work:
        epochs = all_items(at_work, LIST_EPOCHS, PageQuery())
    result = {"epochs": [each.model_dump(mode="json") for each in epochs]}
    show(result, as_json=json, speak=_speak_epochs)


@members_app.command("proposals")
def members_proposals(*, home: Home, json: Json = False) -> None:
    """Show the newest proposals and how they stand 提案列表."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.members import LIST_PROPOSALS

    with home_to_read(home) as at_work:
        proposals = all_items(at_work, LIST_PROPOSALS, PageQuery())
    result = {"proposals": [each.model_dump(mode="json") for each in proposals]}
    show(result, as_json=json, speak=_speak_proposals)


@members_app.command("vote")
def members_vote(
    *,
    proposal: ProposalId,
    home: Home,
    approve: Annotated[bool, typer.Option("--approve/--reject", help="Approve it or reject it 赞成或反对.")],
    json: Json = False,
) -> None:
    """Vote on a proposal, once and for good 投票."""
    from shuiqiao.client.resources.governance import VOTE, Vote

    _perform(home, VOTE, lambda: Vote(proposal=proposal, approve=approve), as_json=json, speak=_speak_proposal)


@members_app.command("rotate-key")
def members_rotate_key(
    *,
    home: Home,
    purpose: Annotated[Purpose, typer.Option(help="Which of this home's keys 密钥用途.")] = Purpose.SIGNING,
    json: Json = False,
) -> None:
    """Replace one of this home's keys; the old one is kept as retired, but for a validator's 轮换密钥."""
    from shuiqiao.client.resources.governance import ROTATE_KEY, KeyRotation

    with progress_on_stderr() as progress:
        progress("make, record and take into use a new key 轮换密钥", 0, None)
    _perform(home, ROTATE_KEY, lambda: KeyRotation(purpose=purpose.value), as_json=json)


@members_app.command("endpoint")
def members_endpoint(
    *,
    url: Annotated[str, typer.Argument(help="https://host:port, or an empty text to take it back 地址.")],
    home: Home,
    pin: Annotated[
        str, typer.Option(help="SHA-256 of the public key (SPKI) of its certificate, in hex 证书公钥指纹.")
    ] = "",
    json: Json = False,
) -> None:
    """Say on the ledger where other members reach this home's server 公布服务地址."""
    from shuiqiao.client.resources.governance import PUBLISH_ENDPOINT, MemberEndpoint

    _perform(home, PUBLISH_ENDPOINT, lambda: MemberEndpoint(url=url, pin=pin), as_json=json)


@members_app.command("suspend")
def members_suspend(
    *,
    member: Member,
    home: Home,
    proposal: Ground = None,
    evidence: Annotated[
        Path | None, typer.Option(help="A regulator acts alone: the file that says why, which stays with it 证据.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=7, help="How long a regulator suspends, in days 天数.")] = 7,
    json: Json = False,
) -> None:
    """Close a member's gate, as a vote approved or as a regulator for some days 执行停权."""
    from shuiqiao.client.resources.governance import SUSPEND, Suspension

    def suspension() -> Suspension:
        digest = None if evidence is None else digest_of(evidence, home=home)
        return Suspension(member=member, proposal=proposal, days=days, evidence_digest=digest)

    _perform(home, SUSPEND, suspension, as_json=json)


@members_app.command("reinstate")
def members_reinstate(*, member: Member, home: Home, proposal: Ground = None, json: Json = False) -> None:
    """Open a member's gate: as a vote approved, or once a regulator's suspension is over 执行复权."""
    from shuiqiao.client.resources.governance import REINSTATE, Reinstatement

    _perform(home, REINSTATE, lambda: Reinstatement(member=member, proposal=proposal), as_json=json)


@members_app.command("freeze")
def members_freeze(
    *,
    home: Home,
    reason: Annotated[Path, typer.Option(help="The file that says why; it stays with the regulator 理由.")],
    days: Annotated[int, typer.Option(min=1, max=7, help="For how long, in days 天数.")] = 7,
    json: Json = False,
) -> None:
    """Stop the network for a time, as a regulator 冻结网络."""
    from shuiqiao.client.resources.governance import FREEZE, Freeze

    _perform(home, FREEZE, lambda: Freeze(days=days, reason_digest=digest_of(reason, home=home)), as_json=json)


@members_app.command("unfreeze")
def members_unfreeze(*, home: Home, json: Json = False) -> None:
    """Lift the freeze: a regulator at any time, any member after its time or as a vote approved 解除冻结."""
    from shuiqiao.client.resources.governance import UNFREEZE, Unfreeze

    _perform(home, UNFREEZE, Unfreeze, as_json=json)


def digest_of(file: Path, *, home: Path) -> str:
    """Return the digest by which an act commits to a file, in hex; the file stays where it is."""
    from shuiqiao.crypto.suites import get_suite
    from shuiqiao.node.governance import file_digest
    from shuiqiao.node.home.settings import Home as HomeFolder
    from shuiqiao.node.home.settings import load_settings

    return file_digest(file, suite=get_suite(load_settings(HomeFolder(home)).suite)).hex()


def _perform(
    home: Path,
    operation: Operation[Sent, Told],
    message: Callable[[], Sent],
    *,
    as_json: bool,
    speak: Callable[[Mapping[str, Any]], None] = say_rows,
) -> None:
    """Have a home perform an operation, and show what is told of it."""
    with home_at_work(home) as at_work:
        told = at_work.perform(operation, message())
    show(told.model_dump(mode="json"), as_json=as_json, speak=speak)


# Proposals, one command an action


@propose_app.command("admit")
def propose_admit(
    *,
    file: Annotated[Path, typer.Argument(help="The member file of the institution 成员文件.")],
    home: Home,
    governing: Governing = True,
    witness: Witness = False,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,
) -> None:
    """Take in an institution; with a validator key it becomes a validator 接纳成员."""
    from shuiqiao.client.resources.governance import AdmitMember
    from shuiqiao.node.member_file import load_member_file

    text = load_member_file(file)
    action = AdmitMember(action="admit", member_file=text, governing=governing, witness=witness)
    _propose(home, lambda: action, days=days, as_json=json)


@propose_app.command("change-flags")
def propose_change_flags(
    *,
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
    json: Json = False,
) -> None:
    """Say anew whether a member governs, witnesses and validates 变更成员职责."""
    from shuiqiao.client.resources.governance import ChangeMemberFlags

    def action() -> ChangeMemberFlags:
        return ChangeMemberFlags(
            action="change_flags",
            member=member,
            governing=governing,
            witness=witness,
            validator_key=validator_key,
            validator_proof=validator_proof,
        )

    _propose(home, action, days=days, as_json=json)


@propose_app.command("suspend")
def propose_suspend(*, member: Member, home: Home, days: VoteDays = DEFAULT_VOTE_DAYS, json: Json = False) -> None:
    """Close a member's gate until it is reinstated by vote; then: members suspend 停权."""
    from shuiqiao.client.resources.governance import SuspendMember

    _propose(home, lambda: SuspendMember(action="suspend", member=member), days=days, as_json=json)


@propose_app.command("reinstate")
def propose_reinstate(*, member: Member, home: Home, days: VoteDays = DEFAULT_VOTE_DAYS, json: Json = False) -> None:
    """Open a member's gate again; then: members reinstate 复权."""
    from shuiqiao.client.resources.governance import ReinstateMember

    _propose(home, lambda: ReinstateMember(action="reinstate", member=member), days=days, as_json=json)


@propose_app.command("unfreeze")
def propose_unfreeze(*, home: Home, days: VoteDays = DEFAULT_VOTE_DAYS, json: Json = False) -> None:
    """Lift the freeze in force before its time; then: members unfreeze 解除冻结."""
    from shuiqiao.client.resources.governance import LiftFreeze

    _propose(home, lambda: LiftFreeze(action="unfreeze"), days=days, as_json=json)


@propose_app.command("set-quorum")
def propose_set_quorum(
    *,
    quorum: Annotated[int, typer.Argument(min=0, max=64, help="Cosignatures that a checkpoint needs 见证数.")],
    home: Home,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,
) -> None:
    """Change how many cosignatures a checkpoint needs 变更见证数."""
    from shuiqiao.client.resources.governance import ChangeQuorum

    _propose(home, lambda: ChangeQuorum(action="set_quorum", quorum=quorum), days=days, as_json=json)


@propose_app.command("set-witnesses")
def propose_set_witnesses(
    *, members: Members, home: Home, days: VoteDays = DEFAULT_VOTE_DAYS, json: Json = False
) -> None:
    """Name all witnesses of an embedded network anew 变更见证成员."""
    from shuiqiao.client.resources.governance import NameWitnesses

    _propose(home, lambda: NameWitnesses(action="set_witnesses", members=_listed(members)), days=days, as_json=json)


@propose_app.command("set-governing")
def propose_set_governing(
    *, members: Members, home: Home, days: VoteDays = DEFAULT_VOTE_DAYS, json: Json = False
) -> None:
    """Name all governing members anew 变更治理成员."""
    from shuiqiao.client.resources.governance import NameGoverning

    _propose(home, lambda: NameGoverning(action="set_governing", members=_listed(members)), days=days, as_json=json)


@propose_app.command("hand-operator")
def propose_hand_operator(
    *, member: Member, home: Home, days: VoteDays = DEFAULT_VOTE_DAYS, json: Json = False
) -> None:
    """Another member becomes the operator of an embedded network 移交运营方."""
    from shuiqiao.client.resources.governance import HandOver

    _propose(home, lambda: HandOver(action="hand_operator", member=member), days=days, as_json=json)


@propose_app.command("set-ceiling")
def propose_set_ceiling(
    *,
    purpose: Annotated[str, typer.Argument(help="underwriting, loan_monitoring, model_development, one_time 用途.")],
    home: Home,
    period_months: Annotated[int, typer.Option(min=0, help="Months of data at most 数据期间.")],
    answers_per_year: Annotated[int, typer.Option(min=0, help="Answers in a year at most 频次.")],
    data_life_days: Annotated[int, typer.Option(min=0, help="Days that data is kept at most 数据保存期限.")],
    validity_days: Annotated[
        int, typer.Option(min=0, help="Days that a consent is valid at most; four times 0 lifts the rule 授权有效期.")
    ],
    bank: Annotated[str, typer.Option(help="For one bank alone 银行.")] = "",
    product: Annotated[str, typer.Option(help="For one product alone 产品.")] = "",
    record_type: Annotated[str, typer.Option("--type", help="For one record type alone 数据类型.")] = "",
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,
) -> None:
    """Say anew what fair use is for a purpose; the most specific rule counts 变更合理使用上限."""
    from shuiqiao.client.resources.governance import SetFairUse

    def drafted() -> SetFairUse:
        return SetFairUse(
            action="set_ceiling",
            purpose=purpose,
            recipient=bank,
            product=product,
            record_type=record_type,
            max_period_months=period_months,
            max_answers_per_year=answers_per_year,
            max_data_life_days=data_life_days,
            max_validity_days=validity_days,
        )

    _propose(home, drafted, days=days, as_json=json)


@propose_app.command("publish-standard")
def propose_publish_standard(
    *,
    standard: Annotated[str, typer.Argument(help="A record type of this program, e.g. filing@1 标准.")],
    home: Home,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,
) -> None:
    """Fix the digest of one version of a record type 发布标准."""
    from shuiqiao.client.resources.governance import PublishRecordType

    _propose(home, lambda: PublishRecordType(action="publish_standard", standard=standard), days=days, as_json=json)


@propose_app.command("activate-contract")
def propose_activate_contract(
    *,
    kind: Annotated[str, typer.Argument(help="A kind of transaction, e.g. anchor.commit 交易种类.")],
    version: Annotated[int, typer.Argument(min=2, max=9999, help="The version that is accepted from then on 版本.")],
    height: Annotated[int, typer.Argument(min=1, help="From which block of the ledger on 生效区块.")],
    home: Home,
    days: VoteDays = DEFAULT_VOTE_DAYS,
    json: Json = False,
) -> None:
    """From a height on, accept another version of a kind 合约升级."""
    from shuiqiao.client.resources.governance import ActivateKind

    def action() -> ActivateKind:
        return ActivateKind(action="activate_contract", kind=kind, version=version, height=height)

    _propose(home, action, days=days, as_json=json)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(sorted(name for name in text.split(",") if name))


def _propose(home: Path, action: Callable[[], DraftedAction], *, days: int, as_json: bool) -> None:
    from shuiqiao.client.resources.governance import PROPOSE, ProposalDraft

    def draft() -> ProposalDraft:
        return ProposalDraft(action=action(), days=days)

    _perform(home, PROPOSE, draft, as_json=as_json, speak=_speak_proposal)


# In words


def _speak_members(result: Mapping[str, Any]) -> None:
    """Say who is a member, one line each."""
    say(f"epoch 纪元 {result['epoch']}, quorum 见证数 {result['quorum']}")
    if result["frozen"] is not None:
        say(f"FROZEN 已冻结 by {result['frozen']['author']} until {result['frozen']['until']}")
    say(f"{'member':20} {'role':22} {'flags':34} name")
    for each in result["members"]:
        flags = [
            word
            for word, is_so in (
                ("operator", each["is_operator"]),
                ("governs", each["is_governing"]),
                ("witness", each["is_witness"]),
                ("validator", bool(each["validator_key"])),
            )
            if is_so
        ]
        role = f"{each['role']} {_ROLE_ZH[each['role']]}"
        say(f"{each['member']:20} {role:22} {', '.join(flags):34} {each['name']} {each['name_zh']}")
        if each["endpoint"]:
            say(f"{'':20} at 地址 {each['endpoint']}{' pin ' + each['pin'] if each['pin'] else ''}")
        if each["suspended_until"]:
            say(f"{'':20} SUSPENDED 已停权 {_until(each['suspended_until'])}")


def _until(text: str) -> str:
    return "by vote, until it is reinstated by vote" if text == "vote" else f"until {text}"


def _speak_epochs(result: Mapping[str, Any]) -> None:
    """Say which epochs there were."""
    for each in result["epochs"]:
        ending = (
            f"closed at size {each['closed_at']}" if each["closed_at"] is not None else "in force or not closed yet"
        )
        say(f"epoch 纪元 {each['number']}: {ending}")
        if each["operator"]:
            say(f"  operator   {each['operator']}")
        say(f"  quorum     {each['quorum']} of {', '.join(each['witnesses']) or 'nobody'}")
        say(f"  governing  {', '.join(each['governing'])}")


def _speak_proposals(result: Mapping[str, Any]) -> None:
    """Say what was proposed, newest last."""
    for each in result["proposals"]:
        _speak_proposal(each)
    if not result["proposals"]:
        say("no proposal yet 尚无提案")


def _speak_proposal(each: Mapping[str, Any]) -> None:
    """Say how one proposal stands, and what comes next."""
    action = dict(each["action"])
    name = action.pop("action")
    details = ", ".join(f"{field} {_short(value)}" for field, value in action.items())
    say(f"{each['proposal'][:_SHOWN_ID]}  {each['status']} {_STATUS_ZH[each['status']]}: {name} ({details})")
    # How many governed when it was decided is not known any more: the decision itself may have changed it.
    until = f", of {each['governing']} governing members; open until {each['deadline']}"
    is_open = each["status"] == "open"
    say(
        f"  by {each['proposer']}; {each['approvals']} approve 赞成, {each['rejections']} reject 反对"
        f"{until if is_open else ''}"
    )
    if each["reason"]:
        say(f"  void for 无效原因 {each['reason']}")
    if each["status"] == "approved" and name in {"suspend", "reinstate", "unfreeze"} and not each["is_executed"]:
        say(f"  next: shuiqiao members {name} {action.get('member', '')}".rstrip())


def _short(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "nobody"
    text = str(value)
    return text if len(text) <= _SHOWN_ID * 3 else f"{text[:_SHOWN_ID]}..."
