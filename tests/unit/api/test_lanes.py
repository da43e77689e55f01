"""Whose turn it is: a share for each holder, places for all, and an end to waiting [API-22]."""

from __future__ import annotations

import asyncio

import pytest

from shuiqiao.api.lanes import Lane
from shuiqiao.base.errors import Unavailable


async def work(lane, holder, *, done, go_on):
    async with lane.share(holder), lane.place():
        done.append(holder)
        await go_on.wait()


async def let_all_go_as_far_as_they_can():
    for _ in range(20):
        await asyncio.sleep(0)


def test_one_holder_fills_its_share_and_holders_together_the_places():
    async def run():
        lane, go_on, at_work = Lane(of_one=2, places=3), asyncio.Event(), []
        callers = ["greedy"] * 5 + ["modest", "last"]
        asked = [asyncio.ensure_future(work(lane, caller, done=at_work, go_on=go_on)) for caller in callers]
        await let_all_go_as_far_as_they_can()
        before = list(at_work)
        go_on.set()
        await asyncio.gather(*asked)
        return before, sorted(at_work)

    assert asyncio.run(run()) == (["greedy", "greedy", "modest"], ["greedy"] * 5 + ["last", "modest"])


def test_whoever_asks_again_and_again_has_its_next_turn_after_those_who_wait():
    async def run():
        lane, done, turn = Lane(of_one=1, places=1), [], asyncio.Event()

        async def ask(holder):
            async with lane.share(holder), lane.place():
                done.append(holder)
                await turn.wait()

        asked = [asyncio.ensure_future(ask(holder)) for holder in ["greedy"] * 4 + ["modest", "other"]]
        await let_all_go_as_far_as_they_can()
        assert done == ["greedy"]
        turn.set()
        await asyncio.gather(*asked)
        return done

    assert asyncio.run(run())[:4] == ["greedy", "modest", "other", "greedy"]


@pytest.mark.parametrize("holder", ["greedy", "modest"])
def test_a_turn_that_does_not_come_is_refused_and_leaves_nothing_behind(holder):
    async def run():
        lane, go_on, done = Lane(of_one=1, places=1, turn_s=0.01), asyncio.Event(), []
        first = asyncio.ensure_future(work(lane, "greedy", done=done, go_on=go_on))
        await let_all_go_as_far_as_they_can()
        with pytest.raises(Unavailable) as refused:
            await work(lane, holder, done=done, go_on=go_on)
        go_on.set()
        await first
        await work(lane, holder, done=done, go_on=go_on)
        return refused.value.code, refused.value.retry_after_s, done

    assert asyncio.run(run()) == ("api.busy", 5.0, ["greedy", holder])


def test_what_goes_wrong_at_work_is_told_as_it_is():
    async def run():
        lane = Lane(of_one=1, places=1)
        with pytest.raises(TimeoutError):
            async with lane.share("one"), lane.place():
                raise TimeoutError
        async with lane.share("one"), lane.place():
            return True

    assert asyncio.run(run())
