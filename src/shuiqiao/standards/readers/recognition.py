"""Sees from the column names of a source which record type it holds and which column becomes which field.

Rule: docs/spec/standard.md, [STD-30] to [STD-33]. A source is taken only as a whole: every required field has a
column and every column has a meaning. What fits several types, or none, is refused with the candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.model import AmountUnit, Catalogue, Field, FieldType, RecordType, SourceProfile

MAX_COLUMNS = 256
"""Most columns of a source."""

MAX_HEADER_CHARS = 200
"""Longest column name, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedColumn:
    """A column of the source, by its position, and the field that it becomes."""

    position: int
    source: str
    field: Field
    unit: AmountUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPlan:
    """How a source is read. layout: id of the source profile, or ``standard`` for the catalogue's own names."""

    record_type: RecordType
    layout: str
    columns: tuple[PlannedColumn, ...]
    ignored: tuple[str, ...] = ()
    natural_key_is_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    record_type: RecordType
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    repeated: tuple[str, ...]

    def faults(self) -> int:
        return len(self.missing) + len(self.unknown) + len(self.repeated)

    def describe(self) -> str:
        parts = [
            f"{what} {', '.join(names[:8])}"
            for what, names in (("lacks", self.missing), ("does not know", self.unknown), ("repeats", self.repeated))
            if names
        ]
        return f"{self.record_type.id} {'; '.join(parts)}"


def recognise_columns(
    headers: Sequence[str], *, catalogue: Catalogue, record_type: RecordType | None = None
) -> ColumnPlan:
    """Return the plan for the columns of a source, of the named record type or of the only one that fits.

    Raises InvalidInput: ``standards.header_invalid`` (none, too many, too long, twice the same),
    ``standards.type_unrecognised`` (fits none or several; the message names the candidates) and
    ``standards.columns_wrong`` (the named type does not fit; the message says what is missing or unknown).
    """
    names = [header.strip().removeprefix("\ufeff") for header in headers]
    _check_headers(names)
    wanted = list(catalogue) if record_type is None else [record_type]
    plans = [plan for candidate in wanted if (plan := _plan_of(names, candidate, catalogue)) is not None]
    if len(plans) == 1:
        return plans[0]
    if plans:
        raise _ambiguous([plan.record_type for plan in plans])
    fits = sorted((_fit(names, candidate) for candidate in wanted), key=_Fit.faults)
    if record_type is not None:
        raise InvalidInput("standards.columns_wrong", f"the columns do not fit: {fits[0].describe()[:600]}")
    nearest = " | ".join(fit.describe()[:300] for fit in fits[:3])
    raise InvalidInput(
        "standards.type_unrecognised",
        f"no record type has the columns {', '.join(names)[:300]}; nearest: {nearest}",
        next_step="Rename the columns to the names, Chinese names or source codes of the catalogue, or name the type.",
    )


def _ambiguous(candidates: Sequence[RecordType]) -> InvalidInput:
    """[STD-32]: two meanings are no meaning."""
    ids = ", ".join(candidate.id for candidate in candidates)
    return InvalidInput(
        "standards.type_unrecognised",
        f"the columns fit several record types: {ids}",
        next_step="Name the record type, e.g. with --type.",
    )


def _check_headers(names: Sequence[str]) -> None:
    if not names or len(names) > MAX_COLUMNS:
        raise InvalidInput("standards.header_invalid", f"{len(names)} columns where 1 to {MAX_COLUMNS} are allowed")
    for name in names:
        if not name or len(name) > MAX_HEADER_CHARS:
            raise InvalidInput(
                "standards.header_invalid",
                f"a column name has {len(name)} characters where 1 to {MAX_HEADER_CHARS} are allowed",
            )
        if names.count(name) > 1:
            raise InvalidInput("standards.header_invalid", f"the column {name!r} stands {names.count(name)} times")


def _plan_of(names: Sequence[str], record_type: RecordType, catalogue: Catalogue) -> ColumnPlan | None:
    for profile in catalogue.profiles:
        whole = profile.sources <= set(names) <= profile.sources | profile.ignored.keys()
        if whole and profile.record_type == record_type.id:
            return _profile_plan(names, record_type, profile)
    if _fit(names, record_type).faults():
        return None
    meanings = _meanings(record_type)
    columns = [
        PlannedColumn(position=position, source=name, field=meanings[name][0], unit=meanings[name][1])
        for position, name in enumerate(names)
    ]
    return ColumnPlan(record_type=record_type, layout="standard", columns=tuple(columns))


def _profile_plan(names: Sequence[str], record_type: RecordType, profile: SourceProfile) -> ColumnPlan:
    columns = tuple(
        PlannedColumn(
            position=names.index(column.source),
            source=column.source,
            field=record_type.field(column.field),
            unit=column.unit,
        )
        for column in profile.columns
    )
    ignored = tuple(name for name in names if name in profile.ignored)
    return ColumnPlan(
        record_type=record_type,
        layout=profile.id,
        columns=columns,
        ignored=ignored,
        natural_key_is_all=profile.natural_key_is_all,
    )


def _meanings(record_type: RecordType) -> dict[str, tuple[Field, AmountUnit]]:
    """[STD-31]: canonical names are in fen, as they say; Chinese names, source codes and aliases are in yuan."""
    meanings: dict[str, tuple[Field, AmountUnit]] = {}
    for entry in record_type.fields:
        outside = AmountUnit.YUAN if entry.type is FieldType.AMOUNT_FEN else AmountUnit.FEN
        for header in (entry.name_zh, entry.source_code, *entry.aliases):
            meanings[header] = (entry, outside)
        meanings[entry.name] = (entry, AmountUnit.FEN)
    return meanings


def _fit(names: Sequence[str], record_type: RecordType) -> _Fit:
    meanings = _meanings(record_type)
    targets = [meanings[name][0].name for name in names if name in meanings]
    return _Fit(
        record_type=record_type,
        missing=tuple(entry.name for entry in record_type.fields if entry.required and entry.name not in targets),
        unknown=tuple(name for name in names if name not in meanings),
        repeated=tuple(sorted({name for name in targets if targets.count(name) > 1})),
    )
