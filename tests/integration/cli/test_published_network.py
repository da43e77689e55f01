"""A network of validators: one node publishes its log by itself, another is asked to, and a third after it was stopped.

Keys were replaced before, so the genesis alone does not tell whose signatures count. The same for a backup of the
validator whose key it was. Bounded in time; absent CometBFT it is skipped with the reason.
"""

from __future__ import annotations

import shutil
import time

import pytest

from network_world import four_validators
from patience import PATIENCE_S
from shuiqiao.ledger.checkpoints.signed_note import decode_signed_note
from web_server import served_files


@pytest.fixture
def network(run_network, tmp_path):
    """A running network of four; the bureau's node publishes to ``public`` in its home every second."""
    folder = four_validators(tmp_path / "net")

    def call(command, *arguments):
        done = run_network(folder.folder, command, *arguments)
        assert done.code == 0, (done.out, done.err)

    with folder.home("bureau").settings.open("a") as file:
        file.write('tiles_folder = "public"\ntiles_interval_s = 1\n')
    call("start")
    yield folder, call
    call("stop")


def published_size(folder):
    path = folder / "checkpoint"
    return decode_signed_note(path.read_bytes()).head.size if path.exists() else 0


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_validators_publish_one_log_over_replaced_keys(network, here, files, tmp_path):
    folder, call = network
    genesis, public = folder.genesis, folder.home("bureau").folder / "public"

    def done(*arguments):
        said = here(*arguments, "--json")
        assert said.code == 0, (said.out, said.err)
        return said.json

    rotated = done("members", "rotate-key", "--home", folder.home("bank-1").folder)
    done("ingest", files["registration"], "--home", folder.home("bureau").folder)
    # A block of the rotation, one of the anchor: each a transaction and an entry.
    until(lambda: published_size(public) == 4)
    first = done("verify", "--tiles", public, "--genesis", genesis)
    assert (first["size"], first["height"], len(first["cosigners"]) >= 3) == (4, 2, True)
    kept = tmp_path / "kept"
    shutil.copy(public / "checkpoint", kept)

    def audited():
        with served_files(public) as url:
            words = ("--genesis", genesis, "--folder", tmp_path / "auditor", "--once")
            return done("audit", "--follow", url, *words)

    assert (audited()["size"], audited()["transactions"]) == (4, 0)

    done("ingest", files["tax_credit_grade"], "--home", folder.home("bureau").folder)
    until(lambda: published_size(public) == 6)
    assert done("verify", "--tiles", public, "--since", kept, "--genesis", genesis)["consistent"]
    assert (audited()["size"], audited()["contradicted"]) == (6, False)

    # Beside another node that runs: the same log, whoever cosigned.
    mirror = tmp_path / "mirror"
    home = folder.home("bank-1").folder
    until(lambda: done("tiles", "publish", "--home", home, "--out", mirror)["size"] == 6)
    other = done("verify", "--tiles", mirror, "--since", kept, "--genesis", genesis)
    assert (other["consistent"], other["root"]) == (
        True,
        done("verify", "--tiles", public, "--genesis", genesis)["root"],
    )
    for path in (public / "tile").rglob("*"):
        if path.is_file() and not path.parent.name.endswith(".p"):
            assert path.read_bytes() == (mirror / path.relative_to(public)).read_bytes()

    # The validator whose key was replaced backs itself up while it runs.
    archive = tmp_path / "bank-1.tar"
    assert done("backup", "create", "--home", home, "--to", archive)["signed_by"] == rotated["public_key"]
    assert done("backup", "verify", "--from", archive, "--genesis", genesis, "--since", kept)["height"] == 3
    restored = done("backup", "restore", "--from", archive, "--home", tmp_path / "restored", "--genesis", genesis)
    assert restored["signs"] is False

    call("stop")
    stopped = done("tiles", "publish", "--home", folder.home("bank-2").folder, "--out", tmp_path / "third")
    assert stopped["size"] >= 4
    assert done("verify", "--tiles", tmp_path / "third", "--since", kept, "--genesis", genesis)["consistent"]
