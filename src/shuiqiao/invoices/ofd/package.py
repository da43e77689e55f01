"""The ZIP package of an OFD (GB/T 33190), within bounds.

Refused are encryption, names that stand twice or lead outside, compression other than deflate, and what unpacks to more
than a bound: an archive of a few kilobytes can unpack to terabytes [INVOICE-2].
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from functools import cache
from typing import Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.invoices.xml_tree import Element, parse_xml

MAX_ENTRIES: Final = 2_000
MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024
"""Of all entries together; an invoice with a scanned page has about three megabytes."""
_ENCRYPTED: Final = 0x1
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


class Package:
    """An opened package. Paths begin with ``/``, as OFD writes them."""

    def __init__(self, data: bytes) -> None:
        """Raises InvalidInput ``invoices.ofd_malformed`` or ``invoices.ofd_too_large``."""
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, EOFError, RuntimeError) as error:
            raise _malformed(f"it is no archive: {error}") from error
        infos = self._zip.infolist()
        unpacked = sum(each.file_size for each in infos)
        if len(infos) > MAX_ENTRIES or unpacked > MAX_UNPACKED_BYTES:
            raise InvalidInput(
                "invoices.ofd_too_large",
                f"{len(infos)} entries of {unpacked} bytes; {MAX_ENTRIES} of {MAX_UNPACKED_BYTES} at most are read",
            )
        if len({each.filename for each in infos}) != len(infos):
            raise _malformed("a name stands twice in it")
        for each in infos:
            _verify_entry(each)
        self._entries = {f"/{each.filename}": each for each in infos if not each.is_dir()}
        self.read = cache(self._read)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file in it."""
        return tuple(sorted(self._entries))

    def has(self, path: str) -> bool:
        """Return whether there is a file of a path."""
        return path in self._entries

    def _read(self, path: str) -> bytes:
        """Return the bytes of a file; raises InvalidInput ``invoices.ofd_malformed``."""
        if path not in self._entries:
            raise _malformed(f"{path[:200]} is not in it")
        entry = self._entries[path]
        try:
            with self._zip.open(entry) as file:
                data = file.read(entry.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            raise _malformed(f"{path[:200]} does not unpack: {error}") from error
        if len(data) != entry.file_size:
            raise _malformed(f"{path[:200]} unpacks to another size than is written")
        return data

    def xml(self, path: str) -> Element:
        """Return the root of a file; raises as reading it, and as ``parse_xml``."""
        return parse_xml(self.read(path))


def _verify_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
        raise _malformed(f"{name[:200]!r} is encrypted or packed by method {entry.compress_type}")
    if not name or "\\" in name or name.startswith(("/", "../")) or posixpath.normpath(name) != name.rstrip("/"):
        raise _malformed(f"the name {name[:200]!r} leads outside or is not in its plain form")


def resolve(place: str, *, base: str) -> str:
    """Return the path that a place names (ST_Loc): from the root, or from the folder of the file that says it.

    ::

        resolve("Sign_0/Signature.xml", base="/Doc_0/Signs/Signatures.xml") == "/Doc_0/Signs/Sign_0/Signature.xml"
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), place.strip()))


def _malformed(fault: str) -> InvalidInput:
    return InvalidInput("invoices.ofd_malformed", f"the OFD package is malformed: {fault}")
