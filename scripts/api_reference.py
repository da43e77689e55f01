"""Write the reference page of the API from its OpenAPI document: each route with what it takes, answers and refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_INTRODUCTION = """# API 接口

Generated from the OpenAPI 3.1 documents of a server's doors; a running server gives its own at `/api/v1/openapi.json`.
The rules that hold for every route are in [the specification](../spec/api.md): tokens, refusals, pages, tags, acts.

Every route may also answer 400 (malformed), 401 (no valid token), 403 (not permitted), 408 (a body too slow), 413 (too
large), 429 (too often, with `Retry-After`) and 503 (something that is needed is not there now).
"""


_NEEDS = {
    "open": "No token is needed.",
    "caller": "Any caller with a token.",
    "owner": "The owner of the home, without a token.",
}


def render_api(doors: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page. doors: title to the OpenAPI document of each; a route of an earlier one is not said again."""
    parts, seen = [_INTRODUCTION], set[tuple[str, str]]()
    for title, document in doors.items():
        fresh = [
            (path, method, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if (path, method) not in seen
        ]
        seen |= {(path, method) for path, method, _ in fresh}
        parts.append(f"## {title}\n")
        for path, method, operation in fresh:
            parts.append("\n".join(_route(document, path, method, operation)) + "\n")
    return "\n".join(parts).rstrip("\n") + "\n"


def _route(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    permission = operation["x-permission"]
    yield f"### `{method.upper()} {path}`\n"
    yield f"{operation['description']}\n"
    needs = _NEEDS.get(permission, f"Permission `{permission}`.")
    codes = [f"`{code}`" for code in operation.get("x-problem-codes", ())]
    yield needs + (f" Refuses with {', '.join(codes)}." if codes else "") + "\n"
    parameters = [each for each in operation.get("parameters", ()) if each["name"] != "Idempotency-Key"]
    if parameters:
        yield "| parameter | in | |"
        yield "|---|---|---|"
        for each in parameters:
            name = f"**{each['name']}**" if each.get("required") else each["name"]
            yield f"| {name} | {each['in']} | {_words(each)} |"
        yield ""
    body = _example(document, operation.get("requestBody", {}))
    if body:
        yield from ("Body:\n", *body)
    answer = _example(document, operation["responses"].get("200") or operation["responses"]["202"])
    if answer:
        yield from ("Answer:\n", *answer)


def _words(parameter: Mapping[str, Any]) -> str:
    words = parameter.get("description") or parameter["schema"].get("description") or ""
    forms = [parameter["schema"], *parameter["schema"].get("anyOf", ())]
    bounds = [f"{form['minimum']} to {form['maximum']}" for form in forms if {"minimum", "maximum"} <= form.keys()]
    default = parameter["schema"].get("default")
    told = [words, *bounds, *([f"default {default}"] if default is not None else [])]
    return "; ".join(text for text in told if text)


def _example(document: Mapping[str, Any], place: Mapping[str, Any]) -> list[str]:
    """Return the example of a body or an answer, none where it has no fields."""
    content = place.get("content", {})
    told = content.get("application/json", {})
    form = told.get("schema", {}).get("$ref", "").rpartition("/")[2]
    if form:
        example = told.get("example") or document["components"]["schemas"][form]["examples"][0]
        return ["```json", json.dumps(example, ensure_ascii=False, indent=2), "```"]
    return [f"`{kind}`" for kind in content if kind != "application/json"]
