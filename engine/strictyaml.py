"""YAML as site files use it: YAML 1.2 text with its place, and nothing that could mean something else than it looks.

`load(text, file)` gives a `Map` of `Text`, `Map` and `Seq`. **Every scalar is `Text`**: `NO`, `0450`, `12:30`, `null` and `~`
stay what was typed, until a schema types them; a value that is not there (`about:`) is `Text("")`. Each value knows where
it stands (`mark(value)`), and `Text.at(offset)` gives the place of a character inside it, so that an error in the middle of
an expression can point at that character.

Refused: duplicate keys, tags, anchors, aliases, merge keys, tab indentation, several documents, directives, depth over 50,
more than 1 MiB, anything but UTF-8. YAML's silent cuts are found: a comma, bracket or `#` that ended an unquoted expression
early. What is wrong is collected and raised as one `ConfigurationError`; only an error of syntax ends the reading.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from engine.errors import ConfigurationError, Problem
from engine.text import did_you_mean
from engine.yamltexts import explain, unclosed

__all__ = [
    "Map", "Mark", "Seq", "Text", "Value", "did_you_mean", "load", "load_file", "mark", "read", "read_bytes", "read_file",
    "unclosed",
]  # fmt: skip

LIMIT = 1 << 20  # bytes of one file
DEPTH = 50  # levels of nesting

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNUSED = ", which site files do not use."
_SEPARATORS = re.compile("[\u0085\u2028\u2029]")  # YAML 1.1 (libyaml) ends a line here, YAML 1.2 does not


class Mark(NamedTuple):
    """A place in a file; lines and columns count from 1, columns in characters."""

    file: str
    line: int
    column: int

    def problem(self, text: str, severity: str = "error") -> Problem:
        return Problem(self.file, self.line, self.column, text, severity)


class Text(str):
    """A scalar: the text that was typed, and where. `style` is '' for plain, else `'`, `"`, `|` or `>`."""

    __slots__ = ("_lines", "column", "file", "line", "style")
    file: str
    line: int
    column: int
    style: str
    _lines: list[str]

    @classmethod
    def made(cls, text: str, at: Mark = Mark("", 0, 0)) -> Text:  # noqa: B008 - immutable
        """A text that stands in no file, said to stand `at` a place."""
        made = cls(text)
        made.file, made.line, made.column = at
        made.style, made._lines = "'", []
        return made

    @property
    def mark(self) -> Mark:
        return Mark(self.file, self.line, self.column)

    def at(self, offset: int) -> Mark:
        """Where the character at `offset` of this text stands; its beginning where that cannot be told."""
        if self.style == "":
            return self._at_plain(offset)
        if self.style == "|":
            before = self[:offset]
            number = self.line + 1 + before.count("\n")
            content = self.split("\n")[before.count("\n")]
            if number <= len(self._lines) and self._lines[number - 1].endswith(content):
                indent = len(self._lines[number - 1]) - len(content)
                return Mark(self.file, number, indent + 1 + offset - (before.rfind("\n") + 1))
        elif self.style in "'\"" and self._lines and self._lines[self.line - 1].startswith(str(self), self.column):
            return Mark(self.file, self.line, self.column + 1 + offset)
        return self.mark

    def _at_plain(self, offset: int) -> Mark:
        """Plain text folds: each line break with its blanks around became one space, or a newline for each empty line."""
        line, column, rest = self.line, self.column, str(self)
        while True:
            source = self._lines[line - 1][column - 1 :] if line <= len(self._lines) else ""
            same = _common(source, rest)
            if offset <= same or same == len(rest):
                return Mark(self.file, line, column + min(offset, same))
            skipped = len(rest[same:]) - len(rest[same:].lstrip(" \n"))
            if not skipped or line >= len(self._lines):
                return self.mark
            offset, rest = max(0, offset - same - skipped), rest[same + skipped :]
            line += 1
            while line < len(self._lines) and not self._lines[line - 1].strip():
                line += 1
            column = len(self._lines[line - 1]) - len(self._lines[line - 1].lstrip()) + 1


def _common(one: str, two: str) -> int:
    """Length of the common beginning, not counting blanks at its end where the line ends there."""
    length = min(len(one.rstrip()), len(two))
    return next((i for i in range(length) if one[i] != two[i]), length)


class Map(dict["Text", Any]):
    """A mapping of `Text` to values, in the order of the file. Found by plain `str` keys too."""

    __slots__ = ("flow", "mark")
    mark: Mark
    flow: bool  # written inside { }

    if TYPE_CHECKING:  # the same as dict's, for names as `str`

        def get(self, key: str, default: Any = None) -> Any: ...
        def __getitem__(self, key: str) -> Any: ...
        def __delitem__(self, key: str) -> None: ...

    def copy(self) -> Map:
        """Another Map at the same place."""
        made = Map(self)
        made.mark, made.flow = self.mark, self.flow
        return made

    def key(self, name: str) -> Text:
        """The key `name` as it stands in the file, with its place."""
        return next(key for key in self if key == name)


class Seq(list[Any]):
    """A list of values."""

    __slots__ = ("flow", "mark")
    mark: Mark
    flow: bool  # written inside [ ]


Value = Text | Map | Seq


def mark(value: Any) -> Mark:
    """Where `value` (anything `load` gave) begins; ('', 0, 0) for anything else."""
    found = getattr(value, "mark", None)
    return found if isinstance(found, Mark) else Mark("", 0, 0)


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a file of at most `most` bytes. Raises OSError, also for what is no file: a pipe would never end."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(number, "rb") as stream:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB" if most >> 20 else f"it is larger than {most >> 10} KiB")
    return content


def load_file(path: Path, name: str = "") -> Map:
    """Read a file of at most 1 MiB; `name` is what errors call it (default: the path). Raises ConfigurationError."""
    return _right(*read_file(path, name))


def read_file(path: Path, name: str = "") -> tuple[Map | None, list[Problem]]:
    """As `load_file`, without raising: see `read`."""
    name = name or str(path)
    try:
        content = read_bytes(path, LIMIT)
    except OSError as error:
        too_large = error.errno == errno.EFBIG
        text = "is larger than 1 MiB. Split it into several files." if too_large else f"cannot be read: {error.strerror}."
        return None, [Problem(name, 0, 0, text)]
    try:
        return read(content.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        text = f"byte 0x{content[error.start]:02X} is not UTF-8. Save the file as UTF-8."
        return None, [Problem(name, line, column, text)]


def load(text: str, file: str) -> Map:
    """The mapping that `text` holds; `file` is its name in errors. Raises ConfigurationError with every problem found."""
    return _right(*read(text, file))


def read(text: str, file: str) -> tuple[Map | None, list[Problem]]:
    """The mapping that `text` holds, and every problem found. Where there are problems, what could be read is good only
    for finding what else is wrong; None where an error of syntax ended the reading."""
    if len(text) > LIMIT or len(text.encode("utf-8", "replace")) > LIMIT:
        return None, [Problem(file, 0, 0, "is larger than 1 MiB. Split it into several files.")]
    reader = _Reader(text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"), file)
    value = reader.read()
    return (value if isinstance(value, Map) else None), sorted(set(reader.problems))


def _right(value: Map | None, problems: list[Problem]) -> Map:
    if problems:
        raise ConfigurationError(problems)
    assert value is not None
    return value


class _Reader:
    """One reading of one text: events in, values and problems out."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.lines = text.split("\n")
        self.problems: list[Problem] = []
        self.blocks: list[tuple[int, int]] = []  # lines of scalars in which a tab is content
        self.depth = 0

    def say(self, line: int, column: int, text: str) -> None:
        self.problems.append(Problem(self.file, line, column, text))

    def read(self) -> Value | None:
        for found in _SEPARATORS.finditer(self.text):
            line, column = self._place(found.start())
            code = f"U+{ord(found[0]):04X}"
            self.say(line, column, f"an invisible line separator ({code}) stands here. Remove it.")
        if self.problems:
            return None
        value: Value | None = None
        syntax: tuple[int, int, str] | None = None
        try:
            value = self._document(yaml.parse(self.text, Loader=_Loader))
        except yaml.YAMLError as error:
            syntax = explain(error, self.lines)
        except _TooDeep:
            return None
        self._tabs(syntax[0] if syntax else len(self.lines))
        if syntax and not any(problem.line == syntax[0] for problem in self.problems):
            self.say(*syntax)
        if value is not None and not isinstance(value, Map):
            place = mark(value)
            self.say(place.line, place.column, "expected lines of the form 'key: value' (with a space after the colon).")
        return value

    def _place(self, offset: int) -> tuple[int, int]:
        return self.text.count("\n", 0, offset) + 1, offset - self.text.rfind("\n", 0, offset)

    def _document(self, events: Iterator[Any]) -> Value | None:
        value: Value | None = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                at: Any = event.start_mark
                if documents == 2:
                    self.say(at.line + 1, 1, "a second document begins here ('---'). A file holds one.")
                if event.version not in (None, (1, 2)) or event.tags:
                    self.say(at.line + 1, 1, "directives (%YAML, %TAG) are not used: files are read as YAML 1.2.")
            elif isinstance(event, (yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent, yaml.AliasEvent)):
                found = self._value(event, events, "")
                value = found if documents == 1 else value
        if not documents:
            self.problems.append(Problem(self.file, 0, 0, "is empty."))
        return value

    def _value(self, event: Any, events: Iterator[Any], flow: str) -> Value:
        self._plainness(event)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(event, events)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event, events)
        return self._text(event, flow)

    def _plainness(self, event: Any) -> None:
        """Refuse what makes a value mean something else than it looks."""
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.AliasEvent):
            self.say(line, column, f"'*{event.anchor}' is an alias{_UNUSED} Write the value, or put it in quotes.")
            return
        if event.anchor is not None:
            self.say(
                line,
                column,
                f"'&{event.anchor}' is an anchor{_UNUSED} Remove it, or put the value in quotes.",
            )
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.say(line, column, f"'{tag}' is a tag{_UNUSED} Remove it, or put the value in quotes.")

    def _text(self, event: Any, flow: str) -> Text:
        text = Text("" if isinstance(event, yaml.AliasEvent) else event.value)
        start, end = event.start_mark, event.end_mark
        text.file, text.line, text.column = self.file, start.line + 1, start.column + 1
        text.style, text._lines = getattr(event, "style", "") or "", self.lines
        if text.style:
            if end.line > start.line:
                self.blocks.append((start.line + 2, end.line + (1 if end.column else 0)))
        elif text.startswith("=") and (opened := unclosed(text)):
            self._cut(text, opened, end.line, end.column, flow)
        return text

    def _cut(self, text: Text, opened: str, line: int, column: int, flow: str) -> None:
        """An unquoted expression that stops in the middle: say what cut it."""
        after = self.lines[line][column:] if line < len(self.lines) else ""
        what = after.lstrip()[:1]
        if what == "#" and after[:1] in (" ", "\t"):
            reason = "a # after a space ended this value (it begins a comment). Quote it."
        elif what == ":" and not flow:
            reason = "a colon and a space ended this value. Quote it."
        elif flow and what and what in ",[]{}:":
            reason = (
                f"{'a comma' if what == ',' else f'a {what}'} ended this value inside {flow}. Quote it or give it its own line."
            )
        else:
            reason = f"{opened} is opened here and never closed."
        self.say(text.line, text.column, reason)

    def _enter(self, event: Any) -> None:
        self.depth += 1
        if self.depth > DEPTH:
            self.say(event.start_mark.line + 1, event.start_mark.column + 1, f"is nested more than {DEPTH} levels deep.")
            raise _TooDeep

    def _mapping(self, event: Any, events: Iterator[Any]) -> Map:
        self._enter(event)
        result = Map()
        result.mark = Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
        result.flow = bool(event.flow_style)
        flow = "{ }" if event.flow_style else ""
        before: Value | None = None
        for item in events:
            if isinstance(item, yaml.MappingEndEvent):
                break
            key = self._value(item, events, flow)
            ended = item.end_mark
            value = self._value(next(events), events, flow)
            self._key(result, key, value)
            if flow and value == "" and isinstance(key, Text) and not self._colon(ended):
                self._valueless(key, before)
            elif isinstance(key, Text):
                result.setdefault(key, value)
            before = value
        self.depth -= 1
        return result

    def _colon(self, at: Any) -> bool:
        return bool(re.match(r"\s*:", "\n".join(self.lines[at.line : at.line + 3])[at.column :]))

    def _valueless(self, key: Text, before: Value | None) -> None:
        """`{v: a, b}`: YAML reads b as a key of its own, without value."""
        if any(problem.line == key.line for problem in self.problems):
            return
        if re.match(r"^[\w-]+:\S", key):
            self.say(key.line, key.column, "a space is missing after the colon.")
        elif isinstance(before, Text) and not before.style and before:
            self.say(before.line, before.column, "a comma ended this value inside { }. Quote it or give it its own line.")
        else:
            self.say(key.line, key.column, f"'{key}' has no value here. Write '{key}: …'.")

    def _key(self, result: Map, key: Value, value: Value) -> None:
        if not isinstance(key, Text):
            place = mark(key)
            self.say(place.line, place.column, "a key is one word or a quoted text, not a list or a mapping.")
        elif key == "<<" and not key.style:
            self.say(key.line, key.column, f"'<<' is a merge key{_UNUSED} Write the keys out.")
        elif key == "":
            self.say(key.line, key.column, "a key is missing before the colon.")
        elif key in result:
            first = result.key(key)
            self.say(key.line, key.column, f"'{key}' stands here a second time; the first is on line {first.line}.")

    def _sequence(self, event: Any, events: Iterator[Any]) -> Seq:
        self._enter(event)
        result = Seq()
        result.mark = Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
        result.flow = bool(event.flow_style)
        for item in events:
            if isinstance(item, yaml.SequenceEndEvent):
                break
            result.append(self._value(item, events, "[ ]" if event.flow_style else ""))
        self.depth -= 1
        return result

    def _tab_in(self, line: int) -> bool:
        content = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        return "\t" in content[: len(content) - len(content.lstrip(" \t"))]

    def _tabs(self, until: int) -> None:
        inside = {number for first, last in self.blocks for number in range(first, last + 1)}
        for number in range(1, until + 1):
            if number not in inside and self._tab_in(number) and self.lines[number - 1].strip():
                self.say(number, self.lines[number - 1].index("\t") + 1, "a tab: indent with spaces.")


class _TooDeep(Exception):
    """Ends a reading whose problem has been noted."""
