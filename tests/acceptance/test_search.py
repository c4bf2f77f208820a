"""`wardline search` and `wardline show`, in the store of an engine that runs, on SQLite and on PostgreSQL."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.cli import cli
from engine.connectors.mllp.framing import Deframer, frame
from engine.errors import EXIT_FAILED, EXIT_STORAGE, EXIT_USAGE, ConfigurationError, StoreError
from engine.testing.processes import EngineProcess, free_port
from tests.support import postgresql_database

HOSTILE = "EVIL\x1b[2J\x07\u202e"
ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{10,11}")


def adt(control_id: str, *, mrn: str = "4711", name: str = "TESTER^TINA", ward: str = "W1^101^1", processing: str = "P") -> bytes:
    return (
        f"MSH|^~\\&|EHR|GENERAL|WARDLINE|GENERAL|20261101101500||ADT^A01^ADT_A01|{control_id}|{processing}|2.5.1|||||||UNICODE UTF-8\r"
        f"EVN|A01|20261101101500\rPID|1||{mrn}^^^GENERAL^MR||{name}\rPV1|1|I|{ward}\r"
    ).encode()


MESSAGES = {
    "good": adt("C1"),
    "other": adt("C2", mrn="4712", name="Doe^Jane"),
    "hostile": adt("C3", mrn="666", name=HOSTILE),
    "parked": adt("C4", ward=""),
    "filtered": adt("C5", processing="T"),
    "rejected": adt("C6").replace(b"ADT^A01^ADT_A01", b"ORU^R01^ORU_R01"),
    "duplicate": adt("C1"),
}


class Place:
    """A site whose first destination works and whose second is not there."""

    def __init__(self, directory: Path, store: str) -> None:
        self.directory = directory
        self.port = free_port()
        files = {
            "conf/engine.yaml": f"organization: General Hospital\ntimezone: America/New_York\nstore: {json.dumps(store)}\n",
            "conf/destinations.yaml": "destinations:\n  drop:\n    directory: {path: out, name: '{identity}.hl7'}\n"
            f"  away:\n    mllp: {{connect: '127.0.0.1:{free_port()}'}}\n    retry: {{first: 1h, up_to: 1h}}\n",
            "channels/adt.yaml": f"channel: adt\nsource:\n  mllp: {{listen: '127.0.0.1:{self.port}'}}\nformat: hl7v2\n"
            "accept:\n  - =MSH-9.1 == 'ADT'\nskip:\n  test patient: =MSH-11 == 'T'\n"
            "order_by: =PID-3.1\nunique_by: [=MSH-10]\n"
            "index:\n  mrn: =PID-3.1\n  patient: \"=joined(', ', PID-5.1, PID-5.2)\"\n"
            "routes:\n  ward:\n    mapping: ward\n    to: drop\n"
            "  lab:\n    when: =PID-3.1 == '4712'\n    to: away\n",
            "mappings/ward.yaml": "mapping: ward\nfrom: hl7v2\nto: hl7v2\nset:\n  PV1-3.1: =PV1-3.1 | required\n",
        }
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self.engine = EngineProcess(directory, {})

    def fill(self) -> None:
        self.engine.start()
        self.engine.await_port(("127.0.0.1", self.port))
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as wire:
            deframer = Deframer(1 << 20)
            for content in MESSAGES.values():
                wire.sendall(frame(content))
                answers: list[bytes] = []
                while not answers:
                    answers = deframer.receive(wire.recv(65536))

    def settled(self) -> None:
        """Every message has been translated, and every delivery tried."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            rows = self.json("search")
            tried = [self.json("show", row["id"])["deliveries"] for row in rows if "waiting" in row["deliveries"]]
            if not any(row["state"] == "received" for row in rows) and all(
                one["attempts"] and one["state"] != "sending" for many in tried for one in many
            ):
                return
        raise AssertionError(f"nothing settles: {rows}\n{self.engine.tail()}")

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, [arguments[0], "--site", str(self.directory), *arguments[1:]])

    def text(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.output

    def json(self, *arguments: str) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def found(self, *query: str) -> list[str]:
        """Control ids, newest first."""
        return [row["control_id"] for row in self.json("search", *query)]

    def id_of(self, control_id: str) -> str:
        return str(self.json("search", f"control:{control_id}")[-1]["id"])


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    def filled(store: str) -> Iterator[Place]:
        made = Place(tmp_path_factory.mktemp(request.param), store)
        with made.engine:
            made.fill()
            made.settled()
            yield made

    if request.param == "sqlite":
        yield from filled("sqlite:///data/wardline.db")
    else:
        with postgresql_database() as url:
            yield from filled(url)


# ── search ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_newest_first(place: Place) -> None:
    assert place.found() == ["C1", "C6", "C5", "C4", "C3", "C2", "C1"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (["mrn:4712"], ["C2"]),
        (["mrn:4711"], ["C4", "C1"]),
        (["mrn:4711", "state:parked"], ["C4"]),
        (["patient:Doe, Jane"], ["C2"]),
        (['mrn:4712 patient:"Doe, Jane"'], ["C2"]),
        (["mrn:4712 state:translated"], ["C2"]),
        (["control:C3"], ["C3"]),
        (["state:filtered"], ["C5"]),
        (["state:rejected"], ["C6"]),
        (["state:duplicate"], ["C1"]),
        (["state:delivered"], ["C3", "C2", "C1"]),
        (["state:waiting"], ["C2"]),
        (["destination:away"], ["C2"]),
        (["type:ORU^R01"], ["C6"]),
        (["channel:adt", "since:1h", "type:ADT^A01", "state:parked"], ["C4"]),
        (["until:1h"], []),
        (["mrn:' OR 1=1 --"], []),
        (["mrn:%"], []),
        (["mrn:4712,666"], ["C3", "C2"]),
        (["-mrn:4712,666", "state:delivered"], ["C1"]),
        (["state:filtered,rejected"], ["C6", "C5"]),
        (["type:ADT", "-state:delivered,duplicate"], ["C5", "C4"]),
        (["error:test patient"], ["C5"]),
        (["error:REQUIRED", "is:duplicate"], []),
        (["is:duplicate"], ["C1"]),
    ],
    ids=" ".join,
)
def test_i18_terms_find(place: Place, query: list[str], expected: list[str]) -> None:
    assert place.found(*query) == expected


def test_an_id_and_a_delivery_s_identity_find_their_message(place: Place) -> None:
    number = place.id_of("C2")
    assert place.found(number) == place.found(f"id:{number.lower()}") == place.found(f"{number}-2") == ["C2"]


def test_the_table_tells_state_deliveries_and_reason(place: Place) -> None:
    result = CliRunner(env={"COLUMNS": "250"}).invoke(cli, ["search", "--site", str(place.directory)])
    rows = {cells[4]: cells for line in result.stdout.splitlines() if len(cells := re.split(r"\s{2,}", line.strip())) > 5}
    assert rows["C4"][5] == "parked (mapping)"
    assert "PV1-3.1" in rows["C4"][-1]
    assert rows["C2"][5:7] == ["translated", "1 delivered, 1 waiting"]
    assert "test patient" in rows["C5"][-1]
    assert ID.fullmatch(rows["C3"][0])


def test_the_limit_is_told(place: Place) -> None:
    result = place.run("search", "--limit", "2")
    assert "the newest 2" in result.stderr
    assert len(place.json("search", "--limit", "2")) == 2


def test_the_next_page_and_a_pasted_list(place: Place, tmp_path: Path) -> None:
    first = place.run("search", "--limit", "4")
    (before,) = re.findall(r"--before (\w+)", first.stderr)
    assert [row["control_id"] for row in place.json("search", "--limit", "4", "--before", before)] == ["C3", "C2", "C1"]
    (tmp_path / "list.txt").write_text("4712\n\n666\r\n4712\n")
    assert [row["control_id"] for row in place.json("search", "--list", "mrn", str(tmp_path / "list.txt"))] == ["C3", "C2"]
    assert place.run("search", "--before", "UUUU").exit_code == EXIT_USAGE


def test_a_result_as_a_file(place: Place, tmp_path: Path) -> None:
    for name in ("found.csv", "found.jsonl"):
        assert "lines" in place.run("search", "type:ADT", "--export", str(tmp_path / name)).stderr
    objects = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [one["control_id"] for one in objects] == ["C1", "C5", "C4", "C3", "C2", "C1"]
    table = list(csv.DictReader((tmp_path / "found.csv").read_text().splitlines()))
    assert [row["id"] for row in table] == [one["id"] for one in objects]
    assert table[1]["reason"] == objects[1]["reason"]
    assert place.run("search", "--export", str(tmp_path / "found.txt")).exit_code == EXIT_USAGE


def test_words_without_an_index_say_what_to_do(place: Place) -> None:
    result = place.run("search", "TINA")
    assert result.exit_code == EXIT_FAILED
    assert "wardline index" in str(result.exception)


def test_nothing_found_is_said_and_fine(place: Place) -> None:
    result = place.run("search", "mrn:0")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "Nothing is found.\n")
    assert place.json("search", "mrn:0") == []


def test_a_wrong_query_teaches(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from engine.cli import main; main()", "search", "mnr:4711", "--site", str(place.directory)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == EXIT_USAGE
    assert "Did you mean 'mrn'?" in done.stderr
    assert "the channels index mrn and patient" in done.stderr
    assert "Traceback" not in done.stderr


# ── show ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_show_tells_the_way_of_a_message(place: Place) -> None:
    number = place.id_of("C2")
    text = place.text("show", number)
    assert text.startswith(f"Message {number}\n")
    for line in (
        r"  state +translated",
        r"  channel +adt",
        r"  received +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d from 127\.0\.0\.1:\d+, \d+ bytes",
        r"  type +ADT\^A01",
        r"  control id +C2",
        r"  mrn +4712",
        r"  patient +Doe, Jane",
        r"  ward → drop: delivered",
        rf"    identity +{number}-1",
        r"    #1 20\d\d-.* delivered after \d+\.\d+ s",
        r"  lab → away: waiting",
        r"    order key +4712",
        r"    due +20\d\d-.*",
        r"    #1 20\d\d-.* unreached after \d+\.\d+ s .*refused.*",
    ):
        assert re.search(f"^{line}$", text, re.MULTILINE), f"{line}\n{text}"


def test_show_tells_routes_not_taken_and_why(place: Place) -> None:
    assert re.search(r"Routes not taken\n  lab +.*PID-3\.1 == '4712'.*", place.text("show", place.id_of("C1")))


@pytest.mark.parametrize(
    ("control_id", "expected"),
    [
        ("C4", ["parked (mapping)", "PV1-3.1", "is required"]),
        ("C5", ["filtered", "test patient"]),
        ("C6", ["rejected", "MSH-9"]),
    ],
)
def test_show_tells_why(place: Place, control_id: str, expected: list[str]) -> None:
    text = place.text("show", place.id_of(control_id))
    assert [word for word in expected if word not in text] == []


def test_a_duplicate_names_its_original(place: Place) -> None:
    newest, oldest = (row["id"] for row in place.json("search", "control:C1"))
    assert re.search(rf"duplicate of +{oldest}", place.text("show", newest))
    assert place.json("show", newest)["original"] == oldest


def test_content_piped_is_exactly_what_came(place: Place) -> None:
    for name, control_id in (("good", "C1"), ("hostile", "C3"), ("rejected", "C6")):
        assert place.run("show", place.id_of(control_id), "--content").stdout_bytes == MESSAGES[name]


def test_json_has_the_same_facts_and_content_when_asked(place: Place) -> None:
    number = place.id_of("C2")
    data = place.json("show", number)
    assert (data["id"], data["channel"], data["state"], data["keys"][0]) == (number, "adt", "translated", ["mrn", "4712"])
    assert [(one["route"], one["destination"], one["state"]) for one in data["deliveries"]] == [
        ("ward", "drop", "delivered"),
        ("lab", "away", "waiting"),
    ]
    assert [attempt["outcome"] for attempt in data["deliveries"][1]["attempts"]] == ["unreached"]
    assert data["received_at"].endswith("Z")
    assert "content" not in data
    full = place.json("show", number, "--content")
    assert full["content"].encode() == full["deliveries"][1]["content"].encode() == MESSAGES["other"]


@pytest.mark.parametrize("arguments", [["search"], ["show", "C3", "--content"]], ids=["search", "show"])
def test_i14_content_cannot_reach_the_terminal(place: Place, arguments: list[str], in_terminal: Callable[..., str]) -> None:
    if arguments[0] == "show":
        arguments = ["show", place.id_of("C3"), "--content"]
    written = in_terminal(*arguments, "--site", str(place.directory))
    assert "\x07" not in written
    assert "\u202e" not in written
    assert "\x1b[2J" not in written
    if arguments[0] == "show":
        assert r"EVIL\x1b[2J\x07\u202e" in written
        assert "      PV1|1|I|W1^101^1" in written.splitlines()


@pytest.fixture
def in_terminal() -> Callable[..., str]:
    """What a command writes to a real terminal."""

    def run(*arguments: str) -> str:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", "from engine.cli import main; main()", *arguments]
        with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL) as process:
            os.close(theirs)
            written = b""
            try:
                while data := os.read(ours, 65536):
                    written += data
            except OSError:
                pass  # Linux says so when the other end has closed
        os.close(ours)
        assert process.returncode == 0, written.decode()
        return written.decode()

    return run


def test_i15_the_log_says_what_happened_and_holds_no_content(place: Place) -> None:
    log = place.engine.log.read_text()
    assert {"parked", "rejected"} <= {json.loads(line)["event"] for line in log.splitlines()}
    assert [word for word in ("EVIL", "TESTER", "TINA", "Doe", "W1^101") if word in log] == []


# ── what goes wrong ────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_id_says_what_else_to_try(place: Place) -> None:
    result = place.run("show", "0000000001")
    assert result.exit_code == 1
    assert "search control:" in str(result.exception)
    assert place.run("show", "UUUU").exit_code == EXIT_USAGE


def test_a_site_without_a_store_says_so_and_shows_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    engine = tmp_path / "conf" / "engine.yaml"
    engine.write_text("organization: General Hospital\n")
    missing = CliRunner().invoke(cli, ["search", "--site", str(tmp_path)])
    assert isinstance(missing.exception, StoreError)
    assert missing.exception.exit_code == EXIT_STORAGE
    assert "data/wardline.db: has the engine run here?" in str(missing.exception)
    assert not (tmp_path / "data").exists()
    engine.write_text("organization: General Hospital\nstore: secret://env/STORE\n")
    monkeypatch.setenv("STORE", "postgresql://wardline:QZSECRET@127.0.0.1:9/nothing")
    unreachable = CliRunner().invoke(cli, ["search", "--site", str(tmp_path)])
    assert isinstance(unreachable.exception, StoreError)
    assert "QZSECRET" not in str(unreachable.exception) + unreachable.output


def test_a_directory_that_is_no_site_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["search", "--site", str(tmp_path)])
    assert isinstance(result.exception, ConfigurationError)
    assert "conf/engine.yaml" in str(result.exception)


def test_show_tree_names_every_value(place: Place) -> None:
    number = place.id_of("C2")
    rows = place.json("show", number, "--tree")
    assert {"path": "PID-3.1", "name": "Patient Identifier List › ID Number", "value": "4712"} in rows
    assert "PID-3.1" in place.text("show", number, "--tree")
    assert not set(place.text("show", place.id_of("C3"), "--tree")) & set("\x1b\x07\u202e")


def test_show_diff_against_the_message_before(place: Place) -> None:
    number = place.id_of("C2")
    found = place.json("show", number, "--diff")
    assert set(found) == {"before", "changes", "notes"}
    assert place.run("show", number, "--diff").exit_code == 0
    assert place.run("show", number, "--diff", "--tree").exit_code == EXIT_USAGE
