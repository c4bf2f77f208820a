"""An expression as text → tokens with their places. Paths of the format are found here, and nowhere else.

What follows a name decides what it is: `code(` calls, `| code` filters, `is listed` tests, `code.system` reads a `let`.
Signs of other languages (`&&`, `? :`, `=`) are refused with the right form, at the very character.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, NamedTuple

from engine.dotted import STEPS
from engine.mapping.faults import Unreadable
from engine.text import did_you_mean

LONGEST: Final = 4000  # characters of one expression
MOST_TOKENS: Final = 400
DEEPEST: Final = 20  # parentheses within parentheses

WORDS: Final = frozenset({"and", "or", "not", "in", "is", "if", "else", "true", "false"})


class Token(NamedTuple):
    kind: str  # path, name, item, text, number, word, call, filter, test, argument, steps, op
    text: str
    at: int
    depth: int  # of brackets around it
    end: int


class Names(NamedTuple):
    """What names mean where an expression stands."""

    paths: re.Pattern[str]
    roots: Collection[str]  # names that hold values: let, message, site, n …
    relative: str  # what `.1` is: "item" of `for_each: =…`, "path" of the turn, or "" where it is nothing
    functions: Collection[str]
    filters: Collection[str]
    tests: Collection[str]


_SPACE = re.compile(r"\s+")
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_NAME = re.compile(r"[A-Za-z_]\w*")
_OP = re.compile(r"==|!=|<=|>=|//|\*\*|[-+*/%~|(),<>\[\]]")
_ITEM = re.compile(rf"\.(?:[A-Za-z_]\w*|\d+)(?:{STEPS.pattern})?")

_ONE_EQUALS: Final = re.compile(r"(?:\.\d+)*\s*=(?!=)")
_FOREIGN: Final = (
    ("{{", "the whole value is an expression already: leave out {{ }}."),
    ("{%", "statements such as {% if %} belong in a template. Here a choice is written a if condition else b."),
    ("{", "braces are not used in expressions. Build an object with nested lines under set."),
    ("}", "braces are not used in expressions."),
    ("&&", "&& is written and."),
    ("||", "|| is written first(a, b) for a fallback, or between two conditions."),
    ("?", "? : is written a if condition else b."),
    ("=>", "=> is not used; at least is written >=."),
    ("===", "=== is written ==."),
    ("=", "= is written == where two values are compared."),
    ("<>", "<> is written !=."),
    ("!", "! is written not."),
    (":", ": is not used in expressions. A choice is written a if condition else b."),
    (";", "; is not used: a value is one expression. Name parts of it under let."),
    ("&", "& is written ~ where texts are joined, and between conditions."),
    ("^", "^ is not used; a component is written PID-3.1."),
    ("`", "texts stand in single quotes: 'text'."),
    ("“", "texts stand in straight quotes: 'text'."),
    ("”", "texts stand in straight quotes: 'text'."),
    ("‘", "texts stand in straight quotes: 'text'."),
    ("’", "texts stand in straight quotes: 'text'."),
    ("#", "# is not used in expressions. Quote it where it is text: '#'."),
    ("$", "$ is not used: a name stands by itself."),
    ("@", "@ is not used: a name stands by itself."),
)

_WORDS_ELSEWHERE: Final = {
    "True": "True is written true.",
    "False": "False is written false.",
    "None": "None is written omit (leave the field out) or null (an explicit null).",
    "none": "none is written omit (leave the field out) or null (an explicit null).",
    "AND": "AND is written and.",
    "OR": "OR is written first(a, b) for a fallback, or between two conditions.",
    "NOT": "NOT is written not.",
    "then": "a choice is written a if condition else b.",
    "for": "there are no loops in expressions: write for_each, or a path with [*].",
    "lambda": "there are no functions to define in expressions.",
    "import": "nothing can be imported here.",
}


def tokenize(source: str, names: Names) -> list[Token]:
    """Raises Unreadable."""
    if len(source) > LONGEST:
        raise Unreadable(f"is longer than {LONGEST} characters. Name parts of it under let.")
    found = _Tokenizer(source, names).run()
    if len(found) > MOST_TOKENS:
        raise Unreadable(f"has more than {MOST_TOKENS} parts. Name some of them under let.")
    return found


class _Tokenizer:
    def __init__(self, source: str, names: Names) -> None:
        self.source, self.names = source, names
        self.tokens: list[Token] = []
        self.brackets: list[Token] = []
        self.at = 0

    def run(self) -> list[Token]:
        source = self.source
        while self.at < len(source):
            if space := _SPACE.match(source, self.at):
                self.at = space.end()
            elif self._operand_next():
                self._operand()
            else:
                self._operator()
        if self.brackets:
            opened = self.brackets[-1]
            raise Unreadable(f"{opened.text} is opened here and never closed.", opened.at)
        return self.tokens

    def _operand_next(self) -> bool:
        """Whether a value is expected here, rather than something between values."""
        if not self.tokens:
            return True
        last = self.tokens[-1]
        if last.kind == "op":
            return last.text not in (")", "]")
        return last.kind in ("argument", "call") or (last.kind == "word" and last.text not in ("true", "false"))

    def _add(self, kind: str, end: int) -> None:
        token = Token(kind, self.source[self.at : end], self.at, len(self.brackets), end)
        self.tokens.append(token)
        self.at = end

    def _operand(self) -> None:
        source, at, last = self.source, self.at, self.tokens[-1] if self.tokens else None
        if last is not None and last.text == "|" and last.kind == "op":
            return self._known("filter", self.names.filters, "filter")
        if last is not None and last.kind == "word" and (last.text == "is" or (last.text == "not" and self._previous(2) == "is")):
            if source.startswith("not", at) and not source[at + 3 : at + 4].isalnum() and last.text == "is":
                return self._add("word", at + 3)
            return self._known("test", self.names.tests, "test")
        if text := _TEXT.match(source, at):
            return self._add("text", text.end())
        if source[at] in "'\"":
            raise Unreadable(f"{source[at]} is opened here and never closed.", at)
        if self.names.relative == "item" and (item := _ITEM.match(source, at)):
            return self._add("item", item.end())
        if name := _NAME.match(source, at):
            return self._name(name)
        path, number = self.names.paths.match(source, at), _NUMBER.match(source, at)
        if path and path[0].startswith(".") and not self.names.relative:
            raise Unreadable(f"{path[0]} is a part of a repetition: it needs a for_each such as for_each: PID-3.", at)
        if path and path.end() > at and (number is None or path.end() > number.end()):
            return self._add("path", path.end())
        if number:
            if _NAME.match(source, number.end()):
                raise Unreadable(f"{source[at : number.end() + 8].split(' ')[0]!r} is neither a number nor a path.", at)
            return self._add("number", number.end())
        return self._operator()

    def _previous(self, back: int) -> str:
        return self.tokens[-back].text if len(self.tokens) >= back else ""

    def _known(self, kind: str, known: Collection[str], noun: str) -> None:
        name = _NAME.match(self.source, self.at)
        if name is None:
            self._foreign()
            raise Unreadable(f"the name of a {noun} is expected here.", self.at)
        if name[0] not in known:
            raise Unreadable(self._unknown(name[0], noun, known), self.at)
        self._add(kind, name.end())

    def _unknown(self, name: str, noun: str, known: Collection[str]) -> str:
        if noun == "filter" and name in self.names.functions:
            return f"{name} is a function: write {name}(…) rather than | {name}."
        hint = did_you_mean(name, known)
        known_ones = " There are " + ", ".join(sorted(known)) + "."
        return f"there is no {noun} '{name[:40]}'.{hint or (known_ones if len(known) < 10 else ' wardline describe lists them.')}"

    def _name(self, name: re.Match[str]) -> None:
        source, word, after = self.source, name[0], name.end()
        if word in WORDS:
            return self._add("word", after)
        follows = source[after:].lstrip()[:2]
        if follows[:1] == "=" and follows != "==" and self.brackets and self.tokens[-1].text in ("(", ","):
            self._add("argument", after)
            self.at = source.index("=", after) + 1
            return None
        if word in self.names.roots:
            steps = STEPS.match(source, after)
            return self._add("name", steps.end() if steps else after)
        if follows[:1] == "(":
            if word in self.names.functions:
                return self._add("call", after)
            if word in self.names.filters:
                raise Unreadable(f"{word} is a filter: write value | {word} rather than {word}(value).", self.at)
            raise Unreadable(self._unknown(word, "function", self.names.functions), self.at)
        path = self.names.paths.match(source, self.at)
        if path and path.end() > self.at:
            return self._path(path.end())
        return self._unknown_name(word)

    def _unknown_name(self, word: str) -> None:
        if word in _WORDS_ELSEWHERE:
            raise Unreadable(_WORDS_ELSEWHERE[word], self.at)
        if word in self.names.functions:
            raise Unreadable(f"{word} is a function: its values follow in brackets, {word}(…).", self.at)
        hint = did_you_mean(word, [*self.names.roots, *self.names.functions])
        hint = hint or f" Text stands in quotes: '{word[:40]}'."
        raise Unreadable(f"there is no name or path '{word[:40]}' here.{hint}", self.at)

    def _path(self, end: int) -> None:
        """`PID-3-1` would silently subtract one: nobody means that."""
        path = self.source[self.at : end]
        if "-" in path and re.match(r"-\d", self.source[end:]) and not path.endswith("]"):
            rest = _NUMBER.match(self.source, end + 1)
            digits = rest[0] if rest else ""
            raise Unreadable(f"{path}-{digits} subtracts {digits} from {path}. A component is written {path}.{digits}.", self.at)
        self._add("path", end)

    def _operator(self) -> None:
        source, at = self.source, self.at
        if word := _NAME.match(source, at):
            return self._word(word)
        steps = STEPS.match(source, at) if self._previous(1) == ")" else None
        if steps and steps.end() > at:
            return self._add("steps", steps.end())
        if source[at] in "'\"":
            raise Unreadable(f"between {self._previous(1)[:30]} and this text something is missing: ~ joins texts.", at)
        op = _OP.match(source, at)
        if op is None or source.startswith(("||", "=>", "<>", "&&"), at):
            self._foreign()
        assert op is not None
        if op[0] in "([":
            self._add("op", op.end())
            self.brackets.append(self.tokens[-1])
            if len(self.brackets) > DEEPEST:
                raise Unreadable(f"has more than {DEEPEST} brackets within one another. Name parts of it under let.", at)
            return None
        if op[0] in ")]":
            if not self.brackets or (self.brackets[-1].text == "(") != (op[0] == ")"):
                raise Unreadable(f"this {op[0]} closes nothing.", at)
            self.brackets.pop()
        return self._add("op", op.end())

    def _word(self, word: re.Match[str]) -> None:
        if word[0] in WORDS - {"true", "false"}:
            return self._add("word", word.end())
        if word[0] in _WORDS_ELSEWHERE:
            raise Unreadable(_WORDS_ELSEWHERE[word[0]], self.at)
        before = self._previous(1)
        raise Unreadable(
            f"between {before[:30]} and {word[0][:30]} something is missing: ~ joins texts, a comma parts values.", self.at
        )

    def _foreign(self) -> None:
        source, at = self.source, self.at
        for sign, text in _FOREIGN:
            if source.startswith(sign, at):
                raise Unreadable(text, at)
        if _ONE_EQUALS.match(source, at):
            raise Unreadable("a single = compares nothing: write ==.", at)
        if source[at] == "." and (number := _NUMBER.match(source, at + 1)):
            before = self._previous(1) or "PID"
            raise Unreadable(f"a field is written {before}-{number[0]}, and its component {before}-{number[0]}.1.", at)
        if _OP.match(source, at) is None:
            raise Unreadable(f"{source[at]!r} has no meaning in an expression.", at)


def string_value(text: str) -> str:
    r"""What a quoted text means: `\'`, `\"`, `\\`, `\n`, `\r`, `\t`; any other backslash stays, as regular expressions need."""
    return re.sub(r"\\(['\"\\nrt])", lambda found: _ESCAPES[found[1]], text[1:-1])


_ESCAPES: Final = {"'": "'", '"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
