"""The OpenAPI document: complete, with examples that fit, and true of what the doors answer."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import pkgutil

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from accounts_world import CHEAP, PASSWORD
from api_world import ALL, FIRM
from offices_world import SHARED
from patience import PATIENCE_S
from serving_world import PASSPHRASE, make_served_home, served
from shuiqiao.api.access import OWNER_ONLY
from shuiqiao.api.routes.events import STREAM
from shuiqiao.client import resources
from shuiqiao.client.http import IDEMPOTENCY_HEADER, new_idempotency_key
from shuiqiao.client.pages import CURSOR_FORM
from shuiqiao.client.resources.approvals import ApprovalRecord
from shuiqiao.client.wire import Wire
from shuiqiao.members.model import Role
from shuiqiao.node.accounts.model import ActName, permissions_of
from shuiqiao.node.accounts.opening import open_accounts

LONG = bool(os.environ.get("SHUIQIAO_TEST_LONG"))

SAMPLES = 25 if LONG else 2
"""Requests of a sort that are made up for each route."""

CALMLY = hypothesis.settings(
    max_examples=SAMPLES, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)

DOORS = ("bureau", "bank", "regulator")

SEEN_ELSEWHERE = {
    "GET /api/v1/journal/{seq}/proof",
    "GET /home/validator",
    "GET /home/validator/proof",
    "GET /api/v1/own/grade",
    "GET /api/v1/own/entries/{index}/receipt",
    "GET /api/v1/models/on-ledger/{member}/{entry}",
}
"""Questions that nobody here gets an answer to: of a day that is over, of a validator, of a taxpayer's grade whose registration
is not here, of a consent that came by a bureau's own route, and of a model on the ledger."""


@pytest.fixture(scope="module", params=["public", "home"])
def document(request, bureau):
    return bureau.document(request.param)


def test_every_operation_has_a_name_words_and_an_example(document):
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["operationId"], path
            assert operation["description"], path
            for status, answer in operation["responses"].items():
                for kind, content in answer.get("content", {}).items():
                    if status == "200" and kind == "application/json" and "$ref" in content["schema"]:
                        name = content["schema"]["$ref"].rpartition("/")[2]
                        assert document["components"]["schemas"][name].get("examples"), f"{path}: {name}"


def test_what_is_no_json_has_an_example_too(document):
    """A list as CSV has that of its JSON; bytes that are no text are said in words."""
    bare, lists = set(), 0
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for part in (operation.get("requestBody", {}), *operation["responses"].values()):
                for kind, content in part.get("content", {}).items():
                    is_told = "$ref" in content["schema"] or content.get("example")
                    bare |= set() if is_told else {(path, kind)}
                    lists += kind == "text/csv" and content["example"].count("\r\n") > 1
    assert bare == set()
    assert lists > 30 or "/home/status" in document["paths"]


TOLD_IN_ANOTHER_FORM = {"model-offers": {"model", "outputs"}, "churn-curves": {"curves"}}
"""A model of a bank by its name on the ledger, and the points of a curve side by side."""


def test_each_example_of_an_approval_is_of_what_its_body_asks(bureau):
    """What a body names under the same word is told back; each kind of act is shown, and what became of one."""
    document = bureau.document("public")
    acts = {}
    for path, methods in document["paths"].items():
        if not path.startswith("/api/v1/approvals/") or "post" not in methods:
            continue
        asked = shown(document, methods["post"]["requestBody"])
        told = shown(document, methods["post"]["responses"]["200"])
        ApprovalRecord.model_validate_json(json.dumps(told))
        words = told["what"] | {name: told[name] for name in ("approval", "digest") if name in asked}
        if told["state"] == "rejected":
            words = told
        differing = {name for name in asked.keys() & words.keys() if asked[name] not in (words[name], None)}
        assert differing == TOLD_IN_ANOTHER_FORM.get(path.rpartition("/")[2], set()), path
        acts[path.removeprefix("/api/v1/approvals/")] = told["act"], told["state"], bool(told["checker"])
    assert (acts.pop("checks"), acts.pop("rejections")) == (
        ("oversight.freeze", "done", True),
        ("oversight.freeze", "rejected", True),
    )
    assert {act for act, _, _ in acts.values()} == set(map(str, ActName))
    assert {(state, is_checked) for _, state, is_checked in acts.values()} == {("waiting", False)}


def shown(document, place):
    content = place["content"]["application/json"]
    name = content["schema"]["$ref"].rpartition("/")[2]
    return content.get("example") or document["components"]["schemas"][name]["examples"][0]


def test_no_address_holds_the_number_of_a_taxpayer(document):
    """Proxies and browsers keep addresses [API-5]."""
    parameters = [
        each for path in document["paths"].values() for way in path.values() for each in way.get("parameters", ())
    ]
    assert [each["name"] for each in parameters if "taxpayer" in each["name"] or "uscc" in each["name"]] == []
    assert not [path for path in document["paths"] if "{taxpayer" in path or "{uscc" in path]


def test_each_example_is_one_of_its_own_wire_type():
    seen = 0
    for module in pkgutil.iter_modules(resources.__path__, f"{resources.__name__}."):
        for form in vars(importlib.import_module(module.name)).values():
            if isinstance(form, type) and issubclass(form, Wire) and form.__module__ == module.name:
                for example in (form.model_config.get("json_schema_extra") or {}).get("examples", ()):
                    form.model_validate_json(json.dumps(example))
                    seen += 1
    assert seen > 10


def test_a_list_that_refuses_other_cursors_says_which_form_its_own_have(document):
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if "api.cursor_unknown" in operation["x-problem-codes"]:
                (cursor,) = [each for each in operation["parameters"] if each["name"] == "cursor"]
                forms = {form.get("pattern") for form in cursor["schema"]["anyOf"]} - {None}
                assert forms, path
                assert CURSOR_FORM not in forms, path


def token_of(operation, name):
    """The routes about one's own objects are for enterprises, which no regulator knows; the owner's need no token."""
    permission = operation.definition.raw["x-permission"]
    if permission == OWNER_ONLY:
        return {}
    is_own = permission.startswith("own.") and name != "regulator"
    return {"Authorization": f"Bearer {FIRM if is_own else ALL}"}


def is_stream(operation):
    """A stream has no end that a check could wait for; test_events reads one."""
    return STREAM in operation.definition.raw["responses"].get("200", {}).get("content", {})


def ask(case, *, headers, app=None):
    """Ask, and hold the answer against the document; return it."""
    # A file, or signed bytes, may have the form that the document asks for and hold what is refused all the same; a day
    # that is made up may not have begun.
    is_judged_further = case.method == "POST" or "day" in (case.query or {})
    excluded = [positive_data_acceptance] if is_judged_further else []
    return case.call_and_validate(headers=headers, excluded_checks=excluded, timeout=PATIENCE_S, **at(app))


def at(app):
    """Where schemathesis asks: an app of this process, or the address that it read the document from."""
    return {} if app is None else {"app": app}


def ask_whatever_fits(operation, doors, *, calmly=CALMLY):
    """Ask what schemathesis makes up for one route: first at each door, then at the doors by turns."""
    turn, numbers = itertools.cycle(doors), itertools.count()

    @hypothesis.given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    @calmly
    def ask_rightly(case):
        for headers, app in doors if LONG or next(numbers) == 0 else [next(turn)]:
            ask(case, headers=headers, app=app)

    @hypothesis.given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    @calmly
    def ask_amiss(case):
        headers, app = next(turn)
        case.call_and_validate(headers=headers, timeout=PATIENCE_S, **at(app))

    if not is_stream(operation):
        ask_rightly()
    if operation.path_parameters or operation.query or operation.body:
        ask_amiss()


def ask_for_what_is_there(operation, office, *, headers, app):
    """Ask for an institution's own objects, the rest as the document's examples have it; return the status."""
    known = SHARED | office.parts
    raw = operation.definition.raw
    asked = [each for each in raw.get("parameters", ()) if each["in"] in {"path", "query"}]
    given = {each["name"]: known[each["name"]] for each in asked if each["name"] in known}
    parts = {each["name"] for each in asked if each["in"] == "path"}
    if not parts <= given.keys():
        return None
    form = form_of(operation)
    body = dict(form["examples"][0]) if form else None
    if body is not None:
        body |= {name: known[name] for name in body.keys() & office.parts.keys()}
        if "consent" in body and "consent" in known:
            body["consent"] = f"{known['provider']}/{known['consent']}"
    named = {name: str(given[name]) for name in parts}
    query = {name: value for name, value in given.items() if name not in parts}
    content = {} if body is None else {"body": body, "media_type": "application/json"}
    more = {**headers, IDEMPOTENCY_HEADER: new_idempotency_key()} if operation.method == "post" else headers
    case = operation.Case(path_parameters=named, query=query, **content)
    return ask(case, headers=more, app=app).status_code


def form_of(operation):
    """The form of a body in JSON, empty for none."""
    content = operation.definition.raw.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return operation.schema.raw_schema["components"]["schemas"].get(name, {})


@pytest.mark.parametrize("door", ["public", "home"])
def test_no_request_gets_an_answer_that_the_document_does_not_know(offices, door):
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", offices["bureau"].asked.apps[door])
    # Who calls is decided before anything else; test_access is about that.
    schema.raw_schema.pop("security")
    others = [] if door == "public" else [*offices["bureau"].asked.document("public")["paths"]]
    found = [each.ok() for each in schema.get_all_operations() if each.ok().path not in others]
    assert found
    reached = {}
    for operation in found:
        doors = {name: (token_of(operation, name), offices[name].asked.apps[door]) for name in DOORS}
        if not is_stream(operation):
            reached[f"{operation.method.upper()} {operation.path}"] = {
                ask_for_what_is_there(operation, offices[name], headers=headers, app=app)
                for name, (headers, app) in doors.items()
            }
        ask_whatever_fits(operation, [*doors.values()])
    unseen = {name for name, statuses in reached.items() if name.startswith("GET") and 200 not in statuses}
    assert unseen - SEEN_ELSEWHERE == set()


def test_a_server_keeps_to_its_document_over_a_socket_too(tmp_path):
    """What an internal auditor may ask, of a server of its own process."""
    home = make_served_home(tmp_path / "home")
    with open_accounts(home, cost=CHEAP, passphrase=lambda: PASSPHRASE) as accounts:
        service = accounts.service

        def take_up(name, first):
            service.change_password(
                service.authenticate(service.log_in(name, password=first).token), old=first, new=PASSWORD
            )
            return service.log_in(name, password=PASSWORD).token

        admin = service.authenticate(take_up("admin", service.add_first_user("admin")))
        token = take_up("chen", service.add_user(admin, "chen", roles=["internal_auditor"]))
    with served(home) as server:
        address = server.listening["listen"]
        schema = schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json")
        schema.raw_schema.pop("security")
        may = permissions_of(["internal_auditor"], institution=Role.TAX_BUREAU)
        asked = [found.ok() for found in schema.get_all_operations()]
        asked = [found for found in asked if found.method == "get" and found.definition.raw["x-permission"] in may]
        assert len(asked) > 20
        headers = {"Authorization": f"Bearer {token}"}
        for operation in asked:
            ask_whatever_fits(operation, [(headers, None)], calmly=hypothesis.settings(CALMLY, max_examples=1))
