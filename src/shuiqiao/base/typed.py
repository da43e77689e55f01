"""Plain values as typed ones, in any number of threads.

msgspec gathers what it knows of a type when the type is first asked for, in Python code that another thread can
interrupt; two threads that do so at once end the process with a segmentation fault (msgspec 0.22.0). The first use of
each type is therefore made alone.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

_first_use: Final = threading.Lock()
_known: Final[set[Any]] = set()


@overload
def typed(value: Any, kind: type[T], *, builtin_types: Iterable[type] = ()) -> T: ...
@overload
def typed(value: Any, kind: Any, *, builtin_types: Iterable[type] = ()) -> Any: ...


def typed(value: Any, kind: Any, *, builtin_types: Iterable[type] = ()) -> Any:
    """Return maps, lists and scalars as a value of a type, strictly: no text is taken for a number.

    builtin_types: what is taken as it is although JSON has no such thing, mostly bytes. Raises
    msgspec.ValidationError.

    Example: ``typed({"size": 3}, Head)`` is ``Head(size=3)``.
    """
    if kind not in _known:
        with _first_use:
            try:
                return msgspec.convert(value, kind, strict=True, builtin_types=builtin_types)
            finally:
                _known.add(kind)
    return msgspec.convert(value, kind, strict=True, builtin_types=builtin_types)
