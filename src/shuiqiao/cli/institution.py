"""``init``, ``ingest``, ``audit`` and ``keys``: one institution at work in its home."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import system_entropy
from shuiqiao.cli.output import EXIT_DONE, EXIT_REFUSED, print_json, program, progress_on_stderr, say, say_next
from shuiqiao.crypto.model import SuiteName
from shuiqiao.node.home.keys import named_passphrase
from shuiqiao.node.home.making import create_solo_home
from shuiqiao.node.home.settings import Home

if TYPE_CHECKING:
    from shuiqiao.vault.model import IngestReport


def run_init(*, home: Path, suite: str, as_json: bool) -> None:
    """Make the home of a one-institution network."""
    made = create_solo_home(
        Home(home),
        suite_name=SuiteName(suite),
        passphrase=named_passphrase(),
        clock=SystemClock(),
        entropy=system_entropy,
    )
    if made.passphrase_written:
        sys.stderr.write(
            f"warning: no passphrase was given, so a random one lies in {made.home.keys}/passphrase (owner only); "
            "name a file in SHUIQIAO_PASSPHRASE_FILE to keep it elsewhere\n"
        )
    if as_json:
        print_json({"home": str(home), "network": made.network.hex(), "suite": suite})
        return
    say(f"home      {home}")
    say(f"network   {made.network.hex()}")
    say(f"suite     {suite}")
    say(f"next      {program()} ingest FILE... --home {quote(str(home))}")


def run_ingest(*, files: Sequence[Path], home: Path, record_type: str | None, as_json: bool) -> int:
    """Take files into the vault of a home; exit 1 when nothing was ingested, and nothing of an earlier run finished."""
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.pending import refused_words, settled_words

    with Institution.open(Home(home), needs_node=True) as institution, progress_on_stderr() as progress:
        known = None if record_type is None else institution.catalogue.get(record_type)
        report = institution.vault.ingest(
            files,
            anchor=institution.outbox,
            record_type=known,
            progress=progress,
        )
        settled, refused = settled_words(institution), refused_words(institution)
    if settled:
        sys.stderr.write(f"{settled}\n")
    if refused:
        sys.stderr.write(f"warning: {refused}\n")
    show_ingest(report, as_json=as_json)
    return EXIT_DONE if report.records_ingested or report.anchors else EXIT_REFUSED


def show_ingest(report: IngestReport, *, as_json: bool) -> None:
    """Show what became of the rows of files, and each anchor with its place in the log."""
    result: dict[str, Any] = {
        "records_read": report.records_read,
        "records_ingested": report.records_ingested,
        "records_superseding": report.records_superseding,
        "records_quarantined": report.records_quarantined,
        "duplicates_reported": report.duplicates_reported,
        "anchors": report.anchors,
        "report": str(report.report),
    }
    if as_json:
        anchored = [
            {"index": entry.index, "batch": entry.batch.hex(), "type": entry.standard, "records": entry.records}
            for entry in report.anchored
        ]
        print_json({**result, "anchored": anchored})
        return
    _show(result, as_json=False)
    for entry in report.anchored:
        index = "earlier 此前" if entry.index is None else entry.index
        say(f"anchor 锚定 {index}  {entry.standard}, {entry.records:,} records, batch {entry.batch.hex()}")


def run_audit(*, home: Path, as_json: bool) -> int:
    """Audit a home; exit 1 when there is a problem."""
    from shuiqiao.node.auditing import audit_home
    from shuiqiao.node.looking import look_at

    with progress_on_stderr() as progress:
        progress("replay from genesis 重放审计", 0, None)
        with look_at(Home(home)) as look:
            report = audit_home(look, clock=SystemClock(), entropy=system_entropy)
    if as_json:
        print_json(report.as_json())
    else:
        _speak_audit(report.as_json())
    return EXIT_DONE if report.holds else EXIT_REFUSED


def run_keys_show(*, home: Path, as_json: bool) -> None:
    """Open a home's key files and show the public keys."""
    from shuiqiao.node.home.keys import find_passphrase, load_keys
    from shuiqiao.node.home.settings import load_settings
    from shuiqiao.node.rotation import proven_validator_key

    settings = load_settings(Home(home))
    keys = load_keys(Home(home), passphrase=find_passphrase(Home(home)))
    result = {
        "member": settings.member,
        "role": str(settings.role),
        "suite": str(settings.suite),
        "signing_key": keys.signing.public_key.hex(),
        "signing_key_id": keys.signing.key_id.hex(),
        "sealing_key": keys.sealing.public_key.hex(),
        **proven_validator_key(Home(home), settings=settings),
    }
    _show(result, as_json=as_json)


def _show(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    for name, value in result.items():
        say(f"{name:20} {value:,}" if isinstance(value, int) else f"{name:20} {value}")


def _speak_audit(result: dict[str, Any]) -> None:
    rules = result["record_management_only"]
    say(f"transactions replayed   {result['replayed']:,}")
    say(f"root matches            {'yes 一致' if result['root_matches'] else 'NO 不一致'}")
    say(f"signatures verified     {result['signatures_verified']:,}")
    say(f"anchors verified        {result['anchors_verified']:,} ({result['records_anchored']:,} records)")
    if result["openings_checked"]:
        say(f"decisions opened        {result['openings_checked']:,}")
    if result["openings_unopened"]:
        say(f"decisions NOT opened 未开封: {result['openings_unopened']}")
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
