"""``shuiqiao audit``: of a home, as of a day gone by, or for ever on an outsider's machine."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import system_entropy
from shuiqiao.base.visible import visible_line
from shuiqiao.cli.home import all_items, home_at_work, home_to_read, well_formed
from shuiqiao.cli.options import Home, Json, OptionalHome
from shuiqiao.cli.output import (
    EXIT_DONE,
    EXIT_REFUSED,
    dated,
    joined,
    print_json,
    progress_on_stderr,
    say,
    say_next,
    show,
    show_list,
    warn,
)

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.node.home.ledger_folder import LedgerFolder
    from shuiqiao.node.published.audit_watch import AuditWatch
    from shuiqiao.node.published.standing_audit import StandingAudit
    from shuiqiao.oversight.as_of import PastRow

audit_app = typer.Typer(help="Replay and check; statistics and alarms 审计与监管.", rich_markup_mode=None)

DEFAULT_FOLDER = Path("audit")
DEFAULT_INTERVAL_S = 60
_MAX_DAY_S = 86_400


Proofs = Annotated[Path | None, typer.Option(help="With --as-of: a folder for a receipt of each row 逐条回执目录.")]
Obligations = Annotated[
    bool, typer.Option("--obligations", help="With --home: rules that bind it, controls, live evidence 合规义务.")
]
WebhookFile = Annotated[
    Path | None,
    typer.Option(
        help="With --follow: the file that holds the URL to which evidence of a contradiction is posted: it may hold a "
        "secret 告警地址文件."
    ),
]


class AttributeChoice(StrEnum):
    """By what published decisions are counted."""

    GRADE = "grade"
    INDUSTRY = "industry"
    PROVINCE = "province"


@audit_app.callback(invoke_without_command=True)
def audit(
    *,
    context: typer.Context,
    home: OptionalHome = None,
    follow: Annotated[
        str | None,
        typer.Option(help="Follow a network from outside: URL of published files, or of a member's API 持续审计."),
    ] = None,
    genesis: Annotated[Path | None, typer.Option(help="With --follow: the network's public genesis.json.")] = None,
    folder: Annotated[
        Path, typer.Option(help="With --follow: the auditor's own copy of the ledger 审计目录.")
    ] = DEFAULT_FOLDER,
    once: Annotated[bool, typer.Option("--once", help="With --follow: one round, then end 只查一次.")] = False,
    interval: Annotated[
        int, typer.Option(min=1, max=_MAX_DAY_S, help="With --follow: seconds between two rounds 间隔秒数.")
    ] = DEFAULT_INTERVAL_S,
    metrics: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="With --follow: loopback port of /metrics 指标端口.")
    ] = None,
    webhook_file: WebhookFile = None,
    as_of: Annotated[
        str | None,
        typer.Option(help="What held as of a day (2026-11-30), a size in leaves, or a kept checkpoint file 截至."),
    ] = None,
    about: Annotated[
        str, typer.Option(help="With --as-of: only where this member is author or recipient 相关成员.")
    ] = "",
    proofs: Proofs = None,
    obligations: Obligations = False,
    pin: Annotated[str, typer.Option(help="SHA-256 of the server's public key (SPKI), in hex 证书公钥指纹.")] = "",
    json: Json = False,
) -> int:
    """Replay the ledger from genesis and check everything 重放审计."""
    if context.invoked_subcommand is not None:
        return EXIT_DONE
    if as_of is not None:
        return _audit_past(as_of, home=home, genesis=genesis, folder=folder, about=about, proofs=proofs, as_json=json)
    if follow is None:
        if home is None:
            raise typer.BadParameter("name a home with --home, or a log to follow with --follow URL")
        return _review(home, as_json=json) if obligations else _audit_home(home, as_json=json)
    webhook = None if webhook_file is None else _webhook_in(webhook_file)
    with ExitStack() as stack:
        audit = _open_standing(stack, url=follow, pin=pin, genesis=genesis, home=home, folder=folder)
        watch = _watch(audit, interval_s=interval)
        if metrics is not None:
            _serve_figures(stack, watch, port=metrics)
        try:
            if not once:
                watch.run()
            found = watch.go_round()
        except ShuiqiaoError as error:
            if audit.contradiction is None:
                raise
            return _end(audit, error, url=follow, folder=folder, webhook=webhook, as_json=json)
    result = {"contradicted": False, "network": audit.parameters.network.hex(), "followed": follow, **found.as_json()}
    if json:
        print_json(result)
    return EXIT_DONE


@audit_app.command("statistics")
def audit_statistics(
    *,
    home: Home,
    by: Annotated[AttributeChoice | None, typer.Option("--by", help="By this attribute alone 统计维度.")] = None,
    json: Json = False,
) -> None:
    """List what this regulator published of decisions, cell by cell; each holds enough firms to hide one 统计."""
    from shuiqiao.client.resources.oversight import LIST_STATISTICS, StatisticsQuestion

    with home_to_read(home) as at_work:
        asked = StatisticsQuestion(attribute=None if by is None else by.value)
        rows = [cell.model_dump(mode="json") for cell in all_items(at_work, LIST_STATISTICS, asked)]
    show_list("cells", [dated(row, "published_ms") for row in rows], as_json=json)


@audit_app.command("publish")
def audit_publish(
    *,
    home: Home,
    least_firms: Annotated[
        int, typer.Option(min=2, max=1_000_000, help="Firms that every cell holds at least 单元格最少企业数.")
    ] = 5,
    json: Json = False,
) -> None:
    """Publish statistics of the decisions that no release counted yet, as a regulator 发布统计."""
    from shuiqiao.client.resources.oversight import PUBLISH_STATISTICS, NewRelease

    with home_at_work(home) as at_work:
        told = at_work.perform(PUBLISH_STATISTICS, NewRelease(least_firms=least_firms))
    result = dated(told.model_dump(mode="json"), "published_ms")
    spoken = {**result, "tables": [table.attribute for table in told.tables]}
    show(result if json else spoken, as_json=json)


@audit_app.command("evidence")
def audit_evidence(
    computation: Annotated[str, typer.Argument(help="The request that it answers, as BANK/ID 请求编号.")],
    *,
    home: Home,
    out: Annotated[Path, typer.Option(help="The file to write 输出文件.")],
    json: Json = False,
) -> None:
    """Seal this party's evidence of a joint computation to the regulator, as a bank or a bureau 多方计算证据."""
    from shuiqiao.base.durable import write_file
    from shuiqiao.client.resources.upkeep import SHOW_COMPUTATION, ComputationChoice

    with home_at_work(home) as at_work:
        told = at_work.perform(SHOW_COMPUTATION, ComputationChoice(computation=computation))
    write_file(out, [told.evidence.encode("ascii")])
    show(
        {"party": told.party, "regulator": told.regulator, "computation": told.computation, "file": str(out)},
        as_json=json,
    )


@audit_app.command("computation")
def audit_computation(
    computation: Annotated[str, typer.Argument(help="The request that it answers, as BANK/ID 请求编号.")],
    *,
    home: Home,
    log: Annotated[
        list[Path] | None,
        typer.Option(help="What `audit evidence` wrote; without any, both parties are asked 各方证据文件."),
    ] = None,
    json: Json = False,
) -> int:
    """Replay a joint computation and name who departed from what was agreed, as a regulator 核查多方计算."""
    from shuiqiao.client.resources.upkeep import REPLAY_COMPUTATION, ComputationAsked

    evidence = tuple(_evidence_in(file) for file in log or ())
    with home_at_work(home) as at_work:
        found = at_work.perform(REPLAY_COMPUTATION, ComputationAsked(computation=computation, evidence=evidence))
    show(found.model_dump(mode="json"), as_json=json, speak=_speak_computation)
    return EXIT_DONE if found.holds else EXIT_REFUSED


@audit_app.command("opening")
def audit_opening(
    request: Annotated[str, typer.Argument(help="The request that it answers, as BANK/ID 请求编号.")],
    *,
    home: Home,
    json: Json = False,
) -> None:
    """Have a bureau open the manifest of an answer that showed no records, as a regulator 打开应答清单."""
    from shuiqiao.client.resources.requests import OPEN_MANIFEST, OpeningQuestion

    with well_formed(), home_at_work(home) as at_work:
        found = at_work.perform(OPEN_MANIFEST, OpeningQuestion(ledger_request=request))
    show(found.model_dump(mode="json"), as_json=json, speak=_speak_opening)


def _speak_opening(found: Mapping[str, Any]) -> None:
    say(f"salt 盐  {found['salt']}")
    for record_type, batches in found["records"].items():
        for batch, places in batches.items():
            say(f"{record_type}  {batch}  {', '.join(map(str, places))}")


def _evidence_in(file: Path) -> str:
    from shuiqiao.client.resources.upkeep import MAX_EVIDENCE_CHARS

    with file.open(encoding="ascii", errors="replace") as opened:
        return opened.read(MAX_EVIDENCE_CHARS + 1).strip()


def _speak_computation(found: Mapping[str, Any]) -> None:
    say(f"{found['computation']}: {found['bank']} and {found['bureau']}, {found['output'] or 'no output'}")
    for each in found["departures"]:
        party = each["party"] or "one of both 双方之一"
        say(f"DEPARTED 背离约定  {party}  {each['code']}: {each['says']} {each['says_zh']}")
    for each in found["unseen"]:
        say(f"UNSEEN 无法核查  {each}")
    if found["holds"]:
        say("nobody departed from what was agreed 双方均未背离约定")


@audit_app.command("alarms")
def audit_alarms(*, home: Home, json: Json = False) -> None:
    """List what this node found wrong and is so still, and the alarms that members raised on the ledger 告警."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.oversight import LIST_ALARMS, LIST_STANDING_ALARMS, AlarmQuestion

    with home_at_work(home) as at_work:
        standing = [each.model_dump(mode="json") for each in all_items(at_work, LIST_STANDING_ALARMS, PageQuery())]
        raised = [each.model_dump(mode="json") for each in all_items(at_work, LIST_ALARMS, AlarmQuestion())]
    standing = [dated(row, "since_ms") for row in standing]
    raised = [dated(row, "time_ms") for row in raised]
    if json:
        print_json({"standing": standing, "raised": raised})
        return
    for row in standing:
        say(f"{row['since']}  {row['kind']}  {row['says']} {row['says_zh']}")
    show_list("alarms on the ledger 账本告警", raised, as_json=False)


def _open_standing(
    stack: ExitStack, *, url: str, pin: str, genesis: Path | None, home: Path | None, folder: Path
) -> StandingAudit:
    from shuiqiao.cli.home import load_token
    from shuiqiao.node.published.http_tiles import HttpTiles
    from shuiqiao.node.published.standing_audit import StandingAudit
    from shuiqiao.node.published.verification import ReceiptVerifier

    trusted = ReceiptVerifier.from_genesis(genesis=genesis, home=home)
    source = stack.enter_context(HttpTiles(url, token=load_token(), pin=_pin(pin)))
    opened = StandingAudit(folder, source=source, parameters=trusted.parameters, clock=SystemClock())
    say_to_stderr(f"genesis {trusted.fingerprint} (compare this fingerprint with what you were given 请核对创世指纹)")
    return stack.enter_context(opened)


def _webhook_in(file: Path) -> str:
    """Return the URL in a file, which no message shows; raises ``client.url_invalid``."""
    from shuiqiao.cli.secret import secret_in
    from shuiqiao.client.http import require_url
    from shuiqiao.node.published.http_tiles import split_url

    url = secret_in(file, what="the file of the webhook").strip()
    try:
        require_url(split_url(url, may_ask=True)[0], pin=None)
    except InvalidInput:
        told = f"the file of the webhook, {file}, holds no URL of the form https://host:port/path"
        raise InvalidInput("client.url_invalid", told) from None
    return url


def _pin(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text) or None
    except ValueError as error:
        raise typer.BadParameter(f"--pin is not in hex: {text[:80]!r}") from error


def _watch(audit: StandingAudit, *, interval_s: int) -> AuditWatch:
    from shuiqiao.node.published.audit_watch import AuditWatch

    return AuditWatch(audit, interval_s=interval_s, clock=SystemClock(), entropy=system_entropy, tell=say_to_stderr)


def _serve_figures(stack: ExitStack, watch: AuditWatch, *, port: int) -> None:
    from shuiqiao.node.figures import LOOPBACK, served_figures

    found = stack.enter_context(served_figures(watch.figures, port=port))
    say_to_stderr(f"metrics http://{LOOPBACK}:{found}/metrics")


def say_to_stderr(line: str) -> None:
    """Write a line on how it goes, at once."""
    sys.stderr.write(f"{visible_line(line)}\n")
    sys.stderr.flush()


def _end(
    audit: StandingAudit, error: ShuiqiaoError, *, url: str, folder: Path, webhook: str | None, as_json: bool
) -> int:
    """Write the evidence, post it where asked, tell of it, and return the exit code of a contradiction."""
    from shuiqiao.node.published.audit_watch import post_evidence, write_evidence

    path, evidence = write_evidence(audit, folder, url=url)
    refusal = None if webhook is None else post_evidence(webhook, evidence, entropy=system_entropy)
    if refusal is not None:
        warn(f"the evidence was not posted to the webhook: {refusal}")
    result = {"contradicted": True, "evidence": str(path), "posted": webhook is not None and refusal is None}
    result |= {**error.as_dict(), "network": evidence["network"], "followed": url}
    show(result, as_json=as_json, speak=_speak_end)
    return EXIT_REFUSED


def _speak_end(result: Mapping[str, Any]) -> None:
    say(f"CONTRADICTION 矛盾  {result['code']}: {result['message']}")
    say(f"evidence 证据  {result['evidence']}")
    say_next(result)


def _audit_past(
    text: str, *, home: Path | None, genesis: Path | None, folder: Path, about: str, proofs: Path | None, as_json: bool
) -> int:
    from shuiqiao.node.past import AskedMoment, past_of_folder, told_members, told_moment, told_rows
    from shuiqiao.oversight.as_of import Subject

    ledger, asked = (
        _ledger_of(home, genesis=genesis, folder=folder),
        AskedMoment.from_text(text, now_ms=SystemClock().now_ms()),
    )
    with progress_on_stderr() as progress:
        past = past_of_folder(ledger, asked, progress=progress)
    if about:
        past.require_member(about)
    rows = {str(subject): told_rows(past, subject, about=about) for subject in Subject}
    result = {"as_of": text, **told_moment(past), "members": told_members(past), **rows}
    if proofs is not None:
        chosen = (row for subject in Subject for row in past.rows(subject, about=about))
        result["proofs"] = _write_proofs(proofs, ledger, chosen, known=asked.known)
    show(result, as_json=as_json, speak=_speak_past)
    return EXIT_DONE


def _ledger_of(home: Path | None, *, genesis: Path | None, folder: Path) -> LedgerFolder:
    """Return the ledger of a home, or that of an auditor's own folder."""
    from shuiqiao.node.home.ledger_folder import LedgerFolder
    from shuiqiao.node.home.settings import Home
    from shuiqiao.node.published.verification import ReceiptVerifier

    if home is not None:
        return LedgerFolder.of_home(Home(home))
    trusted = ReceiptVerifier.from_genesis(genesis=genesis, home=None)
    return LedgerFolder(folder=folder, parameters=trusted.parameters)


def _write_proofs(
    folder: Path, ledger: LedgerFolder, rows: Iterable[PastRow], *, known: Checkpoint | None
) -> list[str]:
    from shuiqiao.cli.receipts import is_receipt, write_proof
    from shuiqiao.crypto.suites import get_suite
    from shuiqiao.node.past import prove_rows
    from shuiqiao.node.published.verification import ReceiptVerifier

    verifier = ReceiptVerifier(parameters=ledger.parameters, suite=get_suite(ledger.parameters.suite))
    folder.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    for row, data in prove_rows(ledger, rows, known=known):
        path = folder / f"{row.index}.receipt"
        write_proof(path, data, is_one=partial(is_receipt, verifier))
        written.append(str(path))
    return written


_SHOWN_ROWS = 20
_TITLES = {"consents": "consents 有效授权", "anchors": "anchors 已锚定", "given": "given 已提供"}


def _speak_past(result: Mapping[str, Any]) -> None:
    say(f"as of {result['as_of']}: block {result['height']} of {result['time']}, {result['size']} leaves")
    say(f"root 根哈希 {result['root']}")
    say(f"members 成员 {', '.join(row['member'] for row in result['members'])}")
    for subject, title in _TITLES.items():
        say(f"{title}: {len(result[subject])}")
        for row in result[subject][:_SHOWN_ROWS]:
            times = [name for name in row["detail"] if name.endswith("_ms")]
            detail = joined(dated(row["detail"], *times))
            to = f" -> {row['recipient']}" if row["recipient"] else ""
            say(f"  {row['index']:>8}  {row['id']}{to}  {row['status']}  {detail}")
        if len(result[subject]) > _SHOWN_ROWS:
            say(f"  and {len(result[subject]) - _SHOWN_ROWS} more; all of them with --json 其余见 --json")
    if "proofs" in result:
        say(f"receipts 回执 {len(result['proofs'])}")


def _audit_home(home: Path, *, as_json: bool) -> int:
    from shuiqiao.client.resources.upkeep import AUDIT_LEDGER
    from shuiqiao.client.wire import Nothing

    with home_to_read(home) as at_work, progress_on_stderr() as progress:
        progress("replay from genesis 重放审计", 0, None)
        report = at_work.perform(AUDIT_LEDGER, Nothing()).model_dump(mode="json")
    show(report, as_json=as_json, speak=_speak_audit)
    return EXIT_REFUSED if report["problems"] else EXIT_DONE


def _review(home: Path, *, as_json: bool) -> int:
    from shuiqiao.client.resources.upkeep import REVIEW_OBLIGATIONS
    from shuiqiao.client.wire import Nothing

    with home_to_read(home) as at_work, progress_on_stderr() as progress:
        progress("replay from genesis 重放审计", 0, None)
        found = at_work.perform(REVIEW_OBLIGATIONS, Nothing()).model_dump(mode="json")
    show(found, as_json=as_json, speak=_speak_review)
    return EXIT_DONE if all(row["standing"] == "met" for row in found["obligations"]) else EXIT_REFUSED


_STANDING_WORDS = {"unmet": "UNMET 未满足", "unseen": "UNSEEN 无法查看", "met": "met 已满足"}


def _speak_review(result: Mapping[str, Any]) -> None:
    for row in result["obligations"]:
        say(f"{_STANDING_WORDS[row['standing']]}  {row['id']}  {row['rule']}")
        for what, name in (("asks 要求", "asks"), ("control 措施", "control"), ("evidence 证据", "evidence")):
            say(f"    {what}: {row[name]} {row[f'{name}_zh']}")


def _speak_audit(result: Mapping[str, Any]) -> None:
    rules = result["record_management_only"]
    say(f"transactions replayed   {result['replayed']:,}")
    say(f"root matches            {'yes 一致' if result['root_matches'] else 'NO 不一致'}")
    say(f"signatures verified     {result['signatures_verified']:,}")
    say(f"anchors verified        {result['anchors_verified']:,} ({result['records_anchored']:,} records)")
    if result["openings_checked"]:
        say(f"decisions opened        {result['openings_checked']:,}")
    if result["openings_unopened"]:
        say(f"decisions NOT opened 未开封: {result['openings_unopened']}")
    if result["records_unread"]:
        say(f"records NOT recomputed 未重算: {result['records_unread']}")
    say(
        f"record management only  {rules['kinds_walked']} kinds walked, "
        f"mint {'refused' if rules['mint_refused'] else 'ACCEPTED'}, "
        f"transfer {'refused' if rules['transfer_refused'] else 'ACCEPTED'}, "
        f"fee {'refused' if rules['fee_refused'] else 'ACCEPTED'}"
    )
    for problem, next_step in zip(result["problems"], result["next_steps"], strict=True):
        say(f"PROBLEM 问题            {problem}")
        if next_step is not None:
            say_next(next_step)
    if not result["problems"]:
        say("no problem found 未发现问题")
