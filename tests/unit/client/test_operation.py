"""Where an operation is asked: what a path names stands in it, quoted, and the rest behind it."""

from __future__ import annotations

from shuiqiao.client.http import HttpClient
from shuiqiao.client.operation import Operation
from shuiqiao.client.wire import Wire


class Asked(Wire):
    consent: str
    kind: str | None = None
    limit: int = 5


READ = Operation(method="GET", path="/consents/{consent}/entries", sent=Asked, told=Asked)


def test_what_the_path_names_is_quoted_and_the_rest_stands_behind_it():
    path, fields = READ.address(Asked(consent="../a b"))
    assert (path, fields) == ("/api/v1/consents/..%2Fa%20b/entries", {"kind": None, "limit": 5})
    assert READ.address(Asked(consent="x", kind="k")) == ("/api/v1/consents/x/entries", {"limit": 5, "kind": "k"})


def test_what_is_left_out_of_a_question_is_not_sent(monkeypatch):
    asked = []
    client = HttpClient("http://127.0.0.1:1")
    monkeypatch.setattr(client, "get", lambda path, **named: asked.append((path, named["parameters"])) or Answered())
    client.perform(READ, Asked(consent="x"))
    assert asked == [("/api/v1/consents/x/entries", {"limit": 5})]


class Answered:
    def read_as(self, _form):
        return None
