"""Dotted paths read together against the same paths read one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.dotted import DataDocument, gathered

PATHS = [
    "a",
    "a.b",
    "a.b.c",
    "a.b[1]",
    "a.b[2]",
    "a[1]",
    "a[1].b",
    "a.c",
    "b",
    "b.c",
    "a['b'].c",
    "a[*].b",
    "a[b='x'].c",
    ".a",
    "a.b[0]",
    "c",
]
LEAVES: st.SearchStrategy[Any] = st.sampled_from(["", "x", 0, 1, None, True, [], {}])
DATA = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3))
    ),
)


def exactly(values: Any) -> list[tuple[type, str]]:
    return [(type(value), repr(value)) for value in values]


@given(DATA, st.lists(st.sampled_from(PATHS), min_size=1, unique=True))
def test_together_is_one_by_one(data: Any, paths: list[str]) -> None:
    document = DataDocument(data)
    for each in (document, *document.turns("a"), document.grouped(document.turns("a"))):
        assert exactly(gathered(paths)(each)) == exactly(each[path] for path in paths)
        assert exactly(gathered(PATHS)(each)) == exactly(each[path] for path in PATHS)


def test_names_that_are_words_or_signs_of_python_are_names_only() -> None:
    data = {"class": {"None": 1, "x')": 2}, "document": {"v0": 3}}
    paths = ["class.None", 'class["x\')"]', "document.v0"]
    assert list(gathered(paths)(DataDocument(data))) == [1, 2, 3]


def test_empty_names_and_very_long_paths_are_read_too() -> None:
    deep: Any = "here"
    for _ in range(60):
        deep = {"a": deep}
    document = DataDocument(deep | {"": {"b": "empty"}})
    paths = ["a['']", "a", ".".join("a" * 60), "a.a['']"]
    assert exactly(gathered(paths)(document)) == exactly(document[path] for path in paths)
