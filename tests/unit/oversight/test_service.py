"""A regulator publishes each decision once, in cells of as many firms as it asks for."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine

from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Conflict, InvalidInput
from shuiqiao.lending.model import Outcome
from shuiqiao.lending.openings import DecisionOpening
from shuiqiao.oversight import store
from shuiqiao.oversight.service import StatisticsService
from shuiqiao.oversight.statistics import LEAST_FIRMS


@pytest.fixture
def database(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'regulator.db'}")
    store.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def service(database):
    return StatisticsService(store=store.ReleaseStore(database), clock=ManualClock(7))


def decisions(count, *, bank="bank-east"):
    return [
        DecisionOpening(
            bank=bank,
            application=number.to_bytes(16, "big"),
            firm=number.to_bytes(32, "big"),
            product="tax-credit-loan",
            outcome=Outcome.REFUSED,
            amount_fen=0,
            grade="A",
            industry="C",
            province="44",
            model_digest=bytes(32),
            salt=bytes(32),
        )
        for number in range(count)
    ]


def test_five_firms_are_a_cell_where_nothing_else_is_asked_for(service):
    """[LENDING-8]"""
    assert LEAST_FIRMS == 5
    release = service.publish(decisions(5))
    assert (release.number, release.published_ms, release.decisions, release.least_firms) == (1, 7, 5, 5)


def test_one_more_decision_is_not_published_by_itself(service):
    """[LENDING-9]: on 1bf401a the difference of two days' tables was that one decision."""
    service.publish(decisions(6))
    with pytest.raises(Conflict) as caught:
        service.publish(decisions(7))
    assert caught.value.code == "oversight.release_too_small"
    assert caught.value.message == "1 firms were decided on since the last release, a cell holds at least 5"
    assert [release.decisions for release in service.releases()] == [6]


def test_what_was_published_stays_and_is_there_again_later(service, database):
    """[LENDING-9]"""
    first, second = service.publish(decisions(6)), service.publish(decisions(11))
    again = StatisticsService(store=store.ReleaseStore(database), clock=ManualClock(8))
    assert again.releases() == (first, second)
    assert (second.number, second.decisions) == (2, 5)


def test_applications_of_two_banks_under_one_id_are_two(service):
    service.publish(decisions(5))
    assert service.publish(decisions(5, bank="bank-west")).decisions == 5


@pytest.mark.parametrize("least_firms", [-1, 0, 1])
def test_a_cell_of_one_firm_is_no_cell(service, least_firms):
    """[LENDING-8]"""
    with pytest.raises(InvalidInput) as caught:
        service.publish(decisions(9), least_firms=least_firms)
    assert caught.value.code == "oversight.least_firms_invalid"


def test_two_firms_are_the_least_there_is(service):
    assert service.publish(decisions(2), least_firms=2).decisions == 2
