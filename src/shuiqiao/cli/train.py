"""``shuiqiao train``: agree on whose records a model is trained, and see what was agreed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from shuiqiao.cli.home import all_items, home_at_work
from shuiqiao.cli.options import Home, Json, command_group, item_of
from shuiqiao.cli.output import dated, show, show_list

train_app = command_group("On whose records a model is trained 联合建模.")


@train_app.command("agree")
def train_agree(
    *,
    home: Home,
    bureau: Annotated[str, typer.Option(help="The bureau that has the records, by its id 税务机关.")],
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day of the data 数据起始日.")],
    last: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day of the data 数据截止日.")],
    item: Annotated[
        list[str],
        typer.Option("--item", help="TYPE@VERSION=GROUP,GROUP, e.g. invoice_issued@2=core,amounts; repeatable 数据项."),
    ],
    json: Json = False,
) -> None:
    """Agree with a bureau and the regulator to train on all firms whose consents allow it, as a bank 约定训练范围."""
    from shuiqiao.client.resources.trainings import AGREE_TRAINING, NewTraining

    items = {name: tuple(groups) for name, groups in map(item_of, item)}
    asked = NewTraining(bureau=bureau, items=items, period_from=first.date(), period_to=last.date())
    with home_at_work(home) as at_work:
        told = at_work.perform(AGREE_TRAINING, asked)
    show(dated(told.model_dump(mode="json"), "made_ms"), as_json=json)


@train_app.command("list")
def train_list(*, home: Home, json: Json = False) -> None:
    """List what this bank or bureau agreed to train on; ended: consents that allow nothing any more 训练约定."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.trainings import LIST_TRAININGS

    with home_at_work(home) as at_work:
        rows = [each.model_dump(mode="json") for each in all_items(at_work, LIST_TRAININGS, PageQuery())]
    show_list("trainings", [dated(row, "made_ms") for row in rows], as_json=json)
