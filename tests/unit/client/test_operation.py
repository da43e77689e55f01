"""Where an operation is asked: what a path names stands in it, quoted, and the rest behind it."""

from __future__ import annotations

from shuiqiao.client.operation import Operation
from shuiqiao.client.wire import Wire


class Asked(Wire):
    consent: str
    kind: str | None = None
    limit: int = 5


READ = Operation(method="GET", path="/consents/{consent}/entries", sent=Asked, told=Asked)


def test_what_the_path_names_is_quoted_and_what_is_left_out_is_not_sent():
    assert READ.address(Asked(consent="../a b")) == ("/api/v1/consents/..%2Fa%20b/entries", {"limit": 5})
    assert READ.address(Asked(consent="x", kind="k")) == ("/api/v1/consents/x/entries", {"limit": 5, "kind": "k"})
