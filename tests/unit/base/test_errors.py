"""The one family of errors: one shape, and whole after a journey between processes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest

from shuiqiao.base.errors import UNKNOWN, Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable

CLASSES = [InvalidInput, Denied, Conflict, Unavailable, IntegrityError]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_is_of_the_family_and_has_one_shape(kind):
    error = kind("room.what_happened", "the thing is 3 where 4 is needed")
    assert isinstance(error, ShuiqiaoError)
    assert str(error) == "room.what_happened: the thing is 3 where 4 is needed"
    assert error.as_dict() == {
        "code": "room.what_happened",
        "message": "the thing is 3 where 4 is needed",
        "next_step": UNKNOWN.en,
        "next_step_zh": UNKNOWN.zh,
    }


def test_a_next_step_is_part_of_the_shape():
    error = Denied("room.no", "not allowed", next_step="ask the owner")
    assert error.as_dict() == {
        "code": "room.no",
        "message": "not allowed",
        "next_step": "ask the owner",
        "next_step_zh": UNKNOWN.zh,
    }


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_can_be_told_of_its_place_and_stays_what_it_is(kind):
    error = kind("room.what_happened", "a row is bad", next_step="mend it").within("'a.csv'")
    assert type(error) is kind
    assert error.as_dict() == {
        "code": "room.what_happened",
        "message": "'a.csv': a row is bad",
        "next_step": "mend it",
        "next_step_zh": UNKNOWN.zh,
    }
    assert str(error) == "room.what_happened: 'a.csv': a row is bad"


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("travel", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy], ids=["pickle", "copy"])
def test_an_error_survives_being_rebuilt(kind, travel):
    sent = kind("room.what_happened", "the message", next_step="do this")
    received = travel(sent)
    assert type(received) is kind
    assert received.as_dict() == sent.as_dict()
    assert str(received) == str(sent)


@pytest.mark.parametrize("seconds", [None, 0.0, 5.0])
def test_when_to_retry_survives_being_rebuilt(seconds):
    received = pickle.loads(pickle.dumps(Unavailable("room.away", "not there", retry_after_s=seconds)))
    assert received.retry_after_s == seconds


def test_an_error_that_another_process_raised_arrives_whole():
    program = (
        "import pickle, sys\nfrom shuiqiao.base.errors import Unavailable\n"
        "try:\n    raise Unavailable('ledger.busy', 'full', next_step='wait', retry_after_s=1.5)\n"
        "except Unavailable as error:\n    sys.stdout.buffer.write(pickle.dumps(error))\n"
    )
    sent = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    received = pickle.loads(sent)
    assert (received.code, received.message, received.next_step) == ("ledger.busy", "full", "wait")
    assert received.retry_after_s == 1.5
