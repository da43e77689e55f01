"""Every block of every tutorial and how-to runs as a person would paste it: in order, in one folder for each page.

Console blocks go to a shell, Python blocks to an interactive interpreter, which takes a line at a time: an indented
block without an empty line after it fails there, as it does for a reader. A file that a page tells to save is saved.
The demo runs once for all pages that say the same command. Only two kinds of blocks are begun and not run to their end:
those that take many minutes, and the one that runs this very suite.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from absence import absent
from cometbft_world import comet_program
from patience import PATIENCE_S
from postgresql_world import postgresql_server
from shuiqiao.node.home.kinds import network_kinds
from shuiqiao.node.home.settings import Home

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    path.relative_to(ROOT / "docs") for room in ("tutorials", "howto") for path in (ROOT / "docs" / room).glob("*.md")
)
DEMO = "shuiqiao demo --taxpayers 100 --out demo-out"
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
PORT = re.compile(r"\b8[067]0[0-9]\b")
SAVED = re.compile(r"Save this as `(?P<name>[^`]+)`[^`]*\Z")
FAILED = re.compile(r'^(PROBLEM|error |NOT VALID|NOT VERIFIED|BAD )|"valid": false|"records_ingested": 0', re.MULTILINE)
"""What is shown below a command that is meant to end with an exit code other than 0."""

ON_VALIDATORS = "runs on the network of run-a-consortium.md, in a test below"
MINUTES = (
    "takes many minutes: its options are tried in a test below, and it is run shorter by tests/integration/sandbox/"
)
FOUNDED = "these commands, in one process, and the servers behind them run in tests/integration/cli/test_init.py"
THE_CHECKOUT = "runs in a copy of the project's folder, in a test below"
THIS_SUITE = "make test is this very suite: its recipe is written out in a test below"
ELSEWHERE = {
    "howto/run-a-consortium.md": ON_VALIDATORS,
    "howto/run-a-consortium.md#7": MINUTES + "test_network_bench.py",
    "howto/run-a-consortium.md#8": MINUTES + "test_story_in_one_process.py by make test-long",
    "howto/govern-a-consortium.md": ON_VALIDATORS,
    "howto/when-a-node-stops.md#2": ON_VALIDATORS,
    "howto/back-up-and-restore.md#8": ON_VALIDATORS,
    "howto/back-up-and-restore.md#9": ON_VALIDATORS,
    "howto/back-up-and-restore.md#2": "needs a PostgreSQL server: runs in a test of its own below",
    "howto/found-a-network.md#6": FOUNDED,
    "howto/found-a-network.md#7": FOUNDED,
    "howto/add-a-feature.md#2": THIS_SUITE,
    "howto/add-a-record-type.md": THE_CHECKOUT,
    "howto/add-a-record-type.md#5": THIS_SUITE,
    "howto/ingest-your-own-files.md#3": "needs the research data: runs in a test of its own below",
}
"""Blocks, or whole pages, that run in tests of their own, and why. A number counts a page's console and Python blocks."""


EXTRAS = {" --format anoncreds": "anoncreds", " --blind ": "tenseal", " --secure ": "spu"}
"""What a block needs that the base does not install, by words of its commands; the rest of its page runs without it."""


def lacks_extra(name: str, body: str) -> bool:
    """Whether a block needs an extra that this machine lacks; in CI that is a failure."""
    lacking = [package for words, package in EXTRAS.items() if words in body and find_spec(package) is None]
    assert not lacking or os.environ.get("CI") != "true", f"{name} needs {lacking}"
    return bool(lacking)


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Return (kind, name, body): kind is console, python, or save."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    number = 0
    for match in FENCE.finditer(text):
        info, body = match["info"].strip(), match["body"]
        if saved := SAVED.search(text[: match.start()]):
            yield "save", saved["name"], body
        elif info in {"console", "python", "toml"}:
            number += 1
            yield info, f"{page.as_posix()}#{number}", body


def commands(body: str) -> Iterator[tuple[str, str]]:
    """Return (command, what is shown below it) of a console block."""
    for part in re.split(r"^\$ ", body.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


class Reader:
    """A person in one folder, with a shell and an interpreter that stay open from block to block."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(("SHUIQIAO", "MAKE"))}
        self._env |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
        self._env |= environment
        self._open: dict[str, subprocess.Popen[str]] = {}

    def follow(self, kind: str, name: str, body: str) -> None:
        """Do what a block says."""
        if kind == "save":
            (self.folder / name).write_text(body, encoding="utf-8")
        elif kind == "python":
            self.python(name, body)
        else:
            self.shell(name, body)

    def shell(self, name: str, body: str) -> str:
        given = [*commands(body)]
        script = "\n".join(f"{command}\ns=$?; echo; echo @@ $s; (exit $s)" for command, _ in given)
        said = self._type(f"{script}\necho '@@ done'\n", "bash")
        codes = [int(line.removeprefix("@@ ")) for line in said.splitlines() if line.startswith("@@ ")]
        meant = [bool(FAILED.search(shown)) for _, shown in given]
        assert (name, [bool(code) for code in codes]) == (name, meant), said[-5000:]
        return said

    def python(self, name: str, body: str) -> None:
        said = self._type(f"{body}\nprint('@@ done')\n", sys.executable, "-i", "-q")
        assert "Traceback (most recent call last)" not in said, f"{name}: {said}"
        assert "SyntaxError" not in said, f"{name}: {said}"

    def _type(self, text: str, *program: str) -> str:
        """Type a text into a program, opened by the first one; what it said until it was done with it."""
        if program[0] not in self._open:
            self._open[program[0]] = subprocess.Popen(
                program,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self.folder,
                env=self._env,
                start_new_session=True,
            )
        process = self._open[program[0]]
        assert process.stdin is not None
        assert process.stdout is not None
        end = threading.Timer(PATIENCE_S, process.kill)
        end.start()
        try:
            process.stdin.write(text)
            process.stdin.flush()
            said = ""
            for line in process.stdout:
                if "@@ done" in line:
                    return said
                said += line
        finally:
            end.cancel()
        raise AssertionError(f"it ended, or took too long: {said[-5000:]}")

    def close(self) -> None:
        for process in self._open.values():
            assert process.stdin is not None
            assert process.stdout is not None
            # With whatever it left in the background.
            os.killpg(process.pid, signal.SIGTERM)
            process.stdin.close()
            process.wait(timeout=PATIENCE_S)
            process.stdout.close()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> Path:
    """What pages say that the reader has already: a bureau with its records."""
    folder = tmp_path_factory.mktemp("shelf")
    for kind, name, body in blocks(Path("tutorials/tax-bureau.md")):
        if kind == "save":
            (folder / name).write_text(body, encoding="utf-8")
    with closing(Reader(folder)) as reader:
        reader.shell("bureau", "$ shuiqiao init --home my-bureau\n$ shuiqiao ingest grades.csv --home my-bureau\n")
    return folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The demo's output, which several pages make by the same command."""
    folder = tmp_path_factory.mktemp("demo")
    with closing(Reader(folder)) as reader:
        reader.shell("demo", f"$ {DEMO}\n")
    return folder / "demo-out"


def test_the_demo_leaves_its_model_and_its_report_as_people_read_them(demo):
    card = json.loads((demo / "model" / "scorecard.json").read_bytes())
    written = (demo / "model" / "model-card.md").read_text(encoding="utf-8")
    assert written.startswith(f"# Model card: {card['name']}\n")
    assert "| auc | 0." in written
    assert "</html>" in (demo / "report.html").read_text(encoding="utf-8")


BEFORE = {
    "howto/back-up-and-restore.md": ("my-bureau", "genesis.json", "checkpoint", "follower-ledger"),
    "howto/follow-the-log.md": ("my-bureau", "genesis.json"),
    "howto/prove-and-amend-records.md": ("my-bureau",),
    "howto/ingest-your-own-files.md": ("my-bureau", "grades.csv", "registration.csv", "invoices.csv"),
    "howto/read-the-audit.md": ("my-bureau",),
    "howto/verify-a-receipt.md": ("demo-out", "my-bank", "genesis.json of the demo"),
    "howto/when-a-node-stops.md": ("my-bureau",),
}
"""What a how-to takes for granted, by the names that it uses."""

OF_THE_DEMO = {
    "demo-out": ("", "demo-out"),
    "my-bank": ("homes/bank-east", "my-bank"),
    "genesis.json of the demo": ("genesis.json", "genesis.json"),
}
OF_THE_BUREAU = {
    "genesis.json": "my-bureau/genesis.json",
    "checkpoint": "my-bureau/ledger/checkpoints/latest",
    "follower-ledger": "my-bureau/ledger",
}
WRITTEN = {
    "invoices.csv": "uscc,invoice_no,issue_date,status,is_red_letter,amount_fen,tax_fen,total_fen,counterparty_id,"
    "counterparty_name\n"
    "9199000000000001X0,26990000000000000001,2026-01-15,valid,false,1000,130,1130,9199000000000009X9,样例乙\n",
    "registration.csv": "uscc,taxpayer_name,status,industry_code,province_code,registered_on\n"
    "9199000000000001X0,样例甲,normal,C3911,44,2020-01-01\n",
}


def prepare(page: Path, shelf: Path, folder: Path, request: pytest.FixtureRequest) -> None:
    for name in BEFORE.get(page.as_posix(), ()):
        if name in OF_THE_DEMO:
            source, to = OF_THE_DEMO[name]
            lay(request.getfixturevalue("demo") / source, folder / to)
        elif name in WRITTEN:
            (folder / name).write_text(WRITTEN[name], encoding="utf-8")
        else:
            lay(shelf / OF_THE_BUREAU.get(name, name), folder / name)


def lay(source: Path, to: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, to, symlinks=True)
        kept = Home(source).passphrase
        if kept.is_file():
            shutil.copy(kept, Home(to).passphrase)
    else:
        shutil.copy(source, to)


class FreePorts(dict[str, str]):
    """A free port for each port that a page names, the same one each time."""

    def __missing__(self, named: str) -> str:
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            self[named] = str(server.getsockname()[1])
        return self[named]


@pytest.fixture
def reader(tmp_path):
    found = Reader(tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize("page", [page for page in PAGES if page.as_posix() not in ELSEWHERE], ids=str)
def test_every_block_of_a_page_runs_as_it_is_pasted(page, shelf, reader, request):
    prepare(page, shelf, reader.folder, request)
    ports = FreePorts()
    for kind, name, body in blocks(page):
        for program in ("wget", "curl"):
            if re.search(rf"\b{program} -", body) and shutil.which(program) is None:
                absent(f"{program} is not installed, with which {name} copies or asks")
        if f"$ {DEMO}\n" in body:
            lay(request.getfixturevalue("demo"), reader.folder / "demo-out")
        elif name not in ELSEWHERE and not lacks_extra(name, body):
            # The ports that the page names may be taken here.
            reader.follow(kind, name, PORT.sub(lambda found: ports[found[0]], body))


def test_a_home_on_postgresql_is_backed_up_as_it_is_pasted(shelf, tmp_path, request):
    page = Path("howto/back-up-and-restore.md")
    prepare(page, shelf, tmp_path, request)
    [block] = [block for block in blocks(page) if block[1] == f"{page}#2"]
    with (
        postgresql_server() as server,
        closing(Reader(tmp_path, SHUIQIAO_DATABASE_URL=server.create("bureau"))) as reader,
    ):
        reader.follow(*block)
    assert (tmp_path / "my-bureau.dump").stat().st_size > 0


def test_every_block_about_a_consortium_runs_as_it_is_pasted(tmp_path):
    """One network for all of it: made, broken and healed, governed, compared, and one of its homes restored."""
    run, govern = Path("howto/run-a-consortium.md"), Path("howto/govern-a-consortium.md")
    others = [Path("howto/when-a-node-stops.md"), Path("howto/back-up-and-restore.md")]
    (tmp_path / "findings.pdf").write_bytes(b"what the regulator found")
    (tmp_path / "incident.txt").write_text("what happened", encoding="utf-8")
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    installed = tmp_path / ".tools" / "cometbft" / "v0.39.4" / "cometbft"
    installed.parent.mkdir(parents=True)
    installed.symlink_to(comet_program())
    with closing(Reader(tmp_path, SHUIQIAO_COMETBFT=str(comet_program()))) as reader:
        try:
            for block in blocks(run):
                if block[1] not in ELSEWHERE:
                    reader.follow(*block)
            reader.shell("start", "$ shuiqiao network start --folder net\n")
            for block in blocks(govern):
                reader.follow(*block)
            for page in others:
                for block in blocks(page):
                    if ELSEWHERE.get(block[1]) == ON_VALIDATORS:
                        reader.follow(*block)
        finally:
            reader.shell("stop", "$ shuiqiao network stop --folder net\n")


def test_the_research_data_are_read_as_it_is_pasted(data_folder, reader):
    (reader.folder / "cumcm2020c").symlink_to(data_folder / "cumcm2020c")
    page = Path("howto/ingest-your-own-files.md")
    [(_, name, body)] = [block for block in blocks(page) if block[1] == f"{page}#3"]
    said = reader.shell(name, body)
    told = json.loads(said[said.index("{") : said.rindex("}") + 1])
    counts = [told[key] for key in ("records_ingested", "duplicates_reported", "records_quarantined")]
    assert counts == [368_189, 5_239, 3]
    assert (told["audit"]["root_matches"], (reader.folder / "demo-out" / "report.html").is_file()) == (True, True)


def test_a_record_type_is_added_as_it_is_pasted(shelf, tmp_path):
    """In a copy of the project's folder, whose environment has been set up."""
    for name in ("src", "docs", "scripts", "locks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    for entry in (ROOT / ".venv").iterdir():
        if entry.name not in {".base", ".dev"}:
            (tmp_path / ".venv" / entry.name).symlink_to(entry)
    (tmp_path / ".venv" / ".base").touch()
    lay(shelf / "my-bureau", tmp_path / "my-bureau")
    page = Path("howto/add-a-record-type.md")
    with closing(Reader(tmp_path, PYTHONPATH=str(tmp_path / "src"))) as reader:
        for block in blocks(page):
            if block[1] not in ELSEWHERE:
                reader.follow(*block)
        reader.shell(
            "known", "$ shuiqiao record find --taxpayer 9199000000000001X0 --home my-bureau | grep scope_change\n"
        )
    assert "scope_change" in (tmp_path / "docs" / "reference" / "record-types.md").read_text(encoding="utf-8")


def left_to(reason: str) -> list[tuple[str, str]]:
    """Return (name, command) of the blocks that run elsewhere for a reason."""
    return [
        (name, command)
        for page in PAGES
        for kind, name, body in blocks(page)
        if kind == "console" and ELSEWHERE.get(name, "").startswith(reason)
        for command, _ in commands(body)
    ]


@pytest.mark.parametrize(("name", "command"), left_to(MINUTES))
def test_what_takes_minutes_is_understood_as_it_is_pasted(name, command, reader):
    """It says that its program is absent (3), which comes behind a wrong option (2)."""
    reader.shell(name, f"$ SHUIQIAO_COMETBFT=absent {command} || test $? = 3\n")


@pytest.mark.parametrize(("name", "command"), left_to(THIS_SUITE))
def test_the_recipe_of_this_suite_is_written_out_as_it_is_pasted(name, command):
    with closing(Reader(ROOT, MAKEFLAGS="n")) as reader:
        reader.shell(name, f"$ {command} | grep pytest\n")


def test_what_is_left_out_is_there_and_has_a_reason():
    known = {name for page in PAGES for kind, name, _ in blocks(page) if kind != "save"}
    known |= {page.as_posix() for page in PAGES}
    assert sorted(set(ELSEWHERE) - known) == []
    assert all(len(reason.split()) > 4 for reason in ELSEWHERE.values())


def test_pages_say_how_many_kinds_there_are():
    count = len(list(network_kinds()))
    said = {
        found
        for page in PAGES
        for found in re.findall(r"(\d+) kinds walked", (ROOT / "docs" / page).read_text(encoding="utf-8"))
    }
    assert said == {str(count)}


def test_the_interpreter_refuses_what_cannot_be_pasted(reader):
    reader.python("good", "for number in range(2):\n    print(number)\n\nprint('after')\n")
    with pytest.raises(AssertionError, match="SyntaxError"):
        reader.python("bad", "for number in range(2):\n    print(number)\nprint('after')\n")


def test_the_shell_keeps_what_was_set_and_notices_what_failed(reader):
    reader.shell("good", "$ number=7\n")
    reader.shell("later", '$ test "$number" = 7\n$ false\nerror code: shown, so it is meant to fail\n')
    with pytest.raises(AssertionError, match="bad"):
        reader.shell("bad", "$ true\n$ false\n")
