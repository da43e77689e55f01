"""A bank at work: ``apply``, ``applications``, ``request``, ``decide``, ``models``, ``products``, ``consent``."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.options import Home, Json, command_group, open_home
from shuiqiao.cli.output import print_json, progress_on_stderr, say, say_rows, show

if TYPE_CHECKING:
    from shuiqiao.lending.file import ApplicationFile
    from shuiqiao.node.institution import Institution

applications_app = command_group("A bank's applications: list, show, close 贷款申请.")
models_app = command_group("A bank's models: develop, list, show, use 信贷模型.")
products_app = command_group("A bank's products and what decides for them 信贷产品.")
consent_app = command_group("Consents that enterprises gave 授权书.")

ApplicationName = Annotated[str, typer.Argument(help="The application's id, or enough of its beginning 申请编号.")]
ModelName = Annotated[str, typer.Argument(help="The model's digest, or enough of its beginning 模型摘要.")]
ProductName = Annotated[str, typer.Argument(help="The product, e.g. tax-credit-loan 产品.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of judgement; left out, today 评估日.")]

LIST_LIMIT = 1_000


class StatusChoice(StrEnum):
    """Where an application stands; as ``lending.file.ApplicationStatus``."""

    SUBMITTED = "submitted"
    REFERRED = "referred"
    APPROVED = "approved"
    REFUSED = "refused"
    CLOSED = "closed"


class ListForm(StrEnum):
    """How a list is written."""

    TEXT = "text"
    CSV = "csv"


Form = Annotated[ListForm, typer.Option("--format", help="Lines for a person, or CSV 输出格式.")]


def apply(
    *,
    product: ProductName,
    consent: Annotated[str, typer.Argument(help="The consent's name, BUREAU/ID 授权书.")],
    amount_fen: Annotated[int, typer.Argument(min=1, help="The amount applied for, in fen 申请金额(分).")],
    home: Home,
    other_debt_fen: Annotated[int, typer.Option(min=0, help="Debts elsewhere, as declared, in fen 其他负债.")] = 0,
    industry: Annotated[str | None, typer.Option(help="Industry section, A to T 行业门类.")] = None,
    province: Annotated[str | None, typer.Option(help="Province, two digits 省份代码.")] = None,
    json: Json = False,
) -> None:
    """Take an enterprise's application under a consent on file, and put it on the ledger 受理申请."""
    from shuiqiao.base.ids import OwnedId
    from shuiqiao.lending.model import ApplicantFile

    with open_home(home) as bank:
        name = OwnedId(consent)
        application = bank.lending.apply(
            bank.products.product(product),
            taxpayer=bank.consent_file.artefact(name).taxpayer,
            consent=name,
            amount_fen=amount_fen,
            applicant=ApplicantFile(other_debt_fen=other_debt_fen, industry=industry, province=province),
        )
        result = _told(bank, application.id)
    show(result, as_json=json, speak=_speak_file)


def request(*, application: ApplicationName, home: Home, json: Json = False) -> None:
    """Ask the bureau for what the application's consent grants, and prove the answer 请求数据."""
    from shuiqiao.lending.file import Step

    _process(application, home=home, as_json=json, until=Step.PROVEN)


def decide(*, application: ApplicationName, home: Home, json: Json = False) -> None:
    """Take an application as far as it goes: ask, prove, assess, decide or refer, hand in 审批."""
    from shuiqiao.lending.file import Step

    _process(application, home=home, as_json=json, until=Step.CLOSED)


def _process(application: str, *, home: Path, as_json: bool, until: Any) -> None:
    from shuiqiao.node.applications import find_application

    with open_home(home) as bank, progress_on_stderr() as progress:
        progress("process the application 办理申请", 0, None)
        name = find_application(bank.application_store, application)
        bank.applications.process(name, until=until)
        result = _told(bank, name)
    show(result, as_json=as_json, speak=_speak_file)


@applications_app.command("list")
def applications_list(
    *,
    home: Home,
    status: Annotated[StatusChoice | None, typer.Option(help="Those that stand so alone 状态.")] = None,
    form: Form = ListForm.TEXT,
    json: Json = False,
) -> None:
    """List applications, oldest first, 1,000 at most 列出申请."""
    from shuiqiao.base.clock import iso_from_ms
    from shuiqiao.lending.file import ApplicationStatus

    with open_home(home) as bank:
        wanted = None if status is None else ApplicationStatus(status.value)
        found = bank.application_store.applications(status=wanted, limit=LIST_LIMIT)
    rows = [
        {
            "application": row.application.id.hex(),
            "product": row.application.product,
            "taxpayer": row.application.taxpayer,
            "amount_fen": row.application.amount_fen,
            "submitted": iso_from_ms(row.application.submitted_ms),
            "status": str(row.status),
        }
        for row in found
    ]
    _show_list("applications", rows, form=form, as_json=json)


@applications_app.command("show")
def applications_show(*, application: ApplicationName, home: Home, json: Json = False) -> None:
    """Show one application's file with the timeline of its steps 申请档案."""
    from shuiqiao.node.applications import find_application

    with open_home(home) as bank:
        result = _told(bank, find_application(bank.application_store, application))
    show(result, as_json=json, speak=_speak_file)


@applications_app.command("close")
def applications_close(
    *,
    application: ApplicationName,
    home: Home,
    reason: Annotated[str, typer.Option(help="Why; it stands in the timeline 理由.")],
    json: Json = False,
) -> None:
    """End a file without a decision 结案."""
    _change(application, home, json, lambda process, name: process.close(name, reason=reason))


@applications_app.command("ask-anew")
def applications_ask_anew(*, application: ApplicationName, home: Home, json: Json = False) -> None:
    """Let the next `request` or `decide` ask for data again, where an answer is of no use 重新请求数据."""
    _change(application, home, json, lambda process, name: process.ask_anew(name))


def _change(application: str, home: Path, as_json: bool, act: Callable[[Any, bytes], object]) -> None:  # noqa: FBT001
    from shuiqiao.node.applications import find_application

    with open_home(home) as bank:
        name = find_application(bank.application_store, application)
        act(bank.applications, name)
        result = _told(bank, name)
    show(result, as_json=as_json, speak=_speak_file)


@models_app.command("develop")
def models_develop(
    *,
    outcomes: Annotated[Path, typer.Argument(help="CSV file of the loan book: uscc, defaulted (1 or 0) 贷款台账.")],
    home: Home,
    as_of: Day = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the validation's folds 随机种子.")] = 1,
    json: Json = False,
) -> None:
    """Develop and validate a model on the loan book's kept records, and keep it by its digest 建模."""
    from shuiqiao.lending.files import outcomes_from_csv

    book = outcomes_from_csv(outcomes)
    with open_home(home) as bank, progress_on_stderr() as progress:
        progress("develop and validate the model 建模与验证", 0, None)
        day = bank.today() if as_of is None else as_of.date()
        result = bank.lending_models.develop(book, as_of=day, seed=seed).as_json()
    show(result, as_json=json, speak=partial(say_rows, width=12))


@models_app.command("list")
def models_list(*, home: Home, form: Form = ListForm.TEXT, json: Json = False) -> None:
    """List the models that this bank keeps 列出模型."""
    with open_home(home) as bank:
        rows = [model.as_json() for model in bank.lending_models.models.models()]
    _show_list("models", rows, form=form, as_json=json)


@models_app.command("show")
def models_show(*, model: ModelName, home: Home, json: Json = False) -> None:
    """Show a model's card: what it was made of, how well it did, where not to trust it 模型卡."""
    from shuiqiao.credit.model_card import model_card_markdown

    with open_home(home) as bank:
        found = bank.lending_models.models.find(model)
    if json:
        print_json({**found.as_json(), "model_card": found.model_card})
    else:
        say(f"digest {found.digest.hex()}")
        say(model_card_markdown(found.model_card))


@models_app.command("use")
def models_use(*, model: ModelName, product: ProductName, home: Home, json: Json = False) -> None:
    """Let a model decide for a product from now on 启用模型."""
    with open_home(home) as bank:
        found = bank.lending_models.models.find(model)
        bank.lending_models.use(found.digest, product=product)
        result = {"product": product, "model": found.digest.hex()}
    show(result, as_json=json)


@products_app.command("list")
def products_list(*, home: Home, form: Form = ListForm.TEXT, json: Json = False) -> None:
    """List the products and which model decides for each 列出产品."""
    with open_home(home) as bank:
        rows = [use.as_json() for use in bank.products.in_use()]
    _show_list("products", rows, form=form, as_json=json)


@products_app.command("show")
def products_show(*, product: ProductName, home: Home, json: Json = False) -> None:
    """Show a product's rules 产品规则."""
    with open_home(home) as bank:
        wanted = bank.products.product(product).id
        (result,) = [use.as_json(whole=True) for use in bank.products.in_use() if use.rules.product.id == wanted]
    show(result, as_json=json, speak=partial(say_rows, width=24))


@products_app.command("churn")
def products_churn(
    *,
    file: Annotated[Path, typer.Argument(help="CSV file: annual_rate, churn_A, churn_B, ... 客户流失曲线.")],
    home: Home,
    json: Json = False,
) -> None:
    """Keep the bank's churn curves, by which loans are priced 设置流失曲线."""
    from shuiqiao.lending.files import churn_from_csv

    curves = churn_from_csv(file)
    with open_home(home) as bank:
        bank.products.set_churn(curves)
    show({"bands": sorted(curves)}, as_json=json)


@consent_app.command("receive")
def consent_receive(
    *,
    file: Annotated[Path, typer.Argument(help="The artefact that the enterprise handed over 授权书文件.")],
    home: Home,
    json: Json = False,
) -> None:
    """Check a consent against the ledger and keep it on this bank's file 接收授权书."""
    from shuiqiao.base.files import open_regular
    from shuiqiao.consent.model import MAX_ARTEFACT_BYTES

    with open_regular(file) as opened:
        raw = opened.read(MAX_ARTEFACT_BYTES + 1)
    with open_home(home) as bank:
        artefact = bank.consent_file.receive(raw)
    result = {
        "consent": artefact.name,
        "taxpayer": artefact.taxpayer,
        "purpose": str(artefact.purpose),
        "product": artefact.product,
        "period": f"{artefact.period_from} to {artefact.period_to}",
        "items": {type_id: list(groups) for type_id, groups in artefact.items.items()},
    }
    show(result, as_json=json)


def _told(bank: Institution, application: bytes) -> dict[str, Any]:
    file: ApplicationFile = bank.application_store.file(application)
    return file.as_json(suite=bank.suite)


def _speak_file(result: Mapping[str, Any]) -> None:
    say_rows({name: result[name] for name in ("application", "product", "amount_fen", "status")}, width=12)
    for name in ("assessment", "decision"):
        if result[name] is not None:
            say_rows({f"{name[:8]} {key}": value for key, value in result[name].items()}, width=28)
    for entry in result["timeline"]:
        place = "" if entry["entry"] is None else f"entry {entry['entry']}"
        cause = f"{entry['code']} x{entry['times']}: {entry['cause']}" if entry["code"] else ""
        say(f"{entry['time']}  {entry['step']:<10}  {place:<14}  {cause}".rstrip())


def _show_list(name: str, rows: Sequence[Mapping[str, Any]], *, form: ListForm, as_json: bool) -> None:
    if as_json:
        print_json({name: list(rows)})
    elif form is ListForm.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([list(rows[0]), *(list(row.values()) for row in rows)] if rows else [])
    else:
        for row in rows:
            say("  ".join(str(value) for value in row.values()))
        say(f"{len(rows)} {name} 共 {len(rows)} 项")
