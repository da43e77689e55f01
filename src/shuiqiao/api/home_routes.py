"""The routes that the owner of a home has over its socket without a token: what runs there, and what is wrong.

A server's files are looked at from outside by ``shuiqiao doctor`` and copied by ``shuiqiao backup create``, each in a
process of its own: an index must not be opened twice in one.
"""

from __future__ import annotations

import os

from shuiqiao import __version__
from shuiqiao.api.access import OWNER_ONLY
from shuiqiao.api.door import Running
from shuiqiao.api.journaling import journaled
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources.home import HomeStatus
from shuiqiao.client.resources.own_files import AMEND_BY_FILE, TAKE_IN_FILES, OwnFile, OwnFiles, TakenIn, path_from_root
from shuiqiao.node.operations import records

home = Routes("home", prefix="/home")

_OF_FILES = (
    "client.path_invalid",
    "node.role_wrong",
    "standards.file_missing",
    "standards.type_unknown",
    "standards.type_unrecognised",
    "vault.busy",
)


@home.post(
    TAKE_IN_FILES.path,
    permission="ingest.write",
    codes=_OF_FILES,
)
def take_in_files(named: OwnFiles, running: Running, caller: Caller) -> TakenIn:
    """Take in files of this machine, which the owner of the home may read anyway."""
    for text in named.files:
        path_from_root(text)
    with journaled(running, caller, act="ingest.take_in"):
        return records.take_in_files(running.institution, named)


@home.post(
    AMEND_BY_FILE.path,
    permission="ingest.write",
    codes=_OF_FILES,
)
def amend_by_file(named: OwnFile, running: Running, caller: Caller) -> TakenIn:
    """Supersede records by corrected ones in a file of this machine."""
    path_from_root(named.file)
    with journaled(running, caller, act="ingest.amend"):
        return records.amend_by_file(running.institution, named)


@home.get("/status", permission=OWNER_ONLY)
def read_home_status(running: Running) -> HomeStatus:
    """Tell what runs here and where its ledger stands."""
    institution = running.institution
    height, time_ms = institution.engine.last_block()
    return HomeStatus(
        member=institution.member,
        role=institution.settings.role,
        engine=institution.settings.engine,
        suite=institution.parameters.suite,
        network=institution.parameters.network.hex(),
        version=__version__,
        pid=os.getpid(),
        height=height,
        block_time_ms=time_ms,
        entries=institution.engine.checkpoint().size,
        outbox_waiting=len(institution.outbox.rows()),
    )
