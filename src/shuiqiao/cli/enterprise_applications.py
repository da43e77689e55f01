"""An enterprise at a bank: applies, and sees what became of it, by the key of a consent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.base.errors import Denied
from shuiqiao.cli.enterprise_device import (
    WIDTH,
    Addresses,
    Bank,
    Bureau,
    ConsentName,
    Key,
    address_of,
    consent_name,
    consents_at,
    open_device,
    session_of,
)
from shuiqiao.cli.home import well_formed
from shuiqiao.cli.options import Json
from shuiqiao.cli.output import dated, say, say_rows, show, show_list, warn

if TYPE_CHECKING:
    from shuiqiao.base.ids import OwnedId
    from shuiqiao.client.enterprise import EnterpriseDevice
    from shuiqiao.client.http import HttpClient
    from shuiqiao.client.resources.own import OwnApplicationFile
    from shuiqiao.members.endpoint import Endpoint


def enterprise_apply(
    *,
    consent: ConsentName,
    amount_fen: Annotated[int, typer.Argument(min=1, help="The amount applied for, in fen 申请金额(分).")],
    bank: Bank,
    key: Key,
    bureau: Bureau = None,
    other_debt_fen: Annotated[int, typer.Option(min=0, help="Debts elsewhere, in fen 其他负债.")] = 0,
    industry: Annotated[str | None, typer.Option(help="Industry section, A to T 行业门类.")] = None,
    province: Annotated[str | None, typer.Option(help="Province, two digits 省份代码.")] = None,
    json: Json = False,
) -> None:
    """Apply at a bank for the product that a consent names 申请贷款.

    Where no answer came, the same command again asks for the same application.
    """
    from shuiqiao.client.enterprise import KeyPlace
    from shuiqiao.client.resources.own import APPLY, OwnApplying
    from shuiqiao.client.unanswered import perform_once

    name, addresses = consent_name(consent), Addresses.of(bureau=bureau, bank=bank)
    with well_formed():
        wanted = OwnApplying(amount_fen=amount_fen, other_debt_fen=other_debt_fen, industry=industry, province=province)
    device = open_device(key)
    with well_formed(), session_of(device, addresses, consent=name) as session:
        _hand_artefact(device, name, session, bureau=addresses.bureau)
        file = perform_once(
            KeyPlace(key),
            session,
            APPLY,
            wanted={"consent": name, **wanted.model_dump(mode="json")},
            make=lambda: wanted,
            now_ms=device.now_ms(),
        )
        result = _application_row(file)
    show(result, as_json=json, speak=_speak_application)


def _hand_artefact(device: EnterpriseDevice, consent: OwnedId, session: HttpClient, *, bureau: Endpoint | None) -> None:
    """Hand the artefact to the bank, unless it has it: the bureau does so too, and may not have reached it."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.own import HAND_OWN_ARTEFACT, LIST_OWN_CONSENTS, READ_OWN_ARTEFACT, ConsentChoice

    if session.perform(LIST_OWN_CONSENTS, PageQuery(limit=1)).items:
        return
    with device.at_bureau(bureau) as at_bureau:
        artefact = at_bureau.perform(READ_OWN_ARTEFACT, ConsentChoice.of(consent))
    session.perform(HAND_OWN_ARTEFACT, artefact)


def enterprise_applications(
    *,
    application: Annotated[str | None, typer.Argument(help="One application in full, by its id 申请编号.")] = None,
    bank: Bank,
    key: Key,
    bureau: Bureau = None,
    consent: Annotated[
        str | None, typer.Option(help="Under this consent alone; left out, all to this bank 授权书.")
    ] = None,
    json: Json = False,
) -> None:
    """List your applications at a bank, or show one with its timeline, the decision and its reasons 我的申请."""
    from shuiqiao.client.pages import PageQuery, read_pages
    from shuiqiao.client.resources.own import LIST_OWN_APPLICATIONS, READ_OWN_APPLICATION, ApplicationChoice

    addresses, named = Addresses.of(bureau=bureau, bank=bank), None if consent is None else consent_name(consent)
    device, address = open_device(key), address_of(bank)
    rows: list[dict[str, Any]] = []
    for name in consents_at(device, addresses, consent=named):
        try:
            with well_formed(), device.at_bank(address, consent=name, patience_s=0) as session:
                pages = [*read_pages(session, LIST_OWN_APPLICATIONS, PageQuery())]
                found = [row for page in pages for row in page.items]
                if application is not None and any(row.application == application for row in found):
                    file = session.perform(READ_OWN_APPLICATION, ApplicationChoice(application=application))
                    show(_application_row(file), as_json=json, speak=_speak_application)
                    return
        except Denied as error:
            if consent is not None or error.code != "node.login_refused":
                raise
            warn(f"{bank} does not know consent {name} yet, or another key made it: nothing of it is shown")
            continue
        rows += [dated(row.model_dump(mode="json"), "submitted_ms") for row in found]
    if application is not None:
        raise typer.BadParameter(f"{application[:60]!r} is no application of yours at {bank}")
    show_list("applications", rows, as_json=json)


def _application_row(file: OwnApplicationFile) -> dict[str, Any]:
    row = dated(file.model_dump(mode="json"), "submitted_ms")
    return {**row, "timeline": [dated(step, "time_ms") for step in row["timeline"]]}


def _speak_application(result: Any) -> None:
    say_rows({name: result[name] for name in ("application", "product", "amount_fen", "status")}, width=WIDTH)
    for step in result["timeline"]:
        place = "" if step["entry"] is None else f"entry {step['entry']}"
        cause = f"{step['code']}: {step['cause_en']} {step['cause_zh']}" if step["code"] else ""
        say(f"{step['time']}  {step['step']:<10}  {place}{cause}".rstrip())
    if result["note_en"]:
        say(f"{result['note_en']} {result['note_zh']}")
    decision = result["decision"]
    if decision is not None:
        say_rows({name: decision[name] for name in ("outcome", "limit_fen", "annual_rate")}, width=WIDTH)
        for reason in decision["reasons"]:
            say(f"- {reason['en']} {reason['zh']}")
