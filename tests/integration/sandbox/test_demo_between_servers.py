"""``shuiqiao demo --servers`` as a person gives it: its figures have the form of the plain demo's, and nothing stays."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from killed_servers import wait_until
from patience import PATIENCE_S
from shuiqiao.sandbox.scenario.result import ScenarioFigures

TAXPAYERS = 100
"""The fewest that the command takes."""

PARTIES = 5


def begin(out, *words):
    """The command in a process of its own, without the settings of this one."""
    command = [str(Path(sys.executable).with_name("shuiqiao")), "demo", "--servers", "--taxpayers", str(TAXPAYERS)]
    return subprocess.Popen(
        [*command, "--out", str(out), *words, "--json"],
        env={name: value for name, value in os.environ.items() if not name.startswith("SHUIQIAO")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )


def running_in(out):
    """The command lines of processes that name a folder, but for the demo's own."""
    listed = subprocess.run(["ps", "-ww", "-eo", "args="], check=True, capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if str(out) in line and " demo --servers " not in line]


def servers_in(out):
    return [line for line in running_in(out) if " serve --home " in line]


@pytest.mark.long
@pytest.mark.parametrize("suite", ["intl", "gm"])
def test_it_tells_what_the_plain_demo_tells_and_of_its_servers(tmp_path, suite):
    out = tmp_path / "out"
    demo = begin(out, "--suite", suite)
    said, _ = demo.communicate()
    figures = json.loads(said)
    assert demo.returncode == 0, figures
    assert list(figures) == [*keys_of(ScenarioFigures), "servers"]
    assert (figures["taxpayers"], figures["suite"]) == (TAXPAYERS, suite)
    assert sum(figures["decisions"].values()) == figures["servers"]["openings_checked"] == TAXPAYERS
    assert (figures["servers"]["count"], figures["servers"]["problems"]) == (PARTIES, [])
    assert (figures["audit"]["root_matches"], figures["tamper_checks"]) == (True, None)
    forms = {name: form for name, form in get_type_hints(ScenarioFigures).items() if dataclasses.is_dataclass(form)}
    assert {name: keys_of(form) for name, form in forms.items() if figures[name] is not None} == {
        name: list(figures[name]) for name in forms if figures[name] is not None
    }
    assert running_in(out) == []


def keys_of(form):
    return [field.name for field in dataclasses.fields(form)]


def test_interrupted_it_leaves_no_server_running(tmp_path):
    out = tmp_path / "out"
    demo = begin(out)
    try:
        wait_until(lambda: len(servers_in(out)) == PARTIES, "no five servers began")
        demo.send_signal(signal.SIGINT)
        said, _ = demo.communicate(timeout=PATIENCE_S)
        assert (demo.returncode, json.loads(said)["error"]["code"]) == (130, "cli.interrupted")
        assert running_in(out) == []
    finally:
        demo.kill()
        demo.communicate()


def test_it_judges_today_and_no_data_of_the_past(tmp_path, here):
    refused = here("demo", "--servers", "--data", tmp_path, "--out", tmp_path / "out", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "cli.usage_wrong")
    assert not (tmp_path / "out").exists()
