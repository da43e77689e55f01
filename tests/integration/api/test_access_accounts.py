"""A user of a served home calls it with a token: what the roles give, at once, and nothing after the password changed."""

from __future__ import annotations

import httpx2
import pytest

from accounts_world import CHEAP, PASSWORD
from serving_world import PASSPHRASE, make_served_home, served
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import Denied
from shuiqiao.members.genesis import network_parameters
from shuiqiao.node.accounts.opening import open_accounts
from shuiqiao.node.published.http_tiles import HttpTiles
from shuiqiao.node.published.standing_audit import StandingAudit


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(make_served_home(tmp_path_factory.mktemp("served") / "home")) as running:
        yield running


def test_a_token_counts_for_what_its_holders_roles_give(server):
    def status(path, token):
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.get(f"{server.listening['listen']}/api/v1{path}", headers=headers).status_code

    with open_accounts(server.home, cost=CHEAP, passphrase=lambda: PASSPHRASE) as accounts:
        service = accounts.service

        def take_up(name, first):
            service.change_password(
                service.authenticate(service.log_in(name, password=first).token), old=first, new=PASSWORD
            )
            return service.log_in(name, password=PASSWORD).token

        admin = service.authenticate(take_up("admin", service.add_first_user("admin")))
        first = service.add_user(admin, "chen", roles=["internal_auditor"])
        early = service.log_in("chen", password=first).token
        assert status("/ledger/blocks", early) == 403
        token = take_up("chen", first)
        assert status("/ledger/blocks", early) == 401
        assert (status("/ledger/blocks", token), status("/ingests", token)) == (200, 403)
        with HttpTiles(server.listening["listen"], token=token) as tiles:
            parameters = network_parameters(server.home.genesis.read_bytes())
            folder = server.home.folder.with_name("auditor")
            with StandingAudit(folder, source=tiles, parameters=parameters, clock=SystemClock()) as audit:
                assert audit.go_round().checkpoint.size == 0, "nothing is on this ledger yet"
        with HttpTiles(server.listening["listen"], token=early) as tiles:
            with pytest.raises(Denied, match=r"^api\.unauthenticated"):
                tiles.get("checkpoint", max_bytes=16_384)
        service.give_roles(admin, "chen", roles=["data_officer"])
        assert status("/ingests", token) == 200
        service.disable(admin, "chen")
        assert status("/ledger/blocks", token) == 401
