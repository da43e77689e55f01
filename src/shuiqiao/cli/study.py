"""``shuiqiao study``: what claims rest on, worked out on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from shuiqiao.base.environment import DATA_VARIABLE
from shuiqiao.cli.options import Json, command_group
from shuiqiao.cli.output import progress_on_stderr, say, show

study_app = command_group("Work out what claims rest on 论证研究.")


@study_app.command("privacy")
def study_privacy(
    *,
    taxpayers: Annotated[
        int, typer.Option(min=1, max=100_000, help="Synthetic taxpayers on whom every mode's score is compared.")
    ] = 10_000,
    enterprises: Annotated[
        int, typer.Option(min=50, max=10_000, help="Enterprises whose consents a reader of the ledger tries to link.")
    ] = 300,
    entry_delay_min: Annotated[
        int, typer.Option(min=0, max=600, help="The setting entry_delay_min of their bureau and banks.")
    ] = 600,
    data: Annotated[
        Path | None,
        typer.Option(envvar=DATA_VARIABLE, help="Folder of research data on which models are trained 研究数据目录."),
    ] = None,
    json: Json = False,
) -> None:
    """Attack a model runner and the ledger, compare what modes score, and look at what crosses in each 隐私计算研究."""
    from shuiqiao.sandbox.privacy_study import run_privacy_study

    with progress_on_stderr() as progress:
        figures = run_privacy_study(
            taxpayers=taxpayers, enterprises=enterprises, entry_delay_min=entry_delay_min, data=data, progress=progress
        )
    show(figures, as_json=json, speak=_speak_privacy)


def _speak_privacy(figures: Mapping[str, Any]) -> None:
    for attack, found in figures["extraction"].items():
        stopped = found["account_stopped_at"]
        after = "never stopped 未被阻止" if stopped is None else f"stopped after {stopped} answers 次回答后被阻止"
        say(f"{attack}: alone 无账户 {found['naive_recovered']} bits; {after}: {found['recovered']} bits")
    for mode, found in figures["score_equality"].items():
        say(f"score 评分 {mode}: {_compared(found)}")
    for mode, leaked in figures["leaked_bytes"].items():
        say(f"crossed 传输 {mode}: {_crossed(leaked, figures['granted_bytes'][mode])}")
    for party, modes in figures["who_saw_what"].items():
        for mode, known in modes.items():
            say(f"{party} by 方式 {mode}: {known['fields']} fields 字段, {known['bits']} bits")
    linking = figures["linking"]
    say(
        f"linking 授权关联: AUC {linking['attack_auc_before']}; entries kept back up to 延后登记至多 "
        f"{linking['entry_delay_min']} min: {linking['after']}"
    )
    for form, found in figures["joint_training"].items():
        say(f"joint training 联合训练 {form}: {_trained(found)}")


def _compared(found: Mapping[str, Any]) -> str:
    if "refused" in found:
        return str(found["refused"]["message"])
    bands = "bands equal 等级一致" if found["bands_equal"] else "bands differ 等级不一致"
    return f"{found['n']} taxpayers 户, at most {found['max_points_error']} points off 分差, {bands}"


def _trained(found: Mapping[str, Any]) -> str:
    if "message" in found:
        return str(found["message"])
    return (
        f"AUC {found['joint_auc']}; pooled data 集中训练 {found['central_auc']}, "
        f"difference 差异 95 % {found['auc_difference_ci']}; bank alone 仅银行 {found['guest_auc']}"
    )


def _crossed(leaked: Any, granted: Any) -> str:
    if isinstance(leaked, Mapping):
        return str(granted["refused"]["message"])
    return f"{leaked} bytes beyond what is granted 越权字节; {granted} of what is granted 授权字节"
