"""The shared data standard as frozen types: catalogue, record types, fields, disclosure groups, row rules, profiles.

Rule: docs/spec/standard.md. These types only describe; ``publication`` reads them from the catalogue files,
``readers`` find them in a source, ``validation`` applies them to rows and ``columns`` writes what is disclosed.
Every instance that ``publication`` built is consistent: each name it mentions exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from shuiqiao.base.errors import InvalidInput

MAX_GROUPS = 4
"""Most disclosure groups of one record type: the leaf formula of the vault has at most four parts."""

MAX_FIELDS = 64
"""Most fields of one record type: bounds the work per row."""

MAX_RANKS = 256
"""Most states that the advancing fields of a type may have together: a rank fits one byte of the vault's index."""

TAXPAYER_FIELD = "uscc"
"""The field that names the taxpayer in every record type. It is disclosed in the group ``core`` and nowhere else."""

CORE_GROUP = "core"


StandardId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{1,47}@[1-9][0-9]{0,3}\Z", max_length=53)]
"""A record type with its version, ``invoice_issued@2``."""

GroupId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z", max_length=32)]


class FieldType(StrEnum):
    """How a value is written in canonical records and in disclosed JSON."""

    TEXT = "text"
    CODE = "code"
    INTEGER = "integer"
    AMOUNT_FEN = "amount_fen"
    RATE = "rate"
    DATE = "date"
    YEAR = "year"
    MONTH = "month"
    BOOLEAN = "boolean"


class PersonalClass(StrEnum):
    """Personal financial information class of JR/T 0171-2020; ``none`` for facts about a firm."""

    NONE = "none"
    C1 = "C1"
    C2 = "C2"
    C3 = "C3"


class AmountUnit(StrEnum):
    """The unit in which a source writes an amount."""

    FEN = "fen"
    YUAN = "yuan"


Id = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,59}$")]
Title = Annotated[str, Meta(min_length=1, max_length=200)]
Chinese = Annotated[str, Meta(pattern="[\u4e00-\u9fff]", max_length=200)]
Header = Annotated[str, Meta(min_length=1, max_length=100)]
OptionalName = Annotated[str, Meta(max_length=60)]


class CodeValue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value of a code list. aliases: other spellings that sources use, e.g. the bureau's numeric code."""

    code: Annotated[str, Meta(pattern="^[A-Za-z0-9_]{1,40}$")]
    name: Title
    name_zh: Chinese
    aliases: tuple[Header, ...] = ()


class CodeList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A closed list of codes; ``catalogue/codes/<id>.toml`` is one."""

    id: Id
    name: Title
    name_zh: Chinese
    values: Annotated[tuple[CodeValue, ...], Meta(min_length=1)] = msgspec.field(name="value")

    @property
    def codes(self) -> tuple[str, ...]:
        """The canonical codes, in catalogue order."""
        return tuple(value.code for value in self.values)

    def spellings(self) -> dict[str, str]:
        """Return every accepted spelling (code, Chinese name, alias) with the canonical code it stands for."""
        return {
            spelling: value.code for value in self.values for spelling in (value.code, value.name_zh, *value.aliases)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a record type.

    name: canonical column name; source_code: the code of the tax system (NSRSBH, ...); aliases: further accepted
    headers. pattern: regular expression (RE2) that the whole text must match. max_length: in characters.
    minimum, maximum: bounds of integers, inclusive. level: sensitivity 1-5 (JR/T 0197-2020).
    """

    name: str
    title: str
    name_zh: str
    source_code: str
    type: FieldType
    group: str
    level: int
    personal: PersonalClass = PersonalClass.NONE
    required: bool = False
    unit: str = ""
    code_list: CodeList | None = None
    pattern: str | None = None
    max_length: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureGroup:
    """Fields that are granted, disclosed and proven together. fields: names in catalogue order."""

    id: str
    name: str
    name_zh: str
    fields: tuple[str, ...]


class RowRuleKind(StrEnum):
    """What a row rule compares; the parameters that each kind reads stand beside it.

    sum_equals: the sum of ``terms`` (sign, field) equals ``total`` within ``tolerance``.
    negative_exactly_when: ``field`` is negative where the boolean ``flag`` is true, and only there.
    not_after: the date ``field`` is not after the date ``other``.
    absent_unless: ``field`` is empty unless the boolean ``flag`` is true.
    nonzero_unless: ``field`` is not zero unless the code ``other`` has the value ``value``.
    """

    SUM_EQUALS = "sum_equals"
    NEGATIVE_EXACTLY_WHEN = "negative_exactly_when"
    NOT_AFTER = "not_after"
    ABSENT_UNLESS = "absent_unless"
    NONZERO_UNLESS = "nonzero_unless"


class Term(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One summand of a ``sum_equals`` rule."""

    sign: Literal[1, -1]
    field: Id


class RowRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named rule across the fields of one row."""

    name: Id
    title: Title
    name_zh: Chinese
    kind: RowRuleKind
    field: OptionalName = ""
    other: OptionalName = ""
    flag: OptionalName = ""
    value: OptionalName = ""
    total: OptionalName = ""
    terms: tuple[Term, ...] = ()
    tolerance: Annotated[int, Meta(ge=0, le=100)] = 0

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields it reads, each once."""
        named = (*(term.field for term in self.terms), self.total, self.field, self.other, self.flag)
        return tuple(dict.fromkeys(name for name in named if name))


class Series(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number that is unique by itself where it has ``unique_length`` characters, else within a series.

    fields: what can name the series; the first of them that is filled does. number: a text field of the natural key.
    """

    number: Id
    unique_length: Annotated[int, Meta(ge=1, le=4000)]
    fields: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=4)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordType:
    """One kind of tax fact, closed and versioned.

    natural_key: field names that identify a record, the taxpayer among them, and with it what ``series`` adds.
    period_field: the date, year or month that places a record in time.
    supersedable: whether other values under the same key are a newer version (else they are a conflict).
    advances: fields that may go forward under the same key where all others stay: a code along its code list, any
    other from empty to filled. The earlier in this list decides first.
    standing: whether a record holds until it is superseded, so that it belongs to every data period after its date.
    """

    id: str
    version: int
    name: str
    name_zh: str
    source_code: str
    fields: tuple[Field, ...]
    groups: tuple[DisclosureGroup, ...]
    natural_key: tuple[str, ...]
    period_field: str
    supersedable: bool
    advances: tuple[str, ...] = ()
    series: Series | None = None
    standing: bool = False
    rules: tuple[RowRule, ...] = ()
    taxpayer_field: str = TAXPAYER_FIELD
    _fields_by_name: Mapping[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_fields_by_name", {entry.name: entry for entry in self.fields})

    @property
    def standard_id(self) -> str:
        """Type and version as they stand in anchors and disclosed groups, e.g. ``invoice_issued@2``."""
        return f"{self.id}@{self.version}"

    @property
    def field_names(self) -> tuple[str, ...]:
        """Canonical column names, in catalogue order."""
        return tuple(self._fields_by_name)

    @property
    def group_ids(self) -> tuple[str, ...]:
        """Disclosure group ids, in the order of the leaf formula."""
        return tuple(group.id for group in self.groups)

    def field(self, name: str) -> Field:
        """Return a field by name, or raise InvalidInput ``standards.field_unknown``."""
        found = self._fields_by_name.get(name)
        if found is None:
            raise InvalidInput("standards.field_unknown", f"{self.standard_id} has no field {name[:60]!r}")
        return found

    def group(self, group_id: str) -> DisclosureGroup:
        """Return a disclosure group by id, or raise InvalidInput ``standards.group_unknown``."""
        for group in self.groups:
            if group.id == group_id:
                return group
        raise InvalidInput(
            "standards.group_unknown",
            f"{self.standard_id} has no disclosure group {group_id[:60]!r}, only {', '.join(self.group_ids)}",
        )


class ProfileColumn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one column of a foreign source becomes a field. unit: of amounts only."""

    source: Header
    field: Id
    unit: AmountUnit = AmountUnit.FEN


class IgnoredColumn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column that is deliberately not taken, and why."""

    source: Header
    reason: Title


class SourceProfile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A foreign layout, as data; ``catalogue/profiles/<id>.toml`` is one.

    natural_key: ``all`` where its rows are known by all their fields, because the numbers of this source repeat.
    """

    id: Id
    name: Title
    name_zh: Chinese
    record_type: Id
    natural_key: Literal["all"] | None = None
    columns: Annotated[tuple[ProfileColumn, ...], Meta(min_length=1)] = msgspec.field(name="column")
    ignored: tuple[IgnoredColumn, ...] = ()

    @property
    def ignored_sources(self) -> frozenset[str]:
        """Names of the columns that are not taken."""
        return frozenset(column.source for column in self.ignored)

    @property
    def sources(self) -> frozenset[str]:
        """Names of the columns that must be present."""
        return frozenset(column.source for column in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All published record types and source profiles."""

    types: Mapping[str, RecordType]
    profiles: tuple[SourceProfile, ...] = ()

    def __iter__(self) -> Iterator[RecordType]:
        return iter(self.types.values())

    def get(self, type_id: str) -> RecordType:
        """Return a record type by id (``filing``) or standard id (``filing@1``).

        Raises InvalidInput ``standards.type_unknown`` for another name or version.
        """
        found = self.types.get(type_id.partition("@")[0])
        if found is None or ("@" in type_id and found.standard_id != type_id):
            known = ", ".join(entry.standard_id for entry in self)
            raise InvalidInput("standards.type_unknown", f"{type_id[:60]!r} is not published here: {known}")
        return found
