"""What others ask a library for: chains, channel expressions, tests, schema; and what it says of wrong requests."""

from __future__ import annotations

import json
import time
from pathlib import Path
from timeit import repeat

import pytest

from engine.contracts import Expression, Mapping
from engine.errors import ConfigurationError, ContentError, UnknownCode
from engine.mapping import Library, mapping_schema
from engine.strictyaml import Mark, load
from tests.unit.mapping.material import ADT, FACTS, TABLES, MakeSite, hl7
from tests.unit.mapping.test_tasks import FILES


@pytest.fixture
def library(site: MakeSite) -> Library:
    return site(FILES)


def said(library: Library, names: list[str], source: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        library.chain(names, source, Mark("channels/x.yaml", 9, 14))
    return str(caught.value)


def test_unknown_names_and_steps_that_do_not_fit(library: Library) -> None:
    assert said(library, ["dft-to-chargee"], "hl7v2") == (
        "channels/x.yaml:9:14  there is no mapping 'dft-to-chargee': expected mappings/dft-to-chargee.yaml. "
        "Did you mean 'dft-to-charge'?"
    )
    assert "charge-to-journal reads charge/v1, and adt-to-patient gives patient/v1." in said(
        library, ["adt-to-patient", "charge-to-journal"], "hl7v2"
    )
    assert "dft-to-charge reads hl7v2, and the channel's format is json." in said(library, ["dft-to-charge"], "json")
    assert "a mapping's name is expected" in said(library, [], "hl7v2")


def test_a_name_with_a_place_of_its_own_is_blamed_there(library: Library) -> None:
    name = load("mapping: nothing", "channels/y.yaml")["mapping"]
    with pytest.raises(ConfigurationError, match=r"channels/y.yaml:1:10  there is no mapping 'nothing'"):
        library.chain([name], "hl7v2", Mark("channels/x.yaml", 9, 14))


def test_a_format_may_be_given_itself(library: Library) -> None:
    format_ = library.formats["hl7v2"]
    chain: Mapping = library.chain(["adt-to-patient"], format_)
    assert len(chain.apply(format_.parse(hl7(ADT)), FACTS)) == 1


def test_an_expression_of_a_channel_file(library: Library) -> None:
    lines = load("skip:\n  test patient: =MSH-11 == 'T' or PID-5.1 is matching('^ZZ')\n", "channels/x.yaml")
    format_ = library.formats["hl7v2"]
    expression: Expression = library.expression(lines["skip"]["test patient"], format_, condition=True)
    assert expression.text == "=MSH-11 == 'T' or PID-5.1 is matching('^ZZ')"
    assert expression(format_.parse(hl7(ADT)), FACTS) is False
    assert expression(format_.parse(hl7(ADT.replace("Worthing", "ZZTop"))), FACTS) is True
    wrong = load("skip:\n  x: =MSH-11 = 'T'\n", "channels/x.yaml")["skip"]["x"]
    with pytest.raises(ConfigurationError, match=r"^channels/x.yaml:2:14  = is written =="):
        library.expression(wrong, format_)


def test_an_expression_that_fails_says_which(library: Library) -> None:
    format_ = library.formats["hl7v2"]
    expression = library.expression("=PID-5.1 | date", format_)
    with pytest.raises(ContentError) as caught:
        expression(format_.parse(hl7(ADT)), FACTS)
    assert caught.value.place == "PID-5.1"
    assert str(caught.value).startswith("=PID-5.1 | date: PID-5.1 'Worthing' is not a date")
    with pytest.raises(UnknownCode) as unknown:
        library.expression("=PID-5.1 | code('sex')", format_)(format_.parse(hl7(ADT)), FACTS)
    assert (unknown.value.table, unknown.value.value) == ("sex", "Worthing")


def test_files_that_went_in_are_known(library: Library, tmp_path: Path) -> None:
    names = {path.relative_to(tmp_path).as_posix() for path in library.files}
    assert {"mappings/dft-to-charge.yaml", "mappings/codes/gl.csv"} <= names


def test_a_mapping_s_file_bears_its_name(site: MakeSite) -> None:
    library = site({"a.yaml": "mapping: b\nfrom: hl7v2\nto: json\nset: {x: y}\n", "c.yml": "x", **TABLES})
    assert [(problem.severity, problem.file) for problem in library.problems] == [
        ("warning", "mappings/a.yaml"),
        ("warning", "mappings/c.yml"),
    ]
    assert library.names == ["b"]


def test_two_mappings_of_one_name(site: MakeSite) -> None:
    text = "mapping: a\nfrom: hl7v2\nto: json\nset: {x: y}\n"
    assert any("there is another mapping 'a'" in str(problem) for problem in site({"a.yaml": text, "b.yaml": text}).problems)


def test_a_site_without_mappings_is_fine(site: MakeSite) -> None:
    library = site({})
    assert (library.names, library.problems) == ([], ())


def test_a_file_that_is_not_yaml_is_one_problem_and_the_others_are_read(site: MakeSite) -> None:
    library = site({"a.yaml": "mapping: a\nfrom: hl7v2\nto: json\nset: {x: y}\n", "b.yaml": "mapping: [\n"})
    assert {problem.file for problem in library.problems} == {"mappings/b.yaml"}
    assert library.chain(["a"], "hl7v2")
    with pytest.raises(ConfigurationError, match="errors of its own"):
        library.chain(["b"], "hl7v2")


def test_the_schema_for_editors_covers_every_key() -> None:
    from engine.mapping.build import BLOCK_KEYS
    from engine.mapping.step import KEYS

    schema = mapping_schema()
    assert set(schema["properties"]) == set(KEYS)
    assert set(schema["$defs"]["Block"]["properties"]) == set(BLOCK_KEYS)
    assert all(part.get("description") for part in schema["properties"].values())
    json.dumps(schema)


@pytest.mark.bench
def test_what_mapping_costs(library: Library) -> None:
    """A floor only: 60 µs for a mapping of some 22 fields and 3 µs for an expression, on a machine that may be busy."""
    format_ = library.formats["hl7v2"]
    step, content = library.step("adt-to-patient"), hl7(ADT)
    expression, document = library.expression("=MSH-9.1 == 'ADT' and MSH-9.2 in ['A01', 'A03']", format_), format_.parse(content)
    per_message = (
        min(repeat(lambda: step.apply(format_.parse(content), FACTS, 1), number=500, repeat=5, timer=time.process_time)) / 500
    )
    per_expression = min(repeat(lambda: expression(document, FACTS), number=5000, repeat=5, timer=time.process_time)) / 5000
    assert per_message < 600e-6
    assert per_expression < 30e-6
