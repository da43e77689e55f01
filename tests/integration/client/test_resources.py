"""What goes over the wire: no form that nothing sends, and whatever names a taxpayer says so."""

from __future__ import annotations

import importlib
import pkgutil
import typing

import pytest

from shuiqiao.api.app import home_api, public_api
from shuiqiao.client import resources
from shuiqiao.client.operation import Download, Operation
from shuiqiao.client.wire import Wire

MODULES = [
    importlib.import_module(each.name)
    for each in pkgutil.iter_modules(resources.__path__, "shuiqiao.client.resources.")
]
OPERATIONS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, Operation)
}
OF_ENTERPRISES = ("/own/", "/enrolments/recoveries", "/enrolments")
"""Where an enterprise is told what is its own: it is nobody's reading of another."""


def forms_in(form):
    """Every wire type within a form, itself included."""
    if isinstance(form, type) and issubclass(form, Wire):
        yield form
        for field in form.model_fields.values():
            yield from forms_in(field.annotation)
    for part in typing.get_args(form):
        yield from forms_in(part)


def names_taxpayer(form):
    """Whether a form holds a taxpayer number, a record by its place and key, or a row that may hold either."""
    fields = set(form.model_fields)
    return (
        bool(fields & {"taxpayer", "uscc"}) or {"batch", "leaf", "key"} <= fields or {"field", "value", "row"} <= fields
    )


@pytest.fixture(scope="module")
def documents():
    return [api().openapi() for api in (public_api, home_api)]


def test_whatever_names_a_taxpayer_or_a_record_says_so_and_is_an_entry_of_the_journal():
    """[API-16]: the entry is written where the operation is performed, for one that names its act."""
    showing = {
        name: operation
        for name, operation in OPERATIONS.items()
        if not operation.path.startswith(OF_ENTERPRISES[0]) and operation.path not in OF_ENTERPRISES[1:]
        if any(map(names_taxpayer, forms_in(operation.told)))
    }
    assert {name for name, operation in showing.items() if not operation.shows_taxpayer} == set()
    assert {name for name, each in OPERATIONS.items() if each.shows_taxpayer and not each.act} == set()
    assert {"disputes.LIST_DISPUTES", "records.SEARCH_RECORDS", "ingests.LIST_QUARANTINED"} <= showing.keys()


def test_no_route_names_a_taxpayer_but_by_an_operation(documents):
    """A route that is declared without one would write no entry."""
    declared = {(each.method, each.prefix + each.path) for each in OPERATIONS.values()}
    naming = {
        form.__name__ for module in MODULES for form in vars(module).values() if is_form(form) if names_taxpayer(form)
    }
    found = {
        (method.upper(), path)
        for document in documents
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if naming & set(references(document, operation["responses"].get("200", {})))
    }
    assert found
    assert found - declared == set()


def is_form(value):
    return isinstance(value, type) and issubclass(value, Wire)


def references(document, part):
    """The names of the forms within a part of a document."""
    if isinstance(part, dict):
        if (reference := part.get("$ref")) is not None:
            name = reference.rpartition("/")[2]
            yield name
            yield from references(document, document["components"]["schemas"][name])
        for value in part.values():
            yield from references(document, value)
    elif isinstance(part, list):
        for value in part:
            yield from references(document, value)


def test_each_form_is_sent_or_told_by_an_operation_or_a_route(documents):
    used = {form for each in OPERATIONS.values() for part in (each.sent, each.told) for form in forms_in(part)}
    used |= {
        form
        for module in MODULES
        for each in vars(module).values()
        if isinstance(each, Download)
        for form in forms_in(each.sent)
    }
    used |= {base for form in used for base in form.__mro__}
    described = {name for document in documents for name in document["components"]["schemas"]}
    declared = {
        form
        for module in MODULES
        for form in vars(module).values()
        if is_form(form) and form.__module__ == module.__name__
    }
    # A page of something is written by its own name where it is told.
    assert {form.__name__ for form in declared - used if "[" not in form.__name__} - described == set()


def test_each_operation_has_a_route(documents):
    paths = {
        (method.upper(), path)
        for document in documents
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert {name for name, each in OPERATIONS.items() if (each.method, each.prefix + each.path) not in paths} == set()
