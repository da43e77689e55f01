"""In which form an answer goes out: JSON, or a list as CSV; and not again where the caller has it already.

[API-7], and by its tag [API-8].
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response

from shuiqiao.base.errors import InvalidInput
from shuiqiao.client.csv_form import as_csv
from shuiqiao.client.pages import Page

if TYPE_CHECKING:
    from pydantic import BaseModel

JSON: Final = "application/json"
CSV: Final = "text/csv"
_ETAG_BYTES: Final = 16
_MAX_ACCEPTED: Final = 20


class WireResponse(Response):
    """An answer that is a wire type, in JSON until somebody asks for another form."""

    def __init__(self, message: BaseModel, *, status_code: int = 200) -> None:
        self.message = message
        super().__init__(message.model_dump_json(), status_code=status_code, media_type=JSON)


def formed(request: Request, response: WireResponse) -> Response:
    """Return an answer in the form that the request accepts.

    Raises InvalidInput ``api.not_acceptable`` where it accepts none of them.
    """
    forms = (JSON, CSV) if isinstance(response.message, Page) else (JSON,)
    chosen = chosen_form(request.headers.get("accept", ""), forms)
    if chosen == CSV:
        return _tagged(request, _as_csv(request, response.message))
    return _tagged(request, response)


def chosen_form(accepted: str, forms: tuple[str, ...]) -> str:
    """Return the form that is accepted most, of equals the first; raises InvalidInput ``api.not_acceptable``."""
    weights = dict(_weights(accepted or "*/*"))

    def weight(form: str) -> float:
        family = form.partition("/")[0]
        return next((weights[name] for name in (form, f"{family}/*", "*/*") if name in weights), 0.0)

    best = max(forms, key=weight)
    if weight(best) <= 0:
        raise InvalidInput(
            "api.not_acceptable", f"the answer has the form {' or '.join(forms)}, accepted is {accepted[:100]!r}"
        )
    return best


def _weights(accepted: str) -> Iterable[tuple[str, float]]:
    for part in accepted.split(",")[:_MAX_ACCEPTED]:
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            yield name, min(1.0, float(quality))
        except ValueError:
            yield name, 0.0


def csv_of(page: Any) -> str:
    """Return a page of a list as CSV."""
    rows = [item.model_dump(mode="json") for item in page.items]
    return as_csv(list(type(page).model_fields["items"].annotation.__args__[0].model_fields), rows)


def _as_csv(request: Request, page: Any) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="list.csv"'}
    # What is asked for in a body is asked on in one.
    if page.next is not None and request.method == "GET":
        further = request.url.include_query_params(cursor=page.next)
        headers["Link"] = f'<{further.path}?{further.query}>; rel="next"'
    return Response(csv_of(page), media_type=f"{CSV}; charset=utf-8", headers=headers)


def _tagged(request: Request, response: Response) -> Response:
    """Return an answer with its tag, or that nothing changed since the one with this tag."""
    if request.method != "GET":
        return response
    tag = f'"{hashlib.sha256(bytes(response.body)).digest()[:_ETAG_BYTES].hex()}"'
    known = request.headers.get("if-none-match", "")
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}
    if known == "*" or tag in (text.strip().removeprefix("W/") for text in known.split(",")[:_MAX_ACCEPTED]):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return response
