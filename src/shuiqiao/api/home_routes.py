"""The routes that the owner of a home has over its socket without a token: what runs there, and what is wrong.

A server's files are looked at from outside by ``shuiqiao doctor`` and copied by ``shuiqiao backup create``, each in a
process of its own: an index must not be opened twice in one.
"""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import Query

from shuiqiao import __version__
from shuiqiao.api.access import OWNER_ONLY
from shuiqiao.api.door import Running
from shuiqiao.api.journaling import journaled, performed
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources.home import MAX_MEMBERS, MAX_WORDS, DifferingClock, HomeStatus
from shuiqiao.client.resources.jobs import JobRecord
from shuiqiao.client.resources.own_files import (
    AMEND_BY_FILE,
    ASK_INGEST,
    TAKE_IN_FILES,
    OwnFile,
    OwnFiles,
    TakenIn,
    path_from_root,
)
from shuiqiao.client.resources.upkeep import PUBLISH_LOG, PublicationFolder, Published
from shuiqiao.client.resources.users import (
    ADD_FIRST_USER,
    RESET_AS_OWNER,
    NewUser,
    NewUserPassword,
    ResetPassword,
    UserChoice,
)
from shuiqiao.client.resources.validator import (
    HOME_PREFIX,
    JUDGE_NOTES,
    PROOF,
    STANDING,
    BeginningProof,
    Judgement,
    SignedNotes,
    ValidatorStanding,
)
from shuiqiao.client.wire import MAX_EXACT
from shuiqiao.ledger.transactions.submitter import log_size
from shuiqiao.node.operations.records import told_of
from shuiqiao.node.peers.delivery import waiting_in_words

home = Routes("home", prefix=HOME_PREFIX)

Size = Annotated[int, Query(ge=0, le=MAX_EXACT)]

_OF_FILES = (
    "client.path_invalid",
    "node.role_wrong",
    "standards.file_missing",
    "standards.type_unknown",
    "standards.type_unrecognised",
    "vault.busy",
)
_OF_INGESTS = (*_OF_FILES, "jobs.cancelled", "node.server_ending")


@home.perform(TAKE_IN_FILES, permission="ingest.write", codes=_OF_INGESTS)
def take_in_files(named: OwnFiles, running: Running, caller: Caller) -> TakenIn:
    """Take in files of this machine, which the owner of the home may read anyway, as a job whose end is awaited."""
    for text in named.files:
        path_from_root(text)
    with journaled(running, caller, act=TAKE_IN_FILES.act):
        report = running.ingests.take_in(named.files, record_type=named.record_type, jobs=running)
        return told_of(running.institution, report)


@home.perform(
    ASK_INGEST,
    permission="ingest.write",
    codes=("client.path_invalid", "node.role_wrong", "jobs.parameters_too_large"),
)
def ask_ingest(named: OwnFiles, running: Running, caller: Caller) -> JobRecord:
    """Have files of this machine taken in as a job, which goes on by itself: jobs tell how far it is."""
    return performed(running, caller, ASK_INGEST, named)


@home.perform(AMEND_BY_FILE, permission="ingest.write", codes=_OF_FILES)
def amend_by_file(named: OwnFile, running: Running, caller: Caller) -> TakenIn:
    """Supersede records by corrected ones in a file of this machine."""
    path_from_root(named.file)
    return performed(running, caller, AMEND_BY_FILE, named)


@home.perform(
    PUBLISH_LOG,
    permission="jobs.manage",
    problems=(422,),
    codes=("client.path_invalid", "node.tiles_folder_unnamed", "node.tiles_checkpoint_missing", "ledger.tile_foreign"),
)
def publish_log(asked: PublicationFolder, running: Running, caller: Caller) -> Published:
    """Write what is new of the log to a folder of this machine, then its signed checkpoint."""
    if asked.folder is not None:
        path_from_root(asked.folder)
    return performed(running, caller, PUBLISH_LOG, asked)


@home.perform(
    ADD_FIRST_USER,
    permission=OWNER_ONLY,
    codes=("node.users_exist", "node.user_name_invalid", "node.role_unknown", "node.roles_conflict"),
)
def add_first_user(asked: NewUser, running: Running, caller: Caller) -> NewUserPassword:
    """Add the user who adds the others, while there is none."""
    return performed(running, caller, ADD_FIRST_USER, asked)


@home.perform(RESET_AS_OWNER, permission=OWNER_ONLY, codes=("node.user_unknown", "node.permission_missing"))
def reset_as_owner(chosen: UserChoice, running: Running, caller: Caller) -> ResetPassword:
    """Give who manages users a new first password, where nobody else may be left to do it."""
    return performed(running, caller, RESET_AS_OWNER, chosen)


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
        entries=log_size(institution.engine),
        outbox_waiting=len(institution.outbox.rows()),
        deliveries=waiting_in_words(institution.deliveries.waiting())[:MAX_WORDS],
        waits_for=institution.waits_for()[:MAX_WORDS],
        differing_clocks=tuple(
            DifferingClock(member=member, says=says[:MAX_WORDS])
            for member, says in list(institution.differing_clocks().items())[:MAX_MEMBERS]
        ),
    )


@home.get(STANDING.removeprefix(HOME_PREFIX), permission=OWNER_ONLY, codes=("node.not_validator",))
def read_validator(running: Running) -> ValidatorStanding:
    """Tell where this validator stands, whether its CometBFT node runs, and what it signed."""
    from shuiqiao.node.operations.validator import standing_of

    return standing_of(running.institution, running.institution.require_validator())


@home.get(PROOF.removeprefix(HOME_PREFIX), permission=OWNER_ONLY, codes=("node.not_validator", "ledger.size_unknown"))
def prove_beginning(size: Size, new_size: Size, running: Running) -> BeginningProof:
    """Prove which root the first leaves of this validator's log have, to one whose log is shorter."""
    from shuiqiao.node.operations import validator

    return validator.prove_beginning(
        running.institution.require_validator().ledger.application, size=size, new_size=new_size
    )


@home.post(JUDGE_NOTES.path, permission=OWNER_ONLY, codes=("node.not_validator",))
def judge_notes(shown: SignedNotes, running: Running) -> Judgement:
    """Hold what other validators signed against this one's log."""
    from shuiqiao.node.operations import validator

    return validator.judge_notes(running.institution.require_validator().ledger.application, shown)
