"""From a chunk of source rows to rows ready to be anchored: validated, ordered, written as groups, hashed, identified.

``prepare`` is pure but for its inputs: salts are given, nothing is stored. Whether a row repeats one that is known is
for the ingest to say. Large sources are prepared in worker processes; results keep their order. Workers are spawned,
not forked: a fork of a process with threads and an open LMDB environment is not safe. Each ends when this process does,
so a killed ingest leaves none behind. Memory is bounded: at most ``IN_FLIGHT_PER_WORKER`` chunks per worker are on
their way at any time.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from multiprocessing.connection import Connection
from queue import Queue
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.standards.columns import binary_list, encode_group
from shuiqiao.standards.model import RecordType
from shuiqiao.standards.validation import Issue, validate_batch
from shuiqiao.vault.identity import identify, taxpayer_order
from shuiqiao.vault.model import SALT_BYTES
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

    rows: canonical RecordBatch. groups: per disclosure group, an Arrow binary array. salts: 16 bytes per row and
    group. leaves: one 32-byte hash a row. keys, digests, states, days: see ``identity``.
    """

    rows: Any
    groups: tuple[Any, ...]
    salts: bytes
    leaves: list[bytes]
    keys: list[bytes]
    digests: list[bytes]
    states: list[bytes]
    days: npt.NDArray[np.int32]
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
    found = identify(
        record_type,
        rows,
        parts,
        type_number=chunk.type_number,
        hash_name=hash_name,
        key_is_all=chunk.key_is_all,
    )
    return PreparedRows(
        rows=rows,
        groups=encoded,
        salts=salts,
        leaves=leaves,
        keys=found.keys,
        digests=found.digests,
        states=found.states,
        days=found.days,
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


class Preparers:
    """A source of prepared chunks; ``open_preparers`` makes one."""

    def __init__(self, hash_name: str, workers: list[_Worker]) -> None:
        self._hash_name = hash_name
        self._workers = workers

    def prepare_all(self, chunks: Iterable[Chunk]) -> Generator[tuple[Chunk, PreparedRows]]:
        """Yield every chunk with its prepared rows, in order.

        Raises what reading or preparing raised, and Unavailable ``vault.worker_lost`` if a worker process died.
        """
        if not self._workers:
            for chunk in chunks:
                yield chunk, prepare(chunk, hash_name=self._hash_name)
            return
        yield from self._prepare_in_workers(chunks)

    def _prepare_in_workers(self, chunks: Iterable[Chunk]) -> Generator[tuple[Chunk, PreparedRows]]:
        # A thread of its own reads the source and feeds the pipes, so that this one never waits to send while a
        # worker waits to be read.
        feed = _Feed(chunks, self._workers)
        feeder = threading.Thread(target=feed.run, name="vault-feed", daemon=True)
        feeder.start()
        try:
            while (fed := feed.next()) is not None:
                chunk, worker = fed
                prepared = worker.receive()
                feed.done()
                yield chunk, prepared
        finally:
            feed.stop()
            if feeder.is_alive():
                # The one who takes results gave up: nobody empties the pipes any more, so the workers are ended first.
                for worker in self._workers:
                    worker.terminate()
            feeder.join(timeout=_JOIN_TIMEOUT_S)


class _Feed:
    """Hands chunks to workers in turn, never more on their way than the bound."""

    def __init__(self, chunks: Iterable[Chunk], workers: list[_Worker]) -> None:
        self._chunks = chunks
        self._workers = workers
        self._room = threading.Semaphore(IN_FLIGHT_PER_WORKER * len(workers))
        self._fed: Queue[tuple[Chunk, _Worker] | BaseException | None] = Queue()
        self._stopped = False

    def run(self) -> None:
        """Read and send until the chunks end, something fails or ``stop`` is called; runs on the feeding thread."""
        try:
            for number, chunk in enumerate(self._chunks):
                self._room.acquire()
                if self._stopped:
                    return
                worker = self._workers[number % len(self._workers)]
                worker.send(chunk)
                self._fed.put((_without_rows(chunk), worker))
        except BaseException as error:  # noqa: BLE001 - it is raised again on the thread that waits
            self._fed.put(error)
        else:
            self._fed.put(None)

    def next(self) -> tuple[Chunk, _Worker] | None:
        """Return the next chunk on its way, or None after the last; raises what the feeding thread met."""
        fed = self._fed.get()
        if isinstance(fed, BaseException):
            raise fed
        return fed

    def done(self) -> None:
        """Tell that a chunk's result was taken."""
        self._room.release()

    def stop(self) -> None:
        """Let the feeding thread end early."""
        self._stopped = True
        self._room.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """What a worker met, in a form that passes a pipe."""

    kind: type[ShuiqiaoError] | None
    code: str
    message: str
    next_step: str

    @classmethod
    def of(cls, error: Exception) -> Self:
        if isinstance(error, ShuiqiaoError):
            return cls(kind=type(error), code=error.code, message=error.message, next_step=error.next_step)
        return cls(kind=None, code="", message=f"{type(error).__name__}: {error}", next_step="")

    def as_error(self) -> Exception:
        if self.kind is None:
            return RuntimeError(f"a worker of the ingest failed: {self.message}")
        return self.kind(self.code, self.message, next_step=self.next_step)


def _without_rows(chunk: Chunk) -> Chunk:
    return Chunk(
        record_type=chunk.record_type,
        type_number=chunk.type_number,
        source=chunk.source,
        first_row=chunk.first_row,
        rows=None,
        salts=b"",
        batch=chunk.batch,
        key_is_all=chunk.key_is_all,
    )


class _Worker:
    """This process's end of one worker."""

    def __init__(self, hash_name: str, record_types: dict[str, RecordType]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=run_worker, args=(theirs, hash_name, record_types), name="vault-worker", daemon=True
        )
        self._process.start()
        theirs.close()

    def send(self, chunk: Chunk) -> None:
        """Hand over a chunk; waits while the worker's pipe is full."""
        plain = (
            chunk.record_type.id,
            chunk.type_number,
            chunk.source,
            chunk.first_row,
            chunk.salts,
            chunk.batch,
            chunk.key_is_all,
        )
        with self._lost_is_unavailable():
            _send(self._pipe, plain)
            self._pipe.send_bytes(_ipc(chunk.rows))

    def receive(self) -> PreparedRows:
        """Return the oldest result that is due; raises what preparing raised."""
        with self._lost_is_unavailable():
            answer = self._pipe.recv()
            if isinstance(answer, _Failure):
                raise answer.as_error()
            rows, groups = _from_ipc(self._pipe.recv_bytes()), _from_ipc(self._pipe.recv_bytes())
        return PreparedRows(rows=rows, groups=tuple(groups.columns), **answer)

    @contextmanager
    def _lost_is_unavailable(self) -> Generator[None]:
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise Unavailable(
                "vault.worker_lost",
                f"a worker process of the ingest ended (exit code {self._process.exitcode})",
                next_step="Run the ingest again: what was anchored stays, the rest is taken up.",
            ) from error

    def terminate(self) -> None:
        """End the worker in the midst of its work."""
        self._process.terminate()

    def close(self) -> None:
        """End the worker and wait for it."""
        self._pipe.close()
        self._process.join(timeout=_JOIN_TIMEOUT_S)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(timeout=_JOIN_TIMEOUT_S)
        self._process.close()


@contextmanager
def open_preparers(*, hash_name: str, workers: int, record_types: dict[str, RecordType]) -> Generator[Preparers]:
    """Preparers with a number of worker processes (0: none), ended when the context ends. record_types: by id."""
    started: list[_Worker] = []
    try:
        # One by one, so that those that did start are ended where another does not.
        started.extend(_Worker(hash_name, record_types) for _ in range(workers))
        yield Preparers(hash_name, started)
    finally:
        for worker in started:
            worker.close()


class _WithoutPandas(MetaPathFinder):
    """Says that pandas is not there.

    Arrow looks for it at its first conversion and would load it into every worker: over half a second of processor
    time and 50 MB, for nothing that a worker does.
    """

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> None:
        """Return None for every module but one."""
        if fullname == "pandas":
            raise ModuleNotFoundError("a worker of the ingest does without pandas", name=fullname)


def run_worker(pipe: Connection[Any, Any], hash_name: str, record_types: dict[str, RecordType]) -> None:
    """Prepare chunks from a pipe until it closes: the main function of a worker process."""
    # An interrupt at the terminal reaches every process; the one that writes decides, this one ends with its pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.meta_path.insert(0, _WithoutPandas())
    pa.set_cpu_count(1)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            type_id, type_number, source, first_row, salts, batch, key_is_all = pipe.recv()
            chunk = Chunk(
                record_type=record_types[type_id],
                type_number=type_number,
                source=source,
                first_row=first_row,
                rows=_from_ipc(pipe.recv_bytes()),
                salts=salts,
                batch=batch,
                key_is_all=key_is_all,
            )
            _answer(pipe, chunk, hash_name)


def _answer(pipe: Connection[Any, Any], chunk: Chunk, hash_name: str) -> None:
    try:
        prepared = prepare(chunk, hash_name=hash_name)
    except Exception as error:  # noqa: BLE001 - every error is for the process that ingests
        _send(pipe, _Failure.of(error))
        return
    names = [f"group_{position}" for position in range(len(prepared.groups))]
    plain = {name: getattr(prepared, name) for name in PreparedRows.__slots__ if name not in {"rows", "groups"}}
    _send(pipe, plain)
    pipe.send_bytes(_ipc(prepared.rows))
    pipe.send_bytes(_ipc(pa.RecordBatch.from_arrays(list(prepared.groups), names=names)))


def _send(pipe: Connection[Any, Any], value: object) -> None:
    """Send what the other end's ``recv`` returns.

    ``Connection.send`` sends a view of a BytesIO. Where the other process has ended, the error's traceback keeps that
    view, and an interpreter that collects both together crashes (CPython 3.12.0 and 3.12.1, gh-111049) or reports an
    error that nobody can catch (gh-111331).
    """
    pipe.send_bytes(pickle.dumps(value))


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
