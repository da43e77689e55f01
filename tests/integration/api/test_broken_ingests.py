"""Files on their way into a real server: cut off, killed, ended in the middle, cancelled [API-11].

Whatever breaks off before the file is whole leaves no file, no row and no job; what is whole is a job that the next
server goes on with.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from patience import PATIENCE_S
from serving_world import make_served_home, served
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.unix_socket import connect_to
from shuiqiao.client.http import HttpClient
from shuiqiao.client.resources.ingests import QuarantineReportPage
from shuiqiao.client.resources.jobs import CANCEL_JOB, LIST_JOBS, READ_JOB, JobChoice, JobRecord, JobsQuestion
from shuiqiao.client.resources.ledger import EntryPage
from shuiqiao.client.resources.oversight import PastPage
from shuiqiao.client.resources.own_files import TAKE_IN_FILES, OwnFiles, path_text
from vault_world import invoice, write_rows

ROWS = 32_000
PART_BYTES = 1_500_000
"""More than the server keeps in memory, so that a part of it lies on the disk."""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file that takes longer to take in than a signal takes."""
    rows = [invoice(number) for number in range(ROWS)]
    return write_rows(tmp_path_factory.mktemp("large") / "invoices.parquet", "invoice_issued", rows)


def head(*lines):
    sent = [
        "POST /api/v1/ingests?name=invoices.parquet HTTP/1.1",
        "Host: home",
        "Idempotency-Key: key-of-a-broken-file",
        *lines,
    ]
    return "".join(f"{line}\r\n" for line in [*sent, ""]).encode()


def held(home):
    folder = home.folder / "uploads"
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


def until(condition):
    ends = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.02)
    return found


def ingests(client: HttpClient) -> list[JobRecord]:
    return [*client.perform(LIST_JOBS, JobsQuestion(kind="vault.ingest", limit=100)).items]


def require_nothing(client: HttpClient, home):
    assert (held(home), ingests(client)) == ([], [])
    assert client.get("/api/v1/ingests").read_as(QuarantineReportPage).items == ()
    assert client.get("/api/v1/ledger/entries").read_as(EntryPage).items == ()
    assert list((home.vault / "batches").iterdir()) == []


def send(client: HttpClient, path, *, key) -> JobRecord:
    answer = client.request(
        "POST",
        "/api/v1/ingests",
        parameters={"name": path.name},
        content=path.read_bytes(),
        content_type="application/octet-stream",
        headers={"Idempotency-Key": key},
    )
    assert answer.status == 202
    return answer.read_as(JobRecord)


def at_work(client: HttpClient, job: str) -> bool:
    found = client.perform(READ_JOB, JobChoice(job=job))
    assert found.state in {"waiting", "running"}, found
    return found.progress.done > 0


def ended(client: HttpClient, job: str) -> JobRecord:
    found = client.perform(READ_JOB, JobChoice(job=job))
    return found if found.finished_ms else None


def begin(home, *lines, body=b"x" * PART_BYTES):
    """Send a part of a file; return the connection once a part of it lies on the server's disk."""
    link = connect_to(home.socket)
    link.sendall(head(*lines) + body)
    until(lambda: held(home))
    return link


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose server was killed while a file came in."""
    home, length = make_served_home(tmp_path_factory.mktemp("broken") / "home"), f"Content-Length: {2 * PART_BYTES}"
    chunked, chunk = "Transfer-Encoding: chunked", b"%x\r\n" % PART_BYTES + b"x" * PART_BYTES
    with served(home) as server, server.own_client() as client:
        for lines, body in [(length, b"x" * PART_BYTES), (chunked, chunk), (chunked, chunk + b"\r\n")]:
            with closing(begin(home, lines, body=body)):
                pass
            until(lambda: not held(home))
        with closing(begin(home, length)) as link:
            # The caller says that no more comes, and waits for an answer.
            link.shutdown(socket.SHUT_WR)
            until(lambda: not held(home))
        require_nothing(client, home)
        with closing(begin(home, length)):
            server.end(signal.SIGKILL)
    assert held(home) != []
    return home


def test_an_upload_that_breaks_off_leaves_nothing_and_an_ingest_that_breaks_off_goes_on(home, large):
    with served(home) as server, server.own_client() as client:
        require_nothing(client, home)
        ids = end_in_the_middle(server, client, large)
    with served(home) as server, server.own_client() as client:
        for job in ids:
            done = until(lambda job=job: ended(client, job))
            assert (done.state, done.cause, done.result["records_read"]) == ("done", None, ROWS)
        assert held(home) == []
        anchors = client.get("/api/v1/past/anchors").read_as(PastPage).items
        assert sum(each.detail["count"] for each in anchors) == ROWS
        cancel_in_the_middle(client, large)
        until(lambda: not held(home))


def test_a_command_that_is_interrupted_says_what_its_server_goes_on_with(tmp_path, large):
    """Ctrl-C ends the command and not the ingest: how far it is, and how to see and end it, is said."""
    home = make_served_home(tmp_path / "home")
    with served(home) as server, server.own_client() as client:
        words = ["ingest", str(large), "--home", str(home.folder), "--json"]
        command = subprocess.Popen(
            [str(Path(sys.executable).with_name("shuiqiao")), *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        (job,) = until(lambda: [each for each in ingests(client) if each.progress.done])
        command.send_signal(signal.SIGINT)
        said = json.loads(command.communicate(timeout=PATIENCE_S)[0])["error"]
        assert (command.returncode, said["code"]) == (130, "cli.interrupted")
        told = re.search(
            rf"goes on with it 服务器继续处理: job {job.id[:16]} (\w+), .*"
            rf"jobs show {job.id[:16]} tells how far it is, jobs cancel {job.id[:16]} ends it",
            said["message"],
        )
        assert told is not None, said
        if told[1] == "running":
            rows = re.search(r"([\d,]+) of 32,000", said["message"])
            assert 0 < int(rows[1].replace(",", "")) <= ROWS
        done = until(lambda: ended(client, job.id))
        assert (done.state, done.result["records_read"]) == ("done", ROWS)


def end_in_the_middle(server, client, large) -> list[str]:
    """End a server while a file that was sent is taken in and another one waits; return the ids of both jobs."""
    said = []

    def take_in():
        with HttpClient.at_socket(server.home.socket) as own:
            try:
                own.perform(TAKE_IN_FILES, OwnFiles(files=(path_text(large),)))
            except ShuiqiaoError as error:
                said.append(error.code)

    waiting = threading.Thread(target=take_in)
    job = send(client, large, key="key-of-a-whole-file")
    assert (job.kind, job.parameters["sent"]) == ("vault.ingest", "invoices.parquet")
    until(lambda: at_work(client, job.id))
    # Files of this machine are a job too, and whoever asked waits for its end.
    waiting.start()
    (second,) = until(lambda: [each for each in ingests(client) if each.id != job.id])
    assert (second.state, client.perform(READ_JOB, JobChoice(job=job.id)).state) == ("waiting", "running")
    code, logged = server.end()
    assert (code, "server.stopped" in logged, "request.failed" in logged) == (0, True, False)
    waiting.join(PATIENCE_S)
    assert (said, held(server.home) != []) == (["node.server_ending"], True)
    return [job.id, second.id]


def cancel_in_the_middle(client, large) -> None:
    job = send(client, large, key="key-of-another-try")
    until(lambda: at_work(client, job.id))
    client.perform(CANCEL_JOB, JobChoice(job=job.id))
    found = until(lambda: ended(client, job.id))
    assert (found.state, found.cause.code) == ("cancelled", "jobs.cancelled")
