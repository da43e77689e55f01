"""``shuiqiao invoice``: whether a file of an e-invoice is what a tax bureau issued."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.options import Json, command_group
from shuiqiao.cli.output import EXIT_DONE, EXIT_REFUSED, Language, print_json, reader_language, say

if TYPE_CHECKING:
    from shuiqiao.invoices.model import Report

invoice_app = command_group("E-invoices: is a file what was issued 电子发票核验.")

_VERDICTS = {"genuine": "genuine 真实", "altered": "ALTERED 已被改动", "not_verifiable": "not verifiable 无法核验"}


@invoice_app.command("verify")
def verify_invoices(
    *,
    files: Annotated[list[Path], typer.Argument(help="Files of invoices, XML or OFD 发票文件.")],
    trust: Annotated[
        Path | None,
        typer.Option(help="Folder of trusted root certificates, those between and revocation lists 受信任证书目录."),
    ] = None,
    json: Json = False,
) -> int:
    """Verify files of e-invoices: genuine, altered or not verifiable, with the reasons 核验电子发票."""
    from shuiqiao.invoices.service import verify_files

    reports = [(path, report) for path, report in verify_files(files, trust_folder=trust)]
    if json:
        print_json({"invoices": [_shape(path, report) for path, report in reports]})
    else:
        for path, report in reports:
            _speak(path, report)
    return EXIT_REFUSED if any(report.verdict != "genuine" for _, report in reports) else EXIT_DONE


def _shape(path: Path, report: Report) -> dict[str, Any]:
    import msgspec

    return {"file": str(path), **msgspec.to_builtins(report)}


def _speak(path: Path, report: Report) -> None:
    from shuiqiao.base.money import format_yuan
    from shuiqiao.invoices.model import load_checks

    say(f"{_VERDICTS[report.verdict]}  {path}")
    if report.invoice is not None:
        total = report.invoice.total_fen
        amount = "" if total is None else f", {format_yuan(total)}"
        say(f"  {report.invoice.number} {report.invoice.issue_date} {report.invoice.seller.name}{amount}")
    for finding in report.findings:
        check = load_checks()[finding.check]
        words = check.zh if reader_language() is Language.ZH else check.en
        unconfirmed = "" if check.confirmed else " (unconfirmed 未经证实)"
        say(f"  {check.effect} {check.id}: {finding.detail}")
        say(f"    rule 规则: {words}{unconfirmed}")
    for part in report.unsigned_parts:
        say(f"  unsigned 未签名: {part}")
    for chain in report.signers:
        say(f"  signed by 签名者: {chain[0]}")
    say("  anchored 账本存证: not asked 未查询")
