"""How finely the value of one feature can be placed by all the cuts that were asked of it [LEAK-7].

An answer places a feature between two cuts at best. Who then asks with new cuts between those two places it finer, and
so on: that is bisection, by thresholds, bands or points alike. With n new cuts one interval falls into n + 1 at most,
so the feature is in one of ``(1 + n1) * (1 + n2) * ...`` places after questions with n1, n2, ... new cuts, whatever the
outputs were. The same cuts again add none. Cuts are the same on every day: who asks day by day bisects as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from shuiqiao.privacy.model import Row, feature_and_cut, millibits_of


def feature_millibits(rows: Iterable[Row]) -> dict[str, int]:
    """Return in thousandths of a bit how finely each feature can be placed. rows: what was asked, in order of time.

    ::

        asked = [{"sales>=10@…/2026-06-30": 1}, {"sales>=10@…/2026-07-31": 1, "sales>=20@…/2026-07-31": 2}]
        assert feature_millibits(asked) == {"sales": 2000}
    """
    asked: defaultdict[str, set[str]] = defaultdict(set)
    placed: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        fresh: defaultdict[str, set[str]] = defaultdict(set)
        for feature, cut in filter(None, map(feature_and_cut, row)):
            if cut not in asked[feature]:
                fresh[feature].add(cut)
        for feature, cuts in fresh.items():
            asked[feature] |= cuts
            placed[feature] += millibits_of(1 + len(cuts))
    return dict(placed)
