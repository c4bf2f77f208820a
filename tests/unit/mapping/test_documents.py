"""Plain data as a document: dotted paths, turns, groups, places; and JSON read strictly."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dotted import DataDocument, compile_path
from engine.errors import ContentError, PathError
from engine.formats.json import JsonFormat
from engine.values import EMPTY, NULL

DATA: dict[str, Any] = {
    "order": {
        "id": "O-1",
        "gone": None,
        "lines": [
            {"sku": "A", "qty": 1, "codes": [{"sys": "L", "code": "1"}, {"sys": "M", "code": "2"}]},
            {"sku": "B", "qty": 2, "codes": [{"sys": "L", "code": "3"}]},
            {"sku": "B", "qty": 3},
        ],
    },
    "with space": {"Cost Centre": "CC"},
    "names": ["x", "y"],
}

READS: list[tuple[str, Any]] = [
    ("order.id", "O-1"), ("order.gone", NULL), ("order.none", EMPTY), ("none.at.all", EMPTY), ("order.id.deeper", EMPTY),
    ("order.lines.sku", "A"), ("order.lines[2].sku", "B"), ("order.lines[9].sku", EMPTY), ("order.lines[*].sku", ["A", "B", "B"]),
    ("order.lines[sku='B'].qty", 2), ("order.lines[sku='B'][2].qty", EMPTY), ("order.lines[*].codes[*].code", ["1", "2", "3"]),
    ("order.lines[codes.code='3'].sku", "B"), ("order.lines[codes.sys=\"M\"].sku", "A"), ("names", "x"), ("names[*]", ["x", "y"]),
    ("order['id']", "O-1"), ("order.lines.codes[sys='M'].code", "2"), ("none[*]", []),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), READS, ids=[path for path, _ in READS])
def test_a_path_reads(path: str, value: Any) -> None:
    found = DataDocument(DATA)[path]
    assert found == value
    assert (found is NULL) == (value is NULL)


def test_all_gives_every_match_and_place_says_where() -> None:
    document = DataDocument(DATA)
    assert document.all("order.lines.qty") == [1, 2, 3]
    assert document.all("order.lines[sku='B'].qty") == [2, 3]
    assert document.place("order.lines[sku='B'].qty") == "order.lines[2].qty"
    assert document.place("order.lines.nothing") == "order.lines.nothing"
    assert document.place("order.lines[sku='Z'].qty") == "order.lines[sku='Z'].qty"


def test_turns_narrow_and_see_outwards() -> None:
    turns = DataDocument(DATA).turns("order.lines")
    assert [turn["order.lines.sku"] for turn in turns] == ["A", "B", "B"]
    assert [turn[".qty"] for turn in turns] == [1, 2, 3]
    assert {turn["order.id"] for turn in turns} == {"O-1"}
    assert turns[1].place("order.lines.qty") == "order.lines[2].qty"
    inner = turns[0].turns("order.lines.codes")
    assert [(turn["order.lines.codes.code"], turn["order.lines.sku"], turn[".sys"]) for turn in inner] == [
        ("1", "A", "L"),
        ("2", "A", "M"),
    ]
    assert inner[1].place("order.lines.codes.code") == "order.lines[1].codes[2].code"
    assert [turn[".code"] for turn in turns[1].turns(".codes")] == ["3"]


def test_a_group_is_its_first_turn_and_all_of_them() -> None:
    document = DataDocument(DATA)
    turns = document.turns("order.lines")
    group = document.grouped(turns[1:])
    assert group["order.lines.qty"] == 2
    assert group["order.lines[*].qty"] == [2, 3]
    assert [turn["order.lines.qty"] for turn in group.turns("order.lines")] == [2, 3]
    assert group.turns("order.lines")[1].place("order.lines.qty") == "order.lines[3].qty"


@pytest.mark.parametrize("path", ["", ".", "a..b", "a[", "a[]", "a[b]", "a.b[x=y]", "[1]", "a b", "a.[1]", "1"])
def test_a_wrong_path_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        compile_path(path)


@given(st.text(".[]*'=abc12 ", max_size=20))
def test_any_text_is_a_path_or_refused(path: str) -> None:
    at = 0
    try:
        DataDocument(DATA)[path]
    except PathError as error:
        at = error.at
    assert 0 <= at <= len(path)


def test_references_are_found_within_a_bundle() -> None:
    bundle = {"entry": [
        {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "p1", "name": "x"}},
        {"resource": {"resourceType": "Encounter", "contained": [{"id": "c1", "name": "inner"}]}},
    ]}  # fmt: skip
    document = DataDocument(bundle)
    assert document.resolve({"reference": "urn:uuid:1"})["name"] == "x"
    assert document.resolve("Patient/p1")["name"] == "x"
    assert document.resolve({"reference": "#c1"})["name"] == "inner"
    assert document.resolve("Patient/none") is EMPTY
    assert document.resolve(EMPTY) is EMPTY


# ── JSON ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_json_is_read_exactly_and_rendered_as_it_was() -> None:
    content = b'\xef\xbb\xbf{"a": 0.10, "b": 12345678901234567890, "c": null, "d": true }'
    document = JsonFormat().parse(content)
    assert str(document["a"]) == "0.10"
    assert isinstance(document["a"], Decimal)
    assert document["b"] == 12345678901234567890
    assert document["c"] is NULL
    assert document["d"] is True
    assert JsonFormat().render(document) == content
    assert [node.path for node in document.nodes()] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"a": 1, "a": 2}', "twice"), (b'{"a": NaN}', "NaN"), (b'{"a": 1', "line 1 column"), (b"\xff", "UTF-8"), (b"", "is not JSON"),
        (b"[" * 200 + b"]" * 200, "nested"), (b"[" * 200_000, "nested"), (b'{"a": ' + b"9" * 6000 + b"}", "digit"), (b"{} {}", "Extra"),
    ],
)  # fmt: skip
def test_json_that_is_wrong_is_refused_with_its_place(content: bytes, text: str) -> None:
    with pytest.raises(ContentError) as caught:
        JsonFormat().parse(content)
    assert text in str(caught.value)


def test_the_heading_looks_at_the_first_character_only() -> None:
    assert JsonFormat().heading(b' \n{"a": ').kind == ""
    with pytest.raises(ContentError):
        JsonFormat().heading(b"MSH|^~\\&|")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), json_values, max_size=4))
def test_any_json_document_can_be_read(data: dict[str, Any]) -> None:
    import json

    document = JsonFormat().parse(json.dumps(data).encode())
    for key, value in data.items():
        if not isinstance(value, list):
            assert document[key] == (NULL if value is None else value) or document[key] is NULL
        list(document.nodes())
        document.place(key)
