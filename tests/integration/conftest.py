"""Fixtures that several folders of this one share."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest


@pytest.fixture
def here(capsys):
    """A command in this process: its exit code, its JSON, what it said."""
    from shuiqiao.cli.door import run

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        shown = json.loads(said.out) if "--json" in arguments and said.out else None
        return SimpleNamespace(code=ended.value.code, json=shown, out=said.out, err=said.err)

    return call
