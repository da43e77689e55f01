"""The OpenAPI document: complete, with examples that fit, and true of what the doors answer."""

from __future__ import annotations

import importlib
import json
import pkgutil

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from accounts_world import CHEAP, PASSWORD
from api_world import ALL, FIRM
from serving_world import PASSPHRASE, make_served_home, served
from shuiqiao.api.routes.events import STREAM
from shuiqiao.client import resources
from shuiqiao.client.wire import Wire
from shuiqiao.members.model import Role
from shuiqiao.node.accounts.model import permissions_of
from shuiqiao.node.accounts.opening import open_accounts

SAMPLES = 4
"""Requests of a sort that are made up for each route."""

CALMLY = hypothesis.settings(
    max_examples=SAMPLES, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)


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


def test_each_example_is_one_of_its_own_wire_type():
    seen = 0
    for module in pkgutil.iter_modules(resources.__path__, f"{resources.__name__}."):
        for form in vars(importlib.import_module(module.name)).values():
            if isinstance(form, type) and issubclass(form, Wire) and form.__module__ == module.name:
                for example in (form.model_config.get("json_schema_extra") or {}).get("examples", ()):
                    form.model_validate_json(json.dumps(example))
                    seen += 1
    assert seen > 10


def token_of(operation):
    """The routes about one's own objects are for enterprises, all others for people."""
    return FIRM if operation.path.startswith("/api/v1/own/") else ALL


def ask_whatever_fits(operation, *, token="", calmly=CALMLY):
    """Ask what schemathesis makes up for one route, what its document allows and what it does not."""
    headers = {"Authorization": f"Bearer {token or token_of(operation)}"}

    @hypothesis.given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    @calmly
    def ask(case):
        # A file, or signed bytes, may have the form that the document asks for and hold what is refused all the same.
        excluded = [positive_data_acceptance] if case.method == "POST" else []
        case.call_and_validate(headers=headers, excluded_checks=excluded)

    @hypothesis.given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    @calmly
    def ask_amiss(case):
        case.call_and_validate(headers=headers)

    if STREAM not in operation.definition.raw["responses"].get("200", {}).get("content", {}):
        # A stream has no end that a check could wait for; test_events reads one.
        ask()
    if operation.path_parameters or operation.query or operation.body:
        ask_amiss()


@pytest.mark.parametrize("door", ["public", "home"])
def test_no_request_gets_an_answer_that_the_document_does_not_know(bureau, door):
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", bureau.apps[door])
    # Who calls is decided before anything else; test_access is about that.
    schema.raw_schema.pop("security")
    others = [] if door == "public" else [*bureau.document("public")["paths"]]
    asked = [found.ok() for found in schema.get_all_operations() if found.ok().path not in others]
    assert asked
    for operation in asked:
        ask_whatever_fits(operation)


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
        for operation in asked:
            ask_whatever_fits(operation, token=token, calmly=hypothesis.settings(CALMLY, max_examples=1))
