"""An enterprise sees its own objects and no other's, at every route: generated from the OpenAPI document [API-13]."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from firms_world import OTHER_TAXPAYER, TAXPAYER
from patience import PATIENCE_S
from shuiqiao.api.access import ANY_CALLER, OPEN
from shuiqiao.api.routing import PERMISSION_FIELD
from shuiqiao.client.http import HttpClient
from shuiqiao.client.pages import PageQuery, read_pages
from shuiqiao.client.resources import own
from shuiqiao.client.resources.disputes import LIST_OWN_DISPUTES, RAISE_DISPUTE, DisputeStatement
from shuiqiao.client.resources.own import OwnRecordSearch
from shuiqiao.sandbox.scenario.consortium import BUREAU

ABSENT = "0f" * 16
OWN = {"own.read", "own.write"}


@pytest.fixture(scope="module")
def firms(world):
    """Two enterprises with the same of everything: a consent, an application, a use of data, a dispute."""
    return [firm_with_all(world, f"firm-{number}.key", name) for number, name in enumerate((TAXPAYER, OTHER_TAXPAYER))]


def firm_with_all(world, key, taxpayer):
    device = world.enrolled(key, taxpayer)
    consent = world.consented(device)
    application = world.applied(device, consent)
    world.asked_for(consent)
    with device.at_bureau() as session:
        records = session.perform(own.SEARCH_OWN_RECORDS, OwnRecordSearch(record_type="invoice_issued")).records
        # The bureau is that of other tests too, which may have disputed some.
        open_now = {(row.batch, row.leaf) for row in session.perform(LIST_OWN_DISPUTES, PageQuery()).items}
        record = next(row for row in records if (row.batch, row.leaf) not in open_now)
        signed = device.dispute(bytes.fromhex(record.batch), record.leaf, reason=f"wrong for {taxpayer}")
        dispute = session.perform(RAISE_DISPUTE, DisputeStatement(dispute=signed.hex())).dispute
        entries = [entry for page in read_pages(session, own.LIST_OWN_ENTRIES, PageQuery()) for entry in page.items]
        submission = world.submission(device, session)
        granted = session.perform(own.READ_OWN_CONSENT, own.ConsentChoice.of(consent)).granted_index
    return SimpleNamespace(
        device=device,
        taxpayer=taxpayer,
        consent=consent,
        kinds=[entry.kind for entry in entries],
        submission=submission,
        dispute_of_record=signed.hex(),
        credential_request=device.credential_request(bytes(16), count=1).hex(),
        pause=device.enterprise.pause(consent, now_ms=device.now_ms()).raw.hex(),
        parts={
            "provider": BUREAU,
            "consent": consent.partition("/")[2],
            "dispute": dispute,
            "application": application.application,
            "index": str(granted),
        },
        secrets={taxpayer, consent, dispute, application.application, record.batch},
    )


@pytest.fixture(scope="module", params=["bureau", "bank"])
def place(request, world, firms):
    """A door, and a session of each enterprise at it."""
    mine, other = firms
    document = world.bureau.document("public")
    if request.param == "bureau":
        with mine.device.at_bureau() as one, other.device.at_bureau() as two:
            yield SimpleNamespace(name="bureau", asked=world.bureau, sessions=(one, two), document=document)
    else:
        address = world.bank_address
        with mine.device.at_bank(address, consent=mine.consent) as one:
            with other.device.at_bank(address, consent=other.consent) as two:
                yield SimpleNamespace(name="bank", asked=world.bank, sessions=(one, two), document=document)


def operations(place, *permissions):
    for path, methods in place.document["paths"].items():
        for method, operation in methods.items():
            if operation[PERMISSION_FIELD] in permissions:
                yield method.upper(), path, operation


def asked(session: HttpClient, method, path, body=None):
    """Status and what is told, whoever is asked for it; the id of the request alone may differ."""
    client = session._client
    headers = {**session._own_headers(""), "Idempotency-Key": "0f" * 16 + path.rpartition("/")[2][:20].rjust(8, "x")}
    with session._connections.within(PATIENCE_S):
        answer = client.request(method, path, headers=headers, json=body)
    told = answer.json() if "json" in answer.headers["content-type"] else answer.content
    if isinstance(told, dict):
        told.pop("request_id", None)
    return answer.status_code, told


def address(path, parts):
    for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
        path = path.replace("{" + name + "}", parts[name])
    return path


def test_another_s_object_is_answered_like_one_that_is_not_there(place, firms):
    """A path with a part that this does not know fails: whose it is has to be said here."""
    (mine, other), (session, _) = firms, place.sessions
    absent = {name: "999999" if name == "index" else ABSENT for name in mine.parts} | {"provider": BUREAU}
    seen = set()
    for method, path, _ in operations(place, *OWN):
        if method != "GET" or "{" not in path:
            continue
        status, _ = asked(session, method, address(path, mine.parts))
        foreign = asked(session, method, address(path, other.parts))
        assert foreign == asked(session, method, address(path, absent)), path
        assert foreign[0] == (403 if status == 403 else 404), path
        seen.add((path, status))
    own_here = {path.rpartition("/own/")[2] for path, status in seen if status == 200}
    expected = {"consents/{provider}/{consent}", "consents/{provider}/{consent}/artefact", "entries/{index}/receipt"}
    expected |= {"disputes/{dispute}"} if place.name == "bureau" else {"applications/{application}"}
    assert own_here == expected


def test_no_list_names_anything_of_another(place, firms):
    for number, session in enumerate(place.sessions):
        mine, other = firms[number], firms[1 - number]
        lists = [path for method, path, _ in operations(place, "own.read") if method == "GET" and "{" not in path]
        told = "".join(str(asked(session, "GET", path)[1]) for path in lists)
        assert mine.consent in told
        assert [secret for secret in other.secrets if secret in told] == []


def test_an_act_whose_bytes_are_another_s_is_refused_and_does_nothing(place, firms, world):
    (_, other), (session, _) = firms, place.sessions
    bodies = {
        "consents": other.submission.model_dump(),
        "consents/artefacts": {"artefact": other.submission.artefact},
        "consents/statements": {"transaction": other.pause},
        "disputes": {"dispute": other.dispute_of_record},
        "credentials": {"request": other.credential_request},
    }
    here = (
        {"consents", "consents/statements", "credentials", "disputes"}
        if place.name == "bureau"
        else set(bodies)
        - {
            "consents",
            "credentials",
            "disputes",
        }
    )
    for name, body in bodies.items():
        status, told = asked(session, "POST", f"/api/v1/own/{name}", body)
        assert (status, told["code"]) == ((404, "api.not_found") if name in here else (403, "node.role_wrong")), name
    state = world.bureau.running.institution.engine.state()
    assert state.get(f"consent/grant/{other.consent}")["status"] == "active"


def test_no_act_names_whose_it_is_but_by_signed_bytes(place):
    """What an own act may say: its own signed bytes, or nothing by which it could reach another's."""
    known = {
        "key-backup": {"backup"},
        "consents": {"artefact", "endorsement", "grant"},
        "consents/artefacts": {"artefact"},
        "consents/statements": {"transaction"},
        "records/searches": {"record_type", "number"},
        "disputes": {"dispute"},
        "credentials": {"request", "format"},
        "applications": {"amount_fen", "other_debt_fen", "industry", "province"},
    }
    schemas = place.document["components"]["schemas"]
    found = {}
    for method, path, operation in operations(place, *OWN):
        if method == "POST":
            form = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            found[path.rpartition("/own/")[2]] = set(schemas[form]["properties"])
    assert found == known


def test_an_enterprise_has_no_other_route(place):
    session = place.sessions[0]
    for method, path, operation in operations(place, *all_permissions(place)):
        status, told = asked(session, method, example(path, operation))
        assert (status, told["code"]) == (403, "api.forbidden"), path


def all_permissions(place):
    document = place.document
    found = {each[PERMISSION_FIELD] for methods in document["paths"].values() for each in methods.values()}
    return found - OWN - {OPEN, ANY_CALLER}


def example(path, operation):
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            value = (parameter.get("examples") or parameter["schema"].get("examples"))[0]
            path = path.replace("{" + parameter["name"] + "}", str(value))
    return path


def test_nobody_but_an_enterprise_has_own_objects(place):
    for method, path, operation in operations(place, *OWN):
        answer = place.asked.public.request(
            method,
            example(path, operation),
            headers={"Authorization": "Bearer token-of-everything", "Idempotency-Key": "x" * 8},
            json={},
        )
        assert answer.status_code in {403, 400}, path
        assert answer.json()["code"] in {"api.forbidden", "api.request_invalid"}, path


def test_the_ledger_s_entries_of_an_enterprise_are_all_that_stand_on_its_consents(firms):
    for firm in firms:
        assert set(firm.kinds) >= {
            "consent.grant",
            "application.submit",
            "access.request",
            "access.deliver",
            "access.acknowledge",
        }
