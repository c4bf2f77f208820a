"""What holds for every entity: the registry, the contract, unknown fields, nulls, the JSON Schema."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from typing import Any

import pytest

from engine import registry
from engine.canonical import ENTITIES
from engine.errors import ContentError
from engine.values import EMPTY, NULL
from tests.unit.canonical.examples import FACTS, FULL, SMALLEST, smallest

EVERY = sorted(ENTITIES)


def schema_of(entity: str) -> dict[str, Any]:
    return ENTITIES[entity].json_schema()


def fields(schema: dict[str, Any]) -> set[str]:
    return set(schema["properties"])


def test_the_registry_finds_the_entities_by_name_and_version() -> None:
    assert EVERY == ["charge/v1", "encounter/v1", "journal/v1", "patient/v1"]
    for key, entity in registry.entities().items():
        assert key == f"{entity.name}/{entity.version}"
    assert "invoice/v1" not in ENTITIES


def test_knowing_the_names_imports_no_schema() -> None:
    code = "import sys, engine.canonical as c; list(c.ENTITIES); print([m for m in sys.modules if 'canonical.' in m])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


@pytest.mark.parametrize("entity", EVERY)
def test_the_smallest_payload_is_kept_as_it_is(entity: str) -> None:
    checked = ENTITIES[entity].validate(SMALLEST[entity])
    assert {name: checked[name] for name in SMALLEST[entity]} == SMALLEST[entity]


@pytest.mark.parametrize("entity", EVERY)
def test_every_field_of_the_schema_is_tried_and_kept(entity: str) -> None:
    assert set(FULL[entity]) == fields(schema_of(entity))
    assert set(ENTITIES[entity].validate(FULL[entity])) == set(FULL[entity])


@pytest.mark.parametrize("entity", EVERY)
def test_a_field_that_was_never_sent_stays_absent(entity: str) -> None:
    added = set(ENTITIES[entity].validate(SMALLEST[entity])) - set(SMALLEST[entity])
    assert added == ({"total_dr", "total_cr"} if entity == "journal/v1" else set())


@pytest.mark.parametrize("entity", EVERY)
def test_validation_changes_nothing_it_was_given_and_is_its_own_fixed_point(entity: str) -> None:
    given = deepcopy(FULL[entity])
    checked = ENTITIES[entity].validate(given)
    assert given == FULL[entity]
    assert ENTITIES[entity].validate(checked) == checked


@pytest.mark.parametrize(("entity", "name"), [(e, f) for e in EVERY for f in SMALLEST[e] if (e, f) not in {("patient/v1", "x")}])
def test_a_required_field_is_named_when_it_is_missing(entity: str, name: str) -> None:
    with pytest.raises(ContentError) as caught:
        ENTITIES[entity].validate(smallest(entity, **{name: ...}))
    assert name in str(caught.value)
    assert "is required" in caught.value.problem


@pytest.mark.parametrize("entity", EVERY)
def test_an_unknown_field_is_refused_by_its_name(entity: str) -> None:
    with pytest.raises(ContentError, match="no such field") as caught:
        ENTITIES[entity].validate(smallest(entity, colour="red"))
    assert caught.value.place == f"{ENTITIES[entity].name}.colour"


def test_a_misspelt_field_is_recognised() -> None:
    with pytest.raises(ContentError, match=r"^charge\.quantitty: there is no such field; did you mean quantity\?$"):
        ENTITIES["charge/v1"].validate(smallest("charge/v1", quantity=..., quantitty="1"))


def test_an_unknown_field_deep_inside_is_refused_too() -> None:
    line = {"account": "1", "side": "D", "amount": "1", "cost_center": "X"}
    with pytest.raises(ContentError) as caught:
        ENTITIES["journal/v1"].validate(smallest("journal/v1", lines=[line, line]))
    assert caught.value.place == "journal.lines[1].cost_center"


OPTIONAL = [
    (entity, name) for entity in EVERY for name in sorted(set(FULL[entity]) - set(SMALLEST[entity]) - {"total_dr", "total_cr"})
]


@pytest.mark.parametrize(("entity", "name"), OPTIONAL)
def test_an_explicit_null_is_kept_apart_from_absent(entity: str, name: str) -> None:
    assert ENTITIES[entity].validate(smallest(entity, **{name: None}))[name] is None
    assert ENTITIES[entity].validate(smallest(entity, **{name: NULL}))[name] is None
    assert name not in ENTITIES[entity].validate(smallest(entity, **{name: EMPTY}))


def test_null_where_something_is_required_is_refused() -> None:
    with pytest.raises(ContentError, match=r"^charge\.department: is required and must not be null$"):
        ENTITIES["charge/v1"].validate(smallest("charge/v1", department=NULL))


def test_markers_inside_lists_and_parts_are_understood() -> None:
    names = [{"family": "Ash", "given": ["Bo", EMPTY], "prefix": NULL}, EMPTY]
    checked = ENTITIES["patient/v1"].validate(smallest("patient/v1", name=names))
    assert checked["name"] == [{"family": "Ash", "given": ["Bo"], "prefix": None}]


def test_a_null_alone_in_a_list_deletes_the_list() -> None:
    """`PID-13[*] | phone` of an explicit null."""
    for nothing in ([NULL], [None], (NULL,)):
        assert ENTITIES["patient/v1"].validate(smallest("patient/v1", telecom=nothing))["telecom"] is None
    with pytest.raises(ContentError, match=r"^patient\.telecom\[2\]: "):
        ENTITIES["patient/v1"].validate(smallest("patient/v1", telecom=[{"value": "1"}, NULL]))


@pytest.mark.parametrize("wrong", ["text", 5, ["list"], None])
def test_what_is_no_payload_at_all_is_refused(wrong: Any) -> None:
    with pytest.raises(ContentError):
        ENTITIES["charge/v1"].validate(wrong)


def test_an_offending_value_is_shown_but_never_much_of_it() -> None:
    with pytest.raises(ContentError) as caught:
        ENTITIES["charge/v1"].validate(smallest("charge/v1", quantity="9" * 5000))
    assert len(str(caught.value)) < 150


def test_a_false_type_is_told_in_plain_words() -> None:
    for name, value, words in [
        ("diagnoses", "J18", "expected a list, got 'J18'"),
        ("patient", "Ann", "expected named fields, got 'Ann'"),
        ("department", "", "must not be empty"),
        ("department", ["a"], "expected text"),
        ("type", "ZZ", "expected 'CG', 'CR', 'PY', 'AJ', 'CO' or 'TR', got 'ZZ'"),
    ]:
        with pytest.raises(ContentError) as caught:
            ENTITIES["charge/v1"].validate(smallest("charge/v1", **{name: value}))
        assert str(caught.value) == f"charge.{name}: {words}"


@pytest.mark.parametrize("entity", EVERY)
def test_the_json_schema_says_what_every_field_is(entity: str) -> None:
    schema = schema_of(entity)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:wardline:canonical:{entity.replace('/', ':')}"
    assert schema["description"]
    for part in [schema, *schema["$defs"].values()]:
        assert part["additionalProperties"] is False
        for name, field in part["properties"].items():
            assert field.get("description"), f"{part['title']}.{name} has no description"


@pytest.mark.parametrize("entity", EVERY)
def test_the_json_schema_requires_what_validation_requires(entity: str) -> None:
    conditional = {"identifiers", "name"} if entity == "patient/v1" else set()
    assert set(schema_of(entity)["required"]) == set(SMALLEST[entity]) - conditional


@pytest.mark.parametrize("entity", EVERY)
def test_what_is_delivered_is_json_and_says_its_schema(entity: str) -> None:
    made = ENTITIES[entity].envelope(ENTITIES[entity].validate(FULL[entity]), "", FACTS)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["schema"] == f"canonical/{entity}"
    assert ENTITIES[entity].validate(made["payload"]) == ENTITIES[entity].validate(FULL[entity])
