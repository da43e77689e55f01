"""Has files that anybody may have made verified in a process of their own, with limits of memory and time [INVOICE-6].

A reader of a hostile format may have a fault, in a library too. What it can do then is end its own process: the file is
told as not verifiable, and the next one has a new process. The worker answers one message for each file.

The first message to the worker is what is trusted, each further one a file; it answers each file with JSON, a report or
what this machine lacks. What it says is believed as far as its form goes.
"""

from __future__ import annotations

import hashlib
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.worker_process import WorkerProcess, allow_cpu, begin_worker, confine_worker
from shuiqiao.crypto.certificates import Certificate, RevocationList, Trust
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.invoices.model import Report, conclude, found
from shuiqiao.invoices.verification import MAX_FILE_BYTES, verify_invoice

MEMORY_BYTES: Final = 1024 * 1024 * 1024
"""Of a worker's address space, libraries included; the largest file that is read takes a third of it."""
CPU_S: Final = 20
"""Of one file: the largest that is read takes two seconds."""
WALL_S: Final = 40
"""Of one file, on a machine that has other work too."""
_MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""A report with all lines of the largest file is shorter than the file."""


class _Trusted(msgspec.Struct):
    certificates: list[bytes]
    lists: list[bytes]


class _Failed(msgspec.Struct):
    code: str
    message: str


class _Answer(msgspec.Struct):
    report: Report | None = None
    failed: _Failed | None = None


class ConfinedVerifier:
    """Verifies one file after another in a worker, which it starts when it first needs it.

    ::

        with ConfinedVerifier(load_trust(folder)) as verifier:
            verifier.verify(data).verdict
    """

    def __init__(self, trust: Trust) -> None:
        """trust: roots, certificates between and revocation lists."""
        self._trusted = msgspec.json.encode(
            _Trusted([each.encoded for each in trust.certificates], [each.encoded for each in trust.lists])
        )
        self._worker: _Worker | None = None

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End the worker, if there is one."""
        self._end()

    def verify(self, data: bytes) -> Report:
        """Return the report of a file; raises Unavailable for what this machine lacks."""
        if len(data) > MAX_FILE_BYTES:
            return verify_invoice(data, trust=Trust())
        if self._worker is None:
            self._worker = _Worker()
        try:
            if self._worker.is_new:
                self._worker.send(self._trusted)
            self._worker.send(data)
            answer = msgspec.json.decode(self._worker.receive(), type=_Answer)
        except (OSError, EOFError, msgspec.DecodeError):
            return self._gave_up(data)
        if answer.failed is not None:
            raise Unavailable("invoices.verifier_failed", f"{answer.failed.code}: {answer.failed.message}")
        return answer.report if answer.report is not None else self._gave_up(data)

    def _gave_up(self, data: bytes) -> Report:
        code = self._end()
        finding = found(
            "readable",
            f"its reader ended with {code}: it asks for over {CPU_S} s of work, {WALL_S} s or {MEMORY_BYTES} bytes",
        )
        digest = hashlib.new("sm3", data).hexdigest()
        return Report(format="unknown", digest=digest, verdict=conclude([finding]), findings=(finding,))

    def _end(self) -> int | None:
        worker, self._worker = self._worker, None
        return None if worker is None else worker.end()


class _Worker:
    def __init__(self) -> None:
        self._process = WorkerProcess(run_verifier)
        self._sink: Connection[Any, Any] = Connection(self._process.sink, readable=False)
        self._source: Connection[Any, Any] = Connection(self._process.source, writable=False)
        self.is_new = True

    def send(self, message: bytes) -> None:
        """Raises OSError where the worker is gone."""
        self._sink.send_bytes(message)
        self.is_new = False

    def receive(self) -> bytes:
        """Raises EOFError where the worker is gone or late, OSError for an answer that is too long."""
        if not self._source.poll(WALL_S):
            raise EOFError("no answer in time")
        return self._source.recv_bytes(_MAX_ANSWER_BYTES)

    def end(self) -> int | None:
        """End the worker; return how it ended by itself, None if it had not."""
        self._sink.close()
        code = self._process.exit_code(timeout_s=1) if self._source.poll(0) else None
        self._process.end()
        self._source.close()
        return code


def run_verifier() -> None:
    """Verify files until there is no further one; the main function of the worker."""
    source, sink = begin_worker()
    files: Connection[Any, Any] = Connection(source, writable=False)
    answers: Connection[Any, Any] = Connection(sink, readable=False)
    trusted = msgspec.json.decode(files.recv_bytes(), type=_Trusted)
    trust = Trust(
        certificates=tuple(map(Certificate, trusted.certificates)), lists=tuple(map(RevocationList, trusted.lists))
    )
    # What is loaded later would be loaded under the limits, from a disk that may be slow.
    get_suite(SuiteName.GM)
    confine_worker(memory_bytes=MEMORY_BYTES)
    while True:
        try:
            data = files.recv_bytes(MAX_FILE_BYTES)
        except EOFError:
            return
        allow_cpu(CPU_S)
        answers.send_bytes(msgspec.json.encode(_answer(data, trust=trust)))


def _answer(data: bytes, *, trust: Trust) -> _Answer:
    try:
        return _Answer(report=verify_invoice(data, trust=trust))
    except ShuiqiaoError as error:
        return _Answer(failed=_Failed(error.code, error.message))
