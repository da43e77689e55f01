"""``shuiqiao models``: a bank's own models and their uses; and models on the ledger: offer, review, approve, retire.

A name with a stroke, OWNER/ID, is of a model on the ledger; any other one is the digest of a model that a bank keeps.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from shuiqiao.cli.home import home_at_work, of_file, well_formed
from shuiqiao.cli.lending import Day, Form, ProductName, rows_of
from shuiqiao.cli.options import Home, Json, command_group
from shuiqiao.cli.output import ListForm, joined, print_json, progress_on_stderr, say, say_rows, show, show_list

if TYPE_CHECKING:
    from shuiqiao.client.resources.models import LedgerModelRecord, ModelOffer

models_app = command_group("Models: a bank's own and their uses; offered, reviewed, approved on the ledger 模型.")

ModelName = Annotated[str, typer.Argument(help="The model's digest, or enough of its beginning 模型摘要.")]
LedgerModel = Annotated[str, typer.Argument(help="The model on the ledger, OWNER/ID 账本上的模型.")]
Scorecard = Annotated[Path | None, typer.Option(help="At a bureau: JSON file of the scorecard it offers 评分卡.")]
Provider = Annotated[str, typer.Option("--to", help="The bureau that would run it, by its id 数据提供方.")]
Blind = Annotated[bool, typer.Option("--blind", help="Encrypt its weights first; the key stays here 加密权重.")]
Secure = Annotated[bool, typer.Option("--secure", help="Keep its weights here, and compute together 联合计算.")]
Outputs = Annotated[Path, typer.Option(help="TOML file of what may leave: points, bands, cuts, yes_from 输出声明.")]

SCORECARD_CODES: Final = ("credit.scorecard_malformed", "credit.feature_unknown", "base.json_")
"""Of what is wrong with the file of a scorecard; a beginning stands for all of its codes."""


class PurposeChoice(StrEnum):
    """What a model is for; as ``consent.model.Purpose``."""

    UNDERWRITING = "underwriting"
    LOAN_MONITORING = "loan_monitoring"
    MODEL_DEVELOPMENT = "model_development"
    ONE_TIME = "one_time"


class VerdictChoice(StrEnum):
    """What a review ends with; as ``models.model.ReviewOutcome``."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class RetireChoice(StrEnum):
    """Why a model is retired; as ``models.model.RetireReason``."""

    SUPERSEDED = "superseded"
    UNFIT = "unfit"
    ORDERED = "ordered"


@models_app.command("develop")
def models_develop(
    *,
    outcomes: Annotated[Path, typer.Argument(help="CSV file of the loan book: uscc, defaulted (1 or 0) 贷款台账.")],
    home: Home,
    as_of: Day = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the validation's folds 随机种子.")] = 1,
    json: Json = False,
) -> None:
    """Develop and validate a model on the loan book's kept records, and register it by its digest 建模."""
    from shuiqiao.client.resources.models import DEVELOP_MODEL, ModelDevelopment
    from shuiqiao.lending.files import outcomes_from_csv

    book = outcomes_from_csv(outcomes)
    with home_at_work(home) as bank, progress_on_stderr() as progress:
        day = None if as_of is None else as_of.date().isoformat()
        wanted = ModelDevelopment(outcomes=book, as_of=day, seed=seed)
        model = bank.perform(DEVELOP_MODEL, wanted, progress=progress)
    show(model.model_dump(), as_json=json, speak=partial(say_rows, width=12))


@models_app.command("register")
def models_register(
    *,
    scorecard: Annotated[Path, typer.Argument(help="JSON file of a scorecard that was developed elsewhere 评分卡.")],
    home: Home,
    data: Annotated[str, typer.Option(help="One sentence on the data it was trained on 训练数据.")],
    auc: Annotated[str, typer.Option(help="Its AUC on firms that it had not seen 样本外 AUC.")],
    auc_ci_95: Annotated[str, typer.Option(help="The interval of that, LOW to HIGH 置信区间.")],
    ks: Annotated[str, typer.Option(help="Its KS on those firms 样本外 KS.")],
    limit: Annotated[list[str] | None, typer.Option(help="Where not to trust it; repeat it 使用限制.")] = None,
    json: Json = False,
) -> None:
    """Register a scorecard that was developed elsewhere, with what its owner says of it 登记模型."""
    from shuiqiao.client.resources.models import REGISTER_MODEL, ModelRegistration
    from shuiqiao.lending.files import scorecard_in

    with home_at_work(home) as bank, of_file(scorecard, "SCORECARD", *SCORECARD_CODES):
        given = ModelRegistration(
            scorecard=scorecard_in(scorecard), data=data, auc=auc, auc_ci_95=auc_ci_95, ks=ks, limits=tuple(limit or ())
        )
        model = bank.perform(REGISTER_MODEL, given)
    show(model.model_dump(), as_json=json, speak=partial(say_rows, width=12))


@models_app.command("list")
def models_list(
    *,
    home: Home,
    on_ledger: Annotated[
        bool, typer.Option("--on-ledger", help="Those on the ledger whose content is here 账本上的模型.")
    ] = False,
    form: Form = ListForm.TEXT,
    json: Json = False,
) -> None:
    """List the models that this bank keeps, or those on the ledger that this institution has a part in 列出模型."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.models import LIST_LEDGER_MODELS, LIST_MODELS

    with home_at_work(home) as at_work:
        rows = rows_of(at_work, LIST_LEDGER_MODELS if on_ledger else LIST_MODELS, PageQuery())
    if on_ledger and not json:
        rows = [
            {**row, "providers": [f"{each['provider']}:{each['status']}" for each in row["providers"]]} for row in rows
        ]
    show_list("models", rows, form=form, as_json=json)


@models_app.command("show")
def models_show(
    *,
    model: Annotated[str, typer.Argument(help="The model's digest, or its beginning; or OWNER/ID on the ledger 模型.")],
    home: Home,
    json: Json = False,
) -> None:
    """Show a model's card; of one on the ledger how it stands, its content and the review's report 模型卡."""
    if "/" in model:
        _show_ledger_model(model, home=home, as_json=json)
        return
    from shuiqiao.client.resources.models import READ_MODEL, ModelQuestion

    with home_at_work(home) as bank:
        found = bank.perform(READ_MODEL, ModelQuestion(model=model))
    if json:
        print_json(found.model_dump())
        return
    from shuiqiao.credit.model_card import model_card_markdown

    say(f"digest {found.digest}")
    say(model_card_markdown(found.model_card))


def _show_ledger_model(model: str, *, home: Path, as_json: bool) -> None:
    from shuiqiao.client.resources.models import READ_LEDGER_MODEL, LedgerModelQuestion

    member, _, entry = model.partition("/")
    with home_at_work(home) as at_work:
        found = at_work.perform(READ_LEDGER_MODEL, LedgerModelQuestion(member=member, entry=entry))
    show(found.model_dump(mode="json"), as_json=as_json, speak=_speak_file)


@models_app.command("offer")
def models_offer(
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
    json: Json = False,
) -> None:
    """Put a model on the ledger and hand it to a bureau that would run it; with users, two people do 提供模型."""
    from shuiqiao.client.resources.models import OFFER_MODEL

    with home_at_work(home) as at_work, of_offer(scorecard=scorecard, outputs=outputs):
        told = at_work.perform(
            OFFER_MODEL,
            offer_in(model, to=to, purpose=purpose, outputs=outputs, scorecard=scorecard, blind=blind, secure=secure),
        )
    _show_record(told, as_json=json)


@contextmanager
def of_offer(*, scorecard: Path | None, outputs: Path) -> Generator[None]:
    """Let what is refused inside name the file of an offer that is wrong."""
    with (
        of_file(scorecard, "--scorecard", *SCORECARD_CODES),
        of_file(outputs, "--outputs", "credit.content_malformed", "credit.output_too_fine"),
    ):
        yield


def offer_in(
    model: str | None,
    *,
    to: str,
    purpose: PurposeChoice,
    outputs: Path,
    scorecard: Path | None,
    blind: bool,
    secure: bool,
) -> ModelOffer:
    """Return the offer of a model with the outputs of a file; raises what ``outputs_in`` and ``scorecard_in`` raise."""
    from shuiqiao.client.resources.models import ModelOffer, OutputsDeclared
    from shuiqiao.lending.files import outputs_in, scorecard_in

    with of_file(outputs, "--outputs", "api.request_invalid"), well_formed():
        declared = OutputsDeclared(**outputs_in(outputs))
    return ModelOffer(
        model=model,
        scorecard=None if scorecard is None else scorecard_in(scorecard),
        to=to,
        purpose=purpose.value,
        outputs=declared,
        blind=blind,
        secure=secure,
    )


@models_app.command("review")
def models_review(
    *,
    model: LedgerModel,
    home: Home,
    outcome: Annotated[VerdictChoice, typer.Option(help="What the review ends with 评审结论.")],
    findings: Annotated[str, typer.Option(help="What was found; it stands in the signed report 评审意见.")],
    json: Json = False,
) -> None:
    """Put this bureau's signed review of a model on the ledger, by its digest 评审模型."""
    from shuiqiao.client.resources.models import REVIEW_MODEL, ModelReview

    with home_at_work(home) as at_work:
        told = at_work.perform(REVIEW_MODEL, ModelReview(ledger_model=model, outcome=outcome.value, findings=findings))
    _show_record(told, as_json=json)


@models_app.command("approve")
def models_approve(*, model: LedgerModel, home: Home, json: Json = False) -> None:
    """Let a reviewed model run on this bureau's records; with users, two people do that 批准模型运行."""
    from shuiqiao.client.resources.models import APPROVE_RUN, LedgerModelChoice

    with home_at_work(home) as at_work:
        told = at_work.perform(APPROVE_RUN, LedgerModelChoice(ledger_model=model))
    _show_record(told, as_json=json)


@models_app.command("use")
def models_use(*, model: ModelName, product: ProductName, home: Home, json: Json = False) -> None:
    """Let a model decide for a product from now on; with users, two people do that 启用模型."""
    _use(model, product, home=home, as_json=json)


@models_app.command("retire")
def models_retire(
    *,
    of: Annotated[
        str, typer.Argument(metavar="PRODUCT|MODEL", help="A product, or a model on the ledger, OWNER/ID 产品或模型.")
    ],
    home: Home,
    reason: Annotated[RetireChoice, typer.Option(help="Of a model on the ledger: why 理由.")] = RetireChoice.SUPERSEDED,
    here: Annotated[
        bool, typer.Option("--here", help="Of a model on the ledger: at this bureau alone 仅本机构.")
    ] = False,
    json: Json = False,
) -> None:
    """Let no model decide for a product any more; or let a model on the ledger run no more 停用模型."""
    if "/" not in of:
        _use(None, of, home=home, as_json=json)
        return
    from shuiqiao.client.resources.models import RETIRE_MODEL, ModelRetirement

    with home_at_work(home) as at_work:
        told = at_work.perform(RETIRE_MODEL, ModelRetirement(ledger_model=of, reason=reason.value, here_only=here))
    _show_record(told, as_json=json)


def _use(model: str | None, product: str, *, home: Path, as_json: bool) -> None:
    from shuiqiao.client.resources.models import USE_MODEL, ModelUse

    with home_at_work(home) as bank:
        found = bank.perform(USE_MODEL, ModelUse(product=product, model=model))
    show({"product": found.product, "model": found.model}, as_json=as_json)


def _show_record(told: LedgerModelRecord, *, as_json: bool) -> None:
    show(told.model_dump(mode="json"), as_json=as_json, speak=_speak_record)


def _speak_record(found: Mapping[str, Any]) -> None:
    names = ("model", "digest", "form", "purpose", "status")
    say_rows({**{name: found[name] for name in names}, "outputs": joined(found["outputs"])}, width=12)
    for each in found["providers"]:
        say(f"{each['provider']}  {each['status']}  report {each['report_digest']}")


def _speak_file(found: Mapping[str, Any]) -> None:
    _speak_record(found)
    if found["report"] is not None:
        say_rows(found["report"], width=16)
    if found["content"]:
        say(found["content"])
