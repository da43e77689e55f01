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
from shuiqiao.api.journaling import journaled
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources.governance import RotatedKey
from shuiqiao.client.resources.home import HomeStatus
from shuiqiao.client.resources.own_files import AMEND_BY_FILE, TAKE_IN_FILES, OwnFile, OwnFiles, TakenIn, path_from_root
from shuiqiao.client.resources.validator import (
    HOME_PREFIX,
    JUDGE_NOTES,
    PROOF,
    ROTATE_VALIDATOR_KEY,
    STANDING,
    BeginningProof,
    Judgement,
    SignedNotes,
    ValidatorKeyRotation,
    ValidatorStanding,
)
from shuiqiao.client.wire import MAX_EXACT
from shuiqiao.ledger.transactions.submitter import log_size
from shuiqiao.node.operations import records

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
        entries=log_size(institution.engine),
        outbox_waiting=len(institution.outbox.rows()),
    )


@home.get(STANDING.removeprefix(HOME_PREFIX), permission=OWNER_ONLY, codes=("node.not_validator",))
def read_validator(running: Running) -> ValidatorStanding:
    """Tell where this validator stands, whether its CometBFT node runs, and what it signed."""
    from shuiqiao.node.operations.validator import standing_of

    return standing_of(running.institution, running.require_validator())


@home.get(PROOF.removeprefix(HOME_PREFIX), permission=OWNER_ONLY, codes=("node.not_validator", "ledger.size_unknown"))
def prove_beginning(size: Size, new_size: Size, running: Running) -> BeginningProof:
    """Prove which root the first leaves of this validator's log have, to one whose log is shorter."""
    from shuiqiao.node.operations import validator

    return validator.prove_beginning(running.require_validator().ledger.application, size=size, new_size=new_size)


@home.post(JUDGE_NOTES.path, permission=OWNER_ONLY, codes=("node.not_validator",))
def judge_notes(shown: SignedNotes, running: Running) -> Judgement:
    """Hold what other validators signed against this one's log."""
    from shuiqiao.node.operations import validator

    return validator.judge_notes(running.require_validator().ledger.application, shown)


@home.post(
    ROTATE_VALIDATOR_KEY.path,
    permission=OWNER_ONLY,
    codes=("node.not_validator", "node.validator_key_awaited", "node.cometbft_elsewhere"),
)
def rotate_validator_key(_asked: ValidatorKeyRotation, running: Running, caller: Caller) -> RotatedKey:
    """Replace the key that this validator votes with, which lies in its home as CometBFT keeps it."""
    from shuiqiao.node.operations.validator import rotate_voting_key

    node = running.require_validator()
    with journaled(running, caller, act="keys.rotate_validator"):
        return rotate_voting_key(running.institution, node)
