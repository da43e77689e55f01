"""A bureau whose own people are at work, by the accounts that it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from accounts_world import CHEAP, PASSWORD
from api_world import AskedInstitution, asked
from serving_world import PASSPHRASE, make_served_home
from shuiqiao.client.http import new_idempotency_key
from shuiqiao.node.accounts.opening import InstitutionAccounts
from shuiqiao.node.server import RunningInstitution


@dataclass(frozen=True, kw_only=True)
class Office:
    """The public door of an institution, for whoever has one of its tokens."""

    asked: AskedInstitution

    def get(self, path: str, *, token: str, **parameters: Any) -> Any:
        """Ask a question."""
        return self._client().get(f"/api/v1{path}", params=parameters or None, headers=self._headers(token))

    def post(self, path: str, message: Any, *, token: str = "", key: str = "") -> Any:
        """Do an act. key: names it; left out, a fresh one."""
        headers = {**self._headers(token), "Idempotency-Key": key or new_idempotency_key()}
        return self._client().post(f"/api/v1{path}", json=message, headers=headers)

    def log_in(self, name: str, *, password: str = PASSWORD) -> str:
        """Return a token of a user."""
        token: str = self.post("/sessions/user", {"name": name, "password": password}).json()["token"]
        return token

    def take_up(self, name: str, first: str) -> str:
        """Give a user a password of its own, and return a token."""
        change = {"old": first, "new": PASSWORD}
        assert self.post("/me/password", change, token=self.log_in(name, password=first)).json()["changed"]
        return self.log_in(name)

    def _client(self) -> TestClient:
        return TestClient(self.asked.apps["accounts"], raise_server_exceptions=False)

    def _headers(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"} if token else {}


@pytest.fixture(scope="session")
def office(tmp_path_factory):
    """An institution that has nobody's account yet but that of who manages users, ``admin``."""
    home = make_served_home(tmp_path_factory.mktemp("office") / "home")
    with RunningInstitution.open(home, passphrase=PASSPHRASE) as running:
        # Passwords are hashed at the least cost: many are tried here.
        running.accounts = InstitutionAccounts(running.institution, cost=CHEAP)
        with asked(running) as found:
            yield Office(asked=found)


@pytest.fixture(scope="session")
def admin(office):
    """A token of who manages users."""
    first = office.asked.running.accounts.service.add_first_user("admin")
    return office.take_up("admin", first)
