"""Set-up takes an interpreter that the tests were run on, or says which ones those are."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LANGUAGE = "Programming Language :: Python :: "
TRIED = [each.removeprefix(LANGUAGE) for each in PROJECT["classifiers"] if each.startswith(LANGUAGE)]


def test_the_classifiers_and_the_bound_name_the_same_versions():
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(40) if f"3.{minor}.9" in allowed] == TRIED


def test_the_readme_names_them_too():
    assert (
        f"Python {' or '.join(TRIED).replace(' or ', ', ', len(TRIED) - 2)}, `make`" in (ROOT / "README.md").read_text()
    )


@pytest.fixture
def set_up(tmp_path):
    """Run set-up where the given interpreters are found first: by name, what each says of its version, or None."""

    def run(interpreters, *, asked=""):
        shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
        shutil.copytree(ROOT / "locks", tmp_path / "locks")
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        for name, version in interpreters.items():
            # It knows its version and nothing else, so set-up ends at its first use.
            program = tmp_path / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f'#!/bin/sh\n[ "$1" = -c ] && echo {version}\n' if version else "#!/bin/sh\nexit 127\n")
            program.chmod(0o755)
        environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "PYTHON": asked}
        done = subprocess.run(
            ["scripts/setup.sh", "base"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 3
        assert not (tmp_path / ".venv").exists()
        return done.stderr.strip()

    return run


def test_the_first_that_the_tests_passed_on_is_taken(set_up):
    newest = f"python{TRIED[-1]}"
    others = {f"python{version}": None for version in TRIED[:-1]}
    said = set_up({"python3": "3.99", newest: TRIED[-1], **others})
    assert said == f"{newest} cannot make environments. On Debian the package python3-venv is missing."


@pytest.mark.parametrize(("version", "found"), [("3.99", "python3 is 3.99"), (None, "python3 does not run")])
def test_without_one_the_versions_are_named(set_up, version, found):
    said = set_up({"python3": version, **{f"python{each}": None for each in TRIED}})
    assert said == (
        f"Shuiqiao is tested on Python {', '.join(TRIED)}; {found}. "
        "Install a tested version and name it: make PYTHON=/path/to/python ..."
    )


def test_one_that_is_asked_for_is_not_replaced_by_another(set_up):
    said = set_up({"python3": TRIED[0], "python3.99": "3.99"}, asked="python3.99")
    assert "; python3.99 is 3.99." in said
