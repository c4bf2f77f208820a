"""`wardline describe` and `wardline schema`: what they say is what the engine does."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from engine import registry
from engine.cli.pages import PAGES
from engine.cli.reference import entries
from engine.cli.schema import all_schemas
from engine.strictyaml import Map, Seq, load
from tests.acceptance.test_check import wardline
from tests.unit.config.sites import ENGINE

ROOT = Path(__file__).resolve().parents[2]


def test_every_option_of_every_connector_is_described() -> None:
    described = {
        (entry.name, part.title): {row.name for row in part.rows}
        for entry in entries() if entry.kind == "connector" for part in entry.parts
    }  # fmt: skip
    for name, connector in registry.connectors().items():
        for title, end in (("source", connector.source), ("destination", connector.destination)):
            if end:
                assert set(end.options.model_fields) <= described[name, title]


def test_describe_one() -> None:
    done = wardline("describe", "mllp")
    assert done.returncode == 0
    assert "listen" in done.stdout
    assert "ack_timeout" in done.stdout
    assert "30s" in done.stdout
    assert "MSA-2" in done.stdout


@pytest.mark.parametrize(
    "name", ["mllp", "hl7v2", "charge", "charge/v1", "date", "first", "matching", "destinations.yaml", "channel"]
)
def test_describe_finds(name: str) -> None:
    done = wardline("describe", name, "--json")
    assert done.returncode == 0
    (entry,) = json.loads(done.stdout)
    assert entry["name"].startswith(name)
    assert entry["about"]


def test_describe_nothing() -> None:
    done = wardline("describe", "mlpp")
    assert done.returncode == 2
    assert "there is nothing called 'mlpp'. Did you mean 'mllp'?" in done.stderr


def test_describe_lists_all_for_scripts() -> None:
    found = json.loads(wardline("describe", "--json").stdout)
    assert {entry["kind"] for entry in found} == {"connector", "format", "file", "function", "filter", "test", "name", "entity"}
    assert {entry["name"] for entry in found if entry["kind"] == "entity"} == set(registry.entities())


@pytest.mark.parametrize("name", PAGES)
def test_committed_pages_are_the_generated_ones(name: str) -> None:
    """After a change of declarations: wardline describe --markdown docs/reference"""
    assert (ROOT / "docs" / "reference" / name).read_text("utf-8") == PAGES[name]()


def test_pages_are_written(tmp_path: Path) -> None:
    done = wardline("describe", "--markdown", str(tmp_path / "pages"))
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_text("utf-8") for path in (tmp_path / "pages").iterdir()} == {
        name: text() for name, text in PAGES.items()
    }


# ── JSON Schemas ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", sorted(all_schemas()))
def test_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(all_schemas()[name])


def as_an_editor_sees_it(value: object) -> object:
    """Editors type scalars by YAML 1.2's core schema."""
    if isinstance(value, Map):
        return {str(key): as_an_editor_sees_it(item) for key, item in value.items()}
    if isinstance(value, Seq):
        return [as_an_editor_sees_it(item) for item in value]
    text = str(value)
    if getattr(value, "style", "") == "":
        if text in ("true", "false"):
            return text == "true"
        if text in ("", "~", "null"):
            return None
        for number in (int, float):
            try:
                return number(text)
            except ValueError:
                continue
    return text


def faults(name: str, text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(all_schemas()[name])
    return sorted(error.json_path for error in validator.iter_errors(as_an_editor_sees_it(load(text, "f.yaml"))))


@pytest.mark.parametrize(("name", "pattern"), [
    ("channel", "channels/*.yaml"), ("mapping", "mappings/*.yaml"), ("destinations", "conf/destinations.yaml"), ("engine", ENGINE),
])  # fmt: skip
def test_the_repositorys_own_files_are_valid(name: str, pattern: str) -> None:
    files = sorted(ROOT.glob(pattern))
    assert files
    for file in files:
        assert (file.name, faults(name, file.read_text("utf-8"))) == (file.name, [])


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("engine", "organization: A\nmonitor: {listen: 127.0.0.1:1}\n", []),
    ("engine", "organization: A\nmonitr: {listen: 127.0.0.1:1}\n", ["$"]),
    ("engine", "timezone: UTC\n", ["$"]),
    ("destinations", "destinations: {a: {mllp: {connect: 'h:${PORT}', connections: '${N:-3}'}, retry: {give_up_after: 0}}}", []),
    ("destinations", "destinations: {a: {mllp: {connect: h:1}, http: {url: 'https://x/'}}}", ["$.destinations.a"]),
    ("destinations", "destinations: {a: {mllp: {conect: h:1}}}", ["$.destinations.a.mllp", "$.destinations.a.mllp"]),
    ("destinations", "destinations: {a: {mllp: {connect: h:1, ack_timeout: 30}}}", ["$.destinations.a.mllp.ack_timeout"]),
    ("destinations", "destinations: {a: {http: {url: 'https://x/', auth: {bearer: abc}}}}", ["$.destinations.a.http.auth.bearer"]),
    ("channel", "channel: a\nsource: {mllp: {listen: h:1}}\nformat: hl7v2\nroutes: {a: {to: b}}", []),
    ("channel", "channel: a\nsource: {mllp: {listen: h:1}}\nformat: {hl7v2: {charset: 8859/1}}\nroutes: {a: {to: {directory: "
                "{path: x}, window: 1}}}", []),
    ("channel", "channel: a\nsource: {mllp: {listen: h:1}}\nformat: hl7v2\non_prk: x\nroutes: {a: {to: b}}", ["$"]),
    ("channel", "channel: a\nsource: {directory: {path: x}}\nformat: hl7v2\nroutes: {a: {to: b}}", ["$.source", "$.source"]),
    ("channel", "channel: a\nsource: {mllp: {listen: h:1}}\nformat: hl7v2\nindex: {mrn: PID-3}\nroutes: {a: {to: b}}", ["$.index.mrn"]),
    ("channel", "channel: a\nsource: {mllp: {listen: h:1}}\nformat: hl7v2\nroutes: {}", ["$.routes"]),
])  # fmt: skip
def test_schemas_find_what_the_reader_finds(name: str, text: str, expected: list[str]) -> None:
    assert faults(name, text) == expected


def test_mapping_schema_has_every_key() -> None:
    from engine.mapping import cases, step

    mapping = all_schemas()["mapping"]["anyOf"][0]
    assert set(mapping["properties"]) == set(step.KEYS)
    assert set(mapping["properties"]["tests"]["items"]["properties"]) <= set(cases.KEYS)


def test_schema_command(tmp_path: Path) -> None:
    one = wardline("schema", "charge")
    assert json.loads(one.stdout)["$id"] == "urn:wardline:canonical:charge:v1"
    assert "channel" in wardline("schema").stdout
    done = wardline("schema", "--out", str(tmp_path))
    assert done.returncode == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert {"channel.schema.json", "mapping.schema.json", "engine.schema.json", "charge.v1.schema.json"} <= names
    wrong = wardline("schema", "chanel")
    assert wrong.returncode == 2
    assert "there is no schema 'chanel'. Did you mean 'channel'?" in wrong.stderr
