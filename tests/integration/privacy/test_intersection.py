"""Two banks find which items both have: what comes out, what the other one sees, what becomes of a failure."""

from __future__ import annotations

import hmac
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

import recording_worker
from absence import absent
from patience import PATIENCE_S
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.privacy.secure import links as links_module
from shuiqiao.privacy.secure import worker_link as worker_link_module
from shuiqiao.privacy.secure.intersection import INTERSECTION, ITEM_BYTES, MAX_ITEMS, PLACE_BYTES, SIZE_STEP
from shuiqiao.privacy.secure.library import require_library
from shuiqiao.privacy.secure.model import SecureFunction, SecureOutput
from shuiqiao.sandbox.secure_pair import BANK, BINDING, BUREAU, SecurePair


@pytest.fixture(scope="module", autouse=True)
def _library():
    try:
        require_library()
    except Unavailable as error:
        absent(error.message)


@pytest.fixture(scope="module")
def pair():
    made = SecurePair().open()
    yield made
    made.close()


@pytest.fixture
def broken_pair():
    """One that a test breaks."""
    made = SecurePair().open()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    """Where runs have their files; nothing stays there, whatever came of them."""
    monkeypatch.setattr(links_module, "_MEMORY", tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


def items(*numbers):
    return [sha256(str(each).encode()).digest() for each in numbers]


def both(pair, asked, other, *, their_binding=BINDING, theirs=None):
    """Run both halves; return what came of each, an error too."""
    with ThreadPoolExecutor(2) as pool:
        bank = pool.submit(pair.bank.intersect, BUREAU, asked, binding=BINDING)
        bureau = pool.submit(
            pair.bureau.intersect, BANK, other, binding=their_binding, theirs=len(asked) if theirs is None else theirs
        )
        return [each.exception() or each.result() for each in (bank, bureau)]


def codes(halves):
    return [each.code if isinstance(each, ShuiqiaoError) else each for each in halves]


@pytest.mark.parametrize(
    ("asked", "other", "found"),
    [
        ([5], [5], [0]),
        ([5], [6], []),
        ([3, 9, 4], [4, 1, 3], [0, 2]),
        (range(7), range(7), list(range(7))),
        ([2], range(SIZE_STEP), [0]),
        (range(3_000), range(1_000, 9_000), list(range(1_000, 3_000))),
    ],
)
def test_the_side_that_asks_is_told_what_both_have_and_the_other_nothing(pair, asked, other, found):
    """[PSI-1] [PSI-2]"""
    assert both(pair, items(*asked), items(*other)) == [found, []]


def test_runs_and_functions_follow_one_another_on_one_link(pair):
    """[PSI-2]"""
    function = SecureFunction(indicators=2, cuts=0, output=SecureOutput.POINTS)
    assert both(pair, items(1, 2), items(2)) == [[1], []]
    assert pair.outputs(function, [5, 7], [0, 1]) == [7]
    assert both(pair, items(1, 2), items(1)) == [[0], []]


def test_another_request_over_there_is_refused_by_both_and_the_link_goes_on(pair):
    """[PSI-2]"""
    differs = ["privacy.secure_function_differs"] * 2
    assert codes(both(pair, items(1), items(1), their_binding=bytes(32))) == differs
    assert both(pair, items(1), items(1)) == [[0], []]


@pytest.mark.parametrize(
    "wrong", [[], items(1, 1), [b"short"], [each.to_bytes(32, "big") for each in range(MAX_ITEMS + 1)]]
)
def test_lists_that_are_none_are_refused_before_they_leave(pair, wrong):
    """[PSI-1]"""
    with pytest.raises(InvalidInput, match=r"privacy\.secure_items_wrong"):
        pair.bank.intersect(BUREAU, wrong, binding=BINDING)
    assert both(pair, items(1), items(1)) == [[0], []]


def test_more_items_than_were_asked_for_are_refused_before_anything_is_compared(broken_pair):
    """[PSI-2] Who asks for two applicants cannot compare three."""
    found = codes(both(broken_pair, items(1, 2, 3), items(1, 2, 3), theirs=2))
    assert found[1] == "privacy.secure_items_wrong"
    assert found[0] == "privacy.secure_peer_silent"


def test_what_the_library_writes_elsewhere_is_taken_away_and_nothing_is_printed(pair, capfd):
    """[PSI-4] It puts times of its steps into a file of its own choice."""
    place, before = Path("/tmp"), set(Path("/tmp").glob("psi_*.trace"))
    assert both(pair, items(1, 2), items(2)) == [[1], []]
    until = time.monotonic() + PATIENCE_S
    while not set(place.glob("psi_*.trace")) <= before:
        # One of another run goes with that run.
        assert time.monotonic() < until
        time.sleep(0.02)
    assert capfd.readouterr() == ("", "")


def test_what_the_library_reads_can_be_held_against_no_list(pair, monkeypatch):
    """[PSI-3] Neither an item nor its digest stands in a file, and two runs have no line in common."""
    seen = []
    made = links_module.TemporaryDirectory

    class Seen(made):
        def cleanup(self):
            seen.append({each for file in Path(self.name).rglob("items.csv") for each in file.read_text().split()})
            super().cleanup()

        def __exit__(self, *exception):
            self.cleanup()

    monkeypatch.setattr(links_module, "TemporaryDirectory", Seen)
    for _ in range(2):
        both(pair, items(1, 2), items(2))
    assert len(seen) == 4
    assert sorted(len(each) for each in seen) == [4, 4, SIZE_STEP + 1, SIZE_STEP + 1]
    plain = {each.hex() for each in items(1, 2)} | {sha256(each).hexdigest() for each in items(1, 2)}
    assert not any(each & plain for each in seen)
    asked = [each for each in seen if len(each) == 4]
    assert asked[0] & asked[1] == {"item"}


@pytest.fixture
def recorded(tmp_path_factory, monkeypatch):
    """Runs one intersection and returns what each side sent, before TLS, the one that asks first."""

    def run(asked, other):
        folder = tmp_path_factory.mktemp("recorded")
        monkeypatch.setenv("RECORDED", str(folder))
        monkeypatch.setenv("PYTHONPATH", str(Path(recording_worker.__file__).parent))
        monkeypatch.setattr(worker_link_module, "run_worker", recording_worker.run_recording)
        pair = SecurePair().open()
        try:
            found = both(pair, asked, other)
        finally:
            pair.close()
        return found, [(folder / rank).read_bytes() for rank in "01"]

    return run


def test_nothing_that_crosses_is_an_item_nor_says_what_is_common(recorded):
    """[PSI-1] [PSI-3] Seen before TLS, with the key of the run; what both compare is found by the same look."""
    mine, lengths = items(*range(40)), []
    compared = sha256(BINDING + sha256(INTERSECTION).digest()).digest()
    for common in (0, 7, 40):
        (found, nothing), sent = recorded(mine, items(*range(40 - common, 80 - common)))
        assert (len(found), nothing) == (common, [])
        parts = [each.partition(compared)[2][PLACE_BYTES : PLACE_BYTES + ITEM_BYTES] for each in sent]
        key = sha256(b"".join(parts)).digest()
        known = {each for item in items(*range(80)) for each in (item, sha256(item).digest())}
        keyed = {hmac.digest(key, item, "sha256") for item in items(*range(80))}
        for each in sent:
            assert compared in each
            assert not [value for value in known | keyed if value in each or value.hex().encode() in each]
        lengths.append(len(sent[0].partition(compared)[2]))
    # What goes to the side that was asked has one length, whatever is common.
    assert len(set(lengths)) == 1


@pytest.mark.parametrize("side", [0, 1])
def test_a_worker_that_dies_in_a_run_leaves_no_result_and_no_file(broken_pair, side):
    """[PSI-4]"""
    many = items(*range(60_000))
    links = [broken_pair.bank._links[BUREAU], broken_pair.bureau._links[BANK]]

    def kill():
        while not all(link.is_busy for link in links):
            time.sleep(0.005)
        time.sleep(0.1)
        os.kill(links[side].pid, signal.SIGKILL)

    threading.Thread(target=kill).start()
    assert codes(both(broken_pair, many, many)) == ["privacy.secure_peer_silent"] * 2
    broken_pair.open()
    assert both(broken_pair, items(1), items(1)) == [[0], []]


def test_a_side_that_is_not_asked_leaves_the_other_with_a_refusal(broken_pair):
    """[PSI-4]"""
    broken_pair.bank._timeout_s = 0.5
    with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent"):
        broken_pair.bank.intersect(BUREAU, items(1), binding=BINDING)
    assert not broken_pair.bank.is_open(BUREAU)
