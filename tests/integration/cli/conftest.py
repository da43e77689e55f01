from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import consortium_world as worlds
from cometbft_world import comet_program
from patience import PATIENCE_S
from shuiqiao.base.clock import SystemClock

COMMAND = Path(sys.executable).with_name("shuiqiao")
SETTINGS = ("SHUIQIAO_HOME", "SHUIQIAO_PASSPHRASE_FILE", "SHUIQIAO_DATABASE_URL")


def shuiqiao(*arguments, **environment):
    """The installed command in a process of its own: its exit code, its JSON (if it printed any), what it said."""
    env = {name: value for name, value in os.environ.items() if name not in SETTINGS} | environment
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=env,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE_S,
        check=False,
    )
    shown = json.loads(done.stdout) if "--json" in arguments and done.stdout else None
    return SimpleNamespace(code=done.returncode, json=shown, out=done.stdout, err=done.stderr)


@pytest.fixture(scope="session", name="shuiqiao")
def _shuiqiao():
    return shuiqiao


@pytest.fixture(scope="session")
def run_network():
    """``shuiqiao network`` over a folder, with this machine's cometbft program."""
    program = str(comet_program())

    def call(folder, command, *arguments):
        network = ("network", command, *arguments, "--folder", folder, "--json")
        return shuiqiao(*network, SHUIQIAO_COMETBFT=program)

    return call


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path):
    """A home of now whose keys open fast."""
    return worlds.solo_home(tmp_path / "home", clock=SystemClock()).folder


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """The records of one taxpayer, as files by type."""
    return worlds.record_files(tmp_path_factory.mktemp("records"))
