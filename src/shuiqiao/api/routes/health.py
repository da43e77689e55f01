"""``/healthz``, ``/readyz``, ``/metrics``: what a supervisor and Prometheus ask, without a token.

They tell that the process lives, whether requests can be answered, and figures without any id, on threads that nothing
else takes [API-22].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from shuiqiao.api.access import OPEN
from shuiqiao.api.door import Running
from shuiqiao.api.routing import Routes
from shuiqiao.client.wire import Wire, example

if TYPE_CHECKING:
    from shuiqiao.api.door import Door

health = Routes("health")


class Health(Wire):
    """That the server is there."""

    model_config = example(status="ok")

    status: Literal["ok"]


@health.get("/healthz", permission=OPEN)
async def read_health() -> Health:
    """Tell that the process lives."""
    return Health(status="ok")


@health.get("/readyz", permission=OPEN, codes=("node.database_unavailable", "ledger.not_followed"))
async def read_readiness(request: Request, running: Running) -> Health:
    """Tell that requests can be answered: ledger and database are there, and the writer was reached once."""
    door: Door = request.app.state.door
    await to_thread.run_sync(running.require_ready, limiter=door.lanes.probing)
    return Health(status="ok")


@health.get(
    "/api/v1/openapi.json",
    permission=OPEN,
    response_class=JSONResponse,
    responses={
        200: {
            "description": "The OpenAPI 3.1 document",
            "content": {"application/json": {"schema": {"type": "object"}, "example": {"openapi": "3.1.0"}}},
        }
    },
)
def read_openapi(request: Request) -> JSONResponse:
    """Return the OpenAPI document of this door."""
    app: FastAPI = request.app
    return JSONResponse(app.openapi())


@health.get(
    "/metrics",
    permission=OPEN,
    response_class=Response,
    responses={
        200: {
            "description": "Figures in Prometheus' text form",
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": "# TYPE shuiqiao_ledger_height gauge\nshuiqiao_ledger_height 42.0\n",
                }
            },
        }
    },
)
async def read_metrics(request: Request) -> Response:
    """Return the figures of this server."""
    door: Door = request.app.state.door
    text = await to_thread.run_sync(door.metrics.text, limiter=door.lanes.probing)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
