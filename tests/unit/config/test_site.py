"""A site read whole: what it becomes, and every problem of every file at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.config import load_site
from engine.contracts import RetryPolicy
from engine.errors import EXIT_CONFIGURATION, ConfigurationError
from engine.quantities import Address
from tests.unit.config.sites import CHANNEL, DESTINATIONS, ENGINE, MAPPING, MINIMAL, channel, make, read, told


def test_the_starter_is_a_site(tmp_path: Path) -> None:
    reading = read(tmp_path)
    assert told(reading) == []
    assert reading.counts == {"channels": 1, "destinations": 1, "mappings": 1, "code tables": 1}
    site = reading.site
    assert site is not None
    assert (site.organization, site.environment, site.timezone) == ("Test", "test", "UTC")
    assert (site.store, site.monitor) == ("sqlite:///data/wardline.db", "127.0.0.1:8071")
    assert site.directory == str(tmp_path)
    (adt,) = site.channels
    assert (adt.name, adt.connector, adt.options.listen) == ("adt", "mllp", Address("127.0.0.1", 6660))
    assert (adt.format.name, adt.criticality, adt.sensitivity) == ("hl7v2", "normal", "phi")
    assert [expression.text for expression in adt.accept] == ["=MSH-9.1 == 'ADT'"]
    assert [(reason, condition.text) for reason, condition in adt.skip] == [("test patient", "=MSH-11 == 'T'")]
    assert [name for name, _ in adt.index] == ["mrn", "patient"]
    assert [expression.text for expression in adt.unique_by] == ["=MSH-3", "=MSH-4", "=MSH-10"]
    assert [(route.name, route.destination, route.when) for route in adt.routes] == [("patients", "patients", None)]
    (patients,) = site.destinations
    assert (patients.name, patients.connector, patients.options.path) == ("patients", "directory", "out")
    assert patients.retry == RetryPolicy(first=1.0, up_to=300.0)


def test_expressions_and_mappings_run_on_the_sample(tmp_path: Path) -> None:
    """What was compiled is the real thing: it reads the sample message."""
    from engine.contracts import Facts

    (adt,) = load_site(make(tmp_path), {}).channels
    document = adt.format.parse((tmp_path / "samples/adt_a01.hl7").read_bytes())
    facts = Facts()
    assert [bool(condition(document, facts)) for condition in adt.accept] == [True]
    assert [bool(condition(document, facts)) for _, condition in adt.skip] == [False]
    assert {name: str(expression(document, facts)) for name, expression in adt.index} == {
        "mrn": "100200",
        "patient": "Example, Ann",
    }
    assert [str(expression(document, facts)) for expression in adt.unique_by] == ["EHR", "GENERAL", "EHR0000001"]
    assert adt.routes[0].mapping is not None
    (product,) = adt.routes[0].mapping.apply(document, facts)
    assert product.kind == "patient/v1"
    assert product.value["id"] == "100200"


def test_variables_come_from_the_environment(tmp_path: Path) -> None:
    reading = read(tmp_path, environ={"ADT_LISTEN": "0.0.0.0:7000", "PATIENTS_DIRECTORY": "/srv/out"})
    assert reading.site is not None
    assert reading.site.channels[0].options.listen == Address("0.0.0.0", 7000)
    assert reading.site.destinations[0].options.path == "/srv/out"


def test_every_setting_arrives(tmp_path: Path) -> None:
    text = channel(
        "about: All of it", "owner: Somebody", "criticality: high", "sensitivity: internal", "sla: {deliver_within: 60s}",
        "ack: stored", "accept: [\"=MSH-9.1 == 'ADT'\", =MSH-10]", "skip: {none: =PID-3.1 == ''}", "on_park: continue",
        "order_by: [=PID-3.1, =MRG-1.1]", "unique_by: [=MSH-10]", "routes:", "  raw: {to: patients, when: =PV1-2 == 'I'}",
        "  both: {mapping: [adt-to-patient], to: {mllp: {connect: h:1}, retry: {give_up_after: 7d, refusals: 3}, rate: 20/s,"
        " window: 1}}",
        without="routes",
    ).replace("  patients: {mapping: adt-to-patient, to: patients}\n", "")  # fmt: skip
    site = load_site(make(tmp_path, {CHANNEL: text}), {})
    (adt,) = site.channels
    assert (adt.about, adt.owner, adt.criticality, adt.sensitivity) == ("All of it", "Somebody", "high", "internal")
    assert adt.deliver_within == 60.0
    assert (len(adt.accept), len(adt.skip), len(adt.order_by), len(adt.unique_by)) == (2, 1, 2, 1)
    raw, both = adt.routes
    assert (raw.mapping, raw.when is not None, raw.destination) == (None, True, "patients")
    assert (both.mapping is not None, both.destination) == (True, "adt.both")
    inline = next(spec for spec in site.destinations if spec.name == "adt.both")
    assert (inline.connector, inline.rate, inline.window) == ("mllp", 20.0, 1)
    assert inline.retry == RetryPolicy(1.0, 300.0, 7 * 86400.0, 3)


def test_version_is_of_the_files_alone(tmp_path: Path) -> None:
    one = load_site(make(tmp_path / "one"), {})
    other = load_site(make(tmp_path / "other"), {"ADT_LISTEN": "0.0.0.0:1"})
    assert one.version == other.version
    assert len(one.version) == 12
    (tmp_path / "one/mappings/codes/sex.csv").write_text("code,sex\nF,female\n")
    assert load_site(tmp_path / "one", {}).version != one.version
    (tmp_path / "other/README.md").write_text("no part of it")
    assert load_site(tmp_path / "other", {}).version == one.version


ALL_WRONG = {
    ENGINE: "organization: Test\ntimezone: Europe/Wien\nmonitr: {listen: 127.0.0.1:8071}\nstore: postgresql://u:pw@h/d\n",
    DESTINATIONS: """\
destinations:
  patients:
    directory: {pth: out}
  lab:
    mlpp: {connect: h:1}
  billing:
    http: {url: "https://x.example.org/", auth: {bearer: hunter2}}
    retry: {frist: 1s, up_to: 5}
  ledger:
    directory: {path: out}
    http: {url: "https://x.example.org/"}
    window: 0
  nothing:
    rate: 20/s
""",
    CHANNEL: """\
channel: adtt
sla: {deliver_within: 60}
owner: Somebody
owner: Somebody else
source:
  mllp: {listen: "${NO_SUCH}"}
format: hl7v3
on_park: hold
routes:
  a: {to: patient}
""",
    "channels/b.yaml": """\
channel: b
sorce:
  mllp: {listen: 127.0.0.1:8071}
format: {hl7v2: {charst: latin1}}
ack: {processed: [a], wait: 30s}
reply: {from: a}
for_each: OBX
routes:
  a:
    to: {channel: c}
    after: b
  b:
    mapping: adt-to-patint
    to: {directory: {path: out}, rte: 20/s}
""",
    "channels/c.yaml": """\
channel: c
source:
  http: {listen: 127.0.0.1:1}
format: hl7v2
accept: MSH-9.1 == 'ADT'
skip: [=PID-3.1]
index: {mrn: PID-3.1, "two words": =PID-3.1}
order_by: =first(PID-3.1
routes: {}
""",
}
EXPECTED = """\
channels/adt.yaml:1:10  the channel is called 'adtt' and its file adt.yaml. Give both the same name.
channels/adt.yaml:2:23  deliver_within: '60' has no unit: write 60s (a duration is written like 30s, 250ms, 5m, 2h or 7d).
channels/adt.yaml:4:1  'owner' stands here a second time; the first is on line 3.
channels/adt.yaml:6:19  the environment has no NO_SUCH. Set it, or give a default: ${NO_SUCH:-…}.
channels/adt.yaml:7:9  there is no format 'hl7v3'. Did you mean 'hl7v2'?
channels/adt.yaml:8:10  'on_park' takes continue, not 'hold'.
channels/adt.yaml:10:11  there is no destination 'patient'. Did you mean 'patients'?
channels/b.yaml:2:1  unknown key 'sorce'. Did you mean 'source'?
channels/b.yaml:4:18  unknown key 'charst'. Did you mean 'charset'?
channels/b.yaml:7:1  Splitting a message into several (for_each) is not available in this release.
channels/b.yaml:10:10  handing over to another channel (to: {channel: …}) is not available in this release.
channels/b.yaml:11:12  there is no route 'b' above this one. A route waits for those before it.
channels/b.yaml:14:34  there is no connector 'rte'. Did you mean 'rate'?
channels/c.yaml:3:3  http cannot be a source. Those that can: mllp.
channels/c.yaml:5:9  expected an expression, which begins with '='. Did you mean '=MSH-9.1 == 'ADT''?
channels/c.yaml:6:7  'skip' takes keys with values, not a list.
channels/c.yaml:7:14  expected an expression, which begins with '='. Did you mean '=PID-3.1'?
channels/c.yaml:7:23  'two words' is no name: letters, digits, - and _, beginning with a letter, at most 64.
channels/c.yaml:8:11  ( is opened here and never closed.
channels/c.yaml:9:9  'routes' takes at least one entry, but nothing stands here.
conf/destinations.yaml:3:17  unknown key 'pth'. Did you mean 'path'?
conf/destinations.yaml:5:5  there is no connector 'mlpp'. Did you mean 'mllp'?
conf/destinations.yaml:7:58  a secret does not stand in a file. Write secret://env/NAME or secret://file/run/secrets/name.
conf/destinations.yaml:8:13  unknown key 'frist'. Did you mean 'first'?
conf/destinations.yaml:8:31  up_to: '5' has no unit: write 5s (a duration is written like 30s, 250ms, 5m, 2h or 7d).
conf/destinations.yaml:11:5  a second connector: directory stands on line 10. Choose one.
conf/destinations.yaml:12:13  'window' takes at least 1, not '0'.
conf/destinations.yaml:14:5  a connector is missing: directory, http or mllp, with its options below it.
conf/engine.yaml:2:11  timezone: there is no time zone 'Europe/Wien'. Did you mean 'Europe/Vienna'?
conf/engine.yaml:3:1  unknown key 'monitr'. Did you mean 'monitor'?
conf/engine.yaml:4:8  a password does not stand in a file. Write store: secret://env/NAME, for the whole URL."""


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    """Sorted by file and line; what YAML itself refuses hides nothing of the rest of its file."""
    with pytest.raises(ConfigurationError) as caught:
        load_site(make(tmp_path, ALL_WRONG), {})
    assert str(caught.value).splitlines() == EXPECTED.splitlines()
    assert caught.value.exit_code == EXIT_CONFIGURATION
    assert "hunter2" not in str(caught.value)


def test_b130_one_wrong_file_of_many_is_the_only_one_named(tmp_path: Path) -> None:
    many = {f"channels/c{n}.yaml": MINIMAL.replace("adt\n", f"c{n}\n", 1).replace("6660", str(10_000 + n)) for n in range(200)}
    many["channels/c77.yaml"] = many["channels/c77.yaml"].replace("index:", "indx:")
    assert told(read(tmp_path, {**many, CHANNEL: None})) == ["channels/c77.yaml:5:1  unknown key 'indx'. Did you mean 'index'?"]


def test_no_site_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is missing: this directory is no site"):
        load_site(tmp_path, {})


def test_a_site_without_destinations_file(tmp_path: Path) -> None:
    inline = channel("routes: {a: {to: {directory: {path: out}}}}", without="routes").replace(MINIMAL.splitlines()[-1] + "\n", "")
    reading = read(tmp_path, {CHANNEL: inline, DESTINATIONS: None, MAPPING: None})
    assert told(reading) == []
    assert reading.site is not None
    assert [spec.name for spec in reading.site.destinations] == ["adt.a"]


def test_s38_no_secret_in_repr_version_or_problems(tmp_path: Path) -> None:
    billing = """\
destinations:
  patients:
    http: {url: "https://x.example.org/", auth: {bearer: secret://env/TOKEN}}
"""
    engine = "organization: Test\nstore: secret://env/STORE\n"
    environ = {"TOKEN": "canary-token", "STORE": "postgresql://u:canary-password@h/d"}
    site = load_site(make(tmp_path, {DESTINATIONS: billing, ENGINE: engine}), environ)
    assert site.destinations[0].options.auth.bearer.get_secret_value() == "canary-token"
    assert site.store == environ["STORE"]
    assert "canary" not in repr(site)
    assert site.version == load_site(tmp_path, {"TOKEN": "other", "STORE": "sqlite:///x.db"}).version
    with pytest.raises(ConfigurationError) as caught:
        load_site(tmp_path, {"TOKEN": "canary\ntoken", "STORE": "mysql://canary:canary@h"})
    assert [str(problem) for problem in caught.value.problems] == [
        "conf/destinations.yaml:3:49  auth: bearer: a token is one line of visible ASCII characters.",
        "conf/engine.yaml:2:8  store: a store is sqlite:///data/wardline.db (relative to the site) or "
        "postgresql://user@host/database.",
    ]


def test_warnings_travel_with_the_site(tmp_path: Path) -> None:
    reading = read(tmp_path, {CHANNEL: channel(without="index")})
    assert reading.site is not None
    assert reading.site.problems == reading.problems
    assert replace(reading.site, problems=()) != reading.site
