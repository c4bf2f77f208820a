"""Tokens → Jinja2's syntax tree. Jinja2 parses; what it parsed is checked here against what the language has.

Jinja2 knows lines, not columns. So every token is given a line of its own, and the line of a node is its token's number:
errors point at the exact character. Paths, names, texts and numbers are handed over as placeholders (`_3` is token 3), so
that Jinja2 never sees a path as a subtraction or a backslash as an escape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

from jinja2 import TemplateSyntaxError, nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.mapping.faults import Unreadable
from engine.mapping.tokens import Names, Token, tokenize

PLACEHOLDERS: Final = frozenset({"path", "name", "item", "text", "number", "steps"})

ALLOWED: Final = (
    nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.CondExpr, nodes.And, nodes.Or, nodes.Not, nodes.Compare,
    nodes.Operand, nodes.Filter, nodes.Test, nodes.Call, nodes.Keyword, nodes.Concat, nodes.Add, nodes.Sub, nodes.Mul,
    nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Neg, nodes.Pos, nodes.Getitem,
)  # fmt: skip


class Parsed(NamedTuple):
    root: nodes.Expr
    tokens: list[Token]

    def token(self, node: nodes.Node) -> Token:
        """The token a node begins with, for its place in the text."""
        return self.tokens[max(0, min(node.lineno, len(self.tokens)) - 1)]

    def placeholder(self, node: nodes.Name) -> Token:
        return self.tokens[int(node.name[1:])]


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(autoescape=False, cache_size=0)


def parse(source: str, names: Names) -> Parsed:
    """Raises Unreadable, with the place."""
    tokens = tokenize(source, names)
    if not tokens:
        raise Unreadable("an expression is expected after the =.")
    text = "\n".join(_handed_over(number, token) for number, token in enumerate(tokens))
    try:
        parser = Parser(_environment(), text, state="variable")
        root = parser.parse_expression()
        if not parser.stream.eos:
            raise Unreadable(*_leftover(tokens, parser.stream.current.lineno))
    except TemplateSyntaxError as error:
        raise Unreadable(*_translated(error, tokens)) from None
    parsed = Parsed(root, tokens)
    _check(parsed)
    return parsed


def _handed_over(number: int, token: Token) -> str:
    if token.kind in PLACEHOLDERS:
        return f"[_{number}]" if token.kind == "steps" else f"_{number}"
    return f"{token.text}=" if token.kind == "argument" else token.text


def _leftover(tokens: Sequence[Token], line: int) -> tuple[str, int]:
    token = tokens[min(line, len(tokens)) - 1]
    if token.text == ",":
        return "a comma parts values only inside brackets: first(a, b), [a, b].", token.at
    return f"the expression ends before {token.text[:30]}: an operator is missing.", token.at


def _translated(error: TemplateSyntaxError, tokens: Sequence[Token]) -> tuple[str, int]:
    """Jinja2's message, as an analyst needs it."""
    message = error.message or ""
    token = tokens[max(0, min(error.lineno, len(tokens)) - 1)]
    last = tokens[-1]
    if "end of" in message:
        return f"the expression stops after {last.text[:30]}: a value is missing.", last.at
    if found := re.match(r"expected token '(.+?)', got '(.+?)'", message):
        return f"{_word(found[1])} is expected before {token.text[:30]}.", token.at
    if found := re.match(r"unexpected '(.+?)'", message):
        return f"{token.text[:30]} cannot stand here: a value is missing before it.", token.at
    if "positional argument" in message or "function call" in message:
        return "values by name come after all the others: code('gl', department=charge.department).", token.at
    return f"cannot be read from {token.text[:30]} on.", token.at


def _word(jinja: str) -> str:
    return {"name": "a name", "end of print statement": "the end", "begin_block": "the end"}.get(jinja, jinja)


def _check(parsed: Parsed) -> None:
    for node in (parsed.root, *parsed.root.find_all(nodes.Expr)):
        if not isinstance(node, ALLOWED):
            raise Unreadable("this form is not part of the language.", parsed.token(node).at)
        if isinstance(node, nodes.Call):
            if not isinstance(node.node, nodes.Name) or node.node.name.startswith("_"):
                raise Unreadable("only a function can be called.", parsed.token(node).at)
            if node.dyn_args or node.dyn_kwargs:
                raise Unreadable("* and ** have no meaning before values here.", parsed.token(node).at)
        if isinstance(node, (nodes.Filter, nodes.Test)) and (node.dyn_args or node.dyn_kwargs):
            raise Unreadable("* and ** have no meaning before values here.", parsed.token(node).at)
        if isinstance(node, nodes.Getitem):
            inner = node.arg
            if not (isinstance(inner, nodes.Name) and parsed.placeholder(inner).kind == "steps"):
                raise Unreadable("[ ] after a value has no meaning here; a path has its own: PID-3[2].1.", parsed.token(node).at)
