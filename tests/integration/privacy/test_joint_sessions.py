"""Three parties compute by a process each: who is told what, and what becomes of it when one of them fails."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest

from absence import absent
from patience import PATIENCE_S
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.privacy.secure.joint import BANK, BUREAU, THIRD, JointFunction
from shuiqiao.privacy.secure.library import require_library
from shuiqiao.privacy.secure.model import CONFIGURATION
from shuiqiao.sandbox.joint_trio import BINDING, JointTrio

SUM = JointFunction(
    name="sum",
    text="module @sum {\n  func.func @main(%a: tensor<3xf32>, %b: tensor<3xf32>) -> tensor<3xf32> {\n"
    "    %c = stablehlo.add %a, %b : tensor<3xf32>\n    return %c : tensor<3xf32>\n  }\n}\n",
)
PRODUCT = JointFunction(name="product", text=SUM.text.replace("stablehlo.add", "stablehlo.multiply"))
OURS, THEIRS = np.array([1.5, -2.0, 300.25]), np.array([True, False, True])
SILENT, FAILED, DIFFERS = "privacy.secure_peer_silent", "privacy.secure_failed", "privacy.secure_function_differs"


@pytest.fixture(scope="module", autouse=True)
def _library():
    try:
        require_library()
    except Unavailable as error:
        absent(error.message)


@pytest.fixture
def trio():
    with JointTrio(timeout_s=PATIENCE_S) as made:
        yield made


def share(party):
    party.share("a", owner=BANK, shape=(3,), values=OURS if party.rank == BANK else None)
    party.share("b", owner=BUREAU, shape=(3,), values=THEIRS if party.rank == BUREAU else None)


def codes(found):
    return [each.code if isinstance(each, ShuiqiaoError) else each for each in found]


@pytest.mark.parametrize("to", [[BANK], [BUREAU], [THIRD], [BANK, BUREAU], [BANK, BUREAU, THIRD]])
def test_what_is_opened_reaches_those_it_is_opened_to_alone(trio, to):
    """[TRAIN-3]"""

    def party(each):
        share(each)
        each.run(SUM, ["a", "b"], ["c"])
        opened = each.open(["c", "a"], to=to)
        each.end()
        return opened.tolist(), each.steps

    found = trio.open().results(party)
    wanted = [2.5, -2.0, 301.25, *OURS]
    assert [opened for opened, _ in found] == [wanted if rank in to else [] for rank in range(3)]
    steps = found[0][1]
    assert len(set(steps)) == 5
    assert [each for _, each in found] == [steps] * 3


@pytest.mark.parametrize("odd", [BANK, BUREAU, THIRD])
def test_another_function_at_one_party_is_refused_by_all(trio, odd):
    """[TRAIN-3]"""

    def party(each):
        share(each)
        each.run(PRODUCT if each.rank == odd else SUM, ["a", "b"], ["c"])

    assert codes(trio.open().each(party)) == [DIFFERS] * 3


def test_opening_to_more_parties_than_agreed_is_refused_by_all(trio):
    """[TRAIN-3]"""

    def party(each):
        share(each)
        each.open(["a"], to=[BANK, THIRD] if each.rank == THIRD else [BANK])

    assert codes(trio.open().each(party)) == [DIFFERS] * 3


def test_another_agreement_at_one_party_is_refused_by_all(trio):
    """[TRAIN-3] The digest of what was agreed on is in every step."""

    def connect(each):
        others = {other.rank: other.offer for other in trio.parties if other is not each}
        each.connect(others, binding=bytes(32) if each.rank == BUREAU else BINDING)

    trio.results(connect)
    assert codes(trio.each(share)) == [DIFFERS] * 3


@pytest.mark.parametrize("dead", [BANK, BUREAU, THIRD])
def test_a_party_that_dies_in_a_run_is_told_to_both_others_and_nothing_is_opened(trio, dead):
    """[TRAIN-4]"""
    started = threading.Barrier(3)

    def party(each):
        share(each)
        started.wait()
        if each.rank == dead:
            os.kill(each.worker_pid, signal.SIGKILL)
        for _ in range(1_000):
            each.run(SUM, ["a", "b"], ["c"])

    assert codes(trio.open().each(party)) == [SILENT] * 3
    for each in trio.parties:
        with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent"):
            each.open(["a"], to=[BANK, BUREAU, THIRD])


def test_a_party_that_shows_the_certificate_of_another_is_no_third(trio):
    """[TRAIN-1] The third offers the bureau's certificate as its own: nobody takes the two for two."""
    offers = {each.rank: each.offer for each in trio.parties}
    offers[THIRD] = replace(offers[THIRD], certificate=offers[BUREAU].certificate)
    others = {rank: offer for rank, offer in offers.items() if rank != BANK}
    with pytest.raises(ShuiqiaoError, match=r"privacy\.secure_failed.*one certificate"):
        trio.parties[BANK].connect(others, binding=BINDING)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"configuration": CONFIGURATION}, "privacy.secure_protocol_refused"),
        ({"session": bytes(16)}, FAILED),
        ({"address": ""}, FAILED),
        ({"certificate": b"none"}, FAILED),
    ],
)
def test_an_offer_of_another_form_is_refused(trio, change, code):
    """[TRAIN-1] [TRAIN-2]"""
    others = {rank: trio.parties[rank].offer for rank in (BUREAU, THIRD)}
    others[THIRD] = replace(others[THIRD], **change)
    with pytest.raises(ShuiqiaoError) as refusal:
        trio.parties[BANK].connect(others, binding=BINDING)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("owner", "values"), [(BANK, None), (BANK, OURS[:2]), (BANK, np.array([1.0, np.nan, 2.0])), (BUREAU, OURS)]
)
def test_numbers_that_are_not_those_of_the_step_leave_no_server(trio, owner, values):
    """[TRAIN-3]"""
    trio.open()
    with pytest.raises(ShuiqiaoError, match=r"privacy\.secure_function_differs"):
        trio.parties[BANK].share("a", owner=owner, shape=(3,), values=values)
