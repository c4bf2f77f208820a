"""Regular expressions of analysts, bounded: what could run away is refused before it meets a message.

Python's engine backtracks. Repeats within repeats cost exponential time and back-references cannot be judged: both are
refused. Repeats one after another cost a power of the text's length, so the length of the text is limited to what keeps the
worst case under a fifth of a second.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, Final

from engine.mapping.faults import Refused
from engine.mapping.operators import text
from engine.values import NULL, Value, is_empty

LONGEST_PATTERN: Final = 200
MANY: Final = 50  # repeats up to this many count as bounded

_SUBJECT: Final = {0: 100_000, 1: 100_000, 2: 4_096, 3: 256}
"""Longest text by the number of unbounded steps, the search for a beginning being one."""


def matching(pattern: str) -> Callable[[Value], bool]:
    """A test whether `pattern` is found in a text. Raises ValueError for a pattern that is wrong or risky."""
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"a pattern has at most {LONGEST_PATTERN} characters.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled = re.compile(pattern)
            degree = _degree(_parser().parse(pattern), within=False)
    except (re.error, Warning, OverflowError, RecursionError) as error:
        raise ValueError(f"the pattern cannot be read: {str(error)[:100]}.") from None
    degree += 0 if pattern.startswith(("^", r"\A")) and "|" not in pattern else 1
    if degree > max(_SUBJECT):
        raise ValueError(
            "the pattern has too many repeats after one another and could run very long. Anchor it with ^ or simplify it."
        )
    limit, search = _SUBJECT[degree], compiled.search

    def found(value: Value) -> bool:
        if is_empty(value) or value is NULL:
            return False
        subject = text(value)
        if len(subject) > limit:
            raise Refused(f"has {len(subject):,} characters; this pattern is applied to at most {limit:,}")
        return search(subject) is not None

    return found


def _parser() -> Any:
    import re._parser as parser  # type: ignore[import-not-found]  # the same parser that re.compile uses

    return parser


def _degree(items: Any, within: bool) -> int:
    """How many unbounded repeats can follow one another. Raises ValueError for repeats within repeats and the like."""
    total = 0
    for operation, argument in items:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            low, high, inner = argument
            repeats = int(high) > 1 and (low != high or int(high) > MANY)
            if within and repeats:
                raise ValueError("a repeat within a repeat could run for ever. Write the inner part without * or +.")
            total += int(int(high) > MANY) + _degree(inner, within or repeats)
        elif name in ("GROUPREF", "GROUPREF_EXISTS", "GROUPREF_IGNORE"):
            raise ValueError("references back to a group are not used in patterns here.")
        elif name == "SUBPATTERN":
            total += _degree(argument[-1], within)
        elif name == "BRANCH":
            if within and len(argument[1]) > 1:
                raise ValueError("alternatives within a repeat could run for ever. Write a set such as [AB]* instead.")
            total += max(_degree(branch, within) for branch in argument[1])
        elif name in ("ASSERT", "ASSERT_NOT"):
            total += _degree(argument[1], within)
        elif name == "ATOMIC_GROUP":
            total += _degree(argument, within)
    return total
