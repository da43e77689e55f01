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

from api_world import ALL, FIRM
from shuiqiao.client import resources
from shuiqiao.client.wire import Wire

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


def ask_whatever_fits(operation):
    """Ask what schemathesis makes up for one route, what its document allows and what it does not."""
    headers = {"Authorization": f"Bearer {token_of(operation)}"}

    @hypothesis.given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    @CALMLY
    def ask(case):
        # A file, or signed bytes, may have the form that the document asks for and hold what is refused all the same.
        excluded = [positive_data_acceptance] if case.method == "POST" else []
        case.call_and_validate(headers=headers, excluded_checks=excluded)

    @hypothesis.given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    @CALMLY
    def ask_amiss(case):
        case.call_and_validate(headers=headers)

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
