"""A reader of the whole ledger links consents of one enterprise, and much less where institutions keep entries back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from consortium_world import CHEAP
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.sandbox.linking import Seen, learned, ledger_of, linked_auc, pairs_of, sibling_found, study_linking


@pytest.fixture(scope="module")
def found():
    return study_linking(enterprises=70, days=1, seed=7, cost=CHEAP)


def test_the_attack_works_where_nothing_is_kept_back(found):
    """[CONSENT-32]: the control: this reader would see what there is to see."""
    assert found["attack_auc_before"] > 0.95
    assert found["usual"]["before"] > 0.95
    assert found["sibling_found"]["before"] > 0.4
    assert found["pairs"]["same_enterprise"] > 30


def test_a_delay_takes_more_than_half_of_the_advantage_from_a_reader_who_knows_of_it(found):
    """[CONSENT-32] [CONSENT-33]: but for those whom another length or a withdrawal of all at once gives away."""
    assert found["usual"]["after"] - 0.5 < (found["usual"]["before"] - 0.5) / 2
    assert found["after"] < found["attack_auc_before"] - 0.15
    assert found["sibling_found"]["after"] < found["sibling_found"]["before"] / 2


def test_the_same_seed_gives_the_same_entries(tmp_path):
    """[CONSENT-32]: at the same moments, however long the run takes."""

    def entries(folder):
        seen, owners = ledger_of(folder, enterprises=4, days=1, entry_delay_min=600, seed=11, cost=CHEAP)
        assert [each.name for each in seen] == [*owners]
        return seen

    assert entries(tmp_path / "one") == entries(tmp_path / "other")


def noise(seed, *, enterprises=120):
    """Entries of one day in which nothing tells whose they are, two of each enterprise, and whose they are."""
    draws = np.random.default_rng(seed)

    def moment():
        return int(draws.integers(MS_PER_DAY))

    seen = [
        Seen(
            name=f"bureau/{number:032x}",
            recipient=f"bank-{number % 2}",
            index=int(draws.integers(1000)),
            granted_ms=moment(),
            deadline_ms=moment(),
            valid_from_ms=moment(),
            valid_to_ms=MS_PER_DAY + moment(),
            applied_ms=moment(),
            ended_ms=moment(),
        )
        for number in range(2 * enterprises)
    ]
    return seen, {each.name: number // 2 for number, each in enumerate(seen)}


def telling(seed, field):
    """The same, but that one field of both consents of an enterprise is nearly one."""
    seen, owners = noise(seed)
    told = {owners[each.name]: getattr(each, field) for each in seen}
    return pairs_of([replace(each, **{field: told[owners[each.name]]}) for each in seen], owners)


def test_of_entries_that_tell_nothing_the_reader_learns_nothing():
    """The other control: it does not read the answer from anywhere else."""
    assert 0.42 < linked_auc(pairs_of(*noise(2)), learned(pairs_of(*noise(1)))) < 0.58


@pytest.mark.parametrize(
    "field", ["index", "granted_ms", "deadline_ms", "valid_from_ms", "valid_to_ms", "applied_ms", "ended_ms"]
)
def test_any_one_moment_that_tells_is_enough_for_the_reader(field):
    """[CONSENT-33]: so a deadline to the millisecond would undo every delay."""
    pairs = telling(2, field)
    reader = learned(telling(1, field))
    assert linked_auc(pairs, reader) > 0.97
    assert sibling_found(pairs, reader) > 0.8
