"""The kinds of a network as a page for readers, made from the very schemas that bodies are checked against.

Another team's verifier needs it: a body's fields, who must sign, and for how long a transaction may be valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import inspect as schemas

from shuiqiao.ledger.model import Kind
from shuiqiao.ledger.transactions.kinds import KindTable

_INTRODUCTION = """# Kinds of transactions

Made from the code. A body is a CBOR map of exactly these fields ([the ledger](../spec/ledger.md) sections 1 and 2).
*Valid* is how long after its block's time a transaction may be valid at most. *Writes under* is the room of its keys in
the state.
"""

_AUTHOR_ALONE = "the author's member key alone"


def render_kinds(table: KindTable) -> str:
    """Return the Markdown page of all kinds, in their order."""
    return _INTRODUCTION + "".join(_kind(kind) for kind in table)


def _kind(kind: Kind) -> str:
    signers = _AUTHOR_ALONE if kind.signers is None else _sentence(kind.signers.__doc__ or "")
    relayed = "" if kind.author is None else f"; author: {_sentence(kind.author.__doc__ or '')}"
    valid = "30 days" if kind.governance else "24 hours"
    lines = [
        f"\n## `{kind.name}` version {kind.version}\n",
        f"Signed by: {signers}{relayed}. Valid: {valid}. Writes under: `{kind.room}/`.\n",
        "| field | form |",
        "|---|---|",
        *(f"| `{name}` | {form} |" for name, form in _fields(kind.body)),
    ]
    return "\n".join(lines) + "\n"


def _sentence(words: str) -> str:
    """Return a signer rule's docstring without its label in front and the stop behind."""
    return " ".join(words.split()).partition(": ")[2].rstrip(".")


def _fields(body: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    info = schemas.type_info(body)
    assert isinstance(info, schemas.StructType)
    for field in info.fields:
        yield field.encode_name, _form(field.type)


def _form(kind: Any) -> str:  # noqa: C901, PLR0911 - one line for each form
    match kind:
        case schemas.BytesType():
            return f"bytes, {_range(kind.min_length, kind.max_length)}"
        case schemas.StrType():
            pattern = f", `{kind.pattern}`".replace("|", "\\|") if kind.pattern else ""
            return f"text, {_range(kind.min_length, kind.max_length)} characters{pattern}"
        case schemas.IntType():
            return f"integer, {_range(kind.ge, kind.le)}"
        case schemas.BoolType():
            return "boolean"
        case schemas.NoneType():
            return "null"
        case schemas.EnumType():
            return "one of " + ", ".join(f"`{member.value}`" for member in kind.cls)
        case schemas.LiteralType():
            return "one of " + ", ".join(f"`{value}`" for value in kind.values)
        case schemas.ListType():
            return f"list of {_range(kind.min_length, kind.max_length)}: {_form(kind.item_type)}"
        case schemas.StructType():
            return _map(kind)
        case schemas.UnionType():
            return " or ".join(_form(each) for each in kind.types)
        case _:
            return type(kind).__name__


def _map(kind: schemas.StructType) -> str:
    tag = [f"`{kind.tag_field}`: `{kind.tag}`"] if kind.tag_field else []
    fields = (f"`{field.encode_name}`: {_form(field.type)}" for field in kind.fields)
    return "{" + ", ".join((*tag, *fields)) + "}"


def _range(least: float | None, most: float | None) -> str:
    if least == most and least is not None:
        return str(least)
    parts: Iterable[object] = (0 if least is None else least, "any" if most is None else most)
    return " to ".join(str(part) for part in parts)
