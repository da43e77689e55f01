"""``shuiqiao enterprise``: what a bureau does for enterprises without a node: codes, who used their data, disputes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.options import Home, Json, command_group, open_home
from shuiqiao.cli.output import print_json, say, say_rows, show

if TYPE_CHECKING:
    from shuiqiao.exchange.store import DisputeRow
    from shuiqiao.node.institution import Institution

enterprise_app = command_group("Enterprises without a node, at their bureau 企业服务.")

Taxpayer = Annotated[str, typer.Argument(help="Taxpayer number 纳税人识别号.")]


@enterprise_app.command("code")
def enterprise_code(
    *,
    taxpayer: Taxpayer,
    reference: Annotated[str, typer.Option(help="Your own random reference of the identity check 核验编号.")],
    home: Home,
    recover: Annotated[bool, typer.Option("--recover", help="For getting back an encrypted key 用于找回密钥.")] = False,
    json: Json = False,
) -> None:
    """Issue a one-time code, after you identified the legal representative; it is shown once 发放一次性登记码."""
    from shuiqiao.base.clock import iso_from_ms
    from shuiqiao.consent.codes import CODE_LIFE_MS, CodePurpose
    from shuiqiao.consent.model import IdentityCheck

    with open_home(home) as bureau:
        now_ms = bureau.outbox.now_ms()
        code = bureau.enrolment_codes.issue(
            taxpayer,
            identity_check=IdentityCheck(reference=reference, checked_ms=now_ms),
            purpose=CodePurpose.RECOVER if recover else CodePurpose.ENROL,
        )
    result = {"taxpayer": taxpayer, "code": code, "valid_until": iso_from_ms(now_ms + CODE_LIFE_MS)}
    show(result, as_json=json, speak=partial(say_rows, width=12))


@enterprise_app.command("used")
def enterprise_used(*, taxpayer: Taxpayer, home: Home, json: Json = False) -> None:
    """List who used a taxpayer's data, when, for what 谁用了我的数据."""
    from shuiqiao.base.clock import iso_from_ms
    from shuiqiao.base.ids import Uscc

    with open_home(home) as bureau:
        account = bureau.provider.usage_account(Uscc(taxpayer))
    uses = [
        {
            "asked": iso_from_ms(use.asked_ms),
            "recipient": use.recipient,
            "purpose": str(use.purpose),
            "mode": str(use.mode),
            "outcome": str(use.outcome),
            "field_code": str(use.field_code),
            "records": dict(use.records),
            "request": use.request,
            "consent": use.consent,
        }
        for use in account
    ]
    _show_list("uses", uses, as_json=json)


@enterprise_app.command("disputes")
def enterprise_disputes(*, home: Home, json: Json = False) -> None:
    """List the disputes that wait for an answer, with the banks that received the record 待答复的异议."""
    with open_home(home) as bureau:
        rows = [_told(bureau, row) for row in bureau.disputes.open_disputes()]
    _show_list("disputes", rows, as_json=json)


@enterprise_app.command("answer")
def enterprise_answer(
    *,
    dispute: Annotated[str, typer.Argument(help="The dispute's id in hex 异议编号.")],
    words: Annotated[str, typer.Option(help="What the enterprise is told 答复内容.")],
    home: Home,
    corrected: Annotated[
        bool, typer.Option("--corrected/--refused", help="Corrected by an amendment on the ledger, or refused 结果.")
    ],
    json: Json = False,
) -> None:
    """Answer a dispute: corrected, which the ledger has to show, or refused 答复异议."""
    from shuiqiao.exchange.disputes import DisputeStatus

    status = DisputeStatus.CORRECTED if corrected else DisputeStatus.REFUSED
    with open_home(home) as bureau:
        result = _told(bureau, bureau.disputes.answer(_hex(dispute), status=status, words=words))
    show(result, as_json=json, speak=partial(say_rows, width=12))


def _told(bureau: Institution, row: DisputeRow) -> dict[str, Any]:
    from shuiqiao.base.clock import iso_from_ms

    return {
        "dispute": row.dispute.hex(),
        "taxpayer": row.taxpayer,
        "batch": row.batch.hex(),
        "leaf": row.leaf,
        "reason": row.reason,
        "received": iso_from_ms(row.received_ms),
        "status": row.status,
        "answer": row.words,
        "recipients": sorted({str(member) for member, _ in bureau.disputes.recipients(row)}),
    }


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text[:60]!r} is not hexadecimal") from error


def _show_list(name: str, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json({name: rows})
        return
    for row in rows:
        say("  ".join(str(value) for value in row.values()))
    say(f"{len(rows)} {name} 共 {len(rows)} 项")
