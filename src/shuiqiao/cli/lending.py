"""A bank at work: ``apply``, ``applications``, ``request``, ``decide``, ``products``, ``consent``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from shuiqiao.cli.home import home_at_work, of_file, well_formed
from shuiqiao.cli.options import Home, Json, OutputChoice, command_group
from shuiqiao.cli.output import ListForm, joined, print_json, progress_on_stderr, say, say_rows, show, show_list, warn

if TYPE_CHECKING:
    from shuiqiao.cli.home import HomeAtWork
    from shuiqiao.client.operation import Operation
    from shuiqiao.client.resources.products import ChurnChange

applications_app = command_group("A bank's applications: list, show, close; referrals and decisions 贷款申请.")
products_app = command_group("A bank's products: their rules and what decides for them 信贷产品.")
consent_app = command_group("Consents that enterprises gave 授权书.")

ApplicationName = Annotated[str, typer.Argument(help="The application's id, or enough of its beginning 申请编号.")]
ProductName = Annotated[str, typer.Argument(help="The product, e.g. tax-credit-loan 产品.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of judgement; left out, today 评估日.")]

RULES_CODES: Final = ("lending.product_invalid", "base.toml_")
CHURN_CODES: Final = ("lending.churn_invalid", "credit.churn_curve_invalid")
"""Of what is wrong with a file of rules or of churn curves; a beginning stands for all of its codes."""

LIST_LIMIT = 1_000
_PAGE_ITEMS = 500


class StatusChoice(StrEnum):
    """Where an application stands; as ``lending.file.ApplicationStatus``."""

    SUBMITTED = "submitted"
    REFERRED = "referred"
    APPROVED = "approved"
    REFUSED = "refused"
    CLOSED = "closed"


class OutcomeChoice(StrEnum):
    """How an application was decided."""

    APPROVED = "approved"
    REFUSED = "refused"


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
    application: Annotated[
        str | None,
        typer.Option("--id", help="Its id, 32 hex digits; left out, the same wish has the same id 申请编号."),
    ] = None,
    json: Json = False,
) -> None:
    """Take an enterprise's application under a consent on file, and put it on the ledger 受理申请.

    The same command again is the same application, so it is repeated where no answer came: while that one is open, and
    within a day. Another one for the very same needs an --id. A home's server goes on with applications by itself.
    """
    from shuiqiao.client.resources.applications import HAND_IN, HandedInApplication

    with home_at_work(home) as bank:
        wanted = HandedInApplication(
            application=application,
            product=product,
            consent=consent,
            amount_fen=amount_fen,
            other_debt_fen=other_debt_fen,
            industry=industry,
            province=province,
        )
        file = bank.perform(HAND_IN, wanted)
    show(file.model_dump(), as_json=json, speak=_speak_file)
    if file.status == "closed":
        warn(
            f"application {file.application} is closed without a decision, and this is no new one: --id with 32 hex "
            "digits of your own makes another 该申请已结案,未新建申请;如需另行申请,请用 --id 指定新的编号"
        )


def request(
    *,
    application: Annotated[
        str | None, typer.Argument(help="The application's id, or enough of its beginning 申请编号.")
    ] = None,
    home: Home,
    consent: Annotated[
        str | None, typer.Option(help="Ask under this consent, BUREAU/ID, without an application 授权书.")
    ] = None,
    json: Json = False,
) -> None:
    """Ask the bureau for what the application's consent grants, and prove the answer 请求数据."""
    if (application is None) == (consent is None):
        raise typer.BadParameter("name either an application or --consent")
    if consent is None:
        _process(str(application), home=home, as_json=json, until="proven")
        return
    from shuiqiao.base.ids import new_id
    from shuiqiao.client.resources.answers import ASK_PROVIDER, ConsentRequest

    with home_at_work(home) as bank, progress_on_stderr() as progress:
        progress("ask and prove 请求与证明", 0, None)
        answer = bank.perform(ASK_PROVIDER, ConsentRequest(request=new_id().hex(), consent=consent))
    show(answer.model_dump(), as_json=json, speak=partial(say_rows, width=12))


def score(
    *,
    consent: Annotated[str, typer.Argument(help="Under which consent, BUREAU/ID 授权书.")],
    model: Annotated[str, typer.Argument(help="A model of this bank's on the ledger, OWNER/ID 模型.")],
    output: Annotated[list[OutputChoice], typer.Option("--output", help="What may leave; repeatable 输出项.")],
    home: Home,
    json: Json = False,
) -> None:
    """Have a model run at the bureau on data that this bank does not see; only the outputs leave 可用不可见评分."""
    from shuiqiao.base.ids import new_id
    from shuiqiao.client.resources.answers import ASK_PROVIDER, ConsentRequest

    with home_at_work(home) as bank, well_formed(), progress_on_stderr() as progress:
        progress("have it scored 请求评分", 0, None)
        outputs = tuple(sorted({each.value for each in output}))
        wanted = {"request": new_id().hex(), "consent": consent, "model": model, "outputs": outputs}
        answer = bank.perform(ASK_PROVIDER, ConsentRequest.model_validate(wanted))
    show(answer.model_dump(), as_json=json, speak=_speak_score)


def _speak_score(found: Mapping[str, Any]) -> None:
    given = {name: value for name, value in found["score"].items() if value is not None}
    if "reasons" in given:
        given["reasons"] = joined(
            [
                each["feature"] if each["is_known"] else f"{each['feature']} (not known 未知)"
                for each in given["reasons"]
            ]
        )
    say_rows({**{name: found[name] for name in ("request", "provider", "as_of_size")}, **given}, width=12)


def decide(*, application: ApplicationName, home: Home, json: Json = False) -> None:
    """Take an application as far as it goes: ask, prove, assess, decide or refer, hand in 审批."""
    _process(application, home=home, as_json=json, until="closed")


def _process(application: str, *, home: Path, as_json: bool, until: Literal["proven", "closed"]) -> None:
    from shuiqiao.client.resources.applications import PROCESS, ApplicationProcessing

    with home_at_work(home) as bank, progress_on_stderr() as progress:
        progress("process the application 办理申请", 0, None)
        file = bank.perform(PROCESS, ApplicationProcessing(application=application, until=until))
    show(file.model_dump(), as_json=as_json, speak=_speak_file)


@applications_app.command("list")
def applications_list(
    *,
    home: Home,
    status: Annotated[StatusChoice | None, typer.Option(help="Those that stand so alone 状态.")] = None,
    product: Annotated[str | None, typer.Option(help="Those for this product alone 产品.")] = None,
    form: Form = ListForm.TEXT,
    json: Json = False,
) -> None:
    """List applications, oldest first, 1,000 at most 列出申请."""
    from shuiqiao.client.resources.applications import LIST_APPLICATIONS, ApplicationsQuestion

    with home_at_work(home) as bank:
        wanted = ApplicationsQuestion(status=None if status is None else status.value, product=product)
        rows = rows_of(bank, LIST_APPLICATIONS, wanted)
    show_list("applications", rows, form=form, as_json=json)


@applications_app.command("referrals")
def applications_referrals(*, home: Home, form: Form = ListForm.TEXT, json: Json = False) -> None:
    """List the applications that people decide on, oldest first 待人工审批."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.applications import LIST_REFERRALS

    with home_at_work(home) as bank:
        rows = rows_of(bank, LIST_REFERRALS, PageQuery())
    show_list("referrals", rows, form=form, as_json=json)


@applications_app.command("decisions")
def applications_decisions(
    *,
    home: Home,
    outcome: Annotated[OutcomeChoice | None, typer.Option(help="Those that came out so alone 结果.")] = None,
    form: Form = ListForm.TEXT,
    json: Json = False,
) -> None:
    """List decisions, by when their applications came in 列出审批结果."""
    from shuiqiao.client.resources.applications import LIST_DECISIONS, DecisionsQuestion

    with home_at_work(home) as bank:
        wanted = DecisionsQuestion(outcome=None if outcome is None else outcome.value)
        rows = rows_of(bank, LIST_DECISIONS, wanted)
    show_list("decisions", rows, form=form, as_json=json)


@applications_app.command("explain")
def applications_explain(*, application: ApplicationName, home: Home, json: Json = False) -> None:
    """Show a decision with the reasons that the enterprise is given 审批说明."""
    from shuiqiao.client.resources.applications import READ_DECISION, ApplicationQuestion

    with home_at_work(home) as bank:
        decision = bank.perform(READ_DECISION, ApplicationQuestion(application=application))
    show(decision.model_dump(), as_json=json, speak=partial(say_rows, width=12))


@applications_app.command("show")
def applications_show(*, application: ApplicationName, home: Home, json: Json = False) -> None:
    """Show one application's file with the timeline of its steps 申请档案."""
    from shuiqiao.client.resources.applications import READ_APPLICATION, ApplicationQuestion

    with home_at_work(home) as bank:
        file = bank.perform(READ_APPLICATION, ApplicationQuestion(application=application))
    show(file.model_dump(), as_json=json, speak=_speak_file)


@applications_app.command("close")
def applications_close(
    *,
    application: ApplicationName,
    home: Home,
    reason: Annotated[str, typer.Option(help="Why; it stands in the timeline 理由.")],
    json: Json = False,
) -> None:
    """End a file without a decision 结案."""
    from shuiqiao.client.resources.applications import CLOSE, ApplicationClosing

    with home_at_work(home) as bank:
        file = bank.perform(CLOSE, ApplicationClosing(application=application, reason=reason))
    show(file.model_dump(), as_json=json, speak=_speak_file)


@applications_app.command("ask-anew")
def applications_ask_anew(*, application: ApplicationName, home: Home, json: Json = False) -> None:
    """Let the next `request` or `decide` ask for data again, where an answer is of no use 重新请求数据."""
    from shuiqiao.client.resources.applications import ASK_ANEW, ApplicationQuestion

    with home_at_work(home) as bank:
        file = bank.perform(ASK_ANEW, ApplicationQuestion(application=application))
    show(file.model_dump(), as_json=json, speak=_speak_file)


@applications_app.command("hand-in")
def applications_hand_in(*, home: Home, json: Json = False) -> None:
    """Hand every sealed opening in at the regulator once more, which may have lost them 重新报送."""
    from shuiqiao.client.resources.applications import HAND_IN_OPENINGS
    from shuiqiao.client.wire import Nothing

    with home_at_work(home) as bank:
        handed = bank.perform(HAND_IN_OPENINGS, Nothing())
    show(handed.model_dump(), as_json=json, speak=partial(say_rows, width=12))


@products_app.command("list")
def products_list(*, home: Home, form: Form = ListForm.TEXT, json: Json = False) -> None:
    """List the products and which model decides for each 列出产品."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.products import LIST_PRODUCTS

    with home_at_work(home) as bank:
        rows = rows_of(bank, LIST_PRODUCTS, PageQuery())
    show_list("products", rows, form=form, as_json=json)


@products_app.command("shown")
def products_shown(*, home: Home, form: Form = ListForm.TEXT, json: Json = False) -> None:
    """List which credentials enterprises showed for products lately 近期出示的凭证."""
    from shuiqiao.client.resources.presentations import LIST_SHOWN
    from shuiqiao.client.wire import Nothing

    with home_at_work(home) as bank:
        rows = rows_of(bank, LIST_SHOWN, Nothing())
    show_list("shown", rows, form=form, as_json=json)


@products_app.command("show")
def products_show(*, product: ProductName, home: Home, json: Json = False) -> None:
    """Show a product's rules that are in force 产品规则."""
    from shuiqiao.client.resources.products import READ_PRODUCT, ProductQuestion

    with home_at_work(home) as bank:
        found = bank.perform(READ_PRODUCT, ProductQuestion(product=product))
    if json:
        print_json(found.model_dump())
    else:
        say_rows({name: value for name, value in found.model_dump().items() if name != "rules"}, width=24)


@products_app.command("rules")
def products_rules(*, product: ProductName, home: Home, json: Json = False) -> None:
    """Write the text of a product's rules, to change it and hand it in again 导出产品规则."""
    from shuiqiao.client.resources.products import READ_PRODUCT, ProductQuestion

    with home_at_work(home) as bank:
        found = bank.perform(READ_PRODUCT, ProductQuestion(product=product))
    result = {"product": found.product, "digest": found.digest, "rules": found.rules}
    show(result, as_json=json, speak=lambda told: say(str(told["rules"]).rstrip("\n")))


@products_app.command("change")
def products_change(
    *,
    product: ProductName,
    file: Annotated[Path, typer.Argument(help="TOML file of the new rules; `products rules` writes the old 规则文件.")],
    home: Home,
    json: Json = False,
) -> None:
    """Let new rules of a product be in force; with users, two people do that 变更产品规则."""
    from shuiqiao.client.resources.products import CHANGE_RULES, RulesChange
    from shuiqiao.lending.files import rules_in

    with home_at_work(home) as bank, of_file(file, "FILE", *RULES_CODES):
        found = bank.perform(CHANGE_RULES, RulesChange(product=product, rules=rules_in(file)))
    show({"product": found.product, "digest": found.digest, "changed": found.changed}, as_json=json)


@products_app.command("churn")
def products_churn(
    *,
    file: Annotated[Path, typer.Argument(help="CSV file: annual_rate, churn_A, churn_B, ... 客户流失曲线.")],
    home: Home,
    json: Json = False,
) -> None:
    """Keep the bank's churn curves, by which loans are priced; with users, two people do that 设置流失曲线."""
    from shuiqiao.client.resources.products import CHANGE_CHURN

    with home_at_work(home) as bank, of_file(file, "FILE", *CHURN_CODES):
        bands = bank.perform(CHANGE_CHURN, churn_change_in(file))
    show({"bands": list(bands.bands)}, as_json=json)


def churn_change_in(file: Path) -> ChurnChange:
    """Return the churn curves of a file as a message; raises what ``churn_from_csv`` raises."""
    from shuiqiao.client.resources.products import ChurnChange, CurveRecord
    from shuiqiao.lending.files import churn_from_csv

    return ChurnChange(
        curves={
            band: CurveRecord(rates=tuple(map(str, curve.rates)), churn=tuple(map(str, curve.churn)))
            for band, curve in churn_from_csv(file).items()
        }
    )


@consent_app.command("receive")
def consent_receive(
    *,
    file: Annotated[Path, typer.Argument(help="The artefact that the enterprise handed over 授权书文件.")],
    home: Home,
    json: Json = False,
) -> None:
    """Check a consent against the ledger and keep it on this bank's file 接收授权书."""
    from shuiqiao.base.files import open_regular
    from shuiqiao.client.resources.consents import FILE_ARTEFACT, ArtefactMessage
    from shuiqiao.consent.model import MAX_ARTEFACT_BYTES

    with open_regular(file) as opened:
        raw = opened.read(MAX_ARTEFACT_BYTES + 1)
    with home_at_work(home) as bank, of_file(file, "FILE", "ledger.document_", "consent.artefact_", "consent.text_"):
        told = bank.perform(FILE_ARTEFACT, ArtefactMessage(artefact=raw.hex())).model_dump()
    told["period"] = f"{told.pop('period_from')} to {told.pop('period_to')}"
    result = {name: told[name] for name in ("consent", "taxpayer", "purpose", "product", "period", "items")}
    show(result, as_json=json)


def _speak_file(result: Mapping[str, Any]) -> None:
    say_rows({name: result[name] for name in ("application", "product", "amount_fen", "status")}, width=12)
    for name in ("assessment", "decision"):
        if result[name] is not None:
            say_rows({f"{name} {key}": _in_line(key, value) for key, value in result[name].items()}, width=32)
    for entry in result["timeline"]:
        place = "" if entry["entry"] is None else f"entry {entry['entry']}"
        cause = f"{entry['code']} x{entry['times']}: {entry['cause']}" if entry["code"] else ""
        say(f"{entry['time']}  {entry['step']:<10}  {place:<14}  {cause}".rstrip())
    if result["next_try"] is not None:
        say(f"{result['next_try']}  next try 下次办理")


def _in_line(key: str, value: Any) -> Any:
    """Return a value as it stands in a line: the outputs that a decision rests on by their job."""
    if key != "outputs":
        return value
    return joined([f"{each['job']} {joined(each.get('band', each.get('yes_no')))}" for each in value])


def rows_of(bank: HomeAtWork, operation: Operation[Any, Any], asked: Any) -> list[dict[str, Any]]:
    """Return the rows of a list, 1,000 at most, as JSON objects."""
    from shuiqiao.client.pages import PageQuery, read_pages

    if not isinstance(asked, PageQuery):
        return [item.model_dump() for item in bank.perform(operation, asked).items]
    pages = islice(
        read_pages(bank, operation, asked.model_copy(update={"limit": _PAGE_ITEMS})), LIST_LIMIT // _PAGE_ITEMS
    )
    return [item.model_dump() for page in pages for item in page.items]
