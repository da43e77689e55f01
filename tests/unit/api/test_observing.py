"""The log of a server: it goes to standard error as that is now, and ends nothing where nobody reads it."""

from __future__ import annotations

import io
import json
import sys

import pytest
import structlog

from shuiqiao.api.observing import log, set_up_logging


@pytest.fixture
def set_up():
    before = structlog.get_config()
    set_up_logging()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("set_up")
def test_a_log_that_nobody_reads_any_more_ends_nothing(monkeypatch, capsys):
    gone = io.StringIO()
    gone.close()
    monkeypatch.setattr(sys, "stderr", gone)
    log.warning("jobs.run_failed", code="x.y")
    monkeypatch.undo()
    log.warning("jobs.run_failed", code="x.y")
    assert json.loads(capsys.readouterr().err)["event"] == "jobs.run_failed"
