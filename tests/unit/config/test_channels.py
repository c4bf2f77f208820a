"""Channel files and destinations: each mistake an analyst makes, with its place and its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.registry import formats
from engine.text import listed
from tests.unit.config.sites import CHANNEL, DESTINATIONS, ENGINE, MAPPING, MINIMAL, channel, make, read, told

A = "channels/adt.yaml"
FORMATS = listed(formats(), "or")
LATER = "is not available in this release."


@pytest.mark.parametrize(("text", "expected"), [
    # names
    (MINIMAL.replace("channel: adt", "channel: registration"), [
        f"{A}:1:10  the channel is called 'registration' and its file adt.yaml. Give both the same name."]),
    (MINIMAL.replace("channel: adt", "channel: 1 adt"), [
        f"{A}:1:10  channel: '1 adt' is no name: letters, digits, - and _, beginning with a letter, at most 64."]),
    (MINIMAL.replace("channel: adt\n", ""), [f"{A}:1:1  'channel' is missing here."]),
    (MINIMAL.replace("  patients: {mapping", "  the patients: {mapping"), [
        f"{A}:7:3  'the patients' is no name: letters, digits, - and _, beginning with a letter, at most 64."]),
    # keys and values
    (channel("criticalty: high"), [f"{A}:8:1  unknown key 'criticalty'. Did you mean 'criticality'?"]),
    (channel("criticality: urgent"), [f"{A}:8:14  'criticality' takes low, normal or high, not 'urgent'."]),
    (channel("sla: {deliver_within: 60}"), [
        f"{A}:8:23  deliver_within: '60' has no unit: write 60s (a duration is written like 30s, 250ms, 5m, 2h or 7d)."]),
    (channel("on_park: hold"), [f"{A}:8:10  'on_park' takes continue, not 'hold'."]),
    (channel("ack: stoerd"), [f"{A}:8:6  'ack' takes stored or processed or keys with values, not 'stoerd'."]),
    (channel("about: '${WHO}'"), [f"{A}:8:8  variables (${{…}}) and secrets are only replaced in connector options."]),
    (channel("tests: {given: a}"), [f"{A}:8:8  'tests' takes a list, not keys with values."]),
    (channel(without="format"), [f"{A}:1:1  'format' is missing here."]),
    # sources
    (MINIMAL.replace("mllp", "mlpp"), [f"{A}:3:3  there is no connector 'mlpp'. Did you mean 'mllp'?"]),
    (MINIMAL.replace("mllp", "carrier-pigeon"), [f"{A}:3:3  there is no connector 'carrier-pigeon'. Expected mllp."]),
    (MINIMAL.replace("mllp: {listen: 127.0.0.1:6660}", "http: {}"), [f"{A}:3:3  http cannot be a source. Those that can: mllp."]),
    (MINIMAL.replace("mllp: {listen: 127.0.0.1:6660}", "mllp: {lsten: h:1}"), [
        f"{A}:3:10  unknown key 'lsten'. Did you mean 'listen'?"]),
    (MINIMAL.replace("source:\n  mllp: {listen: 127.0.0.1:6660}", "source: mllp"), [
        f"{A}:2:9  expected a connector's key with its options below it: mllp."]),
    (MINIMAL.replace("  mllp: {listen: 127.0.0.1:6660}\n", ""), [
        f"{A}:2:8  expected a connector's key with its options below it: mllp."]),
    (MINIMAL.replace("127.0.0.1:6660", "127.0.0.1:65536"), [
        f"{A}:3:18  listen: '127.0.0.1:65536': the port after the colon must be a number from 0 to 65535, not '65536'."]),
    # formats
    (MINIMAL.replace("hl7v2", "hl7"), [f"{A}:4:9  there is no format 'hl7'. Did you mean 'hl7v2'?"]),
    (MINIMAL.replace("format: hl7v2", "format: {hl7v2: {charset: 8859/1}, x: y}"), [
        f"{A}:4:9  expected a format's name ({FORMATS}), or one key with its options below it."]),
    (MINIMAL.replace("format: hl7v2", "format: [hl7v2]"), [
        f"{A}:4:9  'format' takes text or keys with values, not a list."]),
    # expressions
    (channel("accept: MSH-9.1 == 'ADT'"), [
        f"{A}:8:9  expected an expression, which begins with '='. Did you mean '=MSH-9.1 == 'ADT''?"]),
    (MINIMAL.replace("=PID-3.1", "PID-3.1"), [
        f"{A}:5:14  expected an expression, which begins with '='. Did you mean '=PID-3.1'?"]),
    (channel("order_by:"), [f"{A}:8:10  'order_by' takes an expression or a list, but nothing stands here."]),
    (channel("skip: [=PID-3.1]"), [f"{A}:8:7  'skip' takes keys with values, not a list."]),
    (channel("accept: {a: b}"), [f"{A}:8:9  'accept' takes text or a list, not keys with values."]),
    (channel("accept: [{a: b}]"), [f"{A}:8:10  'accept[1]' takes text, not keys with values."]),
    (channel("index:", without="index"), [f"{A}:7:7  'index' takes keys with values, but nothing stands here."]),
    (channel("index: {two words: =PID-3.1}", without="index"), [
        f"{A}:7:9  'two words' is no name: letters, digits, - and _, beginning with a letter, at most 64."]),
    # routes
    (channel("routes: {}", without="routes").replace("  patients: {mapping: adt-to-patient, to: patients}\n", ""), [
        f"{A}:6:9  'routes' takes at least one entry, but nothing stands here."]),
    (MINIMAL.replace("to: patients", "to: patient"), [f"{A}:7:43  there is no destination 'patient'. Did you mean 'patients'?"]),
    (MINIMAL.replace("to: patients", "to: [patients]"), [f"{A}:7:43  'to' takes text or keys with values, not a list."]),
    (MINIMAL.replace(", to: patients", ""), [f"{A}:7:3  'to' is missing here."]),
    (MINIMAL.replace("to: patients", "when: PV1-2"), [
        f"{A}:7:3  'to' is missing here.",
        f"{A}:7:45  expected an expression, which begins with '='. Did you mean '=PV1-2'?"]),
    (MINIMAL.replace("{mapping: adt-to-patient, to: patients}", "patients"), [
        f"{A}:7:13  'patients' takes keys with values, not 'patients'."]),
    (MINIMAL.replace("mapping: adt-to-patient", "mapping: adt-to-patients"), [
        f"{A}:7:23  there is no mapping 'adt-to-patients': expected mappings/adt-to-patients.yaml. Did you mean 'adt-to-patient'?"]),
    (MINIMAL.replace("to: patients", "to: {directory: {path: out}, mllp: {connect: h:1}}"), [
        f"{A}:7:68  a second connector: directory stands on line 7. Choose one."]),
    (MINIMAL.replace("to: patients", "to: {rate: 20/s}"), [
        f"{A}:7:43  a connector is missing: directory, http or mllp, with its options below it."]),
    (MINIMAL.replace("to: patients", "to: {directory: {path: out}, retry: {first: 5m, up_to: 1s}}"), [
        f"{A}:7:75  retry: up_to is shorter than first."]),
    # later releases
    (channel("for_each: OBX"), [f"{A}:8:1  Splitting a message into several (for_each) {LATER}"]),
    (channel("reply: {from: a}"), [f"{A}:8:15  there is no route 'a' in this channel."]),
    (channel("with: {a: b}"), [f"{A}:8:1  Fetching stored documents (with) {LATER}"]),
    (channel("python: f"), [f"{A}:8:1  Calling Python functions (python) {LATER}"]),
    (channel("collect: {by: =PID-3}"), [f"{A}:8:1  Collecting messages into one (collect) {LATER}"]),
    (channel("ack: {processed: a}"), [f"{A}:8:18  there is no route 'a' in this channel."]),
    (MINIMAL.replace("  mllp", "  collect: {by: x}\n  mllp"), [f"{A}:3:3  collecting messages into one (collect) {LATER}"]),
    (MINIMAL.replace("to: patients", "to: {channel: b}"), [
        f"{A}:7:44  handing over to another channel (to: {{channel: …}}) {LATER}"]),
    (MINIMAL.replace("to: patients", "to: patients, after: x, with: y, python: z"), [
        f"{A}:7:60  there is no route 'x' above this one. A route waits for those before it.",
        f"{A}:7:63  Fetching stored documents (with) {LATER}",
        f"{A}:7:72  Calling Python functions (python) {LATER}"]),
])  # fmt: skip
def test_channel_mistakes(tmp_path: Path, text: str, expected: list[str]) -> None:
    problems = [one for one in told(read(tmp_path, {CHANNEL: text})) if not one.startswith("warning")]
    assert problems == expected


def test_an_expression_points_at_its_own_mistake(tmp_path: Path) -> None:
    (problem,) = read(tmp_path, {CHANNEL: channel("accept:", "  - =MSH-9.1 == 'ADT'", "  - =MSH-9.2 | uper")}).problems
    assert (problem.line, problem.column) == (10, 16)
    assert "upper" in problem.text


@pytest.mark.parametrize(("destinations", "expected"), [
    ("destinations:\n", ["channels/adt.yaml:7:43  there is no destination 'patients'. conf/destinations.yaml names none."]),
    ("destination: {}\n", [
        "channels/adt.yaml:7:43  there is no destination 'patients'. conf/destinations.yaml names none.",
        "conf/destinations.yaml:1:1  unknown key 'destination'. Did you mean 'destinations'?"]),
    ("destinations: [a]\n", ["conf/destinations.yaml:1:15  expected names of destinations, each with its connector below it."]),
    ("destinations:\n  patients: out\n", [
        "conf/destinations.yaml:2:13  expected a connector's key with its options below it: directory, http or mllp."]),
    ("destinations:\n  patients: {directory: {path: a}}\n  a b: {directory: {path: a}}\n", [
        "conf/destinations.yaml:3:3  'a b' is no name: letters, digits, - and _, beginning with a letter, at most 64.",
        "warning conf/destinations.yaml:3:3  no route goes to 'a b'."]),
    ("destinations:\n  patients: {directory: {path: a}, rate: 20}\n", [
        "conf/destinations.yaml:2:42  rate: '20' has no unit: write 20/s (a rate is written like 20/s, 90/m or 500/h)."]),
    ("destinations:\n  patients: {directory: {path: a}, window: 501}\n", [
        "conf/destinations.yaml:2:44  'window' takes at most 500, not '501'."]),
    ("destinations:\n  patients: {directory: {path: a}, retries: {}}\n", [
        "conf/destinations.yaml:2:36  there is no connector 'retries'. Did you mean 'retry'?"]),
    ("destinations:\n\tpatients: {directory: {path: a}}\n", ["conf/destinations.yaml:2:1  a tab: indent with spaces."]),
])  # fmt: skip
def test_destination_mistakes(tmp_path: Path, destinations: str, expected: list[str]) -> None:
    assert told(read(tmp_path, {CHANNEL: MINIMAL, DESTINATIONS: destinations})) == expected


@pytest.mark.parametrize(("engine", "expected"), [
    ("environment: test\n", ["conf/engine.yaml:1:1  'organization' is missing here."]),
    ("organization:\n", ["conf/engine.yaml:1:14  'organization' takes text that is not empty, but nothing stands here."]),
    ("organization: T\ntimezone: Nowhere\n", [
        "conf/engine.yaml:2:11  timezone: there is no time zone 'Nowhere'. Names are like America/New_York or Europe/Vienna."]),
    ("organization: T\ntimezone: ../../etc/passwd\n", [
        "conf/engine.yaml:2:11  timezone: there is no time zone '../../etc/passwd'. Names are like America/New_York or "
        "Europe/Vienna."]),
    ("organization: T\nstore: mysql://h/d\n", [
        "conf/engine.yaml:2:8  store: a store is sqlite:///data/wardline.db (relative to the site) or "
        "postgresql://user@host/database."]),
    ("organization: T\nstore: sqlite://data/x.db\n", [
        "conf/engine.yaml:2:8  store: a SQLite store is written with three slashes and a file: sqlite:///data/wardline.db."]),
    ("organization: T\nstore: postgresql://u:canary@h/d\n", [
        "conf/engine.yaml:2:8  a password does not stand in a file. Write store: secret://env/NAME, for the whole URL."]),
    ("organization: T\nstore: secret://env/NOPE\n", [
        "conf/engine.yaml:2:8  the environment has no NOPE, which this secret refers to."]),
    ("organization: T\nmonitor: 127.0.0.1:8071\n", [
        "conf/engine.yaml:2:10  'monitor' takes keys with values, not '127.0.0.1:8071'."]),
    ("organization: T\nmonitor: {listen: 8071}\n", [
        "conf/engine.yaml:2:19  listen: '8071' is no address: write host:port, 127.0.0.1:8071 for this machine alone or "
        "0.0.0.0:8071 for every interface."]),
])  # fmt: skip
def test_engine_mistakes(tmp_path: Path, engine: str, expected: list[str]) -> None:
    assert told(read(tmp_path, {ENGINE: engine})) == expected


SECOND = MINIMAL.replace("channel: adt", "channel: second")


@pytest.mark.parametrize(("first", "second", "expected"), [
    ("127.0.0.1:6660", "127.0.0.1:6660", "127.0.0.1:6660 is taken: channel adt listens on 127.0.0.1:6660 (channels/adt.yaml:3)."),
    ("0.0.0.0:6660", "127.0.0.1:6660", "127.0.0.1:6660 is taken: channel adt listens on 0.0.0.0:6660 (channels/adt.yaml:3)."),
    ("127.0.0.1:6660", "'[::]:6660'", "[::]:6660 is taken: channel adt listens on 127.0.0.1:6660 (channels/adt.yaml:3)."),
    ("127.0.0.1:6660", "127.0.0.1:8071", "127.0.0.1:8071 is taken: the monitor listens on 127.0.0.1:8071 (conf/engine.yaml:7)."),
    ("127.0.0.1:6660", "127.0.0.2:6660", ""),
])  # fmt: skip
def test_b123_one_address_twice(tmp_path: Path, first: str, second: str, expected: str) -> None:
    files: dict[str, str | None] = {
        CHANNEL: MINIMAL.replace("127.0.0.1:6660", first), "channels/second.yaml": SECOND.replace("127.0.0.1:6660", second),
    }  # fmt: skip
    found = told(read(tmp_path, files))
    assert found == ([f"channels/second.yaml:3:18  {expected} Choose another port."] if expected else [])


def test_console_and_monitor_need_two_addresses(tmp_path: Path) -> None:
    engine = "organization: T\nconsole: {listen: 127.0.0.1:8070}\nmonitor: {listen: 127.0.0.1:8070}\n"
    assert told(read(tmp_path, {ENGINE: engine})) == [
        "conf/engine.yaml:3:19  127.0.0.1:8070 is taken: the console listens on 127.0.0.1:8070 (conf/engine.yaml:2). "
        "Choose another port."
    ]


@pytest.mark.parametrize(("changes", "expected"), [
    ({CHANNEL: channel(without="index")}, [
        "channels/adt.yaml:1:1  without 'index' nobody finds a message by patient or account. Name the keys people search by."]),
    ({CHANNEL: channel("unique_by: []")}, []),
    ({CHANNEL: None}, [
        "channels  holds no channel file (NAME.yaml): nothing would be received.",
        "conf/destinations.yaml:3:3  no route goes to 'patients'.",
        "mappings/adt-to-patient.yaml  no route uses the mapping 'adt-to-patient'."]),
    ({CHANNEL: MINIMAL.replace("mapping: adt-to-patient, ", "")}, [
        "mappings/adt-to-patient.yaml  no route uses the mapping 'adt-to-patient'."]),
    ({"channels/b.yml": MINIMAL}, ["channels/b.yml  is not read: its name must end in .yaml."]),
    ({"conf/destination.yaml": "a: b"}, ["conf/destination.yaml  is not read. Is it destinations.yaml?"]),
])  # fmt: skip
def test_warnings(tmp_path: Path, changes: dict[str, str | None], expected: list[str]) -> None:
    reading = read(tmp_path, changes)
    assert reading.site is not None
    assert told(reading) == [f"warning {text}" for text in expected]


def test_a_mapping_with_errors_is_told_once(tmp_path: Path) -> None:
    """Where it is wrong, and not again at every route that uses it."""
    make(tmp_path)
    path = tmp_path / MAPPING
    path.write_text(path.read_text().replace("| identifier", "| identifer"))
    (problem,) = read(tmp_path, {MAPPING: path.read_text()}).problems
    assert problem.file == MAPPING


def test_what_cannot_be_read_leaves_no_false_warnings(tmp_path: Path) -> None:
    """A channel that is no YAML may use any destination and mapping."""
    assert told(read(tmp_path, {CHANNEL: "channel: adt\n\tx: y\n"})) == ["channels/adt.yaml:2:1  a tab: indent with spaces."]
    found = told(read(tmp_path, {CHANNEL: MINIMAL, DESTINATIONS: "a: [\n"}))
    assert [one.partition("  ")[0] for one in found] == ["conf/destinations.yaml:1:4"]


def cases_of(tmp_path: Path, *lines: str) -> tuple[list[str], list[str]]:
    """Names of the tests that were read, and what is wrong."""
    reading = read(tmp_path, {CHANNEL: channel("tests:", *(f"  {line}" for line in lines))})
    return [test.name for test in reading.tests.get("adt", ())], told(reading)


def test_channel_tests_are_read(tmp_path: Path) -> None:
    names, problems = cases_of(
        tmp_path,
        "- {given: samples/adt_a01.hl7, expect: {patients: [{id: '100200'}]}}",
        '- {name: a block, given: "MSH|\\nPID|", rejected: MSH-9.1}',
        "- given: |\n      MSH|^~\\&|\n    filtered: test patient",
        "- {given: samples/adt_a01.hl7, parks: PID-3}",
    )
    assert problems == []
    assert names == ["samples/adt_a01.hl7", "a block", "test 3", "samples/adt_a01.hl7"]


@pytest.mark.parametrize(("line", "expected"), [
    ("- {given: samples/adt_a02.hl7, parks: x}", "9:13  there is no file samples/adt_a02.hl7. Did you mean 'adt_a01.hl7'?"),
    ("- {given: samples/adt_a01.hl7}", "9:5  a test says one thing that must come of it: expect, filtered, rejected or parks."),
    ("- {given: samples/adt_a01.hl7, parks: x, rejected: y}",
     "9:44  a test says one thing that must come of it: expect, filtered, rejected or parks."),
    ("- {parks: x}", "9:5  'given' takes a file, samples/…, or the content itself as a block (|)."),
    ("- {given: samples/adt_a01.hl7, expct: {}, parks: x}", "9:34  unknown key 'expct'. Did you mean 'expect'?"),
    ("- {given: samples/adt_a01.hl7, expect: {patient: []}}", "9:43  there is no route 'patient'. Did you mean 'patients'?"),
    ("- {given: samples/adt_a01.hl7, expect: []}",
     "9:42  'expect' takes routes, each with a list of its results: {billing: [{field: value}]}."),
    ("- {given: samples/adt_a01.hl7, filtered: [a]}", "9:44  'filtered' takes part of the reason, as text."),
    ("- text", "9:5  'tests[1]' takes keys with values, not 'text'."),
])  # fmt: skip
def test_channel_test_mistakes(tmp_path: Path, line: str, expected: str) -> None:
    assert cases_of(tmp_path, line) == ([], [f"{A}:{expected}"])
