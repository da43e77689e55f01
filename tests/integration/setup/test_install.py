"""What set-up installs is what the locks name, name by name and version by version, whatever was released since."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
OWN = "shuiqiao"


def locked(text):
    """The packages that a lock names for this machine, with their versions."""
    lines = [line.rstrip("\\ ") for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    found = [Requirement(line) for line in lines]
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in found
        if each.marker is None or each.marker.evaluate()
    }


def installed(python):
    """The packages that an environment holds, with their versions, without this product itself."""
    code = "import importlib.metadata as m; print(*{(d.name, d.version) for d in m.distributions()}, sep='\\n')"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    rows = [line.strip("()").replace("'", "").split(", ") for line in done.stdout.splitlines()]
    return {canonicalize_name(name): version for name, version in rows if name != OWN}


def test_the_environment_equals_its_lock():
    assert installed(sys.executable) == locked((ROOT / "locks" / "dev.txt").read_text())


def test_the_base_lock_is_part_of_the_other():
    base, dev = ((locked((ROOT / "locks" / f"{name}.txt").read_text())) for name in ("base", "dev"))
    assert base.items() <= dev.items()


def test_the_installer_is_the_locked_one():
    said = subprocess.run([ROOT / ".tools/uv/bin/uv", "--version"], capture_output=True, text=True, check=True).stdout
    assert said.split()[1] == locked((ROOT / "locks" / "installer.txt").read_text())["uv"]


def test_nothing_in_the_project_decides_what_an_install_takes():
    assert "uv" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]


def wheel(folder, name, version):
    """A package that holds nothing, under a real one's name; its locked hash."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{place},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},"
        for place, text in files.items()
    ]
    with zipfile.ZipFile(path, "w") as archive:
        for place, text in files.items():
            archive.writestr(place, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def direct_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [project["project"]["dependencies"], *project["dependency-groups"].values()]
    return {canonicalize_name(Requirement(each).name) for wanted in lists for each in wanted}


@pytest.fixture(scope="module")
def later_day(tmp_path_factory):
    """A checkout on a later day: its registry is a folder with all that is locked, and newer releases of the rest."""
    checkout = tmp_path_factory.mktemp("checkout")
    shelf = tmp_path_factory.mktemp("shelf")
    shutil.copytree(ROOT / "scripts", checkout / "scripts")
    shutil.copy(ROOT / "pyproject.toml", checkout)
    (checkout / ".tools").mkdir()
    (checkout / ".tools" / "uv").symlink_to(ROOT / ".tools" / "uv")
    versions = locked((ROOT / "locks" / "dev.txt").read_text())
    lines = [f"{name}=={version} --hash=sha256:{wheel(shelf, name, version)}" for name, version in versions.items()]
    (checkout / "lock.txt").write_text("\n".join(lines) + "\n")
    direct = direct_dependencies() & versions.keys()
    assert len(direct) > 30
    for name in direct:
        wheel(shelf, name, f"{versions[name]}.1" if versions[name].count(".") < 3 else "9999.0")
    return checkout, shelf


def install(checkout, shelf, *, environment):
    python = checkout / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / "venv"], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    return subprocess.run(
        ["scripts/install_locked.sh", "lock.txt", python],
        cwd=checkout,
        env=kept | {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(shelf)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_newer_releases_and_settings_of_the_installer_change_nothing(later_day):
    checkout, shelf = later_day
    (checkout / "any.txt").write_text("cbor2>=6\n")
    for environment in ({}, {"UV_OVERRIDE": "any.txt", "UV_CONSTRAINT": "any.txt", "UV_RESOLUTION": "lowest"}):
        done = install(checkout, shelf, environment=environment)
        assert done.returncode == 0, done.stderr
        versions = locked((checkout / "lock.txt").read_text().replace(" --hash", " \\\n    --hash"))
        assert installed(checkout / "venv" / "bin" / "python") == versions


def test_other_bytes_under_a_locked_name_are_refused(later_day):
    checkout, shelf = later_day
    version = locked((ROOT / "locks" / "dev.txt").read_text())["cbor2"]
    [path] = shelf.glob(f"cbor2-{version}-*.whl")
    before = path.read_bytes()
    shutil.rmtree(checkout / "venv", ignore_errors=True)
    try:
        path.write_bytes(before + b"\0")
        done = install(checkout, shelf, environment={"UV_CACHE_DIR": str(checkout / "cache")})
    finally:
        path.write_bytes(before)
    assert done.returncode != 0
    assert "ash mismatch" in done.stderr


def test_every_line_that_installs_takes_what_is_locked():
    """The product itself is built from this folder by what the lock brought."""
    own = "--no-config --python .venv/bin/python --offline --no-deps --no-build-isolation -e ."
    lines = [line for path in (ROOT / "scripts").glob("*.sh") for line in path.read_text().splitlines()]
    found = [line.strip() for line in lines if re.search(r"\bpip (install|sync) ", line)]
    assert len(found) == 3
    for line in found:
        assert "--require-hashes" in line or line.endswith(own), line
    assert sum("--no-deps --require-hashes -r locks/installer.txt" in line for line in found) == 1


def test_ci_runs_the_test_command_without_a_setting_of_the_installer(tmp_path):
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    make = tmp_path / "bin" / "make"
    make.parent.mkdir()
    make.write_text('#!/bin/sh\necho "make $*"\nenv | grep ^UV_ || true\n')
    make.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{make.parent}:{os.environ['PATH']}",
        "UV_DEFAULT_INDEX": "https://example.org",
        "UV_REQUIRE_HASHES": "1",
    }
    done = subprocess.run(
        ["bash", ".ci/run"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "make test\n"


def test_a_machine_without_go_goes_on_to_the_tests_but_for_ci(tmp_path):
    """CometBFT's tests say that it is missing, and are skipped; in CI what is claimed must be run."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "scripts" / "setup_system.sh").write_text("#!/bin/sh\n")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name in ("bash", "dirname"):
        (bin_folder / name).symlink_to(shutil.which(name))
    for ci, code in (("", 0), ("true", 2)):
        done = subprocess.run(
            [shutil.which("make"), "-o", "setup-dev", "setup-tests"],
            cwd=tmp_path,
            env=os.environ | {"PATH": str(bin_folder), "CI": ci},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, "Install Go" in done.stderr) == (code, True)
