"""``exposure``: what another bank told, and the evidence of a run, which a regulator checks."""

from __future__ import annotations

import pytest

from absence import absent
from exposure_scene import LENT_FEN, Scene
from shuiqiao.base.errors import Unavailable
from shuiqiao.privacy.secure.library import require_library


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A bank that was told, and the homes of both banks and of the regulator, that lie still."""
    try:
        require_library()
    except Unavailable as error:
        absent(error.message)
    scene = Scene(tmp_path_factory.mktemp("asked"), "intl")
    try:
        world = scene.world
        world.decided(bank=scene.other, limit_fen=LENT_FEN)
        scene.consented(scene.other)
        consent = scene.consented(scene.bank)
        scene.ask(consent)
        world.regulator.catch_up_with(scene.bureau)
        homes = {"bank": scene.bank.home, "other": scene.other.home, "regulator": world.regulator.home}
        members = (scene.bank.member, scene.other.member)
    finally:
        scene.close()
    # Those that follow ask a writer that is not there: what is listed and checked needs none.
    for home in homes.values():
        with home.settings.open("a") as settings:
            settings.write('peers = { bureau = "http://127.0.0.1:9" }\n')
    return consent, members, {each: home.folder for each, home in homes.items()}


def test_what_was_told_is_listed_and_each_bank_s_list_is_checked(here, asked, tmp_path):
    """[PSI-9] [PSI-10]"""
    consent, (bank, other), homes = asked
    told = here("exposure", "list", "--home", homes["bank"], "--json")
    (exposure,) = told.json["exposures"]
    assert (exposure["consent"], exposure["bank"], exposure["band"]) == (consent, other, 1)
    assert (exposure["from_fen"], exposure["counted_fen"]) == (10_000_000, 30_000_000)
    assert other in here("exposure", "list", "--home", homes["bank"]).out
    for member, home in ((bank, "bank"), (other, "other")):
        (run,) = here("exposure", "runs", "--home", homes[home], "--json").json["runs"]
        file = tmp_path / home
        told = here("exposure", "evidence", run["run"], "--home", homes[home], "--out", file, "--json")
        assert (told.code, told.json["file"]) == (0, str(file)), told.json
        told = here("exposure", "check", file, "--home", homes["regulator"], "--json")
        assert told.json == {"bank": member, "asks": bank, "asked": other, "taxpayers": 1}


def test_what_is_refused_says_so(here, asked, tmp_path):
    """[PSI-10]"""
    _, (bank, _), homes = asked
    file = tmp_path / "file"
    file.write_text("AAAA")
    for words, code in (
        (("ask", bank, "--home", homes["bank"]), "lending.exposure_itself"),
        (("ask", "nobody", "--home", homes["bank"]), "members.unknown"),
        (("ask", bank, "--home", homes["regulator"]), "node.role_wrong"),
        (("list", "--home", homes["regulator"]), "node.role_wrong"),
        (("evidence", "0" * 64, "--home", homes["bank"], "--out", file), "lending.exposure_run_unknown"),
        (("evidence", "0", "--home", homes["bank"], "--out", file), "api.request_invalid"),
        (("check", file, "--home", homes["regulator"]), "lending.exposure_list_malformed"),
    ):
        told = here("exposure", *words, "--json")
        assert (told.code, told.json["error"]["code"]) in {(1, code), (2, code)}, told.json
