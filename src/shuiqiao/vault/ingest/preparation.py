"""From a chunk of source rows to rows ready to be anchored: validated, ordered, written as groups, hashed, identified.

``prepare`` is pure but for its inputs: salts are given, nothing is stored. Whether a row repeats one that is known is
for the ingest to say. Large sources are prepared in worker processes; results keep their order. Memory is bounded: at
most ``IN_FLIGHT_PER_WORKER`` chunks per worker are on their way at any time.

Workers are spawned, not forked: a fork of a process with threads and an open LMDB environment is not safe. Each holds
one pipe to this process and ends when the pipe does, so a killed ingest leaves none behind. A thread a worker fills
its pipe. ``concurrent.futures.ProcessPoolExecutor`` would do without the threads, but its workers share one pipe of
results: one that is killed while it writes leaves the pool waiting for the rest of the message for ever (ADR 0028).
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.abc import MetaPathFinder
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.standards.columns import binary_list, encode_group
from shuiqiao.standards.model import RecordType
from shuiqiao.standards.validation import Issue, validate_batch
from shuiqiao.vault.identity import Identities, identify, taxpayer_order
from shuiqiao.vault.model import SALT_BYTES
from shuiqiao.vault.storage.batch_file import HashedRows
from shuiqiao.vault.tree import group_hashes, leaf_hashes, split_salts


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Rows of one source as they were read.

    source: number of the source in the index. first_row: 1-based row of the first. salts: 16 bytes per row and group.
    batch: id for the batch that the chunk may begin; drawn here so that a seeded run repeats itself. key_is_all: the
    source's profile says that its rows are known by all their fields.
    """

    record_type: RecordType
    type_number: int
    source: int
    first_row: int
    rows: Any
    salts: bytes
    batch: bytes
    key_is_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRows:
    """A chunk's good rows, ordered by taxpayer and period, with all that anchoring needs; and its issues.

    source_rows: the 1-based row of the source that each good row was. read: rows of the chunk.
    """

    hashed: HashedRows
    identities: Identities
    source_rows: npt.NDArray[np.int64]
    issues: list[Issue]
    read: int
    quarantined: int


def prepare(chunk: Chunk, *, hash_name: str) -> PreparedRows:
    """Return the rows of a chunk, ready. Raises what ``standards.validation`` refuses a whole batch for."""
    record_type = chunk.record_type
    checked = validate_batch(record_type, chunk.rows, first_row=chunk.first_row)
    rows, source_rows = checked.rows, checked.source_rows
    order = taxpayer_order(record_type, rows)
    if order is not None:
        rows, source_rows = rows.take(order), source_rows[order]
    salts = chunk.salts[: rows.num_rows * len(record_type.groups) * SALT_BYTES]
    encoded, parts, leaves = encode_and_hash(record_type, rows, salts, hash_name=hash_name)
    identities = identify(
        record_type, rows, parts, type_number=chunk.type_number, hash_name=hash_name, key_is_all=chunk.key_is_all
    )
    return PreparedRows(
        hashed=HashedRows(rows=rows, groups=encoded, salts=salts, leaves=leaves, days=identities.days),
        identities=identities,
        source_rows=source_rows,
        issues=checked.issues,
        read=chunk.rows.num_rows,
        quarantined=checked.quarantined,
    )


def encode_and_hash(
    record_type: RecordType, rows: Any, salts: bytes, *, hash_name: str
) -> tuple[tuple[Any, ...], list[list[bytes]], list[bytes]]:
    """Return groups as Arrow columns, the same as lists of bytes, and the leaves of canonical rows [VAULT-LEAF-1]."""
    encoded = tuple(encode_group(record_type, group, rows) for group in record_type.group_ids)
    parts = [binary_list(column) for column in encoded]
    salt_columns = split_salts(salts, groups=len(encoded))
    hashes = [group_hashes(salt, part, hash_name=hash_name) for salt, part in zip(salt_columns, parts, strict=True)]
    return encoded, parts, leaf_hashes(hashes, hash_name=hash_name)


IN_FLIGHT_PER_WORKER = 2
"""One chunk in work and one waiting keeps a worker busy; more would only cost memory."""

_JOIN_TIMEOUT_S = 10.0

PrepareAll = Callable[[Iterable[Chunk]], Iterator[tuple[Chunk, PreparedRows]]]
"""Yields every chunk, without its rows and salts, with its prepared rows, in order.

Raises what reading or preparing raised, and Unavailable ``vault.worker_lost`` if a worker process died.
"""


@contextmanager
def open_preparers(*, hash_name: str, workers: int) -> Generator[PrepareAll]:
    """Prepare with a number of worker processes (0: in this one), which end with the context, whatever they do.

    with open_preparers(hash_name="sha256", workers=2) as prepare_all:
        for chunk, prepared in prepare_all(chunks):
            ...
    """
    if not workers:
        yield lambda chunks: ((chunk, prepare(chunk, hash_name=hash_name)) for chunk in chunks)
        return
    started: list[_Worker] = []
    try:
        # One by one, so that those that did start are ended where another does not.
        started.extend(_Worker(hash_name) for _ in range(workers))
        yield lambda chunks: _prepare_in_workers(chunks, started)
    finally:
        for worker in started:
            worker.close()


def _prepare_in_workers(chunks: Iterable[Chunk], workers: list[_Worker]) -> Iterator[tuple[Chunk, PreparedRows]]:
    underway: deque[tuple[Chunk, _Worker, Future[None]]] = deque()
    for chunk, worker in zip(chunks, cycle(workers), strict=False):
        underway.append((replace(chunk, rows=None, salts=b""), worker, worker.send(chunk)))
        if len(underway) == IN_FLIGHT_PER_WORKER * len(workers):
            first, owner, sent = underway.popleft()
            yield first, owner.receive(sent)
    for first, owner, sent in underway:
        yield first, owner.receive(sent)


class _Worker:
    """This process's end of one worker: its pipe, and the thread that fills it."""

    def __init__(self, hash_name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=run_worker, args=(theirs, hash_name), name="vault-worker", daemon=True)
        self._process.start()
        theirs.close()
        self._thread = ThreadPoolExecutor(1, "vault-worker")

    def send(self, chunk: Chunk) -> Future[None]:
        """Hand a chunk over without waiting: the pipe is full while the worker prepares the one before."""
        # Arrow pickles all rows that a slice was cut from; its stream has those in use.
        data = pickle.dumps((replace(chunk, rows=None), _ipc(chunk.rows)), protocol=pickle.HIGHEST_PROTOCOL)
        return self._thread.submit(self._pipe.send_bytes, data)

    def receive(self, sent: Future[None]) -> PreparedRows:
        """Return the oldest result that is due, of the chunk that was sent so; raises what preparing raised."""
        try:
            sent.result()
            answer = pickle.loads(self._pipe.recv_bytes())  # noqa: S301 - a process of this ingest wrote it
        except (EOFError, ConnectionError) as error:
            self._process.join(timeout=_JOIN_TIMEOUT_S)
            raise Unavailable(
                "vault.worker_lost",
                f"a worker process of the ingest ended (exit code {self._process.exitcode})",
                next_step="Run the ingest again: what was anchored stays, the rest is taken up.",
            ) from error
        if isinstance(answer, Exception):
            raise answer
        prepared: PreparedRows = answer
        return prepared

    def close(self) -> None:
        """End the worker, in the midst of its work if it has any, and wait for it."""
        self._process.kill()
        self._thread.shutdown(cancel_futures=True)
        self._pipe.close()
        self._process.join()
        self._process.close()


class _WithoutPandas(MetaPathFinder):
    """Says that pandas is not there.

    Arrow looks for it at its first conversion and would load it into every worker: over half a second of processor
    time and 50 MB, for nothing that a worker does.
    """

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> None:
        """Return None for every module but one."""
        if fullname == "pandas":
            raise ModuleNotFoundError("a worker of the ingest does without pandas", name=fullname)


def run_worker(pipe: Connection[Any, Any], hash_name: str) -> None:
    """Prepare chunks from a pipe until it closes: the main function of a worker process."""
    # An interrupt at the terminal reaches every process; the one that writes decides, this one ends with its pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.meta_path.insert(0, _WithoutPandas())
    pa.set_cpu_count(1)
    with suppress(EOFError, ConnectionError):
        while True:
            # ``Connection.send`` and ``recv`` would keep a view of a BytesIO in the traceback of an error, and an
            # interpreter that collects both together crashes (CPython 3.12.0 and 3.12.1, gh-111049).
            chunk, rows = pickle.loads(pipe.recv_bytes())  # noqa: S301 - the process that ingests wrote it
            answer = _answer(replace(chunk, rows=_from_ipc(rows)), hash_name)
            pipe.send_bytes(pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL))


def _answer(chunk: Chunk, hash_name: str) -> PreparedRows | Exception:
    try:
        return prepare(chunk, hash_name=hash_name)
    except ShuiqiaoError as error:
        return error
    except Exception as error:  # noqa: BLE001 - every error is for the process that ingests
        return RuntimeError(f"a worker of the ingest failed: {type(error).__name__}: {error}")


def _ipc(batch: Any) -> Any:
    """Return a record batch as Arrow stream bytes; only the rows in use are written, even of a slice."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _from_ipc(data: bytes) -> Any:
    """Return the record batch of stream bytes that a process of this ingest wrote."""
    with pa.ipc.open_stream(data) as reader:
        return reader.read_next_batch()
