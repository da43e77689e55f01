"""A bureau with a few records, and its doors in this process."""

from __future__ import annotations

import pytest

from api_world import asked
from consortium_world import record_files
from offices_world import offices_world
from serving_world import PASSPHRASE, make_served_home
from shuiqiao.node import governance
from shuiqiao.node.server import RunningInstitution


@pytest.fixture(scope="session")
def bureau(tmp_path_factory):
    """A one-institution network whose bureau has taken in records of one taxpayer."""
    folder = tmp_path_factory.mktemp("asked")
    with RunningInstitution.open(make_served_home(folder / "home"), passphrase=PASSPHRASE) as running:
        institution = running.institution
        for name, path in record_files(folder / "files").items():
            known = institution.catalogue.get(name)
            institution.vault.ingest([path], anchor=institution.outbox, record_type=known)
        with asked(running) as found:
            yield found


@pytest.fixture(scope="session")
def offices(tmp_path_factory):
    """A bureau, two banks and a regulator behind their doors, by name."""
    with pytest.MonkeyPatch.context() as patch:
        # What nobody put on the ledger is not waited for: nobody acts at another node meanwhile.
        patch.setattr(governance, "COPY_WAIT_S", 0)
        with offices_world(tmp_path_factory.mktemp("offices") / "world") as found:
            yield found
