"""The whole story between five servers over HTTP while every process is killed again and again [API-9] [LENDING-10].

With one writer, and with four validators whose CometBFT nodes are killed too. Nothing that was acknowledged is lost, no
application is decided twice, no data is delivered without its entry on the ledger, every file comes to its end, and
receipts are verified with the genesis alone [LENDING-14]. ``make test-long`` plays it in both suites on both engines
with a model that the bank develops, embedded with 100 applications and 200 kills.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import partial

import pytest

from cometbft_world import comet_program, nodes_in
from killed_servers import Killer, all_ready, require_whole, victims_of, wait_until
from sandbox_world import served_story
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.progress import no_progress
from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature
from shuiqiao.members.model import EngineName
from shuiqiao.sandbox.benchmarks.api_lending import put_in_use
from shuiqiao.sandbox.scenario.consortium import BUREAU, EMBEDDED, LEAD_BANK, REGULATOR, RunEngine
from shuiqiao.sandbox.servers.demo import failed_checks
from shuiqiao.sandbox.servers.figures import RECEIPTS, audit_and_conclude
from shuiqiao.sandbox.servers.making import VALIDATORS
from shuiqiao.sandbox.servers.parties import Office
from shuiqiao.sandbox.servers.story import (
    concurrently,
    develop,
    enrol_one,
    lend,
    receive_loan_book,
    refuse,
    review,
)


@dataclass(frozen=True, kw_only=True)
class Form:
    """How the story is played. develops: with a model that the bank develops on its loan book."""

    suite: str
    engine: EngineName
    taxpayers: int
    kills: int
    develops: bool = False

    def __str__(self):
        return f"{self.suite} {self.engine} {self.kills} kills"


def long_form(suite, engine, *, taxpayers, kills):
    form = Form(suite=suite, engine=engine, taxpayers=taxpayers, kills=kills, develops=True)
    return pytest.param(form, marks=pytest.mark.long)


FORMS = [
    Form(suite="gm", engine=EngineName.EMBEDDED, taxpayers=15, kills=15),
    Form(suite="intl", engine=EngineName.COMETBFT, taxpayers=6, kills=15),
    long_form("intl", EngineName.EMBEDDED, taxpayers=100, kills=200),
    long_form("gm", EngineName.EMBEDDED, taxpayers=100, kills=200),
    long_form("intl", EngineName.COMETBFT, taxpayers=100, kills=200),
    long_form("gm", EngineName.COMETBFT, taxpayers=100, kills=200),
]
ENOUGH = 15
"""Of so many applications some are approved, some refused and some referred."""

PARTS = 5
"""Of the kills one part comes while people decide, and in the long form one while enterprises enrol."""

CARD = Scorecard(
    name="by-sales",
    base_points=640,
    features=(
        ScorecardFeature(
            # Below 200,000 yuan of sales a month a person decides.
            name="log_monthly_sales_12m",
            cuts=(12_206_000,),
            points=(-110, 0),
            unknown_points=-110,
            counts=(1, 0, 0),
            bad=(0, 0, 0),
        ),
    ),
    n=1,
    bad=0,
)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_story_ends_well_however_often_every_process_is_killed(tmp_path, monkeypatch, form):
    engine = EMBEDDED
    if form.engine is EngineName.COMETBFT:
        monkeypatch.setenv("SHUIQIAO_COMETBFT", str(comet_program()))
        engine = RunEngine(engine=form.engine, validators=VALIDATORS, program=comet_program())
    with served_story(tmp_path / "sandbox", suite=form.suite, taxpayers=form.taxpayers, engine=engine) as story:
        killed = play_while_killed(story, kills=form.kills, develops=form.develops)
        assert (killed.total(), killed.keys()) == (form.kills, {victim.name for victim in victims_of(story.sandbox)})
        with (
            Office(story.sandbox, BUREAU, clock=story.clock) as bureau,
            Office(story.sandbox, LEAD_BANK, clock=story.clock) as bank,
        ):
            refuse_without_one(story, bank)
            require_whole(story, bureau, bank)
        figures = audit_and_conclude(story, folder=tmp_path / "receipts")
        wait_until(partial(are_level, story.sandbox, figures["ledger"]["height"]), "a copy of the ledger is behind")
    require_figures(story, figures)
    assert (figures["suite"], figures["servers"]["engine"]) == (form.suite, form.engine)
    assert nodes_in(tmp_path) == []


def refuse_without_one(story, bank):
    """What is refused, without an institution that takes no part: it is level again before the end.

    Of four validators three decide.
    """
    away = REGULATOR
    story.sandbox.server(away).kill()
    refuse(story, bank)
    assert story.sandbox.start(clock=SystemClock(), progress=no_progress) == (away,)


def are_level(sandbox, height):
    return min(each.height or 0 for each in sandbox.status()) >= height


def require_figures(story, figures):
    """What a story over HTTP says of itself is what happened."""
    assert failed_checks(figures) == []
    assert len(story.lent) < ENOUGH or min(figures["decisions"].values()) > 0
    assert sum(figures["decisions"].values()) == figures["servers"]["openings_checked"] == len(story.lent)
    assert figures["servers"]["receipts_verified"] == RECEIPTS
    # What the rules decided alone was told once the ledger had it, and only what they referred is counted so.
    referred = [any(step.step == "referred" for step in lent.file.timeline) for lent in story.lent]
    assert [lent.milliseconds is None for lent in story.lent] == referred
    # An ingest that had to begin anew reads what it took in before as duplicates, beside the two of the files.
    twice, kept_out = figures["duplicates_reported"], figures["records_quarantined"]
    assert (twice >= 2, kept_out, figures["records_read"]) == (True, 3, figures["records_ingested"] + twice + kept_out)
    assert json.dumps(figures)


def play_while_killed(story, *, kills, develops):
    """From enrolment to the last decision, and a revocation; returns how often each process was killed."""
    sandbox, killed = story.sandbox, Counter()
    part = kills // PARTS
    story.firms += map(story.firm, story.population.applicants)
    with Office(sandbox, BUREAU, clock=story.clock) as bureau, Office(sandbox, LEAD_BANK, clock=story.clock) as bank:
        if develops:
            with Killer(sandbox, kills=part, killed=killed):
                concurrently(story, "enrolled", lambda firm: enrol_one(story, firm, bureau), story.firms)
                receive_loan_book(story, bank)
            all_ready(sandbox)
            develop(story, bank)
        else:
            put_in_use(bank, story.data, product=story.data.product, card=CARD)
        left = kills - killed.total() - part
        with Killer(sandbox, kills=left, killed=killed, acts=len(story.firms)) as killer:

            def whole_way(place):
                killer.begin(place)
                if not develops:
                    enrol_one(story, story.firms[place], bureau)
                return lend(story, story.firms[place])

            story.lent += concurrently(story, "decided", whole_way, range(len(story.firms)))
        with Killer(sandbox, kills=part, killed=killed):
            review(story, bank)
            story.lent[-1].firm.revoke(story.lent[-1].consent)
    all_ready(sandbox)
    return killed
