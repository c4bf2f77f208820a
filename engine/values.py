"""The values that travel between documents, expressions and results.

A value read from a message is text (`str`), possibly a `Composite` (text that has parts), or one of two
markers: `EMPTY` (nothing was sent) and `NULL` (HL7's `""`: the sender says "delete what you have",
HL7 v2.5.1 §2.5.3). Converters add `Decimal`, `date`, `datetime`, `dict` and `list`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final


class Empty:
    """Nothing was sent: prints as nothing, equals the empty text, absorbs arithmetic, compares false.

    There is one instance, `EMPTY`. Attributes and items of it are `EMPTY` again, so that a path into something
    absent is absent rather than an error.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return ""

    def __repr__(self) -> str:
        return "EMPTY"

    def __hash__(self) -> int:
        return hash("")

    def __eq__(self, other: object) -> bool:
        return other is self or other == ""

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __getitem__(self, key: object) -> Empty:
        return self

    def __getattr__(self, name: str) -> Empty:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def _absorb(self, *others: object) -> Empty:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _absorb
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _absorb
    __pow__ = __rpow__ = __neg__ = __pos__ = __abs__ = _absorb

    def _never(self, other: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _never


class Null:
    """HL7's explicit null, `""`: a value was sent, and it is "none". There is one instance, `NULL`."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return ""

    def __repr__(self) -> str:
        return "NULL"


class Composite(str):
    """Text that has parts: as `str` it is its first leaf, `raw` is the whole as it was sent.

    Formats subclass it and implement `component`. It is what a bare path such as `PID-5` gives, so that
    `PID-5` prints the family name while `PID-5 | name` sees every component.
    """

    __slots__ = ()

    raw: str

    def component(self, number: int, sub: int = 1) -> Value:
        """The text of component `number`, subcomponent `sub`, both counted from 1; `EMPTY` if absent."""
        raise NotImplementedError

    def leaves(self) -> list[str]:
        """The first subcomponent of every component as text, all at once; `''` where nothing or an explicit null stands."""
        raise NotImplementedError


EMPTY: Final = Empty()
NULL: Final = Null()

Value = Any  # str | Composite | Empty | Null | Decimal | date | datetime | dict | list: what expressions pass around


def component(value: Value, number: int, sub: int = 1) -> Value:
    """Component `number` of any value: a plain text is its own first component."""
    if isinstance(value, Composite):
        return value.component(number, sub)
    if isinstance(value, (Empty, Null)):
        return value
    return value if number == 1 and sub == 1 else EMPTY


def is_empty(value: Value) -> bool:
    """True where nothing was sent (an explicit `NULL` is something)."""
    return value is EMPTY or value is None or value == ""
