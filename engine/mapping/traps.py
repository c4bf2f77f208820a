"""Expressions that read well and mean something else: found before they give wrong data.

A filter binds tighter than every operator, so `a or b | date` converts only `b`. Where it applies to a part that an analyst
would not expect, the expression is refused with the form that says what was meant.
"""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import nodes

from engine.mapping.faults import Unreadable
from engine.mapping.parse import Parsed
from engine.mapping.tokens import Token

_JOINS = frozenset({"~", "+", "-", "*", "/", "//", "%", "**"})
_CHOICES = frozenset({"or", "and", "if", "else"})
_COMPARES = frozenset({"==", "!=", "<", ">", "<=", ">=", "is", "in", "not"})


def check(source: str, parsed: Parsed, *, condition: bool) -> None:
    """Raises Unreadable where the expression is one of the known traps. `condition`: only its truth is used."""
    for group in _groups(parsed.tokens):
        _filter_traps(source, group)
    _fallbacks(source, parsed, parsed.root, condition)


def _groups(tokens: Sequence[Token]) -> list[list[Token]]:
    """Tokens that stand side by side: within the same brackets, between the same commas."""
    groups: list[list[Token]] = []
    open_: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == "op" and token.text in "([":
            open_[-1].append(token)
            open_.append([])
        elif token.kind == "op" and token.text in ")]":
            groups.append(open_.pop())
            open_[-1].append(token)
        elif token.text == "," and token.kind == "op":
            groups.append(open_[-1])
            open_[-1] = []
        else:
            open_[-1].append(token)
    return [*groups, *open_]


def _filter_traps(source: str, group: list[Token]) -> None:
    """In one group: an operator whose right side alone is filtered, while its left side is not."""
    operators = [index for index, token in enumerate(group) if _operator(token)]
    for number, index in enumerate(operators):
        end = operators[number + 1] if number + 1 < len(operators) else len(group)
        start = operators[number - 1] + 1 if number else 0
        left, operator, right = group[start:index], group[index], group[index + 1 : end]
        if operator.text == "else":
            left = group[: next((i for i, token in enumerate(group) if token.text == "if"), index)]
        if not _filtered(right):
            continue
        if operator.kind == "op" and not left:
            _sign(source, operator, right)
        elif left and _surprises(source, group[:index], left, operator, right):
            _explain(source, group, left, operator, right)


def _surprises(source: str, before: list[Token], left: list[Token], operator: Token, right: list[Token]) -> bool:
    if operator.text in ("and", "if") or "|" in source[before[0].at : before[-1].end]:
        return False
    if operator.text == "or":
        return not any(token.text in _COMPARES for token in (*left, *right))
    if operator.text in ("else", "~"):
        return True
    return len(left) == 1 and left[0].kind in ("path", "item")


def _operator(token: Token) -> bool:
    return token.text in (_JOINS if token.kind == "op" else _CHOICES if token.kind == "word" else ())


def _filtered(tokens: Sequence[Token]) -> bool:
    return any(token.kind == "op" and token.text == "|" for token in tokens)


def _sign(source: str, operator: Token, right: Sequence[Token]) -> None:
    if right[0].kind == "number" or right[0].text == "(":
        return
    inner = source[right[0].at : right[-1].end]
    raise Unreadable(f"the sign applies before the filter, to text. Write {operator.text}({inner}).", operator.at)


def _explain(source: str, group: list[Token], left: Sequence[Token], operator: Token, right: Sequence[Token]) -> None:
    pipe = next(index for index, token in enumerate(right) if token.text == "|" and token.kind == "op")
    operand = source[right[0].at : right[pipe - 1].end]
    filters = source[right[pipe].at : right[-1].end]
    if operator.text == "or":
        whole = f"first({source[left[0].at : left[-1].end]}, {operand}) {filters}"
    elif operator.text in ("else", "~"):
        whole = f"({source[group[0].at : right[pipe - 1].end]}) {filters}"
    else:
        one = source[left[0].at : left[-1].end]
        whole = f"({one} {filters}) {operator.text} ({operand} {filters})"
    only = f" (or ({operand} {filters}) if only that is meant)" if operator.text in ("else", "~") else ""
    raise Unreadable(f'"{filters}" applies only to {operand}. Write {whole}{only}.', right[pipe].at)


def _fallbacks(source: str, parsed: Parsed, node: nodes.Node, condition: bool) -> None:
    """`a or b` as a value: it would skip a zero and hide what is meant."""
    if isinstance(node, nodes.CondExpr):
        _fallbacks(source, parsed, node.test, True)
        _fallbacks(source, parsed, node.expr1, condition)
        if node.expr2 is not None:
            _fallbacks(source, parsed, node.expr2, condition)
        return
    if isinstance(node, nodes.Or) and not condition and not (_is_condition(node.left) and _is_condition(node.right)):
        raise Unreadable("`or` skips a zero, and reads as a condition. A fallback is written first(a, b).", parsed.token(node).at)
    inside = condition if isinstance(node, (nodes.And, nodes.Or)) else isinstance(node, nodes.Not)
    for child in node.iter_child_nodes():
        _fallbacks(source, parsed, child, inside)


def _is_condition(node: nodes.Node) -> bool:
    if isinstance(node, (nodes.And, nodes.Or)):
        return _is_condition(node.left) and _is_condition(node.right)
    if isinstance(node, nodes.Const):
        return isinstance(node.value, bool)
    return isinstance(node, (nodes.Compare, nodes.Test, nodes.Not))
