"""The whole story in one process, with a population as small as the model can be made from.

A long form: the embedded one is played for the pages that begin with the demo (``tests/integration/docs``), the one
on validators is told over HTTP by ``test_story_over_servers``, and what they do against a cheat by ``test_outvoting``.
"""

from __future__ import annotations

import json

import pytest

from cometbft_world import comet_program, nodes_in
from shuiqiao.base.progress import no_progress
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.model import EngineName
from shuiqiao.node.published.verification import ReceiptVerifier
from shuiqiao.sandbox.report.page import render_report
from shuiqiao.sandbox.scenario.consortium import EMBEDDED, RunEngine
from shuiqiao.sandbox.scenario.modes import DISCLOSE, MODES
from shuiqiao.sandbox.scenario.outvoting import CHEAT
from shuiqiao.sandbox.scenario.population import synthetic_data
from shuiqiao.sandbox.scenario.story import RunSettings, run_scenario
from shuiqiao.sandbox.scenario.summary import summarise

TAXPAYERS = 52
SEED = 2

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=["embedded", "cometbft"])
def result(request, tmp_path_factory):
    engine = EMBEDDED
    if request.param == "cometbft":
        engine = RunEngine(engine=EngineName.COMETBFT, validators=4, program=comet_program())
    folder = tmp_path_factory.mktemp("story")
    settings = RunSettings(
        suite=SuiteName.INTL,
        folder=folder,
        seed=SEED,
        data=synthetic_data(folder / "data", taxpayers=TAXPAYERS, seed=SEED),
        progress=no_progress,
        engine=engine,
    )
    return run_scenario(settings, conclude=summarise)


def test_every_check_of_the_story_holds(result):
    figures = result.figures
    assert (figures.failed_checks(), list(result.details.audit_problems)) == ([], [])
    assert sum(vars_of(figures.decisions)) == TAXPAYERS
    assert figures.audit.replayed == figures.ledger.transactions
    assert json.dumps(figures.as_json())
    by_mode = [(mode, known) for modes in figures.who_saw_what.values() for mode, known in modes.items()]
    assert sorted([*(mode for mode, _ in by_mode), *figures.modes_refused]) == sorted(MODES)
    assert all((known["fields"] > 0) == (mode == DISCLOSE) and known["bits"] > 0 for mode, known in by_mode)
    assert {error["code"] for error in figures.modes_refused.values()} <= {"privacy.extra_missing"}
    checks = figures.network_checks
    if checks is not None:
        assert checks.named == (CHEAT,)
        # The story ran before the cheat: the replay holds it, and the alarms behind it.
        assert checks.replayed_through_embedded.transactions >= figures.ledger.transactions + len(checks.named_by)


def vars_of(decisions):
    return (decisions.approved, decisions.refused, decisions.referred)


def test_what_was_kept_out_is_never_empty(result):
    figures = result.figures
    assert (figures.duplicates_reported, figures.records_quarantined) == (2, 3)
    assert sum(result.details.kept_out.values()) == 5
    assert figures.records_read == figures.records_ingested + 5


def test_the_regulator_opened_every_decision_and_published_no_small_cell(result):
    """[LENDING-6] [LENDING-8]"""
    release = result.details.release
    assert (release.decisions, release.least_firms) == (TAXPAYERS, 5)
    cells = [count for table in release.tables for row in table.rows for count in row.counts]
    assert min(cells) >= 5
    assert sum(cells) == 3 * TAXPAYERS


def test_the_model_is_on_disk_as_it_was_used_and_as_people_read_it(result):
    card = (result.folder / "model" / "scorecard.json").read_bytes()
    assert get_suite(SuiteName.INTL).digest(card).hex() == result.details.model.digest
    written = (result.folder / "model" / "model-card.md").read_text(encoding="utf-8")
    assert written.startswith(f"# Model card: {json.loads(card)['name']}\n")
    assert f"| auc | {result.figures.model.auc:.4f} |" in written


def test_receipts_verify_against_the_genesis_alone(result):
    verifier = ReceiptVerifier.from_genesis(genesis=result.folder / "genesis.json", home=None)
    files = sorted((result.folder / "receipts").iterdir())
    assert len(files) == result.details.receipts > TAXPAYERS
    for path in files[:: max(1, len(files) // 20)]:
        verifier.verify_file(path)


def test_the_page_tells_of_it_and_no_node_is_left_running(result):
    page, checks = render_report(result), result.figures.network_checks
    assert f"{result.figures.ledger.height:,}" in page
    assert checks is None or str(checks.altered.state_key) in page
    assert nodes_in(result.folder) == []
