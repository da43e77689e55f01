"""Reads the catalogue files into record types, refusing any file that is not complete and consistent.

Rule: docs/spec/standard.md, [STD-1] to [STD-10]; the shape of a file is [STD-2], [STD-3]. The standard is data: adding
a type or a source layout is adding a TOML file under ``catalogue/``. The tables of a file are closed: a mistyped key is
refused. Nothing here looks at records.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec

from shuiqiao.base.encoding import decode_toml, typed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.model import (
    CORE_GROUP,
    MAX_FIELDS,
    MAX_GROUPS,
    MAX_RANKS,
    TAXPAYER_FIELD,
    AmountUnit,
    Catalogue,
    Chinese,
    CodeList,
    DisclosureGroup,
    Field,
    FieldType,
    Header,
    Id,
    OptionalName,
    PersonalClass,
    ProfileColumn,
    RecordType,
    RowRule,
    RowRuleKind,
    Series,
    SourceProfile,
    Title,
)

MAX_FILE_CHARS = 200_000
"""Longest catalogue file in characters: far above any real type, low enough to read at once."""

_SourceCode = Annotated[str, msgspec.Meta(pattern="^[A-Z][A-Z0-9_]{0,39}$")]


class GroupTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[group]]``: a disclosure group, in the order of the leaf formula."""

    id: Id
    name: Title
    name_zh: Chinese


class FieldTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[field]]``: a field; the keys are explained at ``model.Field``."""

    name: Id
    title: Title
    name_zh: Chinese
    source_code: _SourceCode
    type: FieldType
    group: Id
    level: Annotated[int, msgspec.Meta(ge=1, le=5)]
    personal: PersonalClass = PersonalClass.NONE
    required: bool = False
    unit: OptionalName = ""
    codes: Id | None = None
    pattern: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    max_length: Annotated[int, msgspec.Meta(ge=1, le=4000)] | None = None
    minimum: int | None = None
    maximum: int | None = None
    aliases: tuple[Header, ...] = ()


class TypeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``catalogue/<id>.toml``: one record type."""

    id: Id
    version: Annotated[int, msgspec.Meta(ge=1, le=9999)]
    name: Title
    name_zh: Chinese
    source_code: _SourceCode
    natural_key: tuple[Id, ...]
    period_field: Id
    supersedable: bool
    advances: tuple[Id, ...] = ()
    series: Series | None = None
    standing: bool = False
    group: Annotated[tuple[GroupTable, ...], msgspec.Meta(min_length=1, max_length=MAX_GROUPS)]
    field: Annotated[tuple[FieldTable, ...], msgspec.Meta(min_length=1, max_length=MAX_FIELDS)]
    rule: tuple[RowRule, ...] = ()


_File = TypeVar("_File", TypeFile, CodeList, SourceProfile)


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


# The parameters that each kind of row rule needs, and of which field type each of them must be.
_AMOUNTS = frozenset({FieldType.AMOUNT_FEN, FieldType.INTEGER})
_ANY = frozenset(FieldType)
_FLAG = frozenset({FieldType.BOOLEAN})
_DATE = frozenset({FieldType.DATE})
_RULE_PARAMETERS: Mapping[RowRuleKind, Mapping[str, frozenset[FieldType]]] = {
    RowRuleKind.SUM_EQUALS: {"total": _AMOUNTS},
    RowRuleKind.NEGATIVE_EXACTLY_WHEN: {"field": _AMOUNTS, "flag": _FLAG},
    RowRuleKind.NOT_AFTER: {"field": _DATE, "other": _DATE},
    RowRuleKind.ABSENT_UNLESS: {"field": _ANY, "flag": _FLAG},
    RowRuleKind.NONZERO_UNLESS: {"field": _AMOUNTS, "other": frozenset({FieldType.CODE})},
}


@cache
def load_catalogue() -> Catalogue:
    """Return the published catalogue of this package, read once per process.

    Raises InvalidInput ``standards.catalogue_invalid`` if a packaged file is inconsistent.

    Example::

        record_type = load_catalogue().get("invoice_issued@2")
    """
    root = files("shuiqiao.standards").joinpath("catalogue")
    return parse_catalogue(
        types=_texts(root), codes=_texts(root.joinpath("codes")), profiles=_texts(root.joinpath("profiles"))
    )


def parse_catalogue(
    *, types: Mapping[str, str], codes: Mapping[str, str], profiles: Mapping[str, str] | None = None
) -> Catalogue:
    """Build a catalogue from TOML texts by file name.

    Raises InvalidInput ``standards.catalogue_invalid`` naming the file and what is wrong in it.
    """
    code_lists = _by_id(parse_code_list(text, source=name) for name, text in sorted(codes.items()))
    parsed = [parse_record_type(text, source=name, code_lists=code_lists) for name, text in sorted(types.items())]
    by_id = {entry.id: entry for entry in parsed}
    if len(by_id) != len(parsed):
        _refuse("catalogue", "two files publish the same record type")
    found = tuple(parse_profile(text, source=name, types=by_id) for name, text in sorted((profiles or {}).items()))
    return Catalogue(types=by_id, profiles=found)


def parse_code_list(text: str, *, source: str) -> CodeList:
    """Build a code list from TOML. Raises InvalidInput ``standards.catalogue_invalid``."""
    codes = read_catalogue_file(text, CodeList, source=source)
    spellings = [spelling for value in codes.values for spelling in (value.code, value.name_zh, *value.aliases)]
    _refuse_repeats(spellings, source=source, what="spelling")
    return codes


def parse_record_type(text: str, *, source: str, code_lists: Mapping[str, CodeList]) -> RecordType:
    """Build a record type from TOML, with the code lists it may name.

    Raises InvalidInput ``standards.catalogue_invalid``.
    """
    table = read_catalogue_file(text, TypeFile, source=source)
    fields = tuple(_field(entry, source=source, code_lists=code_lists) for entry in table.field)
    _check_headers(fields, source=source)
    _check_taxpayer(fields, source=source)
    for rule in table.rule:
        _check_rule(rule, fields=fields, source=source)
    record_type = RecordType(
        id=table.id,
        version=table.version,
        name=table.name,
        name_zh=table.name_zh,
        source_code=table.source_code,
        fields=fields,
        groups=_groups(table, source=source),
        natural_key=_natural_key(table, source=source),
        period_field=table.period_field,
        supersedable=table.supersedable,
        advances=_advances(table, fields, source=source),
        series=_series(table, fields, source=source),
        standing=table.standing,
        rules=table.rule,
    )
    _check_period(record_type, source=source)
    _refuse_repeats([rule.name for rule in record_type.rules], source=source, what="rule")
    return record_type


def parse_profile(text: str, *, source: str, types: Mapping[str, RecordType]) -> SourceProfile:
    """Build a source profile from TOML. Raises InvalidInput ``standards.catalogue_invalid``."""
    profile = read_catalogue_file(text, SourceProfile, source=source)
    record_type = types.get(profile.record_type)
    if record_type is None:
        _refuse(source, f"record type {profile.record_type!r} is not in the catalogue")
    targets = [column.field for column in profile.columns]
    _refuse_repeats(targets, source=source, what="field")
    columns = [*(column.source for column in profile.columns), *(column.source for column in profile.ignored)]
    _refuse_repeats(columns, source=source, what="column")
    for column in profile.columns:
        _check_profile_column(column, record_type, source=source)
    missing = [entry.name for entry in record_type.fields if entry.required and entry.name not in targets]
    if missing:
        _refuse(source, f"required fields without a column: {', '.join(missing)}")
    return profile


def _texts(folder: Any) -> dict[str, str]:
    return {
        entry.name: entry.read_text(encoding="utf-8-sig") for entry in folder.iterdir() if entry.name.endswith(".toml")
    }


def _by_id(lists: Iterable[CodeList]) -> dict[str, CodeList]:
    found: dict[str, CodeList] = {}
    for entry in lists:
        if entry.id in found:
            _refuse("codes", f"two files publish the code list {entry.id!r}")
        found[entry.id] = entry
    return found


def _field(table: FieldTable, *, source: str, code_lists: Mapping[str, CodeList]) -> Field:
    if (table.codes is not None) != (table.type is FieldType.CODE):
        _refuse(source, f"field {table.name!r} of type {table.type} must name codes exactly when its type is code")
    if table.codes is not None and table.codes not in code_lists:
        _refuse(source, f"field {table.name!r} names the unknown code list {table.codes!r}")
    _check_constraints(table, source=source)
    given = msgspec.structs.asdict(table)
    codes = given.pop("codes")
    return Field(**given, code_list=None if codes is None else code_lists[codes])


def _check_constraints(table: FieldTable, *, source: str) -> None:
    """[STD-5]: amounts are fen and say so, texts are bounded, and a constraint stands only where it is applied."""
    if (table.type is FieldType.AMOUNT_FEN) != (table.unit == "fen" and table.name.endswith("_fen")):
        _refuse(source, f"field {table.name!r}: an amount has the unit fen and a name that ends in _fen, no other has")
    if (table.type is FieldType.TEXT) != (table.max_length is not None):
        _refuse(source, f"field {table.name!r} of type {table.type}: max_length stands on every text and on no other")
    if table.pattern is not None:
        _check_pattern(table, source=source)
    bounded = table.minimum is not None or table.maximum is not None
    if bounded and table.type not in _AMOUNTS:
        _refuse(source, f"field {table.name!r} of type {table.type} cannot have a minimum or maximum")


def _check_pattern(table: FieldTable, *, source: str) -> None:
    if table.type is not FieldType.TEXT:
        _refuse(source, f"field {table.name!r} of type {table.type} cannot have a pattern")
    try:
        re.compile(table.pattern or "")
    except re.error as error:
        raise catalogue_error(
            source, f"field {table.name!r} has the faulty pattern {table.pattern!r}: {error}"
        ) from error


def _check_headers(fields: tuple[Field, ...], *, source: str) -> None:
    """[STD-4]: within a type, each name, Chinese name, source code and alias stands for one field."""
    headers = [
        header
        for entry in fields
        for header in dict.fromkeys((entry.name, entry.name_zh, entry.source_code, *entry.aliases))
    ]
    _refuse_repeats(headers, source=source, what="header")


def _check_taxpayer(fields: tuple[Field, ...], *, source: str) -> None:
    """[STD-6]: every record names its taxpayer, in the group core."""
    taxpayer = next((entry for entry in fields if entry.name == TAXPAYER_FIELD), None)
    if taxpayer is None or not taxpayer.required or taxpayer.group != CORE_GROUP:
        _refuse(source, f"the field {TAXPAYER_FIELD!r} must be there, required and in the group {CORE_GROUP!r}")


def _groups(table: TypeFile, *, source: str) -> tuple[DisclosureGroup, ...]:
    """[STD-7]: each field is in one declared group, each group has fields, and core comes first."""
    ids = [group.id for group in table.group]
    _refuse_repeats(ids, source=source, what="group")
    if ids[0] != CORE_GROUP:
        _refuse(source, f"the first group is {ids[0]!r} where {CORE_GROUP!r} must stand")
    unknown = [f"{entry.name} in {entry.group}" for entry in table.field if entry.group not in ids]
    if unknown:
        _refuse(source, f"fields of undeclared groups: {', '.join(unknown)}")
    groups = tuple(
        DisclosureGroup(
            id=group.id,
            name=group.name,
            name_zh=group.name_zh,
            fields=tuple(entry.name for entry in table.field if entry.group == group.id),
        )
        for group in table.group
    )
    empty = [group.id for group in groups if not group.fields]
    if empty:
        _refuse(source, f"groups without a field: {', '.join(empty)}")
    return groups


def _natural_key(table: TypeFile, *, source: str) -> tuple[str, ...]:
    """[STD-8]: the key names the taxpayer and holds required fields only."""
    key = table.natural_key
    _refuse_repeats(list(key), source=source, what="natural key field")
    required = {entry.name for entry in table.field if entry.required}
    loose = [name for name in key if name not in required]
    if loose or TAXPAYER_FIELD not in key:
        _refuse(source, f"natural key {key}: must hold {TAXPAYER_FIELD!r} and required fields only, not {loose}")
    return key


def _advances(table: TypeFile, fields: tuple[Field, ...], *, source: str) -> tuple[str, ...]:
    """[STD-8]: what may go forward is no part of the key, and stands in a type whose values else stay."""
    known = {entry.name for entry in fields}
    wrong = [name for name in table.advances if name not in known or name in table.natural_key]
    if wrong or (table.advances and (table.supersedable or table.period_field in table.advances)):
        _refuse(source, f"advances {table.advances}: fields outside the natural key of a type that is not supersedable")
    _refuse_repeats(list(table.advances), source=source, what="advancing field")
    steps = [
        1 if entry.code_list is None else len(entry.code_list.codes) for entry in fields if entry.name in table.advances
    ]
    if math.prod(count + 1 for count in steps) > MAX_RANKS:
        _refuse(source, f"advances {table.advances}: more than {MAX_RANKS} states")
    return table.advances


def _series(table: TypeFile, fields: tuple[Field, ...], *, source: str) -> Series | None:
    """[STD-8]: a series is named by fields outside the natural key, and its number is a text within it."""
    if table.series is None:
        return None
    types = {entry.name: entry.type for entry in fields}
    named = [types.get(name) for name in table.series.fields]
    is_text = types.get(table.series.number) is FieldType.TEXT and table.series.number in table.natural_key
    if not is_text or not set(named) <= {FieldType.TEXT, FieldType.CODE}:
        _refuse(
            source, f"series {table.series}: the number is a text of the natural key, the fields are texts or codes"
        )
    return table.series


def _check_period(record_type: RecordType, *, source: str) -> None:
    """[STD-9]: every record has a place in time."""
    placing = {FieldType.DATE, FieldType.YEAR, FieldType.MONTH}
    period = next((entry for entry in record_type.fields if entry.name == record_type.period_field), None)
    if period is None or not period.required or period.type not in placing:
        _refuse(source, f"period field {record_type.period_field!r} must be a required date, year or month")


def _check_rule(table: RowRule, *, fields: tuple[Field, ...], source: str) -> None:
    """[STD-23]: a rule has the parameters of its kind, and each is a field of a fitting type."""
    types = {entry.name: entry.type for entry in fields}
    wanted = _RULE_PARAMETERS[table.kind]
    given: dict[str, str] = {
        key: value for key in ("field", "other", "flag", "total") if (value := getattr(table, key))
    }
    if given.keys() != wanted.keys() or bool(table.terms) != (table.kind is RowRuleKind.SUM_EQUALS):
        _refuse(source, f"rule {table.name!r} of kind {table.kind} reads {sorted(wanted)}, not {sorted(given)}")
    for key, name in given.items():
        if types.get(name) not in wanted[key]:
            _refuse(source, f"rule {table.name!r}: {key} = {name!r} is no field of a fitting type")
    if any(types.get(term.field) not in _AMOUNTS for term in table.terms):
        _refuse(source, f"rule {table.name!r} sums a field that is no amount")
    if bool(table.value) != (table.kind is RowRuleKind.NONZERO_UNLESS):
        _refuse(source, f"rule {table.name!r} of kind {table.kind}: value stands on nonzero_unless and on no other")


def _check_profile_column(column: ProfileColumn, record_type: RecordType, *, source: str) -> None:
    entry = next((entry for entry in record_type.fields if entry.name == column.field), None)
    if entry is None:
        _refuse(source, f"column {column.source!r} becomes {column.field!r}, no field of {record_type.standard_id}")
    if column.unit is AmountUnit.YUAN and entry.type is not FieldType.AMOUNT_FEN:
        _refuse(source, f"column {column.source!r} is in yuan but {column.field!r} is no amount")


def _refuse_repeats(names: list[str], *, source: str, what: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        _refuse(source, f"{what} more than once: {', '.join(repeated)}")


def _refuse(source: str, what: str) -> NoReturn:
    raise catalogue_error(source, what)
