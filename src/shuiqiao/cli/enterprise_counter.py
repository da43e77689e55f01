"""What a bureau's counter does for enterprises without a node: codes, who used their data, disputes, lost keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.home import home_at_work
from shuiqiao.cli.options import Home, Json
from shuiqiao.cli.output import say_rows, show, show_list, warn
from shuiqiao.cli.receipts import hash_name_of, write_receipts

if TYPE_CHECKING:
    from pathlib import Path

    from shuiqiao.client.resources.disputes import DisputeRecord
    from shuiqiao.client.resources.requests import PastQuery, UseRecord

_WIDTH = 14


def enterprise_code(
    *,
    taxpayer: Annotated[str, typer.Argument(help="Taxpayer number 纳税人识别号.")],
    reference: Annotated[str, typer.Option(help="Your own random reference of the identity check 核验编号.")],
    home: Home,
    recover: Annotated[bool, typer.Option("--recover", help="For getting back an encrypted key 用于找回密钥.")] = False,
    new_representative: Annotated[
        bool, typer.Option("--new-representative", help="The legal representative is a new one 法定代表人已变更.")
    ] = False,
    json: Json = False,
) -> None:
    """Issue a one-time code, after you identified the legal representative; it is shown once 发放一次性登记码."""
    from shuiqiao.base.clock import iso_from_ms
    from shuiqiao.client.resources.enrolments import ISSUE_CODE, CodeOrder

    if recover and new_representative:
        raise typer.BadParameter("--recover gets a key back, --new-representative is for enrolling: give one of them")
    with home_at_work(home) as at_work:
        order = CodeOrder(taxpayer=taxpayer, reference=reference)
        if recover or new_representative:
            order = order.model_copy(update={"purpose": "recover" if recover else "representative"})
        issued = at_work.perform(ISSUE_CODE, order)
    result = {
        "taxpayer": taxpayer,
        "code": issued.code,
        "valid_until": iso_from_ms(issued.valid_until_ms),
        "is_registered": issued.is_registered,
    }
    if not issued.is_registered:
        warn(
            f"this bureau holds no registration record of {taxpayer}: look at the number again; a new firm may have "
            "none yet 未查到该纳税人的登记记录,请核对"
        )
    show(result, as_json=json, speak=partial(say_rows, width=_WIDTH))


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
    from shuiqiao.client.resources.disputes import ANSWER_DISPUTE, DisputeAnswer

    with home_at_work(home) as at_work:
        answer = DisputeAnswer(
            dispute=require_hex(dispute), outcome="corrected" if corrected else "refused", words=words
        )
        result = dispute_row(at_work.perform(ANSWER_DISPUTE, answer))
    show(result, as_json=json, speak=partial(say_rows, width=_WIDTH))


def enterprise_revoke_lost(
    *,
    consent: Annotated[str, typer.Argument(help="The consent's name, BUREAU/ID 授权书.")],
    home: Home,
    json: Json = False,
) -> None:
    """End a consent whose key its enterprise lost, after you identified it again 因密钥丢失撤销授权."""
    from shuiqiao.client.resources.consents import REVOKE_FOR_LOST_KEY, LostKey

    with home_at_work(home) as at_work:
        placed = at_work.perform(REVOKE_FOR_LOST_KEY, LostKey(consent=consent))
    show({"consent": consent, "entry": placed.index}, as_json=json, speak=partial(say_rows, width=_WIDTH))


def enterprise_revoke_credentials(
    *,
    taxpayer: Annotated[str, typer.Argument(help="Taxpayer number 纳税人识别号.")],
    home: Home,
    json: Json = False,
) -> None:
    """Revoke every credential that a taxpayer holds of this bureau 吊销纳税人的全部凭证."""
    from shuiqiao.client.resources.enrolments import REVOKE_CREDENTIALS, EnrolmentQuestion

    with home_at_work(home) as at_work:
        told = at_work.perform(REVOKE_CREDENTIALS, EnrolmentQuestion(taxpayer=taxpayer))
    show({"taxpayer": taxpayer, "revoked": told.revoked}, as_json=json, speak=partial(say_rows, width=_WIDTH))


def show_uses_at(home: Path, taxpayer: str, asked: PastQuery, *, proofs: Path | None, as_json: bool) -> None:
    """Show who used a taxpayer's data, as its bureau has it. proofs: a folder for the receipt of each use."""
    from shuiqiao.client.pages import read_pages
    from shuiqiao.client.resources.requests import LIST_USES, UseQuery

    with home_at_work(home) as at_work:
        pages = read_pages(at_work, LIST_USES, UseQuery(taxpayer=taxpayer, **dict(asked)))
        uses = [use for page in pages for use in page.items]
    show_uses(uses, proofs=proofs, hash_name=hash_name_of(home), as_json=as_json)


def show_uses(uses: list[UseRecord], *, proofs: Path | None, hash_name: str, as_json: bool) -> None:
    """Show uses of data. proofs: a folder for the receipt of each that the ledger has."""
    if proofs is not None:
        write_receipts(proofs, [(use.index, use.receipt) for use in uses], hash_name=hash_name)
    show_list("uses", [use_row(use) for use in uses], as_json=as_json)


def show_disputes_at(home: Path, *, as_json: bool) -> None:
    """Show what waits for an answer of a bureau."""
    from shuiqiao.client.pages import PageQuery, read_pages
    from shuiqiao.client.resources.disputes import LIST_DISPUTES

    with home_at_work(home) as at_work:
        pages = [*read_pages(at_work, LIST_DISPUTES, PageQuery())]
    show_list("disputes", [dispute_row(row) for page in pages for row in page.items], as_json=as_json)


def use_row(use: UseRecord) -> dict[str, Any]:
    """Return a use of data as it is shown."""
    from shuiqiao.base.clock import iso_from_ms

    return {
        "asked": iso_from_ms(use.asked_ms),
        "recipient": use.recipient,
        "purpose": use.purpose,
        "mode": use.mode,
        "outcome": use.outcome,
        "field_code": use.field_code,
        "records": use.records,
        "request": use.request,
        "consent": use.consent,
    }


def dispute_row(row: DisputeRecord) -> dict[str, Any]:
    """Return a dispute as it is shown."""
    from shuiqiao.base.clock import iso_from_ms

    return {
        "dispute": row.dispute,
        "taxpayer": row.taxpayer,
        "batch": row.batch,
        "leaf": row.leaf,
        "reason": row.reason,
        "received": iso_from_ms(row.received_ms),
        "status": row.status,
        "answer": row.answer,
        "recipients": list(row.recipients),
    }


def require_hex(text: str) -> str:
    """Return a text of hexadecimal digits in lower case; raises BadParameter for another."""
    try:
        return bytes.fromhex(text).hex()
    except ValueError as error:
        raise typer.BadParameter(f"{text[:60]!r} is not hexadecimal") from error
