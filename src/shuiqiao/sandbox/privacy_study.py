"""``run_privacy_study``: what is said of the modes in which a bank sees no record, worked out on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.sandbox.crossing import look_at_crossing
from shuiqiao.sandbox.extraction import run_extractions
from shuiqiao.sandbox.joint_training import default_credit, study_joint_training
from shuiqiao.sandbox.linking import ENTERPRISES, ENTRY_DELAY_MIN, study_linking
from shuiqiao.sandbox.score_equality import TAXPAYERS, score_equality


def run_privacy_study(
    *,
    taxpayers: int = TAXPAYERS,
    enterprises: int = ENTERPRISES,
    entry_delay_min: int = ENTRY_DELAY_MIN,
    data: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, dict[str, Any]]:
    """Return what each part of the study returns, by its name.

    {"extraction", "score_equality", "leaked_bytes", "granted_bytes", "who_saw_what", "linking", "joint_training"}: as
    ``run_extractions``, ``score_equality``, ``look_at_crossing``, ``study_linking`` and ``study_joint_training``.

    taxpayers: on whom scores are compared. enterprises, entry_delay_min: of ``study_linking``. data: folder of the
    research data on which models are trained. Raises InvalidInput ``sandbox.*``.
    """
    if data is not None:
        # A folder that is named wrong is told before minutes of work.
        default_credit(data)
    return {
        "extraction": run_extractions(progress=progress),
        "score_equality": score_equality(taxpayers=taxpayers, progress=progress),
        **look_at_crossing(progress=progress),
        "linking": study_linking(enterprises=enterprises, entry_delay_min=entry_delay_min, progress=progress),
        "joint_training": study_joint_training(data, progress=progress),
    }
