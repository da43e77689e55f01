"""The library of set intersection, ``libpsi`` beside ``libspu``: loaded in a worker alone, over the same frames.

Rule: docs/spec/psi.md [PSI-3], [PSI-4]. It reads and writes files and says all that it does: its files are of keyed
items, in a folder that the server gave and takes away; what it says goes nowhere.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.errors import IntegrityError
from shuiqiao.privacy.secure.intersection import ITEM_BYTES
from shuiqiao.privacy.secure.library import load_beside, require_library

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLUMN: Final = "item"
_TRACE: Final = re.compile(rb"Trace has been written to (/tmp/psi_[A-Za-z0-9_-]{1,64}\.trace)")
"""Written at that place whatever it is told: times of its steps, no item."""
_MAX_WORDS: Final = 4 * 2**20


def common_items(context: Any, items: Sequence[bytes], *, rank: int, folder: Path) -> set[bytes]:
    """Return the items that the other side has too; nothing at the side that is asked (rank 1).

    context: of ``context_over``. folder: an empty one, for this run alone. Raises IntegrityError
    ``privacy.secure_failed`` for a result that there is none of, and whatever the library throws.
    """
    library = load_beside(require_library(), "libpsi")
    source, sink = folder / "items.csv", folder / "common.csv"
    source.write_text("\n".join((_COLUMN, *(each.hex() for each in items), "")), encoding="ascii")
    # What it keeps beside them goes there too.
    os.environ["TMPDIR"] = str(folder)
    with _silenced():
        library.psi_execute(_configured(library, source, sink), context)
    if rank:
        return set()
    lines = sink.read_text(encoding="ascii").splitlines()
    found = {bytes.fromhex(line) for line in lines[1:]}
    if len(lines) != len(found) + 1 or not found <= set(items) or any(len(each) != ITEM_BYTES for each in found):
        raise IntegrityError("privacy.secure_failed", "the library found items that were not put in")
    return found


def _configured(library: Any, source: Path, sink: Path) -> Any:
    protocol = library.PsiProtocolConfig()
    protocol.protocol = library.PROTOCOL_RR22
    # The asking side alone is told: no count, no item goes back.
    protocol.receiver_rank, protocol.broadcast_result = 0, False
    configured = library.PsiExecuteConfig()
    configured.protocol_conf = protocol
    kind = library.SOURCE_TYPE_FILE_CSV
    configured.input_params = library.InputParams(
        type=kind, path=str(source), selected_keys=[_COLUMN], keys_unique=True
    )
    configured.output_params = library.OutputParams(type=kind, path=str(sink), disable_alignment=True)
    return configured


@contextmanager
def _silenced() -> Generator[None]:
    """Take what the library prints, which no setting stops, and the trace that it names there.

    Standard output and error stay shut for the rest of this process: one of its threads prints later.
    """
    said, nowhere = os.memfd_create("psi"), os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        _print_to(said)
        yield
    finally:
        _print_to(nowhere)
        for name in _TRACE.findall(os.pread(said, _MAX_WORDS, 0)):
            with suppress(OSError):
                Path(name.decode()).unlink()
        os.close(said)
        os.close(nowhere)


def _print_to(descriptor: int) -> None:
    for number in (1, 2):
        os.dup2(descriptor, number)
