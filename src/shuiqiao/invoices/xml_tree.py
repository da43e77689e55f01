"""Reads XML from outside into a small tree, within bounds, and writes its canonical form.

Expat gives one event after another; what goes beyond a bound, and every document type, entity or processing
instruction, is refused at once [INVOICE-2]. Comments are left out, as the canonical forms that signatures use leave
them out, and the text around one is one text: so no comment hides a part of a value from one reader alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn
from xml.parsers import expat

from shuiqiao.base.errors import InvalidInput

MAX_XML_BYTES: Final = 4 * 1024 * 1024
"""Of one document: an invoice of 2,000 lines has about one megabyte."""
MAX_ELEMENTS: Final = 60_000
MAX_DEPTH: Final = 32
MAX_ATTRIBUTES: Final = 64
"""Of one element."""

_XML_NAMESPACE: Final = "http://www.w3.org/XML/1998/namespace"


class Element:
    """One element: its name as written, its attributes, and its children, elements and texts."""

    __slots__ = ("attributes", "children", "name", "parent")

    def __init__(self, name: str, attributes: dict[str, str], parent: Element | None) -> None:
        self.name = name
        self.attributes = attributes
        self.parent = parent
        self.children: list[Element | str] = []

    @property
    def local(self) -> str:
        """The name without its prefix."""
        return self.name.rpartition(":")[2]

    def elements(self, local: str = "") -> Iterator[Element]:
        """Give the children that are elements, or those of a name."""
        for each in self.children:
            if not isinstance(each, str) and (not local or each.local == local):
                yield each

    def walk(self) -> Iterator[Element]:
        """Give this element and every one within it, in the order of the document."""
        waiting: list[Element] = [self]
        while waiting:
            each = waiting.pop()
            yield each
            waiting.extend(reversed(list(each.elements())))

    def one(self, *path: str) -> Element | None:
        """Return the one element at a path of names, None if there is none.

        Raises InvalidInput ``invoices.value_repeated`` where a name stands twice: readers would differ on which counts.
        """
        here: Element | None = self
        for name in path:
            matching = list(here.elements(name)) if here is not None else []
            if len(matching) > 1:
                raise InvalidInput(
                    "invoices.value_repeated", f"{name} stands {len(matching)} times where once is meant"
                )
            here = matching[0] if matching else None
        return here

    def text(self, *path: str) -> str:
        """Return the text of the element at a path, without white space around it; empty if there is none.

        Raises as ``one``, and InvalidInput ``invoices.xml_malformed`` where other elements stand in it.
        """
        found = self.one(*path)
        if found is None:
            return ""
        if any(found.elements()):
            raise InvalidInput("invoices.xml_malformed", f"{found.local} has elements within it instead of a text")
        return "".join(each for each in found.children if isinstance(each, str)).strip()

    def namespaces(self) -> dict[str, str]:
        """Return the namespaces in scope by their prefix, the default one under the empty prefix."""
        lineage: list[Element] = [self]
        while (above := lineage[-1].parent) is not None:
            lineage.append(above)
        scope: dict[str, str] = {}
        for each in reversed(lineage):
            scope |= _declared(each)
        return scope

    def namespace(self) -> str:
        """Return the namespace of its name, empty for none."""
        return self.namespaces().get(self.name.rpartition(":")[0], "")

    def is_within(self, other: Element) -> bool:
        """Return whether it is another element or stands in it."""
        here: Element | None = self
        while here is not None and here is not other:
            here = here.parent
        return here is not None


def parse_xml(data: bytes) -> Element:
    """Return the root of a document.

    Raises InvalidInput ``invoices.xml_malformed`` (no XML, or with a document type) or ``invoices.xml_too_large``.
    """
    if len(data) > MAX_XML_BYTES:
        raise InvalidInput("invoices.xml_too_large", f"the XML has {len(data)} bytes, at most {MAX_XML_BYTES} are read")
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.ProcessingInstructionHandler = _refuse_instruction
    try:
        parser.Parse(data, True)  # noqa: FBT003 - the parser's own form
    except expat.ExpatError as error:
        raise InvalidInput("invoices.xml_malformed", f"the XML is not well formed: {error}") from error
    except (ValueError, LookupError) as error:
        raise InvalidInput("invoices.xml_malformed", f"the XML's encoding is not read: {error}") from error
    if builder.root is None:  # pragma: no cover - expat says that there is no element
        raise InvalidInput("invoices.xml_malformed", "the XML has no element")
    return builder.root


class _Builder:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._here: Element | None = None
        self._depth = 0
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        self._depth += 1
        if self._count > MAX_ELEMENTS or self._depth > MAX_DEPTH or len(attributes) > MAX_ATTRIBUTES:
            raise InvalidInput(
                "invoices.xml_too_large",
                f"element {self._count} at depth {self._depth} with {len(attributes)} attributes; at most "
                f"{MAX_ELEMENTS} elements, {MAX_DEPTH} levels and {MAX_ATTRIBUTES} attributes are read",
            )
        element = Element(name, attributes, self._here)
        if self._here is None:
            self.root = element
        else:
            self._here.children.append(element)
        self._here = element

    def end(self, _name: str) -> None:
        self._depth -= 1
        if self._here is not None:
            self._here = self._here.parent

    def text(self, text: str) -> None:
        if self._here is not None:
            self._here.children.append(text)


def _refuse_doctype(*_: Any) -> NoReturn:
    raise InvalidInput("invoices.xml_malformed", "the XML has a document type, which no invoice needs")


def _refuse_instruction(*_: Any) -> NoReturn:
    raise InvalidInput("invoices.xml_malformed", "the XML has a processing instruction, which no invoice needs")


def _declared(element: Element) -> dict[str, str]:
    return {
        name.removeprefix("xmlns").removeprefix(":"): value
        for name, value in element.attributes.items()
        if name == "xmlns" or name.startswith("xmlns:")
    }


def canonical(
    element: Element, *, exclusive: bool, inclusive_prefixes: Sequence[str] = (), without: Element | None = None
) -> bytes:
    """Return the canonical form of an element without comments.

    exclusive: Exclusive XML Canonicalization 1.0, else Canonical XML 1.0. inclusive_prefixes: the prefixes that the
    exclusive form treats as the other does, ``#default`` for none. without: an element that is left out. Raises
    InvalidInput ``invoices.xml_malformed`` for a prefix without a namespace and for ``xml:`` attributes outside, which
    no invoice has.
    """
    parts: list[str] = []
    always = {"" if each == "#default" else each for each in inclusive_prefixes} if exclusive else None
    above = element.parent
    while above is not None:
        if any(name.startswith("xml:") for name in above.attributes):
            raise InvalidInput("invoices.xml_malformed", "an element around what was signed has an xml: attribute")
        above = above.parent
    outer = element.parent.namespaces() if element.parent is not None else {}
    _write(element, outer, {}, parts, always, without)
    return "".join(parts).encode()


def _write(
    element: Element,
    scope: dict[str, str],
    written: dict[str, str],
    parts: list[str],
    always: set[str] | None,
    without: Element | None,
) -> None:
    """Write one element. scope: namespaces in scope; written: those that an ancestor in the output declares."""
    scope = scope | _declared(element)
    plain = [name for name in element.attributes if name != "xmlns" and not name.startswith("xmlns:")]
    needed = set(scope) if always is None else _used(element, plain) | (always & set(scope))
    declared = {
        prefix: scope.get(prefix, "")
        for prefix in needed
        if prefix != "xml" and written.get(prefix, "") != scope.get(prefix, "")
    }
    parts.append(f"<{element.name}")
    parts += [f' xmlns{":" if each else ""}{each}="{_attribute(declared[each])}"' for each in sorted(declared)]
    in_order = sorted(plain, key=lambda each: _sort_key(each, scope))
    parts += [f' {each}="{_attribute(element.attributes[each])}"' for each in in_order]
    parts.append(">")
    for each in element.children:
        if isinstance(each, str):
            parts.append(_text(each))
        elif each is not without:
            _write(each, scope, written | declared, parts, always, without)
    parts.append(f"</{element.name}>")


def _used(element: Element, plain: Sequence[str]) -> set[str]:
    """Return the prefixes that an element uses itself; attributes without one have no namespace."""
    return {element.name.rpartition(":")[0]} | {name.rpartition(":")[0] for name in plain if ":" in name}


def _sort_key(name: str, scope: dict[str, str]) -> tuple[str, str]:
    prefix, _, local = name.rpartition(":")
    if not prefix:
        return "", local
    if prefix == "xml":
        return _XML_NAMESPACE, local
    if prefix not in scope:
        raise InvalidInput("invoices.xml_malformed", f"prefix {prefix[:40]!r} has no namespace")
    return scope[prefix], local


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#xD;")


def _attribute(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return text.replace("\t", "&#x9;").replace("\n", "&#xA;").replace("\r", "&#xD;")
