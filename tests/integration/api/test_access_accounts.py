"""A user of a served home calls it with a token: what the roles give, at once, and nothing after the password changed."""

from __future__ import annotations

import httpx2
import pytest

from accounts_world import CHEAP, PASSWORD
from serving_world import PASSPHRASE, make_served_home, served
from shuiqiao.node.accounts.opening import open_accounts


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
        service.give_roles(admin, "chen", roles=["data_officer"])
        assert status("/ingests", token) == 200
        service.disable(admin, "chen")
        assert status("/ledger/blocks", token) == 401
