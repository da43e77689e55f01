"""``audit evidence`` and ``audit computation``: each party writes its file, and the regulator replays both."""

from __future__ import annotations

import pytest

from secure_scene import Scene
from shuiqiao.consent.model import Output
from shuiqiao.node.operations.answers import ask_provider


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """A computation that was recorded, and the homes of who computed it and of the regulator, that lie still."""
    scene = Scene(tmp_path_factory.mktemp("computed"), "intl")
    try:
        world, asked = scene.doors.world, scene.asking(Output.BAND)
        ask_provider(scene.bank, asked)
        for each in (scene.bank, scene.bureau):
            each.computations.record()
        world.regulator.catch_up_with(scene.bureau)
        homes = {each: getattr(world, each).home for each in ("bank", "bureau", "regulator")}
        name = f"{scene.bank.member}/{asked.request}"
    finally:
        scene.end_links()
        scene.close()
    # Those that follow ask a writer that is not there: what is shown and replayed needs none.
    for each in ("bank", "regulator"):
        with homes[each].settings.open("a") as settings:
            settings.write('peers = { bureau = "http://127.0.0.1:9" }\n')
    return name, {each: home.folder for each, home in homes.items()}


def test_each_party_writes_its_evidence_and_the_regulator_replays_it(here, computed, tmp_path):
    """[SECURE-19] [SECURE-20]"""
    name, homes = computed
    files = []
    for party in ("bank", "bureau"):
        files.append(tmp_path / party)
        told = here("audit", "evidence", name, "--home", homes[party], "--out", files[-1], "--json")
        assert (told.code, told.json["computation"], told.json["file"]) == (0, name, str(files[-1])), told.json
    both = [word for file in files for word in ("--log", file)]
    told = here("audit", "computation", name, "--home", homes["regulator"], *both, "--json")
    assert (told.code, told.json["holds"], told.json["output"]) == (0, True, "band"), told.json
    told = here("audit", "computation", name, "--home", homes["regulator"], "--log", files[0])
    assert told.code == 1
    assert "log_withheld" in told.out


def test_what_is_no_evidence_of_this_computation_is_refused(here, computed, tmp_path):
    """[SECURE-19]"""
    name, homes = computed
    other = tmp_path / "other"
    other.write_text("AAAA")
    for words, code in (
        (("audit", "computation", name, "--home", homes["regulator"], "--log", other), "base.cbor_not_deterministic"),
        (("audit", "computation", f"{name[:-1]}g", "--home", homes["regulator"]), "api.request_invalid"),
        (("audit", "evidence", name, "--home", homes["regulator"], "--out", other), "node.role_wrong"),
        (("audit", "evidence", f"x{name}", "--home", homes["bank"], "--out", other), "exchange.log_missing"),
    ):
        told = here(*words, "--json")
        assert (told.code, told.json["error"]["code"]) in {(1, code), (2, code)}, told.json
