"""The three apps of a running institution, one for each door: public, peers, and the home's own socket.

Each is an app of its own, so no route of one can be reached through another [API-1]. A request passes, from outside in:
its id and its line in the log, the limits of its body, who calls, its route.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI

from shuiqiao import __version__
from shuiqiao.api.home_routes import home
from shuiqiao.api.limits import BodyLimits
from shuiqiao.api.observing import Observing
from shuiqiao.api.openapi import install_openapi
from shuiqiao.api.peer_routes import PEER_LIMITS, PeerDoor
from shuiqiao.api.problems import install_handlers
from shuiqiao.api.routes.applications import applications
from shuiqiao.api.routes.approvals import approvals
from shuiqiao.api.routes.consents import consents
from shuiqiao.api.routes.deliveries import deliveries
from shuiqiao.api.routes.disputes import disputes
from shuiqiao.api.routes.enrolments import enrolments
from shuiqiao.api.routes.events import events
from shuiqiao.api.routes.exposures import exposures
from shuiqiao.api.routes.governance import governance
from shuiqiao.api.routes.grades import grades
from shuiqiao.api.routes.health import health
from shuiqiao.api.routes.ingests import ingests
from shuiqiao.api.routes.invoices import invoices
from shuiqiao.api.routes.jobs import jobs
from shuiqiao.api.routes.journal import journal
from shuiqiao.api.routes.ledger import ledger
from shuiqiao.api.routes.members import members
from shuiqiao.api.routes.models import models
from shuiqiao.api.routes.oversight import oversight
from shuiqiao.api.routes.own import own
from shuiqiao.api.routes.presentations import presentations
from shuiqiao.api.routes.products import products
from shuiqiao.api.routes.records import records
from shuiqiao.api.routes.registers import registers
from shuiqiao.api.routes.requests import requests
from shuiqiao.api.routes.sessions import sessions
from shuiqiao.api.routes.standards import standards
from shuiqiao.api.routes.trainings import trainings
from shuiqiao.api.routes.upkeep import upkeep
from shuiqiao.api.routes.users import users
from shuiqiao.api.uploads import MAX_UPLOAD_BYTES
from shuiqiao.client.operation import PREFIX
from shuiqiao.client.resources.exposures import CHECK_EVIDENCE, MAX_EVIDENCE_CHARS
from shuiqiao.client.resources.invoices import MAX_INVOICE_CHARS, VERIFY_INVOICE
from shuiqiao.client.resources.models import DEVELOP_MODEL, MAX_LOAN_BOOK_BYTES
from shuiqiao.client.resources.upkeep import MAX_COMPUTATION_BYTES, REPLAY_COMPUTATION

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from shuiqiao.api.door import Door
    from shuiqiao.api.observing import Metrics
    from shuiqiao.api.routing import Routes
    from shuiqiao.node.server import RunningInstitution

_LONG_BODIES: Final = {
    f"{PREFIX}/ingests": MAX_UPLOAD_BYTES,
    PREFIX + DEVELOP_MODEL.path: MAX_LOAN_BOOK_BYTES,
    PREFIX + REPLAY_COMPUTATION.path: MAX_COMPUTATION_BYTES,
    PREFIX + VERIFY_INVOICE.path: MAX_INVOICE_CHARS + 1_024,
    PREFIX + CHECK_EVIDENCE.path: MAX_EVIDENCE_CHARS + 1_024,
}
"""Longest bodies of the routes that take more than any other."""

_NOUNS: Final[tuple[Routes, ...]] = (
    sessions,
    users,
    approvals,
    journal,
    members,
    governance,
    records,
    grades,
    ledger,
    standards,
    invoices,
    ingests,
    enrolments,
    consents,
    requests,
    trainings,
    disputes,
    exposures,
    registers,
    own,
    presentations,
    products,
    models,
    applications,
    oversight,
    jobs,
    events,
    deliveries,
    upkeep,
)


def public_app(door: Door) -> ASGIApp:
    """Return the app of the listening address: the public API and what a supervisor asks."""
    return _behind_limits(public_api(), door, limits=_LONG_BODIES)


def home_app(door: Door) -> ASGIApp:
    """Return the app of the home's socket: the public API, and what its owner may do without a token."""
    return _behind_limits(home_api(), door, limits=_LONG_BODIES)


def public_api() -> FastAPI:
    """Return the routes of the listening address; ``public_api().openapi()`` describes them."""
    app = _new_app(title="Shuiqiao 税桥 API")
    _include(app, [health], prefix="")
    _include(app, _NOUNS, prefix=PREFIX)
    return app


def home_api() -> FastAPI:
    """Return the routes of the home's socket."""
    app = _new_app(title="Shuiqiao 税桥 API of a home", is_owners=True)
    _include(app, [health, home], prefix="")
    _include(app, _NOUNS, prefix=PREFIX)
    return app


def peers_app(running: RunningInstitution, *, metrics: Metrics) -> ASGIApp:
    """Return the app of the address for other members: signed messages, and that the server is there."""
    app = PeerDoor(running.institution.peer_service)
    return Observing(BodyLimits(app, limits=PEER_LIMITS), door="peers", metrics=metrics)


def _new_app(*, title: str, is_owners: bool = False) -> FastAPI:
    app = FastAPI(
        title=title,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        # An answer is one of our own wire types; reading it again would cost as much as making it.
        separate_input_output_schemas=False,
        # It would tell paths, parameters and texts of errors, and be switched on by variables of the environment:
        # ``client.tracing`` tells what may be told, and only where node.toml says so.
        telemetry={
            "auto_configure": False,
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
        },
    )
    install_handlers(app, is_owners=is_owners)
    install_openapi(app)
    return app


def _include(app: FastAPI, nouns: Sequence[Routes], *, prefix: str) -> None:
    for routes in nouns:
        app.router.routes.extend(routes.under(prefix))


def _behind_limits(app: FastAPI, door: Door, *, limits: Mapping[str, int]) -> ASGIApp:
    app.state.door = door
    return Observing(BodyLimits(app, limits=limits), door=door.name, metrics=door.metrics)
