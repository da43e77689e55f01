"""The OpenAPI 3.1 document of an app: made from its routes, with the form of refusals and of tokens added once."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from shuiqiao.client.problem import Problem

BEARER = "bearer"


def install_openapi(app: FastAPI) -> None:
    """Let an app describe itself."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi_of(app)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """Return the document of an app."""
    document = get_openapi(title=app.title, version=app.version, openapi_version="3.1.0", routes=app.routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    form = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(form.pop("$defs", {}))
    schemas[Problem.__name__] = form
    components["securitySchemes"] = {BEARER: {"type": "http", "scheme": "bearer"}}
    document["security"] = [{BEARER: []}]
    for path in document["paths"].values():
        for operation in path.values():
            # Every refusal of a form is a problem; FastAPI would promise a form of its own.
            operation["responses"].pop("422", None) if _is_own_form(operation) else None
    return document


def _is_own_form(operation: dict[str, Any]) -> bool:
    content = operation["responses"].get("422", {}).get("content", {})
    return "application/json" in content
