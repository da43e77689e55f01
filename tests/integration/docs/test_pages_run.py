"""Every block of every tutorial and how-to runs as a person would paste it: in order, in one folder for each page.

Console blocks go to a shell, Python blocks to an interactive interpreter, which takes a line at a time: an indented
block without an empty line after it fails there, as it does for a reader. A file that a page tells to save is saved.
The demo runs once for all pages that say the same command.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from patience import PATIENCE_S
from shuiqiao.node.kinds import network_kinds

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    path.relative_to(ROOT / "docs") for room in ("tutorials", "howto") for path in (ROOT / "docs" / room).glob("*.md")
)
DEMO = "shuiqiao demo --taxpayers 100 --out demo-out"
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
SAVED = re.compile(r"Save this as `(?P<name>[^`]+)`[^`]*\Z")
FAILED = re.compile(r'^(PROBLEM|error |NOT VALID|BAD )|"valid": false|"records_ingested": 0', re.MULTILINE)
"""What is shown below a command that is meant to end with an exit code other than 0."""

CONSORTIUM = "needs CometBFT and some minutes; the commands are run by tests/integration/cli/test_network.py"
VOTES = "needs CometBFT and the ids of one's own proposals; run by tests/integration/cli/test_governance.py"
SKIPPED = {
    "howto/run-a-consortium.md": CONSORTIUM,
    "howto/govern-a-consortium.md": VOTES,
    "howto/when-a-node-stops.md#2": CONSORTIUM,
    "howto/add-a-feature.md#2": "make test is this very suite",
    "howto/add-a-record-type.md#3": "make test is this very suite",
    "howto/add-a-record-type.md#4": "the new type is not in the catalogue: the reader adds it",
    "howto/back-up-and-restore.md#2": "needs a PostgreSQL server; run by tests/integration/node/test_postgresql.py",
    "howto/back-up-and-restore.md#9": CONSORTIUM,
    "howto/back-up-and-restore.md#8": CONSORTIUM,
    "howto/follow-the-log.md#2": "lines of node.toml, not a command",
    "howto/follow-the-log.md#3": "a web server of the reader's own",
    "howto/follow-the-log.md#4": "fetches from that web server; run by tests/integration/cli/test_published_log.py",
    "howto/follow-the-log.md#5": "verifies what was fetched from it; run by tests/integration/cli/test_published_log.py",
    "howto/follow-the-log.md#6": "verifies what was fetched from it; run by tests/integration/cli/test_published_log.py",
    "howto/ingest-your-own-files.md#3": "the research data are not part of the repository",
    "howto/prove-and-amend-records.md": "names a taxpayer, a batch and a leaf of one's own; the same commands are run by "
    "tests/integration/cli/test_records.py",
    "howto/run-on-national-cryptography.md#1": "a second demo; run by the tests of the scenario in both suites",
    "tutorials/tax-bureau.md#7": "names the batch that record find shows; run by tests/integration/cli/test_records.py",
}
"""Blocks, or whole pages, that do not run here, and why. A number counts the page's console and Python blocks."""


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Return (kind, name, body): kind is console, python, or save."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    number = 0
    for match in FENCE.finditer(text):
        info, body = match["info"].strip(), match["body"]
        if info in {"console", "python", "toml", "sh"}:
            number += 1
            yield info, f"{page.as_posix()}#{number}", body
        elif saved := SAVED.search(text[: match.start()]):
            yield "save", saved["name"], body


def commands(body: str) -> Iterator[tuple[str, str]]:
    """Return (command, what is shown below it) of a console block."""
    for part in re.split(r"^\$ ", body.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


class Reader:
    """A person in one folder, with a shell and an interpreter that stays open from block to block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("SHUIQIAO")}
        self.env |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
        self._python: subprocess.Popen[str] | None = None

    def shell(self, name: str, body: str) -> None:
        given = [*commands(body)]
        script = "\n".join(f"{command}\ns=$?; echo; echo @@ $s; (exit $s)" for command, _ in given)
        done = subprocess.run(
            ["bash"],
            input=script,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.env,
            timeout=PATIENCE_S,
            check=False,
        )
        codes = [int(line.removeprefix("@@ ")) for line in done.stdout.splitlines() if line.startswith("@@ ")]
        meant = [bool(FAILED.search(shown)) for _, shown in given]
        assert (name, [bool(code) for code in codes]) == (name, meant), done.stdout[-3000:] + done.stderr[-3000:]

    def python(self, name: str, body: str) -> None:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-i", "-q"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self.folder,
                env=self.env,
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(f"{body}\nprint('@' + '@ done')\n")
        self._python.stdin.flush()
        said = ""
        for line in self._python.stdout:
            said += line
            if "@@ done" in line:
                break
        assert "Traceback (most recent call last)" not in said, f"{name}: {said}"
        assert "SyntaxError" not in said, f"{name}: {said}"
        assert "@@ done" in said, f"{name}: {said}"

    def close(self) -> None:
        if self._python is not None:
            assert self._python.stdin is not None
            assert self._python.stdout is not None
            self._python.stdin.close()
            self._python.wait(timeout=PATIENCE_S)
            self._python.stdout.close()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> Path:
    """What pages say that the reader has already: the demo's output, and a bureau with its records."""
    folder = tmp_path_factory.mktemp("shelf")
    reader = Reader(folder)
    reader.shell("demo", f"$ {DEMO}\n")
    for kind, name, body in blocks(Path("tutorials/tax-bureau.md")):
        if kind == "save":
            (folder / name).write_text(body, encoding="utf-8")
    reader.shell("bureau", "$ shuiqiao init --home my-bureau\n$ shuiqiao ingest grades.csv --home my-bureau\n")
    return folder


BEFORE = {
    "howto/back-up-and-restore.md": ("my-bureau", "genesis.json", "checkpoint", "follower-ledger"),
    "howto/follow-the-log.md": ("my-bureau", "genesis.json"),
    "howto/ingest-your-own-files.md": ("my-bureau", "grades.csv", "registration.csv", "invoices.csv"),
    "howto/read-the-audit.md": ("my-bureau",),
    "howto/verify-a-receipt.md": ("demo-out", "my-bank", "genesis.json of the demo"),
    "howto/when-a-node-stops.md": ("my-bureau",),
}
"""What a how-to takes for granted, by the names that it uses."""


@pytest.mark.parametrize("page", [page for page in PAGES if page.as_posix() not in SKIPPED], ids=str)
def test_every_block_of_a_page_runs_as_it_is_pasted(page, shelf, tmp_path):
    prepare(page, shelf, tmp_path)
    reader = Reader(tmp_path)
    try:
        for kind, name, body in blocks(page):
            if kind == "save":
                (tmp_path / name).write_text(body, encoding="utf-8")
            elif name in SKIPPED:
                continue
            elif kind == "python":
                reader.python(name, body)
            elif f"$ {DEMO}\n" in body:
                shutil.copytree(shelf / "demo-out", tmp_path / "demo-out", symlinks=True)
            else:
                reader.shell(name, body)
    finally:
        reader.close()


def prepare(page: Path, shelf: Path, folder: Path) -> None:
    for name in BEFORE.get(page.as_posix(), ()):
        if name == "my-bank":
            shutil.copytree(shelf / "demo-out" / "homes" / "bank-east", folder / name, symlinks=True)
        elif name == "genesis.json":
            shutil.copy(shelf / "my-bureau" / "genesis.json", folder / name)
        elif name == "genesis.json of the demo":
            shutil.copy(shelf / "demo-out" / "genesis.json", folder / "genesis.json")
        elif name == "checkpoint":
            shutil.copy(shelf / "my-bureau" / "ledger" / "checkpoints" / "latest", folder / name)
        elif name == "follower-ledger":
            shutil.copytree(shelf / "my-bureau" / "ledger", folder / name)
        elif name == "invoices.csv":
            row = (
                "9199000000000001X0,26990000000000000001,2026-01-15,valid,false,1000,130,1130,9199000000000009X9,样例乙"
            )
            header = "uscc,invoice_no,issue_date,status,is_red_letter,amount_fen,tax_fen,total_fen"
            text = f"{header},counterparty_id,counterparty_name\n{row}\n"
            (folder / name).write_text(text, encoding="utf-8")
        elif name == "registration.csv":
            rows = "uscc,taxpayer_name,status,industry_code,province_code,registered_on\n"
            rows += "9199000000000001X0,样例甲,normal,C3911,44,2020-01-01\n"
            (folder / name).write_text(rows, encoding="utf-8")
        elif (shelf / name).is_dir():
            shutil.copytree(shelf / name, folder / name, symlinks=True)
        else:
            shutil.copy(shelf / name, folder / name)


def test_what_is_left_out_is_there_and_has_a_reason():
    known = {name for page in PAGES for kind, name, _ in blocks(page) if kind != "save"}
    known |= {page.as_posix() for page in PAGES}
    assert sorted(set(SKIPPED) - known) == []
    assert all(len(reason.split()) > 4 for reason in SKIPPED.values())


def test_pages_say_how_many_kinds_there_are():
    count = len(list(network_kinds()))
    said = {
        found
        for page in PAGES
        for found in re.findall(r"(\d+) kinds walked", (ROOT / "docs" / page).read_text(encoding="utf-8"))
    }
    assert said == {str(count)}


def test_the_interpreter_refuses_what_cannot_be_pasted(tmp_path):
    reader = Reader(tmp_path)
    try:
        reader.python("good", "for number in range(2):\n    print(number)\n\nprint('after')\n")
        with pytest.raises(AssertionError, match="SyntaxError"):
            reader.python("bad", "for number in range(2):\n    print(number)\nprint('after')\n")
    finally:
        reader.close()
