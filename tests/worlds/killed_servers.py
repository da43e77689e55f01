"""Kills of a sandbox's servers while a story goes on between them, and what must hold of it afterwards, on any engine."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from functools import partial

from patience import PATIENCE_S
from shuiqiao.client.resources import applications, ledger, requests
from shuiqiao.sandbox.servers.parties import patiently

SEED = 2
READY_S = 300
"""How long a server has to be ready after the last kill: others start at the same time."""

_LONGEST_PAUSE_S = 0.8
_AWAITED_SHARE = 0.5
_AGAIN_SHARE = 0.2
_STRAIGHT = ("received", "submitted", "requested", "answered", "proven", "assessed")
_ENDING = ("decided", "handed_in", "closed")


class Killer:
    """Kills one server after the other at random moments, and starts each again a little later.

    Acts and kills keep step: an act begins when as great a part of the kills is done, a kill is not before that part of
    the acts has begun. So there is always something under way that a kill can hurt, a server that starts included.
    Without acts the kills come as they come. first: how many there were before, so that each server has its turn.
    """

    def __init__(self, sandbox, *, kills, acts=0, first=0, seed=SEED):
        self._sandbox = sandbox
        self._kills = kills
        self._acts = acts
        self._first = first
        self._chance = random.Random(seed + first)
        self._changed = threading.Condition()
        self._begun = 0
        self._done = 0
        self._is_over = False
        self._failure = None
        self._starting = []
        self.killed = Counter()
        self._thread = threading.Thread(target=self._run, name="killer")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        with self._changed:
            self._is_over = kind is not None
            self._changed.notify_all()
        self._thread.join()
        if self._failure is not None and kind is None:
            raise self._failure

    def begin(self, place):
        """Return once the act of this place may begin."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure or self._done >= place * self._kills // self._acts)
            self._begun += 1
            self._changed.notify_all()

    def _next(self, number):
        """Everyone in turn, so that each is killed; now and then the one that starts is killed in its start."""
        if self._starting and self._chance.random() < _AGAIN_SHARE:
            return self._starting.pop()
        members = list(self._sandbox.servers)
        return members[(self._first + number) % len(members)]

    def _is_due(self, number):
        return self._is_over or not self._acts or self._begun > number * self._acts // self._kills

    def _run(self):
        try:
            for number in range(self._kills):
                with self._changed:
                    self._changed.wait_for(partial(self._is_due, number))
                if self._is_over:
                    break
                self._kill(number)
        except BaseException as error:  # noqa: BLE001 - raised where the killer ends
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        for server in self._sandbox.servers.values():
            server.start()

    def _kill(self, number):
        member = self._next(number)
        # At most one other is away or starts meanwhile: everything else goes on, however slow this machine is.
        while len(self._starting) > 1 or (self._starting and self._chance.random() < _AWAITED_SHARE):
            self._sandbox.server(self._starting.pop(0)).wait_ready(timeout_s=READY_S)
        time.sleep(self._chance.uniform(0, _LONGEST_PAUSE_S))
        server = self._sandbox.server(member)
        server.kill()
        self.killed[member] += 1
        time.sleep(self._chance.uniform(0, _LONGEST_PAUSE_S / 2))
        server.start()
        assert server.is_ours
        self._starting.append(member)
        with self._changed:
            self._done += 1
            self._changed.notify_all()


def all_ready(sandbox):
    """Return once every server answers."""
    for server in sandbox.servers.values():
        server.wait_ready(timeout_s=READY_S)


def listed(client, path, form, **filters):
    """Every item of a list."""
    cursor, found = None, []
    while True:
        parameters = {"limit": 500, **filters} | ({"cursor": cursor} if cursor else {})
        page = patiently(partial(client.get, path, parameters=parameters)).read_as(form)
        found += page.items
        if page.next is None:
            return found
        cursor = page.next


def bodies(office, kind):
    """Leaf index to the body of every entry of a kind, as an institution's copy of the ledger has it."""
    client = office.person("internal_auditor")
    found = listed(client, "/api/v1/ledger/entries", ledger.EntryPage, kind=kind)
    return {each.index: client.get(f"/api/v1/ledger/entries/{each.index}").read_as(ledger.Entry).body for each in found}


def closed_files(bank):
    """Every application file that a bank has, once all of them are closed."""
    client = bank.person("relationship_manager")
    end = time.monotonic() + PATIENCE_S
    while True:
        rows = listed(client, "/api/v1/applications", applications.ApplicationPage)
        files = [
            client.perform(applications.READ_APPLICATION, applications.ApplicationQuestion(application=row.application))
            for row in rows
        ]
        if all(file.timeline[-1].step == "closed" for file in files):
            return files
        assert time.monotonic() < end, [file for file in files if file.timeline[-1].step != "closed"]
        time.sleep(0.2)


def require_whole(story, bureau, bank):
    """Nothing acknowledged is lost, nothing done twice, no data without its entry, every file at its end."""
    files = closed_files(bank)
    # The bank has the applications that enterprises were told of, and no other: whoever asked again made none.
    told = {lent.file.application: lent for lent in story.lent}
    assert {file.application for file in files} == told.keys()
    assert len(files) == len(told) == len(story.lent)
    for file in files:
        taken = [step.step for step in file.timeline if not step.code]
        by_people = ["referred", "reviewed"] if "referred" in taken else []
        assert sorted(taken) == sorted([*_STRAIGHT, *by_people, *_ENDING]), file
        assert (file.consent, file.status) == (told[file.application].consent, told[file.application].file.status)
    # One application and one decision for each file, at the entries that its timeline names.
    for kind, step in (("application.submit", "submitted"), ("decision.record", "decided")):
        found = {index: body["application"] for index, body in bodies(bank, kind).items()}
        assert found == {_entry_of(file, step): file.application for file in files}
    # Each grant stands where its enterprise was told.
    grants = {index: f"{bureau.member}/{body['consent']}" for index, body in bodies(bureau, "consent.grant").items()}
    assert {lent.granted_index: lent.consent for lent in story.lent}.items() <= grants.items()
    require_entries_for_data(bureau, bank, files)


def _entry_of(file, step):
    [found] = [each.entry for each in file.timeline if each.step == step and not each.code]
    return found


def require_entries_for_data(bureau, bank, files):
    """What the bureau delivered, what the bank took in, and what the ledger says of both, are the same requests."""
    delivered = [body["request"] for body in bodies(bureau, "access.deliver").values()]
    assert len(delivered) == len({*delivered})
    outcomes = {"bureau": _requests(bureau, "service_officer"), "bank": _requests(bank, "relationship_manager")}
    assert {name for name, outcome in outcomes["bureau"].items() if outcome == "delivered"} == {*delivered}
    assert {name for name, outcome in outcomes["bank"].items() if outcome == "received"} == {*delivered}
    acknowledged = [f"{bank.member}/{body['request']}" for body in bodies(bank, "access.acknowledge").values()]
    asked = [f"{bank.member}/{body['request']}" for body in bodies(bank, "access.request").values()]
    assert sorted(acknowledged) == sorted(asked) == sorted(delivered)
    assert {f"{bank.member}/{file.request}" for file in files} <= {*delivered}


def _requests(office, role):
    return {row.request: row.outcome for row in listed(office.person(role), "/api/v1/requests", requests.RequestPage)}
