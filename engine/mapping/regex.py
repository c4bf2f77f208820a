"""Regular expressions of analysts, bounded: what could run away is refused before it meets a message.

Python's engine backtracks: it may try every way in which a pattern can be laid on a text. So the ways are counted when the
pattern is read. A repeat without an end has as many as the text has characters, one with an end as many as it has lengths,
and what follows one another multiplies. The longest text a pattern is applied to is the one for which the ways stay below
what takes a fifth of a second; a pattern for which that leaves next to nothing is refused. Repeats within a repeat without
end have exponentially many ways, and references back to a group cannot be judged: both are refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from engine.mapping.faults import Refused
from engine.mapping.operators import text
from engine.values import NULL, Value, is_empty

LONGEST_PATTERN: Final = 200
LONGEST_TEXT: Final = 100_000
SHORTEST_TEXT: Final = 250  # a pattern that cannot be applied to as much as this is of no use
MOST_WAYS: Final = 1 << 24
MANY: Final = 4096  # a repeat with as many lengths as this counts as one without end


class Ways(NamedTuple):
    """`constant` times the length of the text to the power of `degree`."""

    constant: int = 1
    degree: int = 0

    def then(self, other: Ways) -> Ways:
        return Ways(min(self.constant * other.constant, MOST_WAYS + 1), self.degree + other.degree)

    def longest(self) -> int:
        """The longest text for which they stay below the most."""
        if self.constant > MOST_WAYS:
            return 0
        if not self.degree:
            return LONGEST_TEXT
        return min(LONGEST_TEXT, int(round((MOST_WAYS / self.constant) ** (1 / self.degree), 3)))


def matching(pattern: str) -> Callable[[Value], bool]:
    """A test whether `pattern` is found in a text. Raises ValueError for a pattern that is wrong or risky."""
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"a pattern has at most {LONGEST_PATTERN} characters.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled = re.compile(pattern)
            ways = _ways(_parser().parse(pattern))
    except (re.error, Warning, OverflowError, RecursionError) as error:
        raise ValueError(f"the pattern cannot be read: {str(error)[:100]}.") from None
    if not pattern.startswith(("^", r"\A")) or "|" in pattern or "(?" in pattern:  # `(?m)^` begins at every line
        ways = ways.then(Ways(1, 1))
    limit, search = ways.longest(), compiled.search
    if limit < SHORTEST_TEXT:
        raise ValueError(
            "the pattern has too many repeats after one another and could run very long. Anchor it with ^ or simplify it."
        )

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


def _ways(items: Any) -> Ways:
    """In how many ways a sequence can be laid on a text. Raises ValueError for what cannot be bounded."""
    total = Ways()
    for operation, argument in items:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            total = total.then(_repeated(*argument))
        elif name in ("GROUPREF", "GROUPREF_EXISTS", "GROUPREF_IGNORE"):
            raise ValueError("references back to a group are not used in patterns here.")
        elif name == "SUBPATTERN":
            total = total.then(_ways(argument[-1]))
        elif name == "BRANCH":
            branches = [_ways(branch) for branch in argument[1]]
            total = total.then(Ways(sum(one.constant for one in branches), max(one.degree for one in branches)))
        elif name in ("ASSERT", "ASSERT_NOT"):
            total = total.then(_ways(argument[1]))
        elif name == "ATOMIC_GROUP":
            total = total.then(_ways(argument))
    return total


def _repeated(low: int, high: int, inner: Any) -> Ways:
    once, endless = _ways(inner), str(high) == "MAXREPEAT"
    if once == Ways():
        return Ways(1, 1) if endless or high - low >= MANY else Ways(high - low + 1)
    if endless and any(str(operation) == "BRANCH" for operation, _ in _flat(inner)):
        raise ValueError("alternatives within a repeat could run for ever. Write a set such as [AB]* instead.")
    if endless or (once.degree and high > 1 and low != high):
        raise ValueError("a repeat within a repeat could run for ever. Write the inner part without * or +.")
    total = Ways(high - low + 1)
    for _ in range(high):
        total = total.then(once)
        if total.constant > MOST_WAYS or total.degree > MOST_WAYS.bit_length():
            break
    return total


def _flat(items: Any) -> list[Any]:
    """The parts of a sequence, with those of the groups in it."""
    found: list[Any] = []
    for operation, argument in items:
        found += [(operation, argument), *(_flat(argument[-1]) if str(operation) == "SUBPATTERN" else [])]
    return found
