"""What tampering acts play with, and how the code that caught one is read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shuiqiao.base.durable import DRAFT_SUFFIX
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.ledger.engine.ledger_copy import CHECKPOINTS_FOLDER, SEGMENTS_FOLDER
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.scenario.cast import Consortium
from shuiqiao.sandbox.scenario.enterprises import EnterpriseOwner
from shuiqiao.sandbox.scenario.evidence import Evidence
from shuiqiao.sandbox.scenario.journey import Underwriting

NOT_CAUGHT = "not_caught"
ISSUED = "invoice_issued@2"


@dataclass(frozen=True, slots=True, kw_only=True)
class TamperScene:
    """What the acts play with: the open consortium, one enterprise with proven evidence, and a folder for copies."""

    consortium: Consortium
    owner: EnterpriseOwner
    bank: Institution
    terms: Underwriting
    evidence: Evidence
    scratch: Path


def code_of(act: Callable[[], object]) -> str:
    """Return the stable code that refused an act."""
    try:
        act()
    except ShuiqiaoError as error:
        return error.code
    return NOT_CAUGHT


def copy_ledger(member: Institution, folder: Path) -> Path:
    """Copy a member's ledger while it is open and no block is under way: what is not derived ([STORE-1])."""
    source = member.home.ledger
    # The checkpoint first: it may be replaced at any moment, and the segments then hold at least what it says.
    # A draft is gone again as soon as it is whole, be it between its listing and its copy.
    drafts = shutil.ignore_patterns(f"*{DRAFT_SUFFIX}")
    shutil.copytree(source / CHECKPOINTS_FOLDER, folder / CHECKPOINTS_FOLDER, ignore=drafts)
    shutil.copytree(source / SEGMENTS_FOLDER, folder / SEGMENTS_FOLDER)
    return folder
