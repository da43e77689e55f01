"""An answer is a Future for whoever waits, asks, listens or collects, before it is given and after."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, as_completed, wait

import pytest

from patience import PATIENCE_S
from shuiqiao.base.errors import Conflict
from shuiqiao.ledger.engine.answer import Answer
from shuiqiao.ledger.model import Committed

PLACE = Committed(index=3, height=2, time_ms=1)
REFUSAL = Conflict("note.repeated", "it exists")


def later(act):
    timer = threading.Timer(0.05, act)
    timer.start()
    return timer


def test_given_before_anybody_asks():
    answer, refused = Answer(), Answer()
    assert not answer.done()
    answer.set_result(PLACE)
    refused.set_exception(REFUSAL)
    assert (answer.done(), answer.result(), answer.exception()) == (True, PLACE, None)
    assert refused.exception() == REFUSAL
    with pytest.raises(Conflict) as raised:
        refused.result()
    assert raised.value is REFUSAL


def test_waited_for():
    answer, refused = Answer(), Answer()
    timers = [later(lambda: answer.set_result(PLACE)), later(lambda: refused.set_exception(REFUSAL))]
    assert answer.result(timeout=PATIENCE_S) == PLACE
    assert refused.exception(timeout=PATIENCE_S) == REFUSAL
    with pytest.raises(TimeoutError):
        Answer().result(timeout=0)
    for timer in timers:
        timer.join()


def test_it_cannot_be_cancelled():
    answer = Answer()
    assert not answer.cancel()
    answer.set_result(PLACE)
    assert (answer.cancelled(), answer.result()) == (False, PLACE)


@pytest.mark.parametrize("is_given_first", [True, False])
def test_callbacks_are_called_once_each(is_given_first):
    answer = Answer()
    heard = []
    if is_given_first:
        answer.set_result(PLACE)
    for name in ("a", "b"):
        answer.add_done_callback(lambda done, name=name: heard.append((name, done.result())))
    if not is_given_first:
        assert heard == []
        answer.set_result(PLACE)
    assert heard == [("a", PLACE), ("b", PLACE)]


def test_collected_with_others():
    answers = [Answer() for _ in range(3)]
    answers[1].set_result(PLACE)
    timers = [later(lambda: answers[0].set_result(PLACE)), later(lambda: answers[2].set_exception(REFUSAL))]
    assert {id(each) for each in as_completed(answers, timeout=PATIENCE_S)} == {id(each) for each in answers}
    again = Answer()
    assert again in wait([*answers, again], timeout=0.1, return_when=FIRST_EXCEPTION).not_done
    for timer in timers:
        timer.join()


def test_whoever_comes_while_it_is_given_is_told():
    for _ in range(300):
        answer = Answer()
        heard = []
        gate = threading.Barrier(4)

        def wait_for_it(answer=answer, heard=heard, gate=gate):
            gate.wait()
            heard.append(answer.result(timeout=PATIENCE_S))

        def listen(answer=answer, heard=heard, gate=gate):
            gate.wait()
            answer.add_done_callback(lambda done: heard.append(done.result()))

        threads = [threading.Thread(target=act) for act in (wait_for_it, wait_for_it, listen)]
        for thread in threads:
            thread.start()
        gate.wait()
        answer.set_result(PLACE)
        for thread in threads:
            thread.join(timeout=PATIENCE_S)
        assert heard == [PLACE, PLACE, PLACE]
