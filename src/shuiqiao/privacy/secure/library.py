"""The library that computes: SPU's ``libspu``, looked for in a server and loaded in a worker alone.

Rule: docs/spec/secure.md [SECURE-4], [SECURE-5]. The package ``spu`` itself is never imported: it brings jax, which
nothing here needs. What the library is asked, and how it is configured, stands in this file.
"""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from importlib.machinery import ExtensionFileLoader
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.privacy.secure.model import ADDED, LIBRARY_VERSION, RUNTIME, XORED, SecureFunction

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt


INSTALL: Final = "uv pip install --python .venv/bin/python --no-deps 'spu==0.10.0.dev20251211'"

_FILE: Final = "libspu.so"
_ELEMENT_BYTES: Final = 8


def require_library() -> Path:
    """Return the file of the library, not loaded; raises Unavailable ``privacy.extra_missing``."""
    found = find_spec("spu")
    try:
        installed = version("spu") if found else "no"
    except PackageNotFoundError:
        installed = "no"
    places = [Path(place) / _FILE for place in (found.submodule_search_locations or ()) if found] if found else []
    path = next((place for place in places if place.is_file()), None)
    if installed == LIBRARY_VERSION and path is not None:
        return path
    raise Unavailable(
        "privacy.extra_missing",
        f"what members compute together needs the extra mpc, on Linux x86-64: {installed} spu is installed, "
        f"{LIBRARY_VERSION} is wanted",
        next_step=INSTALL,
    )


def load_library() -> Any:
    """Return the library, loaded without its package, silent and without a log; raises as ``require_library``."""
    library = load_beside(require_library(), "libspu")
    options = library.logging.LogOptions()
    options.enable_console_logger, options.system_log_path = False, os.devnull
    library.logging.setup_logging(options)
    return library


def load_beside(path: Path, name: str) -> Any:
    """Return a module of the folder of the library, loaded once: its types can be registered once in a process."""
    if name in sys.modules:
        return sys.modules[name]
    place = path.with_name(f"{name}.so")
    loader = ExtensionFileLoader(name, os.fspath(place))
    found = spec_from_file_location(name, place, loader=loader)
    if found is None:  # pragma: no cover - a loader was given
        raise AssertionError(place)
    module = module_from_spec(found)
    loader.exec_module(module)
    sys.modules[name] = module
    return module


class AnyParty:
    """One party of a computation: what those of two and of three have in common."""

    _parties: ClassVar[int]
    _runs_by: ClassVar[str]

    def __init__(self, library: Any, context: Any, *, rank: int) -> None:
        """Begin to compute with the others; all do at the same time. context: the library's, to them."""
        self._library, self._rank = library, rank
        configuration = library.RuntimeConfig()
        configuration.ParseFromJsonString(self._runs_by)
        self._configuration: bytes = configuration.SerializeToString()
        self._runtime = library.RuntimeWrapper(context, configuration)
        self._inputs = library.IoWrapper(self._parties, configuration)

    def compiled(self, text: str, *, inputs: int) -> bytes:
        """Return what the library runs of a function."""
        source = self._library.CompilationSource(
            self._library.SourceIRType.STABLEHLO, text.encode(), [self._library.Visibility.VIS_SECRET] * inputs
        )
        code: bytes = self._library.compile(source, self._library.CompilerOptions())
        return code

    def fingerprint(self, code: bytes) -> bytes:
        """Return the digest of compiled bytes and of the configuration as the library has it."""
        return sha256(sha256(self._configuration).digest() + code).digest()


class Party(AnyParty):
    """One of two parties. rank: 0 the bank, 1 the bureau."""

    _parties = 2
    _runs_by = RUNTIME

    def run(self, function: SecureFunction, code: bytes, values: npt.NDArray[np.int64]) -> tuple[int, bytes]:
        """Compute one function; return what this party has of the result: how two are put together, 8 bytes a row.

        Of it only what ``SecureFunction.share_of`` keeps may leave the process [SECURE-2].
        """
        import numpy as np

        shapes = {"w": (0, (function.indicators,)), "x": (1, (function.rows, function.indicators))}
        if function.cuts:
            shapes["c"] = (0, (function.cuts,))
        mine = iter(np.split(values, [function.indicators])) if self._rank == 0 else iter([values])
        try:
            for name, (owner, shape) in shapes.items():
                held = next(mine).reshape(shape) if owner == self._rank else np.zeros(shape, dtype=np.int64)
                # The owner's numbers stay here: of each input the other side holds a share of zeros.
                share = self._inputs.MakeShares(held, self._library.Visibility.VIS_SECRET, owner)[self._rank]
                self._runtime.SetVar(name, share)
            self._runtime.Run(self._library.Executable("secure", list(shapes), ["o"], code))
            return self._words_of("o", rows=function.rows)
        finally:
            for name in (*shapes, "o"):
                self._runtime.DelVar(name)

    def _words_of(self, name: str, *, rows: int) -> tuple[int, bytes]:
        share = self._runtime.GetVar(name)
        meta = self._library.ValueMeta()
        meta.ParseFromString(share.meta)
        content = b""
        for each in share.share_chunks:
            chunk = self._library.ValueChunk()
            chunk.ParseFromString(each)
            content += chunk.content
        storage = str(meta.storage_type)
        kind = {"cheetah.AShr": ADDED, "cheetah.BShr": XORED}.get(storage.partition("<")[0])
        if kind is None or len(content) != rows * _ELEMENT_BYTES:
            raise IntegrityError("privacy.secure_failed", f"a share came out as {storage} of {len(content)} bytes")
        return kind, content


class FrameLine(Protocol):
    """What carries frames to another party and back; those of a key in order."""

    def send(self, key: str, data: bytes) -> None:
        """Send one frame."""
        ...

    def receive(self, key: str) -> bytes:
        """Return the next frame of a key."""
        ...


def context_over(library: Any, lines: Mapping[int, FrameLine], *, rank: int) -> Any:
    """Return what a party computes over: our frames, so the library opens no connection of its own.

    lines: to each other party by its rank, which is bound to the line: what comes over it is of that party.
    """
    description = library.link.Desc()
    description.id = "secure"
    channels: list[Any] = []
    for number in range(len(lines) + 1):
        # The library wants an address for each; it dials none, since it is given a channel.
        description.add_party(str(number), "127.0.0.1:1")
        channel = None if number == rank else _channel(library, lines[number])
        channels.append(channel)
    return library.link.create_with_channels(description, rank, channels)


def _channel(library: Any, line: FrameLine) -> Any:
    def send(_channel: Any, key: str, data: bytes) -> None:
        line.send(key, data)

    def receive(_channel: Any, key: str) -> bytes:
        return line.receive(key)

    def nothing(_channel: Any, *_settings: int) -> None:
        """Trials and throttles are of connections that the library makes."""

    # By these names the library's threads call.
    sends = dict.fromkeys(("Send", "SendAsync", "SendAsyncThrottled"), send)
    settings = dict.fromkeys(
        (
            "TestSend",
            "TestRecv",
            "SetThrottleWindowSize",
            "SetChunkParallelSendSize",
            "WaitLinkTaskFinish",
            "Abort",
        ),
        nothing,
    )
    return type("Channel", (library.link.IChannel,), {**sends, **settings, "Recv": receive})()
