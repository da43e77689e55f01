"""An institution whose API is asked in this process: real homes behind it, and tokens that a test gives out."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from starlette.testclient import TestClient
from starlette.types import ASGIApp

from consortium_world import TAXPAYER
from shuiqiao.api.access import Callers, unauthenticated
from shuiqiao.api.acts import Acts
from shuiqiao.api.app import home_app, public_app
from shuiqiao.api.door import Door
from shuiqiao.api.lanes import Lanes
from shuiqiao.api.limits import RequestRates
from shuiqiao.api.news import News
from shuiqiao.api.observing import Metrics
from shuiqiao.api.store import ActStore
from shuiqiao.api.uploads import Uploads
from shuiqiao.client.http import IDEMPOTENCY_HEADER
from shuiqiao.node.accounts.model import Permission, Principal, PrincipalKind
from shuiqiao.node.server import RunningInstitution

ALL = "token-of-everything"
NOTHING = "token-of-nothing"
FIRM = "token-of-an-enterprise"
"""Of the taxpayer of ``consortium_world`` at its bureau."""


@dataclass
class Leaps:
    """A clock that goes on by so many seconds whenever it is asked, so that nobody asks too often unless it stands."""

    step_s: float = 1_000.0
    now_s: float = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


@dataclass
class IssuedTokens:
    """The callers that a test knows, by their tokens."""

    callers: dict[str, Principal] = field(default_factory=dict)
    is_in_use: bool = True

    def has_users(self) -> bool:
        """See Authenticator."""
        return self.is_in_use

    def issue(self, token: str, *permissions: str) -> str:
        """Give out a token with some permissions."""
        self.callers[token] = Principal(
            kind=PrincipalKind.USER,
            id=token,
            name=token,
            person=token,
            permissions=frozenset(Permission(each) for each in permissions),
        )
        return token

    def authenticate(self, token: str) -> Principal:
        """See Authenticator."""
        if token not in self.callers:
            raise unauthenticated()
        return self.callers[token]


@dataclass(frozen=True, kw_only=True)
class AskedInstitution:
    """A running institution and its doors."""

    running: RunningInstitution
    tokens: IssuedTokens
    leaps: Leaps
    rates: RequestRates
    apps: Mapping[str, ASGIApp]
    origins: list[str]
    """By which addresses it is reached: whoever serves it or puts something in front of it adds one."""

    @property
    def public(self) -> TestClient:
        """Ask the listening address."""
        return TestClient(self.apps["public"], raise_server_exceptions=False)

    @property
    def home(self) -> TestClient:
        """Ask the home's own socket."""
        return TestClient(self.apps["home"], raise_server_exceptions=False)

    def document(self, door: str) -> dict[str, Any]:
        """Return the OpenAPI document of a door."""
        found: dict[str, Any] = getattr(self, door).get("/api/v1/openapi.json").json()
        return found

    def get(self, path: str, *, token: str = ALL, headers: Mapping[str, str] | None = None, **parameters: Any) -> Any:
        """Ask the public door."""
        sent = {"Authorization": f"Bearer {token}", **(headers or {})}
        return self.public.get(path, params=parameters or None, headers=sent)

    def search(self, path: str, *, token: str = ALL, headers: Mapping[str, str] | None = None, **message: Any) -> Any:
        """Ask the public door for what no address may hold."""
        sent = {"Authorization": f"Bearer {token}", IDEMPOTENCY_HEADER: token_hex(16), **(headers or {})}
        return self.public.post(path, json=message, headers=sent)


@contextmanager
def asked(running: RunningInstitution) -> Generator[AskedInstitution]:
    """Open the doors of a running institution in this process."""
    tokens = IssuedTokens()
    tokens.issue(ALL, *Permission)
    tokens.issue(NOTHING)
    tokens.callers[FIRM] = Principal(
        kind=PrincipalKind.ENTERPRISE,
        id=f"taxpayer:{TAXPAYER}",
        name=TAXPAYER,
        person=TAXPAYER,
        permissions=frozenset({Permission.OWN_READ, Permission.OWN_WRITE}),
        taxpayer=TAXPAYER,
    )
    metrics, leaps, origins = Metrics(running), Leaps(), list[str]()
    rates = RequestRates(clock=leaps)
    uploads, news = Uploads(running.institution.home), News(running.institution.engine)
    store = ActStore(running.institution.database, cipher=running.institution.cipher)
    lanes = Lanes()
    acts = Acts(store, clock=running.institution.dependencies.clock)

    def door(name: str, callers: Callers) -> Door:
        return Door(
            name=name,
            origins=origins,
            running=running,
            callers=callers,
            metrics=metrics,
            acts=acts,
            uploads=uploads,
            news=news,
            lanes=lanes,
            rates=rates,
        )

    apps = {
        "public": public_app(door("public", Callers.at_address(tokens))),
        "home": home_app(door("home", Callers.at_socket(tokens))),
        # For tests of the accounts themselves: the tokens are those that the institution gives.
        "accounts": public_app(door("public", Callers.at_address(running.accounts.service))),
    }
    yield AskedInstitution(running=running, tokens=tokens, leaps=leaps, rates=rates, apps=apps, origins=origins)
