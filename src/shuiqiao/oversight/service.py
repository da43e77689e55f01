"""The regulator's statistics: published release by release, each decision counted in exactly one.

Rule: docs/spec/lending.md [LENDING-9]. A release counts every decision that opened and that no release counted before.
So two releases never differ by a few decisions, and adding them up gives totals and nothing smaller. What was published
stays as it is: an opening that came late is counted in the next release.

LIMIT: a regulator that restores an older database forgets what it published since, and could count it again.
"""

from __future__ import annotations

from collections.abc import Sequence

from shuiqiao.base.clock import Clock
from shuiqiao.base.errors import Conflict, InvalidInput
from shuiqiao.lending.openings import DecisionOpening
from shuiqiao.oversight.model import Release
from shuiqiao.oversight.statistics import LEAST_FIRMS, MIN_LEAST_FIRMS, tabulate
from shuiqiao.oversight.store import ReleaseStore


class StatisticsService:
    """The statistics that one regulator publishes.

    Example::

        opened = regulator.opened_decisions()
        release = regulator.statistics.publish(opened.decisions)
    """

    def __init__(self, *, store: ReleaseStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def publish(self, opened: Sequence[DecisionOpening], *, least_firms: int = LEAST_FIRMS) -> Release:
        """Count what no release counted yet, keep the release and return it.

        Raises InvalidInput ``oversight.least_firms_invalid``, Conflict ``oversight.release_too_small``.
        """
        if least_firms < MIN_LEAST_FIRMS:
            raise InvalidInput(
                "oversight.least_firms_invalid",
                f"cells of {least_firms} firms where at least {MIN_LEAST_FIRMS} are needed to hide one",
            )
        counted = self._store.counted()
        new = [decision for decision in opened if (decision.bank, decision.application) not in counted]
        tables = tabulate(new, least_firms=least_firms)
        if not tables:
            firms = len({decision.firm for decision in new})
            raise Conflict(
                "oversight.release_too_small",
                f"{firms} firms were decided on since the last release, a cell holds at least {least_firms}",
                next_step="Publish again when more decisions were made and their openings are in.",
            )
        release = Release(
            number=len(self._store.releases()) + 1,
            published_ms=self._clock.now_ms(),
            decisions=len(new),
            least_firms=least_firms,
            tables=tables,
        )
        self._store.add(release, decisions=[(decision.bank, decision.application) for decision in new])
        return release

    def releases(self) -> tuple[Release, ...]:
        """Return everything that was published, the first release first."""
        return self._store.releases()
