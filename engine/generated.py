"""The one place where the engine makes a function from text of its own.

The callers write straight-line code out of templates and numbers, and bind every value by a generated name. So the text can
be checked here before it becomes code: it holds no text at all, imports nothing, and knows no names but those that are bound,
its own variables and a few of Python's. Nothing of a mapping and nothing of a message can pass.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, Final

_BUILTINS: Final = {
    "type": type,
    "len": len,
    "isinstance": isinstance,
    "str": str,
    "list": list,
    "dict": dict,
    "Exception": Exception,
}
_PRIVATE: Final = frozenset({"_data", "_turns"})  # of a DataDocument
_REFUSED: Final = (
    ast.Import,
    ast.ImportFrom,
    ast.Global,
    ast.Nonlocal,
    ast.ClassDef,
    ast.Lambda,
    ast.Await,
    ast.Yield,
    ast.YieldFrom,
    ast.JoinedStr,
)


def function(text: str, bound: Mapping[str, Any]) -> Callable[..., Any]:
    """The one function that `text` defines, over the values of `bound`.

    Raises ValueError for text that is not of this kind, SyntaxError or RecursionError for more than Python's parser takes.
    """
    tree = ast.parse(text)
    if len(tree.body) != 1 or not isinstance(made := tree.body[0], ast.FunctionDef):
        raise ValueError("one function is expected")
    known = {*bound, *_BUILTINS, *(argument.arg for argument in made.args.args)}
    known |= {node.id for node in ast.walk(made) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(made):
        if isinstance(node, _REFUSED) or (isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))):
            raise ValueError(f"a {type(node).__name__} has no place in generated code")
        if isinstance(node, ast.Name) and node.id not in known:
            raise ValueError("generated code names what was not given to it")
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr not in _PRIVATE:
            raise ValueError("generated code reads what is private")
    space: dict[str, Any] = {"__builtins__": {}, **_BUILTINS, **bound}
    exec(compile(tree, "<generated>", "exec"), space)  # noqa: S102  # checked above
    result: Callable[..., Any] = space[made.name]
    return result
