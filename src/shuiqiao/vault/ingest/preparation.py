"""From a chunk of source rows to rows ready to be anchored: validated, ordered, written as groups, hashed, identified.

``prepare`` is pure but for its inputs: salts are given, nothing is stored. Whether a row repeats one that is known is
for the ingest to say. Large sources are prepared in worker processes; results keep their order. Memory is bounded: at
most ``IN_FLIGHT_PER_WORKER`` chunks per worker are on their way at any time.

The workers of a ``ProcessPoolExecutor`` share one pipe for their results: where one is killed while it writes, the pool
waits for the rest of the message for ever (ADR 0032). So ``concurrent.futures`` feeds the workers here, and does not
make them.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.without_pandas import do_without_pandas
from shuiqiao.base.worker_process import WorkerProcess, begin_worker
from shuiqiao.standards.columns import binary_list, encode_group
from shuiqiao.standards.model import RecordType
from shuiqiao.standards.validation import Issue, validate_batch
from shuiqiao.vault.identity import Identities, identify, taxpayer_order
from shuiqiao.vault.model import SALT_BYTES
from shuiqiao.vault.tree import HashedRows, group_hashes, leaf_hashes, split_salts


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

_END_TIMEOUT_S = 10.0

PrepareAll = Callable[[Iterable[Chunk]], Iterator[tuple[Chunk, PreparedRows]]]
"""Yields every chunk, without its rows and salts, with its prepared rows, in order.

Raises what reading or preparing raised, and Unavailable ``vault.worker_lost`` if a worker process died.
"""


@contextmanager
def open_preparers(*, hash_name: str, workers: int) -> Generator[PrepareAll]:
    """Prepare with a number of worker processes (0: in this one), which end with the context, whatever they do.

    Example::

        with open_preparers(hash_name="sha256", workers=2) as prepare_all:
            for chunk, prepared in prepare_all(chunks):
                ...
    """
    if not workers:
        yield lambda chunks: ((chunk, prepare(chunk, hash_name=hash_name)) for chunk in chunks)
        return
    started: list[_Worker] = []
    feeder = ThreadPoolExecutor(1, "vault-feed")
    try:
        # One by one, so that those that did start are ended where another does not.
        started.extend(_Worker(hash_name) for _ in range(workers))
        yield lambda chunks: _prepare_in_workers(iter(chunks), started, feeder)
    finally:
        # Where the one who takes results gave up, nobody empties the pipes: the feeder waits until its worker ends.
        for worker in started:
            worker.end()
        feeder.shutdown(cancel_futures=True)


def _prepare_in_workers(
    chunks: Iterator[Chunk], workers: list[_Worker], feeder: ThreadPoolExecutor
) -> Iterator[tuple[Chunk, PreparedRows]]:
    # The feeder reads the source and fills the pipes, so that this thread never waits to send while a worker waits to
    # be read, and reading goes on while this thread waits for the disk.
    fed = deque((worker, feeder.submit(_feed, chunks, worker)) for worker in workers * IN_FLIGHT_PER_WORKER)
    while (chunk := fed[0][1].result()) is not None:
        worker, _ = fed.popleft()
        prepared = worker.receive()
        fed.append((worker, feeder.submit(_feed, chunks, worker)))
        yield chunk, prepared


def _feed(chunks: Iterator[Chunk], worker: _Worker) -> Chunk | None:
    """Hand the next chunk to a worker; return it without its rows, None after the last."""
    chunk = next(chunks, None)
    if chunk is None:
        return None
    worker.send(chunk)
    return replace(chunk, rows=None, salts=b"")


class _Worker:
    """This process's end of one worker."""

    def __init__(self, hash_name: str) -> None:
        self._process = WorkerProcess(run_worker, hash_name)
        self._sink: Connection[Any, Any] = Connection(self._process.sink, readable=False)
        self._source: Connection[Any, Any] = Connection(self._process.source, writable=False)

    def send(self, chunk: Chunk) -> None:
        """Hand over a chunk; waits while the worker's pipe is full."""
        with self._lost_is_unavailable():
            _send(self._sink, replace(chunk, rows=None))
            self._sink.send_bytes(_ipc(chunk.rows))

    def receive(self) -> PreparedRows:
        """Return the oldest result that is due; raises what preparing raised."""
        with self._lost_is_unavailable():
            answer = self._source.recv()
            if isinstance(answer, Exception):
                raise answer
            rows, groups = _from_ipc(self._source.recv_bytes()), _from_ipc(self._source.recv_bytes())
        prepared: PreparedRows = answer
        return replace(prepared, hashed=replace(prepared.hashed, rows=rows, groups=tuple(groups.columns)))

    @contextmanager
    def _lost_is_unavailable(self) -> Generator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            code = self._process.exit_code(timeout_s=_END_TIMEOUT_S)
            raise Unavailable(
                "vault.worker_lost", f"a worker process of the ingest ended (exit code {code})"
            ) from error

    def end(self) -> None:
        """End the worker, in the midst of its work if it has any, and wait for it."""
        self._process.end()
        self._sink.close()
        self._source.close()


def run_worker(hash_name: str) -> None:
    """Prepare chunks until there are no more: the main function of a worker process."""
    read_from, write_to = begin_worker()
    source: Connection[Any, Any] = Connection(read_from, writable=False)
    sink: Connection[Any, Any] = Connection(write_to, readable=False)
    do_without_pandas()
    pa.set_cpu_count(1)
    with suppress(EOFError, OSError):
        while True:
            chunk = replace(source.recv(), rows=_from_ipc(source.recv_bytes()))
            try:
                prepared = prepare(chunk, hash_name=hash_name)
            except ShuiqiaoError as error:
                _send(sink, error)
            except Exception as error:  # noqa: BLE001 - every error is for the process that ingests
                _send(sink, RuntimeError(f"a worker of the ingest failed: {type(error).__name__}: {error}"))
            else:
                _answer(sink, prepared)


def _answer(pipe: Connection[Any, Any], prepared: PreparedRows) -> None:
    rows, groups = prepared.hashed.rows, prepared.hashed.groups
    _send(pipe, replace(prepared, hashed=replace(prepared.hashed, rows=None, groups=())))
    pipe.send_bytes(_ipc(rows))
    names = [f"group_{position}" for position in range(len(groups))]
    pipe.send_bytes(_ipc(pa.RecordBatch.from_arrays(list(groups), names=names)))


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
