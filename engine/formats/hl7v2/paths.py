"""The path language of HL7 v2: `PID-3[.5='MR'].1`, `OBR[2]/OBX[*]-5`, `OBX[-11='X']`, `.4.1` inside a repetition.

    path     = step { "/" step } [ "-" field { select } [ "." component [ "." subcomponent ] ] ]  |  "." n [ "." n ]
    step     = NAME { select }
    select   = "[" number "]" | "[*]" | "[-" field [ "." c [ "." s ] ] "=" quoted "]"  (of a segment)
             | "[." component [ "." s ] "=" quoted "]"  (of a repetition)

NAME is a segment (three letters or digits) or, before "/" and in `for_each`, one of the standard's group names.
A compiled path is cached by its text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from engine.errors import PathError

STAR: Final = -1

_QUOTED = r"'[^']*'|\"[^\"]*\""
_SEGMENT_SELECT = rf"\[(?:\*|\d+|-\d+(?:\.\d+){{0,2}}\s*=\s*(?:{_QUOTED}))\]"
_FIELD_SELECT = rf"\[(?:\*|\d+|\.\d+(?:\.\d+)?\s*=\s*(?:{_QUOTED}))\]"
_STEP = rf"[A-Z][A-Z0-9]{{2}}(?:{_SEGMENT_SELECT})*"
_GROUP_STEP = rf"[A-Z][A-Z0-9_]{{3,}}(?:{_SEGMENT_SELECT})*"

IN_EXPRESSIONS: Final = re.compile(
    rf"(?<![\w.])(?:(?:(?:{_STEP}|{_GROUP_STEP})/)*{_STEP}(?:-\d+(?:{_FIELD_SELECT})*(?:\.\d+)*(?:-\d+)?)?)(?![\w(]|\s*=(?!=))"
    r"|(?<![\w.)\]'\"])\.\d+(?:\.\d+)?(?![\w(])"
)
"""A path where an expression may have one. It also takes `PID-3-1`, so that the mistake is refused with the right form
instead of becoming a subtraction; `FT1-10 - 1` subtracts."""

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_SELECT = re.compile(
    rf"\[\s*(?:(?P<star>\*)|(?P<number>\d+)|(?P<mark>[-.])(?P<where>\d+(?:\.\d+)*)\s*=\s*(?P<value>{_QUOTED}))\s*\]"
)
_FIELD = re.compile(r"-(\d+)")
_PART = re.compile(r"\.(\d+)")
LIMIT: Final = 9999


class Filter(NamedTuple):
    """`[-11='X']`, `[.5='MR']`: keep those whose part is this text."""

    where: tuple[int, ...]
    value: str


Selector = int | Filter  # number from 1, STAR, or a filter


class Step(NamedTuple):
    name: str
    selectors: tuple[Selector, ...] = ()


class Path(NamedTuple):
    """A compiled path. `steps` is empty for a relative one; `field`, `component`, `sub` are 0 where not given."""

    text: str
    steps: tuple[Step, ...]
    field: int = 0
    repeats: tuple[Selector, ...] = ()
    component: int = 0
    sub: int = 0
    many: bool = False  # some selector is [*]: the value is a list
    cut: int = 0  # offset in `text` of what stands behind the steps

    @property
    def tail(self) -> str:
        """`-3.1` of `OBX[2]-3.1`, without the selectors of the repetition."""
        return f"-{self.field}" * (self.field > 0) + self.parts

    @property
    def parts(self) -> str:
        """`.1` of `PID-3[2].1`."""
        return "".join(f".{n}" for n in (self.component, self.sub) if n)


@lru_cache(4096)
def compiled(text: str) -> Path:
    """Raises PathError with the place of the mistake and, where it can be guessed, the right form."""
    if text.startswith("."):
        numbers, at = _numbers(text, 0, 2)
        if at < len(text) or not numbers:
            raise PathError(text, "a relative path is .component or .component.subcomponent", at)
        component, sub = (*numbers, 0)[:2]
        return Path(text, (), component=component, sub=sub)
    steps, at = _steps(text)
    if not (match := _FIELD.match(text, at)):
        if at < len(text):
            raise _mistake(text, at)
        return Path(text, steps, many=_many(*(step.selectors for step in steps)), cut=at)
    cut = at
    field = _number(text, match[1], at + 1)
    repeats, at = _selectors(text, match.end(), ".")
    numbers, at = _numbers(text, at, 2)
    if at < len(text):
        raise _mistake(text, at)
    if len(steps[-1].name) != 3:
        raise PathError(text, f"{steps[-1].name} is a group: write a segment behind it, {steps[-1].name}/PID-3", at)
    component, sub = (*numbers, 0, 0)[:2]
    return Path(text, steps, field, repeats, component, sub, _many(repeats, *(step.selectors for step in steps)), cut)


def _many(*selectors: tuple[Selector, ...]) -> bool:
    return any(STAR in some for some in selectors)


def _steps(text: str) -> tuple[tuple[Step, ...], int]:
    steps: list[Step] = []
    at = 0
    while True:
        match = _NAME.match(text, at)
        if not match or len(match[0]) < 3:
            raise _mistake(text, at)
        selectors, at = _selectors(text, match.end(), "-")
        steps.append(Step(match[0], selectors))
        if text[at : at + 1] != "/":
            return tuple(steps), at
        at += 1


def _selectors(text: str, at: int, mark: str) -> tuple[tuple[Selector, ...], int]:
    found: list[Selector] = []
    while text[at : at + 1] == "[":
        match = _SELECT.match(text, at)
        if not match:
            raise PathError(text, _about_select(mark), at)
        if match["star"]:
            found.append(STAR)
        elif match["number"]:
            found.append(_number(text, match["number"], at + 1))
        elif match["mark"] != mark:
            raise PathError(text, _about_select(mark), at)
        else:
            where = tuple(_number(text, n, at + 2) for n in match["where"].split("."))
            if len(where) > (3 if mark == "-" else 2):
                raise PathError(text, "nothing is deeper than a subcomponent", at)
            found.append(Filter(where, match["value"][1:-1]))
        at = match.end()
    return tuple(found), at


def _about_select(mark: str) -> str:
    if mark == "-":
        return "behind a segment stands [2], [*] or a condition on one of its fields, [-11='X']"
    return "behind a field stands [2], [*] or a condition on one of its components, [.5='MR']"


def _numbers(text: str, at: int, most: int) -> tuple[list[int], int]:
    found: list[int] = []
    while match := _PART.match(text, at):
        if len(found) == most:
            raise PathError(text, "nothing is deeper than a subcomponent: PID-3.4.2", at)
        found.append(_number(text, match[1], at + 1))
        at = match.end()
    return found, at


def _number(text: str, digits: str, at: int) -> int:
    number = int(digits[:6])
    if not 0 < number <= LIMIT or len(digits) > 6:
        raise PathError(text, f"numbers count from 1 to {LIMIT}", at)
    return number


def _mistake(text: str, at: int) -> PathError:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9]{2}(-\d+){2,3}", text):
        name, *numbers = text.upper().split("-")
        right = f"{name}-{'.'.join(numbers)}"
        return PathError(text, f"a component stands behind a dot: {right} (to subtract, put blanks around the minus)", at)
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9]{2}(\.\d+)+", text):
        return PathError(text, f"a field stands behind a hyphen: {text[:3].upper()}-{text[4:]}", at)
    if text != text.upper() and _is_path(text.upper()):
        return PathError(text, f"segment names are upper case: {text.upper()}", at)
    if not text:
        return PathError(text, "a path is needed, such as PID-3.1", at)
    return PathError(
        text, f"reading stopped at {text[at:] or 'the end'!r}; a path is like PID-3.1, OBX[2]-5 or PID-3[.5='MR'].1", at
    )


def _is_path(text: str) -> bool:
    try:
        compiled(text)
    except PathError:
        return False
    return True
