"""The people of an institution reach its own objects and no other's: generated from the OpenAPI document [API-3].

What is another institution's is answered byte for byte like what never was, but for the id of the request. Reading what
is of a taxpayer leaves an entry in the journal [API-16].
"""

from __future__ import annotations

import json

import pytest

from consortium_world import NAME, TAXPAYER
from shuiqiao.api.access import OPEN
from shuiqiao.api.routes.events import STREAM
from shuiqiao.api.routing import ACT_FIELD, PERMISSION_FIELD
from shuiqiao.client.http import IDEMPOTENCY_HEADER

OBJECTS = {
    "application",
    "approval",
    "batch",
    "client",
    "consent",
    "dispute",
    "ingest",
    "job",
    "model",
    "owner",
    "provider",
    "request",
    "run",
    "sender",
    "user",
    "work",
}
"""What names an object of one institution, wherever a route asks for it."""

OF_ALL_MEMBERS = {
    "computation",
    "bureau",
    "entry",
    "ledger_model",
    "ledger_request",
    "index",
    "height",
    "member",
    "path",
    "product",
    "proposal",
    "seq",
    "standard",
    "subject",
    "key",
}
"""What names something that each member has: it is on the ledger, comes with the program, or each counts its own."""

SEARCHES = {"taxpayer", "number", "who", "about", "author", "object"}
"""What narrows a list: the list of who has nothing that fits is empty."""

NEW = {
    "/api/v1/users": {"user"},
    "/api/v1/clients": {"client"},
    "/api/v1/requests": {"request"},
    "/api/v1/applications": {"application"},
}
"""Names that a caller gives to what it makes."""

WORDS = (
    "blind secure act action after_ms amount_fen annual_rate approve artefact as_of attribute auc auc_ci_95 before_ms code codes curves "
    "cursor data day days digest endorsement evidence evidence_digest file findings for_me found_ms grant groups here_only industry is_disabled items kind ks leaf "
    "leaves least_firms limit limit_fen limits mode name new new_size old old_size other_debt_fen outcome outcomes outputs "
    "papers password period_from period_to pin proof province purpose reason reason_digest record_type reference replaces roles rules scorecard "
    "secret seed severity signed size state state_key status to transaction until until_ms url values words "
    "confirmed facts year"
)
SAID = {*WORDS.split()}
"""What says how, when, how much or what of it, and names nothing."""

AFRESH = {("bureau", name) for name in ("consent", "provider", "request", "sender")}
"""What a bank names and its bureau has as well, and the other way round."""


def operations(document):
    """(method, path, operation, names in the address or the question, form of the body) of what people may ask."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if operation[PERMISSION_FIELD] not in {OPEN, "own.read", "own.write"}:
                yield method.upper(), path, operation, *asked_for(document, operation)


def asked_for(document, operation):
    parameters = [each for each in operation.get("parameters", ()) if each["in"] != "header"]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    reference = content.get("schema", {}).get("$ref", "")
    form = document["components"]["schemas"][reference.rpartition("/")[2]] if reference else {}
    return {each["name"]: each for each in parameters}, form


def test_each_name_that_a_route_asks_for_has_a_rule(offices):
    """A new one fails until it stands above whose it is."""
    document = offices["bank"].asked.document("public")
    unknown = {
        (path, name)
        for _, path, _, parameters, form in operations(document)
        for name in {*parameters, *form.get("properties", ())} - OBJECTS - OF_ALL_MEMBERS - SEARCHES - SAID
    }
    assert unknown == set()


def absent(value):
    """What never was, of the same form."""
    turned = str.maketrans("0123456789abcdef", "fedcba9876543210")
    return value.translate(turned) if all(each in "0123456789abcdef" for each in value) else f"no{value[2:]}"


def named(path, parameters, form, parts):
    """The address and the body with these parts in it, all else of it as the document's examples have it."""
    body = dict(form["examples"][0]) if form.get("examples") else None
    new = NEW.get(path, set())
    for name, value in parts.items():
        path = path.replace("{" + name + "}", value)
    if body is not None:
        for name in OBJECTS & body.keys() - new:
            whole = f"{parts['provider']}/{parts['consent']}" if name == "consent" else parts.get(name, body[name])
            body[name] = whole
        if "roles" in body:
            body["roles"] = ["internal_auditor"]
    return path, body


def told(office, method, path, body, parts):
    """Status and bytes of an answer; in the place of each id stands what it is called, for a refusal may say it."""
    answer = office.request(method, path, body)
    text = answer.text
    if "json" in answer.headers["content-type"]:
        fields = answer.json()
        fields.pop("request_id", None)
        text = json.dumps(fields, ensure_ascii=False)
    for name in sorted(parts, key=lambda each: -len(parts[each])):
        text = text.replace(parts[name], f"<{name}>")
    return answer.status_code, text


PLACES = [("bank", "other_bank"), ("bank", "bureau"), ("bank", "regulator"), ("bureau", "bank"), ("regulator", "bank")]


@pytest.mark.parametrize(("here", "there"), PLACES)
def test_another_s_object_is_answered_like_one_that_never_was(offices, here, there):
    office, other = offices[here], offices[there]
    foreign = {name: value for name, value in other.parts.items() if name in OBJECTS}
    if "bureau" in {here, there}:
        # A bank's consents and requests are its bureau's as well.
        foreign = {name: value for name, value in foreign.items() if ("bureau", name) not in AFRESH}
    never = {name: absent(value) for name, value in foreign.items()}
    never |= {name: foreign[name] for name in ("provider", "sender") if name in foreign}
    amiss, seen = {}, 0
    for method, path, _, parameters, form in operations(office.asked.document("public")):
        names = OBJECTS & {*parameters, *form.get("properties", ())} - NEW.get(path, set())
        if not names & foreign.keys() or not names <= foreign.keys() | {"work"}:
            continue
        answers = []
        for parts in (foreign, never):
            address, body = named(path, parameters, form, parts)
            answers.append(told(office, method, address, body, parts))
        seen += 1
        if answers[0] != answers[1] or answers[0][0] not in {403, 404}:
            amiss[f"{method} {path}"] = answers
    assert not amiss, json.dumps(amiss, indent=1)
    assert seen > 5


def test_whoever_asks_for_its_own_object_has_it(offices):
    """So what is refused above is refused for whose it is."""
    unseen = set()
    for method, path, _, parameters, form in operations(offices["bank"].asked.document("public")):
        names = OBJECTS & parameters.keys()
        if method != "GET" or not names:
            continue
        answers = {
            office.request("GET", named(path, parameters, form, office.parts)[0]).status_code
            for office in offices.values()
            if names <= office.parts.keys()
        }
        unseen |= {path} - ({path} if 200 in answers else set())
    assert unseen == set()


def test_no_list_of_a_bank_names_anything_of_another(offices):
    """A list over the ledger is everybody's, and the journal names whatever was asked for, here by other tests."""
    mine, other = offices["bank"], offices["other_bank"]
    secrets = {name: value for name, value in other.parts.items() if name in OBJECTS - {"provider", "sender"}}
    found = {}
    for method, path, operation, parameters, _ in operations(mine.asked.document("public")):
        required = [each for each in parameters.values() if each.get("required")]
        of_all = {"ledger.read", "oversight.read", "journal.read"}
        if method == "GET" and operation[PERMISSION_FIELD] not in of_all and not required:
            text = mine.request("GET", path).text
            found |= {(path, name): value for name, value in secrets.items() if value in text}
    assert found == {}


def test_a_taxpayer_whom_only_another_knows_is_like_one_whom_nobody_knows(offices):
    for name in ("bank", "regulator"):
        known, unknown = (
            offices[name].request("POST", "/api/v1/usage/searches", {"taxpayer": each})
            for each in (TAXPAYER, "91440300MA5NOBODY0")
        )
        assert (known.status_code, unknown.status_code) == (403, 403)
        assert [known.json() | {"request_id": ""}] == [unknown.json() | {"request_id": ""}]


def test_whoever_reads_what_is_of_a_taxpayer_leaves_an_entry(offices):
    """By what answers hold, however their forms call it."""
    found = set()
    for office in offices.values():
        journal = office.asked.running.accounts.journal
        for method, path, operation, parameters, form in operations(office.asked.document("public")):
            asked = {name for name, each in parameters.items() if each["in"] == "path" or each.get("required")}
            is_stream = STREAM in operation["responses"].get("200", {}).get("content", {})
            is_question = method == "GET" or (path.endswith("/searches") and "taxpayer" in form.get("required", ()))
            if not is_question or is_stream or not asked - {IDEMPOTENCY_HEADER} <= office.parts.keys():
                continue
            address, _ = named(path, parameters, form, office.parts)
            message = None if method == "GET" else {"taxpayer": TAXPAYER}
            text = office.request(method, address, message).text
            if TAXPAYER in text or NAME in text or operation.get(ACT_FIELD):
                (entry,) = journal.rows(limit=1)
                assert entry["act"] == operation.get(ACT_FIELD), path
                found.add(entry["act"])
    assert {"applications.read", "decisions.read", "disputes.list", "ingest.read_quarantine", "requests.list"} <= found
