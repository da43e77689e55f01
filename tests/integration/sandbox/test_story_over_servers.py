"""The whole story between five servers over HTTP, while every one of them is killed again and again [API-9] [LENDING-10].

Nothing that was acknowledged is lost, no application is decided twice, no data is delivered without its entry on the
ledger, every file comes to its end, and receipts are verified with the genesis alone [LENDING-14]. ``make test-long``
plays it in the other suite with a model that the bank develops, 100 applications and 200 kills.
"""

from __future__ import annotations

import os
from collections import Counter

from killed_servers import Killer, all_ready, require_whole
from sandbox_world import served_story
from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature
from shuiqiao.sandbox.benchmarks.api_lending import put_in_use
from shuiqiao.sandbox.scenario.consortium import BUREAU, LEAD_BANK
from shuiqiao.sandbox.servers.demo import failed_checks
from shuiqiao.sandbox.servers.figures import audit_and_conclude
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

IS_LONG = bool(os.environ.get("SHUIQIAO_TEST_LONG"))
SUITE, KILLS, TAXPAYERS = ("intl", 200, 100) if IS_LONG else ("gm", 15, 15)
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


def test_the_story_ends_well_however_often_every_server_is_killed(tmp_path):
    with served_story(tmp_path / "sandbox", suite=SUITE, taxpayers=TAXPAYERS) as story:
        killed = play_while_killed(story, kills=KILLS, develops=IS_LONG)
        assert (killed.total(), len(killed)) == (KILLS, 5)
        with (
            Office(story.sandbox, BUREAU, clock=story.clock) as bureau,
            Office(story.sandbox, LEAD_BANK, clock=story.clock) as bank,
        ):
            refuse(story, bank)
            require_whole(story, bureau, bank)
        figures = audit_and_conclude(story, folder=tmp_path / "receipts")
    assert failed_checks(figures) == []
    assert (figures["suite"], figures["servers"]["receipts_verified"]) == (SUITE, 3)
    assert min(figures["decisions"][name] for name in ("approved", "refused", "referred")) > 0


def play_while_killed(story, *, kills, develops):
    """From enrolment to the last decision, and a revocation; returns how often each server was killed."""
    sandbox, killed = story.sandbox, Counter()
    part = kills // PARTS
    story.firms += map(story.firm, story.population.applicants)
    with Office(sandbox, BUREAU, clock=story.clock) as bureau, Office(sandbox, LEAD_BANK, clock=story.clock) as bank:
        if develops:
            with Killer(sandbox, kills=part) as killer:
                concurrently(story, "enrolled", lambda firm: enrol_one(story, firm, bureau), story.firms)
                receive_loan_book(story, bank)
            killed += killer.killed
            all_ready(sandbox)
            develop(story, bank)
        else:
            put_in_use(bank, story.data, product=story.data.product, card=CARD)
        left = kills - killed.total() - part
        with Killer(sandbox, kills=left, acts=len(story.firms)) as killer:

            def whole_way(place):
                killer.begin(place)
                if not develops:
                    enrol_one(story, story.firms[place], bureau)
                return lend(story, story.firms[place])

            story.lent += concurrently(story, "decided", whole_way, range(len(story.firms)))
        killed += killer.killed
        with Killer(sandbox, kills=part, first=left) as killer:
            review(story, bank)
            story.lent[-1].firm.revoke(story.lent[-1].consent)
        killed += killer.killed
    all_ready(sandbox)
    return killed
