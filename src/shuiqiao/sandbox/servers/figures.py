"""What a story over HTTP came to: the audit by the regulator, receipts that enterprises fetched, the figures as JSON.

The keys are those of ``shuiqiao demo``; what is not tried between servers (tampering with files, cheating validators)
is None, and what is only here stands under ``servers``.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from shuiqiao.base.files import make_shared_folder, share_file
from shuiqiao.client.operation import PREFIX
from shuiqiao.client.pages import MAX_ITEMS
from shuiqiao.client.resources import ledger, upkeep
from shuiqiao.client.wire import Nothing
from shuiqiao.consent.contract import GRANT
from shuiqiao.node.published.verification import ReceiptVerifier
from shuiqiao.sandbox.scenario.consortium import BUREAU, REGULATOR
from shuiqiao.sandbox.servers.parties import Office, patiently

if TYPE_CHECKING:
    from shuiqiao.sandbox.servers.story import ServedStory

RECEIPTS = 3
"""Enterprises whose newest receipt is fetched and verified."""


def audit_and_conclude(story: ServedStory, *, folder: Path) -> dict[str, Any]:
    """Have regulator and bureau audit, verify receipts that enterprises fetch into a folder, and return the figures."""
    with Office(story.sandbox, REGULATOR, clock=story.clock) as regulator:
        with story.step("audit from genesis 重放审计"):
            audit = regulator.perform("oversight_officer", upkeep.AUDIT_LEDGER, Nothing())
            with Office(story.sandbox, BUREAU, clock=story.clock) as bureau:
                own = bureau.perform("internal_auditor", upkeep.AUDIT_LEDGER, Nothing())
        with story.step("statistics and receipts 统计与回执"):
            by_kind, height = _kinds(regulator)
            newest = _checkpoint(regulator)
            receipts = _receipts(story, folder)
    taken, ingest_s = story.sandbox.taken, story.sandbox.taken_s
    counts = Counter(lent.file.status for lent in story.lent if lent.milliseconds is not None)
    return {
        "network": story.network.hex(),
        "suite": story.sandbox.plan.suite,
        "taxpayers": len(story.population.applicants),
        "records_read": taken.records_read if taken else None,
        "records_ingested": taken.records_ingested if taken else None,
        "records_quarantined": taken.records_quarantined if taken else None,
        "duplicates_reported": taken.duplicates_reported if taken else None,
        "anchors": taken.anchors if taken else None,
        "ingest_records_per_s": round(taken.records_read / ingest_s) if taken else None,
        "consents": by_kind[GRANT],
        "requests": by_kind["access.request"],
        "refusals": story.refusals.total(),
        "decisions": {
            "approved": counts["approved"],
            "refused": counts["refused"],
            "referred": sum(lent.milliseconds is None for lent in story.lent),
        },
        "decision_ms": _percentiles([each.milliseconds for each in story.lent if each.milliseconds is not None]),
        "model": _model(story),
        "ledger": {"transactions": sum(by_kind.values()), "height": height, "root": newest.root},
        "audit": {
            "replayed": audit.replayed,
            "root_matches": audit.root_matches,
            "signatures_verified": audit.signatures_verified,
            "anchors_verified": own.anchors_verified,
        },
        "record_management_only": {
            name: getattr(audit.record_management_only, name)
            for name in ("kinds_walked", "mint_refused", "transfer_refused")
        },
        "tamper_checks": None,
        "network_checks": None,
        "who_saw_what": story.modes.who_saw_what if story.modes else {},
        "modes_refused": story.modes.refused if story.modes else {},
        "receipts_dir": str(folder),
        "report": None,
        "servers": {
            "count": len(story.sandbox.servers),
            "engine": story.sandbox.plan.engine,
            "openings_checked": audit.openings_checked,
            "problems": [*audit.problems, *own.problems],
            "refusals_by_code": dict(story.refusals),
            "receipts_verified": receipts,
            "step_seconds": story.step_seconds,
        },
    }


def _checkpoint(office: Office) -> ledger.CheckpointRecord:
    client = office.person("oversight_officer")
    return patiently(lambda: client.get(f"{PREFIX}/ledger/checkpoint").read_as(ledger.CheckpointRecord))


def _kinds(office: Office) -> tuple[Counter[str], int]:
    """Return how many transactions of each kind the ledger has, and the height of the last one."""
    client, counts, height = office.person("oversight_officer"), Counter[str](), 0
    parameters: dict[str, str | int | bool] = {"limit": MAX_ITEMS}
    while True:
        page = patiently(
            lambda: client.get(f"{PREFIX}/ledger/entries", parameters=parameters).read_as(ledger.EntryPage)
        )
        counts.update(entry.kind for entry in page.items)
        height = page.items[-1].height if page.items else height
        if page.next is None:
            return counts, height
        parameters["cursor"] = page.next


def _receipts(story: ServedStory, folder: Path) -> int:
    """Have some enterprises fetch the receipts of their grants, and verify them with the genesis alone.

    Raises what ``ReceiptVerifier.verify_file`` raises.
    """
    make_shared_folder(folder)
    verifier = ReceiptVerifier.from_genesis(genesis=story.sandbox.folder.genesis, home=None)
    for lent in story.lent[:RECEIPTS]:
        path = folder / f"consent-{lent.granted_index:06d}.receipt"
        path.write_bytes(patiently(partial(lent.firm.receipt, lent.granted_index)))
        share_file(path)
        verifier.verify_file(path)
    return min(RECEIPTS, len(story.lent))


def _percentiles(values: list[float]) -> dict[str, float]:
    if len(values) < 2:  # noqa: PLR2004 - two points make a distribution
        return {"p50": values[0] if values else 0.0, "p99": values[0] if values else 0.0}
    cuts = quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


def _model(story: ServedStory) -> dict[str, Any]:
    """Return the figures of the model's card as numbers."""
    if story.model is None:
        return {}
    metrics = story.model.model_card["metrics"]
    low, _, high = str(metrics["auc_ci_95"]).partition(" to ")
    return {
        "auc": float(metrics["auc"]),
        "auc_ci": [float(low), float(high)],
        "baseline_auc": float(metrics["baseline_auc"]),
        "ks": float(metrics["ks"]),
        "brier": float(metrics["brier"]),
        "n": story.model.n,
        "bad": story.model.bad,
    }
