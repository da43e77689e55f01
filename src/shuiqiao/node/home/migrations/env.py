"""What alembic runs to apply steps: on the connection that ``schema`` opened, within its transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic import context

if TYPE_CHECKING:
    from shuiqiao.base.progress import Progress

_STEP = "bring the database up to date 升级数据库"


def _tell(*_context: Any, step: Any = None, **_others: Any) -> None:
    progress: Progress = context.config.attributes["progress"]
    progress(f"{_STEP}: {step.up_revision.doc}", int(step.up_revision_id), context.config.attributes["newest"])


context.configure(connection=context.config.attributes["connection"], on_version_apply=_tell)
context.run_migrations()
