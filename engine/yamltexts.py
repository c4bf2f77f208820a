"""What a YAML parser's complaint means to a person: place and plain words for each."""

from __future__ import annotations

import re
from typing import Any

import yaml

_COMMENT = re.compile(r"(?<=\S)\s+#")
_VALUE = re.compile(r"^\s*(?:- +)*[^\s'\"#][^:#]*:\s+(?P<value>[^\s#].*)$")
_COMMENTED = "a comment ended the value above, so this line does not belong to it. Move the comment to a line of its own."
_OPENED = re.compile(r"(?:^|[:,\[{]\s*|-\s+)(?P<value>=[^,]*)$")

_LAYOUT = ("expected key", "expected ':'", "block end", "expected '-'", "simple key")
_PLAIN = (  # phrase of the parser, columns from its place to the one to point at, what we say
    ("alias", -1, "a value cannot begin with * or &. Put it in quotes."),
    ("anchor", -1, "a value cannot begin with * or &. Put it in quotes."),
    ("tag", 0, "a value cannot begin with !. Put it in quotes."),
    ("directive", 0, "a line cannot begin with %. Put the value in quotes."),
    ("document start", 0, "the file's content ended before this. Check the indentation and the quotes above."),
    ("node content", 0, "the file's content ended before this. Check the indentation and the quotes above."),
    ("tab character", 0, "a tab: indent with spaces."),
    ("cannot start any token", 0, "a tab: indent with spaces."),
)


def explain(error: yaml.YAMLError, lines: list[str]) -> tuple[int, int, str]:
    """(line, column, text) of a parser's error, with what to do about it."""
    if isinstance(error, yaml.reader.ReaderError):
        return _unreadable(error, lines)
    place: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if place is None:
        return 0, 0, f"is not YAML: {error}"
    opened: Any = getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", "") or "")
    context = str(getattr(error, "context", "") or "")
    line, column = place.line + 1, place.column + 1
    here = lines[place.line] if place.line < len(lines) else ""
    letter = here[place.column : place.column + 1]
    if "mapping values are not allowed" in problem:
        return line, *_colon(lines, line, column)
    if "quoted scalar" in context:
        return _quoted(problem, opened or place, line, column, letter, here)
    if "flow" in context:
        return _flow(opened or place, line, column, lines)
    if "cannot start any token" in problem and letter != "\t":
        return line, column, f"a value cannot begin with {letter}. Put it in quotes."
    if letter and letter in ",]}":
        return line, column, f"{letter} is not expected here. Put the value in quotes if it belongs to it."
    if "block scalar" in context:
        return line, *_bar(lines, line, column)
    for phrase, shift, text in _PLAIN:
        if phrase in problem or phrase in context:
            return line, max(1, column + shift), text
    if any(phrase in problem for phrase in _LAYOUT):
        return line, *_structure(lines, line, column, context)
    return line, column, f"{problem}{f' ({context})' if context else ''}.".replace("..", ".")


def _unreadable(error: yaml.reader.ReaderError, lines: list[str]) -> tuple[int, int, str]:
    code = error.character if isinstance(error.character, int) else ord(error.character[:1] or "\0")
    for number, content in enumerate(lines, 1):
        if chr(code) in content:
            return number, content.index(chr(code)) + 1, f"the control character U+{code:04X} stands here. Remove it."
    return 0, 0, f"holds the character U+{code:04X}, which YAML does not allow."


def _colon(lines: list[str], line: int, column: int) -> tuple[int, str]:
    """`a: x: y`, or a line deeper than the one above that already has a value."""
    here = lines[line - 1]
    before = here[: column - 1]
    if value := _VALUE.match(before):
        start = value.start("value") + 1
        if value["value"].startswith("="):
            return start, "a colon and a space ended this expression. Put it in quotes."
        return start, "a colon and a space stand inside this value. Put it in quotes."
    above = _above(lines, line)
    indent = len(here) - len(here.lstrip())
    if above.lstrip().startswith(("#", "-")) or not above:
        pass
    elif re.match(r"^\s*[\w-]+:[^\s]", above):
        return indent + 1, "the line above has no space after its colon, so it is not a key. Write 'key: value'."
    elif len(above) - len(above.lstrip()) < indent and _VALUE.match(above):
        return indent + 1, "this line is indented deeper than the one above, which already has a value. Align the two."
    elif ":" not in above:
        return indent + 1, "the line above is not 'key: value': is its colon missing?"
    return column, "a colon is not expected here. Put the value in quotes, or check the indentation."


def _quoted(problem: str, opened: Any, line: int, column: int, letter: str, here: str) -> tuple[int, int, str]:
    if "escape" in problem:
        escape = here[column - 1 : column + 1]
        shown = escape if escape.startswith("\\") else f"\\{letter}"
        return line, column, f"{shown} means nothing in double quotes. Use single quotes: there a backslash stands for itself."
    return opened.line + 1, opened.column + 1, "this quote is never closed."


def _flow(opened: Any, line: int, column: int, lines: list[str]) -> tuple[int, int, str]:
    """Inside { } or [ ]: a mapping or list that does not go on as one."""
    here = lines[line - 1] if line <= len(lines) else ""
    letter = here[column - 1 : column]
    if not any(content.strip() for content in [here[column - 1 :], *lines[line:]]):
        number, at = max((number, content.rfind(one)) for number, content in enumerate(lines) for one in "[{" if one in content)
        return number + 1, at + 1, f"{lines[number][at]} is not closed."
    bracket = lines[opened.line][opened.column : opened.column + 1] if opened.line < len(lines) else ""
    bracket = {"{": "{ }", "[": "[ ]"}.get(bracket, "brackets")
    if value := _OPENED.search(here[: column - 1].rstrip()):
        what = {"": "the end of the line", "'": "a quote", '"': "a quote"}.get(letter, f"a {letter}")
        return line, value.start("value") + 1, f"{what} ended this value inside {bracket}. Quote it or give it its own line."
    if opened.line + 1 != line:
        return opened.line + 1, opened.column + 1, f"{bracket[0]} is not closed (the text goes wrong on line {line})."
    if not letter:
        return line, opened.column + 1, f"{bracket[0]} is not closed."
    if letter in ",]}":
        return line, column, f"a value is missing before '{letter}', or there is one '{letter}' too many."
    return line, column, f"a comma or {bracket[-1]} is expected here. Quote the value before it if this belongs to it."


def _bar(lines: list[str], line: int, column: int) -> tuple[int, str]:
    """A line that begins with `| filter`, where YAML begins a block of text."""
    above = _above(lines, line)
    if above.lstrip().startswith("#") or _COMMENT.search(above):
        return lines[line - 1].find("|") + 1 or column, _COMMENTED
    return column, "a value that begins with | or > is a block of text: nothing else may stand on this line."


def _above(lines: list[str], line: int) -> str:
    return next((text for text in reversed(lines[: line - 1]) if text.strip()), "")


def _structure(lines: list[str], line: int, column: int, context: str) -> tuple[int, str]:
    here = lines[line - 1] if line <= len(lines) else ""
    above = _above(lines, line)
    before = here[: column - 1].rstrip()
    if before.endswith(("'", '"')):
        return column, "nothing may follow the closing quote. Put the whole value in one pair of quotes."
    if above.lstrip().startswith("#") or _COMMENT.search(above):
        return column, _COMMENTED
    if here.lstrip().startswith("- ") and "mapping" in context:
        return column, "a list item ('- ') is not expected here: check the indentation."
    if "sequence" in context or "collection" in context:
        return column, "a list item ('- ') is expected here: check the indentation."
    if not re.search(r":(\s|$)", here):
        return column, "this line is not 'key: value'. Is its colon missing, or its indentation wrong?"
    return column, "this line is not indented like those above it."


def unclosed(expression: str) -> str:
    """The quote or bracket that `expression` opens and never closes, or ''."""
    open_: list[str] = []
    quote, skip = "", False
    for letter in expression:
        if skip:
            skip = False
        elif quote:
            if letter == "\\":
                skip = True
            elif letter == quote:
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            open_.append(letter)
        elif letter in ")]}" and open_:
            open_.pop()
    return quote or (open_[-1] if open_ else "")
