"""``shuiqiao study``: what claims rest on, worked out on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shuiqiao.cli.options import Json, command_group
from shuiqiao.cli.output import progress_on_stderr, say, show

study_app = command_group("Work out what claims rest on 论证研究.")


@study_app.command("privacy")
def study_privacy(*, json: Json = False) -> None:
    """Attack a model runner, alone and behind the leakage account, and show what each attack learned 隐私攻击研究."""
    from shuiqiao.sandbox.extraction import run_privacy_study

    with progress_on_stderr() as progress:
        figures = run_privacy_study(progress=progress)
    show(figures, as_json=json, speak=_speak_privacy)


def _speak_privacy(figures: Mapping[str, Any]) -> None:
    for attack, found in figures["extraction"].items():
        stopped = found["account_stopped_at"]
        after = "never stopped 未被阻止" if stopped is None else f"stopped after {stopped} answers 次回答后被阻止"
        say(f"{attack}: alone 无账户 {found['naive_recovered']} bits; {after}: {found['recovered']} bits")
