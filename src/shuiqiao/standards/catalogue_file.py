"""The wire types of the catalogue: what may stand in a TOML file, table by table.

Rule: docs/spec/standard.md, [STD-2], [STD-3], [STD-10]. These structs know the shape of one table only; that the
names in them exist and fit together is checked by ``publication``. Every table is closed: a mistyped key is refused.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec

from shuiqiao.base.encoding import decode_toml
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.typed import typed
from shuiqiao.standards.model import MAX_FIELDS, MAX_GROUPS, AmountUnit, FieldType, PersonalClass, RowRuleKind

MAX_FILE_CHARS = 200_000
"""Longest catalogue file in characters: far above any real type, low enough to read at once."""

_Id = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,59}$")]
_Title = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Chinese = Annotated[str, msgspec.Meta(pattern="[\u4e00-\u9fff]", max_length=200)]
_SourceCode = Annotated[str, msgspec.Meta(pattern="^[A-Z][A-Z0-9_]{0,39}$")]
_Header = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
_OptionalName = Annotated[str, msgspec.Meta(max_length=60)]


class GroupTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[group]]``: a disclosure group, in the order of the leaf formula."""

    id: _Id
    name: _Title
    name_zh: _Chinese


class FieldTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[field]]``: a field; the keys are explained at ``model.Field``."""

    name: _Id
    title: _Title
    name_zh: _Chinese
    source_code: _SourceCode
    type: FieldType
    group: _Id
    level: Annotated[int, msgspec.Meta(ge=1, le=5)]
    personal: PersonalClass = PersonalClass.NONE
    required: bool = False
    unit: _OptionalName = ""
    codes: _Id | None = None
    pattern: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    max_length: Annotated[int, msgspec.Meta(ge=1, le=4000)] | None = None
    minimum: int | None = None
    maximum: int | None = None
    aliases: tuple[_Header, ...] = ()


class TermTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One summand of a ``sum_equals`` rule."""

    sign: Literal[1, -1]
    field: _Id


class RuleTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[rule]]``: a rule across a row; the keys are explained at ``model.RowRule``."""

    name: _Id
    title: _Title
    name_zh: _Chinese
    kind: RowRuleKind
    field: _OptionalName = ""
    other: _OptionalName = ""
    flag: _OptionalName = ""
    value: _OptionalName = ""
    total: _OptionalName = ""
    terms: tuple[TermTable, ...] = ()
    tolerance: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0


class SeriesTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[series]``: where a number that may repeat belongs to a series; the keys are explained at ``model.Series``."""

    number: _Id
    unique_length: Annotated[int, msgspec.Meta(ge=1, le=4000)]
    fields: Annotated[tuple[_Id, ...], msgspec.Meta(min_length=1, max_length=4)]


class TypeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``catalogue/<id>.toml``: one record type."""

    id: _Id
    version: Annotated[int, msgspec.Meta(ge=1, le=9999)]
    name: _Title
    name_zh: _Chinese
    source_code: _SourceCode
    natural_key: tuple[_Id, ...]
    period_field: _Id
    supersedable: bool
    advances: tuple[_Id, ...] = ()
    series: SeriesTable | None = None
    standing: bool = False
    group: Annotated[tuple[GroupTable, ...], msgspec.Meta(min_length=1, max_length=MAX_GROUPS)]
    field: Annotated[tuple[FieldTable, ...], msgspec.Meta(min_length=1, max_length=MAX_FIELDS)]
    rule: tuple[RuleTable, ...] = ()


class ValueTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[value]]``: one code."""

    code: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_]{1,40}$")]
    name: _Title
    name_zh: _Chinese
    aliases: tuple[_Header, ...] = ()


class CodesFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``catalogue/codes/<id>.toml``: one code list."""

    id: _Id
    name: _Title
    name_zh: _Chinese
    value: Annotated[tuple[ValueTable, ...], msgspec.Meta(min_length=1)]


class ColumnTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[column]]``: a column of a foreign source and the field that it becomes."""

    source: _Header
    field: _Id
    unit: AmountUnit = AmountUnit.FEN


class IgnoredTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[ignored]]``: a column that is not taken, and why."""

    source: _Header
    reason: _Title


class ProfileFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``catalogue/profiles/<id>.toml``: one foreign layout."""

    id: _Id
    name: _Title
    name_zh: _Chinese
    record_type: _Id
    natural_key: Literal["all"] | None = None
    column: Annotated[tuple[ColumnTable, ...], msgspec.Meta(min_length=1)]
    ignored: tuple[IgnoredTable, ...] = ()


_File = TypeVar("_File", TypeFile, CodesFile, ProfileFile)


def read_catalogue_file(text: str, kind: type[_File], *, source: str) -> _File:
    """Parse the TOML text of one catalogue file. Raises InvalidInput ``standards.catalogue_invalid``."""
    if len(text) > MAX_FILE_CHARS:
        raise catalogue_error(source, f"{len(text)} characters where at most {MAX_FILE_CHARS} are allowed")
    try:
        return typed(decode_toml(text), kind)
    except (InvalidInput, msgspec.ValidationError) as error:
        raise catalogue_error(source, str(error)) from error


def catalogue_error(source: str, what: str) -> InvalidInput:
    """Return the error that names a catalogue file and what is wrong in it."""
    return InvalidInput("standards.catalogue_invalid", f"{source}: {what}")
