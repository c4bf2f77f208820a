"""Arithmetic, comparison and text, with the language's rules: numbers are decimals, nothing absorbs, nothing is huge.

No operator ever makes a float, repeats a text or compares things of different kinds without saying so.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import date, datetime
from decimal import ROUND_FLOOR, Context, Decimal, DecimalException, DivisionByZero, InvalidOperation, Overflow
from typing import Any, Final

from engine.mapping.faults import Refused, shown
from engine.values import EMPTY, NULL, Composite, Value

LARGEST: Final = Decimal(10) ** 30
EXACT: Final = Context(prec=60, traps=[InvalidOperation, DivisionByZero, Overflow])
"""Sums and products of anything that fits below `LARGEST` are exact; a quotient has Python's 28 digits."""
LONGEST: Final = 1 << 20  # characters of a text that an expression makes

_NUMBERS: Final = frozenset({int, Decimal})


def kind(value: Value) -> str:
    """What a value is, in an analyst's words; '' for nothing."""
    if value is EMPTY or value is NULL or value is None:
        return ""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, Decimal)):
        return "a number"
    if isinstance(value, datetime):
        return "a time"
    if isinstance(value, date):
        return "a date"
    return "a list" if isinstance(value, (list, tuple)) else "an object"


def _arithmetic(sign: str, apply: Callable[[Any, Any], Any], verb: str) -> Callable[[Value, Value], Value]:
    def run(a: Value, b: Value) -> Value:
        if type(a) in _NUMBERS and type(b) in _NUMBERS:
            try:
                result = apply(a, b)
            except (DecimalException, ZeroDivisionError, OverflowError):
                raise Refused(f"{sign} cannot be worked out for {a} and {b}" if b else "divides by zero") from None
            if not -LARGEST < result < LARGEST:
                raise Refused(f"gives a number with more than {LARGEST.adjusted()} digits")
            return result
        for value in (a, b):
            if value is not EMPTY and value is not NULL and type(value) not in _NUMBERS:
                raise Refused(_teach(sign, verb, value))
        return EMPTY

    return run


def _teach(sign: str, verb: str, value: Value) -> str:
    text = f"{sign} {verb} numbers, and {shown(value) or 'this'} is {kind(value)}"
    if isinstance(value, str):
        return f"{text}: convert it with | decimal" + (", or join texts with ~" if sign == "+" else "")
    return text


def _divide(a: Any, b: Any) -> Decimal:
    return Decimal(a) / Decimal(b)


def _floor_divide(a: Any, b: Any) -> Decimal:
    return EXACT.divide(a, b).to_integral_value(ROUND_FLOOR)


def _modulo(a: Any, b: Any) -> Decimal:
    return EXACT.subtract(a, EXACT.multiply(b, _floor_divide(a, b)))


def _power(a: Any, b: Any) -> Any:
    if b != int(b) or not -100 <= b <= 100 or abs(a) > LARGEST:
        raise Refused("** takes a whole number from -100 to 100")
    return Decimal(a) ** int(b)


add: Final = _arithmetic("+", EXACT.add, "adds")
subtract: Final = _arithmetic("-", EXACT.subtract, "subtracts")
multiply: Final = _arithmetic("*", EXACT.multiply, "multiplies")
divide: Final = _arithmetic("/", _divide, "divides")
floor_divide: Final = _arithmetic("//", _floor_divide, "divides")
modulo: Final = _arithmetic("%", _modulo, "divides")
power: Final = _arithmetic("**", _power, "raises")


def negate(value: Value) -> Value:
    if type(value) in _NUMBERS:
        return -value
    if value is EMPTY or value is NULL:
        return EMPTY
    raise Refused(_teach("-", "negates", value))


def positive(value: Value) -> Value:
    return value if type(value) in _NUMBERS else negate(value)


def _comparable(a: Value, b: Value) -> None:
    one, two = kind(a), kind(b)
    if one and two and one != two:
        hint = ""
        if {one, two} == {"text", "a number"}:
            hint = ": convert the text with | decimal, or put the number in quotes"
        elif "a date" in (one, two) or "a time" in (one, two):
            hint = ": convert both with | date"
        elif "text" in (one, two):
            hint = ": put the word in quotes"
        raise Refused(f"compares {one} with {two}{hint}")


def equal(a: Value, b: Value) -> bool:
    if type(a) is not type(b):
        _comparable(a, b)
    return bool(a == b)


def unequal(a: Value, b: Value) -> bool:
    return not equal(a, b)


def _order(sign: str, apply: Callable[[Any, Any], Any]) -> Callable[[Value, Value], bool]:
    def run(a: Value, b: Value) -> bool:
        if a is EMPTY or b is EMPTY or a is NULL or b is NULL or a == "" or b == "":
            return False
        _comparable(a, b)
        try:
            return bool(apply(a, b))
        except TypeError:
            raise Refused(f"{sign} cannot compare {kind(a)} with {kind(b)}") from None

    return run


less: Final = _order("<", operator.lt)
at_most: Final = _order("<=", operator.le)
more: Final = _order(">", operator.gt)
at_least: Final = _order(">=", operator.ge)


def contained(a: Value, b: Value) -> bool:
    """`a in b`: an item of a list, a key of an object, a part of a text."""
    if b is EMPTY or b is NULL:
        return False
    if isinstance(b, str):
        if a is EMPTY or a is NULL:
            return False
        if not isinstance(a, str):
            raise Refused(f"looks for {kind(a)} in text: put it in quotes")
        return a in b
    if isinstance(b, (list, tuple, dict, frozenset)):
        return any(item == a for item in b)
    raise Refused(f"in needs a list or a text on its right, not {kind(b)}")


def nothing(value: Value) -> bool:
    """Whether nothing at all was sent: unlike an empty text, a composite such as `^^^^^555^0100` is something."""
    if value is EMPTY or value is None:
        return True
    if isinstance(value, Composite):
        return not value.raw
    if isinstance(value, list):
        return all(map(nothing, value))
    return isinstance(value, str) and not value


def text(value: Value) -> str:
    """A value as it is printed: numbers without exponent, dates in ISO 8601, nothing as nothing."""
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if value is EMPTY or value is NULL or value is None:
        return ""
    if isinstance(value, Decimal):
        return written_out(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(in_range(value))
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    raise Refused(
        f"is {kind(value)} and cannot be printed as text" + (": join it with | join(', ')" if isinstance(value, list) else "")
    )


def in_range(value: Any) -> Any:
    """Raises Refused for a number that could not be written out: JSON has `1e999999999`."""
    if isinstance(value, Decimal) and not -LARGEST.adjusted() * 2 <= value.adjusted() < LARGEST.adjusted():
        raise Refused(f"is a number with more than {LARGEST.adjusted()} digits", value)
    if isinstance(value, int) and not -LARGEST < value < LARGEST:
        raise Refused(f"is a number with more than {LARGEST.adjusted()} digits", value)
    return value


def written_out(value: Decimal) -> str:
    """A number without exponent. Raises Refused."""
    return format(in_range(value), "f")


def bounded(value: str) -> str:
    """Raises Refused for a text longer than an expression may make."""
    if len(value) > LONGEST:
        raise Refused(f"gives a text of more than {LONGEST:,} characters")
    return value


def joined_texts(*values: Value) -> str:
    """`a ~ b`."""
    return bounded("".join([value if type(value) is str else text(value) for value in values]))
