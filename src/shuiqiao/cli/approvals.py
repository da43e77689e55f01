"""``shuiqiao approvals``: acts that need two people: propose one, see what waits, approve or reject it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.home import all_items, home_by_name, of_file
from shuiqiao.cli.lending import CHURN_CODES, RULES_CODES, ProductName, churn_change_in
from shuiqiao.cli.members import Purpose, digest_of
from shuiqiao.cli.models import (
    Blind,
    LedgerModel,
    Outputs,
    Provider,
    PurposeChoice,
    Scorecard,
    Secure,
    of_offer,
    offer_in,
)
from shuiqiao.cli.options import Home, Json, command_group
from shuiqiao.cli.output import EXIT_DONE, EXIT_REFUSED, joined, say, show, warn
from shuiqiao.cli.users import TokenFile

if TYPE_CHECKING:
    from shuiqiao.client.operation import Operation, Sent
    from shuiqiao.client.resources.approvals import ApprovalRecord
    from shuiqiao.client.resources.models import ModelOffer
    from shuiqiao.client.resources.products import RulesChange

approvals_app = command_group("Acts that one person proposes and another approves 双人复核.")
propose_app = command_group("Propose an act to a second person 制单.")
approvals_app.add_typer(propose_app, name="propose")

ApprovalId = Annotated[str, typer.Argument(help="Its id, as list shows it, or enough of its beginning 编号.")]
Days = Annotated[int, typer.Option(min=1, max=7, help="For how long, in days 天数.")]


class OutcomeChoice(StrEnum):
    """What a person decides; as ``lending.model.Outcome``, of which a referral is none."""

    APPROVED = "approved"
    REFUSED = "refused"


class PersonsReasonChoice(StrEnum):
    """What an applicant is told of a decision by persons; as ``lending.model.PersonsReason``."""

    BUSINESS_CONFIRMED = "business_confirmed"
    PAPERS_INSUFFICIENT = "papers_insufficient"
    BUSINESS_UNCLEAR = "business_unclear"
    DEBTS_TOO_HIGH = "debts_too_high"
    CASH_FLOW_WEAK = "cash_flow_weak"
    OUTSIDE_POLICY = "outside_policy"
    DECIDED_BY_PERSONS = "decided_by_persons"


class Reason(StrEnum):
    """Why records are destroyed; as ``vault.model.ErasureReason``."""

    DATA_LIFE_OVER = "data_life_over"
    RETENTION_OVER = "retention_over"
    TAXPAYER_REQUEST = "taxpayer_request"
    LEGAL_ORDER = "legal_order"


def _perform(
    home: Path,
    token_file: Path | None,
    operation: Operation[Sent, ApprovalRecord],
    message: Callable[[], Sent],
    *,
    as_json: bool,
) -> int:
    """Have somebody perform an operation by name, show the act, and return the exit code: 1 for one that failed."""
    with home_by_name(home, token_file) as at_work:
        told = at_work.perform(operation, message())
    show(told.model_dump(mode="json"), as_json=as_json, speak=_speak)
    return EXIT_REFUSED if told.state == "failed" else EXIT_DONE


@approvals_app.command("list")
def approvals_list(
    *,
    home: Home,
    only_for_me: Annotated[bool, typer.Option("--for-me", help="Only what waits for me to check 待我复核.")] = False,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """List acts that I may make or check, the newest first 列出."""
    from shuiqiao.client.resources.approvals import LIST_APPROVALS, ApprovalQuestion

    with home_by_name(home, token_file) as at_work:
        approvals = all_items(at_work, LIST_APPROVALS, ApprovalQuestion(for_me=only_for_me))
    result = {"approvals": [each.model_dump(mode="json") for each in approvals]}
    show(result, as_json=json, speak=_speak_list)


@approvals_app.command("approve")
def approvals_approve(
    *,
    approval: ApprovalId,
    home: Home,
    digest: Annotated[str, typer.Option(help="The digest of what I looked at, in hex 摘要.")],
    token_file: TokenFile = None,
    json: Json = False,
) -> int:
    """Approve an act that another person made, and carry it out 复核通过."""
    from shuiqiao.client.resources.approvals import APPROVE, ApprovalGiven

    return _perform(home, token_file, APPROVE, lambda: ApprovalGiven(approval=approval, digest=digest), as_json=json)


@approvals_app.command("reject")
def approvals_reject(
    *,
    approval: ApprovalId,
    home: Home,
    reason: Annotated[str, typer.Option(help="Why, for its maker 理由.")],
    token_file: TokenFile = None,
    json: Json = False,
) -> int:
    """Reject an act, or withdraw one's own 驳回."""
    from shuiqiao.client.resources.approvals import REJECT, ApprovalRefused

    return _perform(home, token_file, REJECT, lambda: ApprovalRefused(approval=approval, reason=reason), as_json=json)


@propose_app.command("freeze")
def propose_freeze(
    *,
    home: Home,
    reason: Annotated[Path, typer.Option(help="The file that says why; it stays with the regulator 理由.")],
    days: Days = 7,
    token_file: TokenFile = None,
    json: Json = False,
) -> int:
    """Stop the network for a time, as a regulator 冻结网络."""
    from shuiqiao.client.resources.approvals import MAX_TEXT, PROPOSE_FREEZE, FreezeProposal

    def message() -> FreezeProposal:
        digest = digest_of(reason, home=home)
        return FreezeProposal(days=days, reason_digest=digest, reason=_text_of(reason, at_most=MAX_TEXT))

    return _perform(home, token_file, PROPOSE_FREEZE, message, as_json=json)


def _text_of(file: Path, *, at_most: int) -> str:
    """Return the words of a file for the second person; empty where it holds no text, or a longer one."""
    from shuiqiao.base.files import read_regular

    try:
        text = read_regular(file, max_bytes=4 * at_most).decode()
    except UnicodeDecodeError:
        text = ""
    if not text or len(text) > at_most:
        warn(f"{file} is no text of 1 to {at_most} characters: show it to the second person yourself")
        return ""
    return text


@propose_app.command("unfreeze")
def propose_unfreeze(*, home: Home, token_file: TokenFile = None, json: Json = False) -> int:
    """Lift the freeze in force 解除冻结."""
    from shuiqiao.client.resources.approvals import PROPOSE_UNFREEZE
    from shuiqiao.client.wire import Nothing

    return _perform(home, token_file, PROPOSE_UNFREEZE, Nothing, as_json=json)


@propose_app.command("suspension")
def propose_suspension(
    *,
    member: Annotated[str, typer.Argument(help="A member by id 成员.")],
    home: Home,
    days: Annotated[int, typer.Option(min=1, max=30, help="How long it is open to vote, in days 投票天数.")] = 14,
    token_file: TokenFile = None,
    json: Json = False,
) -> int:
    """Put the suspension of a member to the vote 提案停权."""
    from shuiqiao.client.resources.approvals import PROPOSE_SUSPENSION, SuspensionProposal

    return _perform(
        home, token_file, PROPOSE_SUSPENSION, lambda: SuspensionProposal(member=member, days=days), as_json=json
    )


@propose_app.command("suspension-vote")
def propose_suspension_vote(
    *,
    proposal: Annotated[str, typer.Argument(help="The proposal's digest in hex, or enough of its beginning 提案摘要.")],
    home: Home,
    token_file: TokenFile = None,
    json: Json = False,
) -> int:
    """Vote for a suspension that is put to the vote 赞成停权."""
    from shuiqiao.client.resources.approvals import PROPOSE_SUSPENSION_VOTE, SuspensionVoteProposal

    return _perform(
        home, token_file, PROPOSE_SUSPENSION_VOTE, lambda: SuspensionVoteProposal(proposal=proposal), as_json=json
    )


@propose_app.command("emergency")
def propose_emergency(
    *,
    member: Annotated[str, typer.Argument(help="A member by id 成员.")],
    home: Home,
    evidence: Annotated[Path, typer.Option(help="The file that says why; it stays with the regulator 证据.")],
    days: Days = 7,
    token_file: TokenFile = None,
    json: Json = False,
) -> int:
    """Suspend a member for some days, as a regulator 紧急停权."""
    from shuiqiao.client.resources.approvals import MAX_TEXT, PROPOSE_EMERGENCY, EmergencyProposal

    def message() -> EmergencyProposal:
        digest, words = digest_of(evidence, home=home), _text_of(evidence, at_most=MAX_TEXT)
        return EmergencyProposal(member=member, days=days, evidence_digest=digest, evidence=words)

    return _perform(home, token_file, PROPOSE_EMERGENCY, message, as_json=json)


@propose_app.command("rotation")
def propose_rotation(
    *,
    home: Home,
    purpose: Annotated[Purpose, typer.Option(help="Which of this home's keys 密钥用途.")] = Purpose.SIGNING,
    token_file: TokenFile = None,
    json: Json = False,
) -> int:
    """Replace one of this home's keys 轮换密钥."""
    from shuiqiao.client.resources.approvals import PROPOSE_ROTATION, RotationProposal

    return _perform(home, token_file, PROPOSE_ROTATION, lambda: RotationProposal(purpose=purpose.value), as_json=json)


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
) -> int:
    """Destroy records of a batch, as a bureau 销毁记录."""
    from shuiqiao.client.resources.approvals import PROPOSE_ERASURE, ErasureProposal

    def message() -> ErasureProposal:
        return ErasureProposal(batch=batch, leaves=tuple(leaf or ()), reason=reason.value)

    return _perform(home, token_file, PROPOSE_ERASURE, message, as_json=json)


@propose_app.command("decision")
def propose_decision(
    *,
    application: Annotated[str, typer.Argument(help="The application's id, or enough of its beginning 申请编号.")],
    home: Home,
    outcome: Annotated[OutcomeChoice, typer.Option(help="What is decided 审批结论.")],
    reason: Annotated[str, typer.Option(help="Why, for the second person and the file 理由.")],
    limit_fen: Annotated[
        int | None, typer.Option(min=0, help="The limit, in fen; left out, what the rules could offer 额度(分).")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="The annual rate, e.g. 0.0465; left out, what the rules could offer 年利率.")
    ] = None,
    code: Annotated[
        list[PersonsReasonChoice] | None,
        typer.Option("--code", help="What the enterprise is told of why; repeat it, 4 at most 告知企业的理由代码."),
    ] = None,
    token_file: TokenFile = None,
    json: Json = False,
) -> int:
    """Decide on an application that was referred to a person 人工审批."""
    from shuiqiao.client.resources.approvals import PROPOSE_DECISION, DecisionProposal

    def message() -> DecisionProposal:
        return DecisionProposal(
            application=application,
            outcome=outcome.value,
            reason=reason,
            limit_fen=limit_fen,
            annual_rate=rate,
            codes=tuple(each.value for each in code or ()),
        )

    return _perform(home, token_file, PROPOSE_DECISION, message, as_json=json)


@propose_app.command("model")
def propose_model(
    *,
    product: ProductName,
    home: Home,
    model: Annotated[
        str | None, typer.Argument(help="The model's digest, or enough of its beginning 模型摘要.")
    ] = None,
    retire: Annotated[bool, typer.Option("--retire", help="Let no model decide for it any more 停用.")] = False,
    token_file: TokenFile = None,
    json: Json = False,
) -> int:
    """Let a model decide for a product 启用模型."""
    from shuiqiao.client.resources.approvals import PROPOSE_MODEL
    from shuiqiao.client.resources.models import ModelUse

    if retire == (model is not None):
        raise typer.BadParameter("name a model, or --retire for none")
    return _perform(home, token_file, PROPOSE_MODEL, lambda: ModelUse(product=product, model=model), as_json=json)


@propose_app.command("offer")
def propose_offer(
    *,
    model: Annotated[
        str | None, typer.Argument(help="At a bank: the model's digest, or enough of its beginning 模型摘要.")
    ] = None,
    home: Home,
    to: Provider,
    outputs: Outputs,
    purpose: Annotated[PurposeChoice, typer.Option(help="What it is for 用途.")] = PurposeChoice.UNDERWRITING,
    scorecard: Scorecard = None,
    blind: Blind = False,
    secure: Secure = False,
    token_file: TokenFile = None,
    json: Json = False,
) -> int:
    """Put a model on the ledger and hand it to a bureau that would run it 提供模型."""
    from shuiqiao.client.resources.approvals import PROPOSE_OFFER

    def message() -> ModelOffer:
        return offer_in(model, to=to, purpose=purpose, outputs=outputs, scorecard=scorecard, blind=blind, secure=secure)

    with of_offer(scorecard=scorecard, outputs=outputs):
        return _perform(home, token_file, PROPOSE_OFFER, message, as_json=json)


@propose_app.command("run")
def propose_run(*, model: LedgerModel, home: Home, token_file: TokenFile = None, json: Json = False) -> int:
    """Let a reviewed model run on this bureau's records 批准模型运行."""
    from shuiqiao.client.resources.approvals import PROPOSE_RUN
    from shuiqiao.client.resources.models import LedgerModelChoice

    return _perform(home, token_file, PROPOSE_RUN, lambda: LedgerModelChoice(ledger_model=model), as_json=json)


@propose_app.command("rules")
def propose_rules(
    *,
    product: ProductName,
    file: Annotated[Path, typer.Argument(help="TOML file of the new rules; `products rules` writes the old 规则文件.")],
    home: Home,
    token_file: TokenFile = None,
    json: Json = False,
) -> int:
    """Let new rules of a product be in force 变更产品规则."""
    from shuiqiao.client.resources.approvals import PROPOSE_RULES
    from shuiqiao.client.resources.products import RulesChange
    from shuiqiao.lending.files import rules_in

    def message() -> RulesChange:
        return RulesChange(product=product, rules=rules_in(file))

    with of_file(file, "FILE", *RULES_CODES):
        return _perform(home, token_file, PROPOSE_RULES, message, as_json=json)


@propose_app.command("churn")
def propose_churn(
    *,
    file: Annotated[Path, typer.Argument(help="CSV file: annual_rate, churn_A, churn_B, ... 客户流失曲线.")],
    home: Home,
    token_file: TokenFile = None,
    json: Json = False,
) -> int:
    """Keep the bank's churn curves, by which loans are priced 设置流失曲线."""
    from shuiqiao.client.resources.approvals import PROPOSE_CHURN

    with of_file(file, "FILE", *CHURN_CODES):
        return _perform(home, token_file, PROPOSE_CHURN, lambda: churn_change_in(file), as_json=json)


def _speak_list(result: Mapping[str, Any]) -> None:
    for each in result["approvals"]:
        _speak(each)
    if not result["approvals"]:
        say("nothing waits 无待处理事项")


def _speak(each: Mapping[str, Any]) -> None:
    say(f"{each['approval']}  {each['state']}  {each['act']}")
    for name, value in each["what"].items():
        say(f"  {name:20} {joined(value)}")
    say(f"  {'proposed by':20} {each['maker_name']}, {each['proposed']}")
    if each["checker_name"]:
        say(f"  {'decided by':20} {each['checker_name']}, {each['decided']}")
    if each["state"] == "waiting":
        say(f"  {'waits until':20} {each['until']}")
    say(f"  {'digest':20} {each['digest']}")
    for name in ("reason", "outcome"):
        if each[name]:
            say(f"  {name:20} {each[name]}")
