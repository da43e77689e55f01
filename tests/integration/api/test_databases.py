"""SQLite and PostgreSQL give the same results: one story over the API, and all that four institutions tell of it then.

What a story makes afresh (ids, keys, salts, and what is computed of them) differs from run to run. In its place stands
the order in which it is told, so that who names whom is compared too.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re

import pytest

from api_world import ALL, FIRM
from offices_world import SHARED, offices_world
from postgresql_world import databases_of, postgresql_server
from shuiqiao.api.routes.events import STREAM
from shuiqiao.api.routing import PERMISSION_FIELD
from shuiqiao.ledger.receipts.verification import verify_receipt
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node import governance

MADE_AFRESH = re.compile(r"[0-9a-f]{32,}|[A-Za-z0-9+/_-]{40,}={0,2}")
"""Ids, keys, digests, signatures."""

OF_THE_PROCESS = {"/api/v1/openapi.json", "/metrics"}

A_PAGE = 2
"""So that lists have several."""

SEVERAL = 20


def in_turn():
    """Bytes that are each greater than those before: lists by ids have the order in which these were made."""
    numbers = itertools.count(1)

    def entropy(size):
        number = next(numbers).to_bytes(8, "big")
        return (number + hashlib.shake_256(number).digest(size))[:size] if size > len(number) else number[-size:]

    return entropy


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the institutions tell, by database."""
    found = {}
    with pytest.MonkeyPatch.context() as patch, postgresql_server() as server:
        # What nobody put on the ledger is not waited for: nobody acts at another node meanwhile.
        patch.setattr(governance, "COPY_WAIT_S", 0)
        made = {}

        def url_of(home):
            member = home.folder.name
            return made.get(member) or made.setdefault(member, server.create(member))

        for name, place in {"sqlite": lambda _home: None, "postgresql": url_of}.items():
            folder = tmp_path_factory.mktemp(name)
            with databases_of(place), offices_world(folder / "world", entropy=in_turn()) as offices:
                assert {each.institution.database.dialect.name for each in offices.values()} == {name}
                found[name] = {member: answers(office) for member, office in offices.items()}
    return found


def answers(office):
    """Status and body of each page of whatever an institution can be asked, by the route."""
    known, found = SHARED | office.parts, {}
    for path, methods in office.asked.document("public")["paths"].items():
        operation = methods.get("get")
        if operation is None or path in OF_THE_PROCESS or STREAM in operation["responses"]["200"]["content"]:
            continue
        parameters = [each for each in operation.get("parameters", ()) if each["in"] != "header"]
        needed = {each["name"] for each in parameters if each["in"] == "path" or each.get("required")}
        if needed <= known.keys():
            query = {name: known[name] for name in needed if "{" + name + "}" not in path}
            if any(each["name"] == "cursor" for each in parameters):
                query["limit"] = A_PAGE
            address = path.format_map(known)
            token = FIRM if operation[PERMISSION_FIELD].startswith("own.") else ALL
            found[path] = [*pages(office, address, query, token=token)]
    return found


def pages(office, address, query, *, token):
    """Ask for a page after another."""
    cursor = {}
    while cursor is not None:
        answer = office.asked.get(address, token=token, **query, **cursor)
        body = read(office, answer)
        yield answer.status_code, body
        following = body.get("next") if isinstance(body, dict) and "limit" in query else None
        cursor = following and {"cursor": following}


def read(office, answer):
    """What an answer says, but for what depends on how fast a machine is."""
    kind = answer.headers["content-type"]
    if "json" in kind:
        # Of the steps of a job those are noted that take long enough.
        return json.loads(answer.content, object_hook=without_progress)
    if "receipt" in kind:
        institution = office.institution
        found = verify_receipt(
            answer.content,
            parameters=institution.parameters,
            kinds=institution.kinds,
            key_ring=MemberKeyRing(),
            suite=institution.suite,
        )
        return found.transaction.kind, found.index
    return kind


def without_progress(told):
    return {name: value for name, value in told.items() if name != "progress"}


def in_order(found):
    """The same in words, with the order in which it is told in the place of what is made afresh."""
    seen = {}
    text = json.dumps(found, ensure_ascii=False, indent=1, sort_keys=True)
    return MADE_AFRESH.sub(lambda each: f"<{seen.setdefault(each[0], len(seen))}>", text)


@pytest.mark.parametrize("member", ["bureau", "bank", "other_bank", "regulator"])
def test_both_databases_give_the_same_results(told, member):
    """Decisions, files and timelines, receipts, lists by page, who used what, jobs, approvals, alarms, the journal."""
    sqlite, postgresql = (in_order(told[name][member]) for name in ("sqlite", "postgresql"))
    assert sqlite.splitlines() == postgresql.splitlines()


def test_what_is_compared_has_something_in_it(told):
    """[API-5]: the lists of each have items, on several pages some of them, and none comes twice."""
    for found in told["sqlite"].values():
        lists = {path: each for path, each in found.items() if isinstance(each[0][1], dict) and "items" in each[0][1]}
        assert len([each for each in lists.values() if each[0][1]["items"]]) > SEVERAL / 2
        assert len([each for each in lists.values() if len(each) > 1]) > 2
        assert len([each for each in found.values() if each[0][0] == 200]) > 2 * SEVERAL
