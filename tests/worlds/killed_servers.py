"""Kills of a sandbox's processes while a story goes on between them, and what must hold of it afterwards, on any engine.

Killed is each server, and each CometBFT node that a server runs. A node does not outlive its server: whoever finds the
older one at work beside a new server fails. A node that is killed alone is started again by its server.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from functools import partial
from itertools import cycle, islice

from cometbft_world import node_of
from patience import PATIENCE_S
from shuiqiao.client.resources import applications, ledger, requests
from shuiqiao.members.model import EngineName
from shuiqiao.sandbox.servers.parties import patiently

SEED = 2

_LONGEST_PAUSE_S = 0.8
_AWAITED_SHARE = 0.5
_AGAIN_SHARE = 0.2
_LOOK_S = 0.1
_STRAIGHT = ("received", "submitted", "requested", "answered", "proven", "assessed")
_ENDING = ("decided", "handed_in", "closed")


class KilledServer:
    """A server that is killed, and with it its node."""

    def __init__(self, sandbox, member):
        self.name = member
        self._server = sandbox.server(member)
        self._has_node = has_nodes(sandbox)

    def kill(self):
        self._server.kill()
        if self._has_node:
            wait_until(lambda: node_of(self._server.home) is None, f"{self.name} left its node behind")

    def begin(self):
        self._server.start()
        assert self._server.is_ours

    def wait(self):
        self._server.wait_ready(timeout_s=PATIENCE_S)


class KilledNode:
    """A CometBFT node that is killed alone: its server starts it again."""

    def __init__(self, sandbox, member):
        self.name = f"the node of {member}"
        self._home = sandbox.server(member).home

    def kill(self):
        self.wait()
        node = node_of(self._home)
        with contextlib.suppress(ProcessLookupError):
            os.kill(node, signal.SIGKILL)
        wait_until(lambda: node_of(self._home) != node, f"{self.name} is not gone")

    def begin(self):
        """That is its server's part."""

    def wait(self):
        wait_until(lambda: node_of(self._home) is not None, f"{self.name} was not started again")


def has_nodes(sandbox):
    """Whether the institutions of a sandbox run CometBFT nodes."""
    return sandbox.plan.engine == EngineName.COMETBFT


def victims_of(sandbox):
    """Every process that can be killed; where there are nodes, by turns the server of one and the node of the next.

    So each institution was hit once in either process when half of them were.
    """
    forms = [KilledServer, KilledNode] if has_nodes(sandbox) else [KilledServer]
    turns = zip(cycle(sandbox.servers), cycle(forms), strict=False)
    return [form(sandbox, member) for member, form in islice(turns, len(sandbox.servers) * len(forms))]


def wait_until(is_so, otherwise):
    """Return once something is so; the test fails in these words where it never is."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, otherwise
        time.sleep(_LOOK_S)


class Killer:
    """Kills one process after the other at random moments, and lets each begin again a little later.

    Acts and kills keep step: an act begins when as great a part of the kills is done, a kill is not before that part of
    the acts has begun. So there is always something under way that a kill can hurt, a server that starts included.
    Without acts the kills come as they come. killed: how often each was killed before, which the killer goes on to count.
    """

    def __init__(self, sandbox, *, kills, killed, acts=0, seed=SEED):
        self._sandbox = sandbox
        self._victims = victims_of(sandbox)
        self._kills = kills
        self._acts = acts
        self._chance = random.Random(seed + killed.total())
        self._changed = threading.Condition()
        self._begun = 0
        self._done = 0
        self._is_over = False
        self._failure = None
        self._starting = []
        self._killed = killed
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

    def _next(self):
        """Everyone in turn; once each was killed, now and then the one that starts is killed in its start."""
        seldom = min(self._victims, key=lambda victim: self._killed[victim.name])
        if self._starting and self._killed[seldom.name] and self._chance.random() < _AGAIN_SHARE:
            return self._starting.pop()
        return seldom

    def _is_due(self, number):
        return self._is_over or not self._acts or self._begun > number * self._acts // self._kills

    def _run(self):
        try:
            for number in range(self._kills):
                with self._changed:
                    self._changed.wait_for(partial(self._is_due, number))
                if self._is_over:
                    break
                self._kill(self._next())
        except BaseException as error:  # noqa: BLE001 - raised where the killer ends
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        for server in self._sandbox.servers.values():
            server.start()

    def _kill(self, victim):
        # At most one other is away or starts meanwhile: everything else goes on, however slow this machine is.
        while len(self._starting) > 1 or (self._starting and self._chance.random() < _AWAITED_SHARE):
            self._starting.pop(0).wait()
        time.sleep(self._chance.uniform(0, _LONGEST_PAUSE_S))
        victim.kill()
        self._killed[victim.name] += 1
        time.sleep(self._chance.uniform(0, _LONGEST_PAUSE_S / 2))
        victim.begin()
        self._starting.append(victim)
        with self._changed:
            self._done += 1
            self._changed.notify_all()


def all_ready(sandbox):
    """Return once every server answers."""
    for server in sandbox.servers.values():
        server.wait_ready(timeout_s=PATIENCE_S)


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
