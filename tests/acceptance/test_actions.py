"""What people do to messages and deliveries: the plan first, then a running engine or, without one, the store alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli import cli
from engine.store.history import History
from tests.acceptance.place import MESSAGE, Place
from tests.acceptance.test_reload import Wire, until

MAPPING = """mapping: to-json
from: hl7v2
to: json
set:
  person: =PID-5.1
  visit: ={visit} | required
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Every message parks: its mapping asks for a field that no message has."""
    made = Place(tmp_path)
    (tmp_path / "mappings" / "to-json.yaml").write_text(MAPPING.format(visit="PV1-19"))
    file = tmp_path / "channels" / "adt.yaml"
    file.write_text(file.read_text().replace("    to: drop\n", "    mapping: to-json\n    to: drop\n"))
    with made.engine:
        made.start()
        yield made


def wardline(place: Place, *arguments: str) -> Result:
    result = CliRunner().invoke(cli, [arguments[0], "--site", str(place.directory), *arguments[1:]])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def states(place: Place) -> dict[str, str]:
    with History(f"sqlite:///{place.directory}/data/wardline.db") as history:
        return {row.control_id + (" again" if row.replay_of else ""): row.state for row in history.find(limit=100)}


def send(place: Place, *names: str) -> None:
    with Wire(place.port) as wire:
        for name in names:
            assert b"MSA|AA|" in wire.ask(MESSAGE % name.encode())
    until(lambda: "received" not in states(place).values(), "nothing was translated")


def mended(place: Place) -> None:
    (place.directory / "mappings" / "to-json.yaml").write_text(MAPPING.format(visit="PV1-3"))


def test_what_is_parked_is_released_in_order_once_the_mapping_is_mended(place: Place) -> None:
    send(place, "A", "B", "C")
    assert set(states(place).values()) == {"parked"}
    mended(place)
    assert wardline(place, "reload").exit_code == 0
    plan = wardline(place, "release", "state:parked")
    assert (plan.exit_code, plan.stdout.splitlines()[0]) == (1, "To release: 3 messages, in about 1 second")
    assert set(states(place).values()) == {"parked"}, "a plan that nobody agreed to was carried out"
    done = wardline(place, "release", "state:parked", "--yes", "--why", "mapping mended")
    assert done.stdout.splitlines()[-1] == "3 messages released."
    place.delivered(3)
    assert states(place) == {"A": "translated", "B": "translated", "C": "translated"}
    assert wardline(place, "release", "state:parked").stdout.startswith("Nothing is found")
    with History(f"sqlite:///{place.directory}/data/wardline.db") as history:
        (action,) = history.actions()
        assert (action.verb, action.why, action.messages) == ("release", "mapping mended", 3)


def test_a_replay_is_translated_anew_and_a_resend_keeps_its_identity(place: Place) -> None:
    mended(place)
    wardline(place, "reload")
    send(place, "A")
    place.delivered(1)
    plan = json.loads(wardline(place, "replay", "control:A", "--json").stdout)
    assert (plan["messages"], plan["destinations"], plan["delivered"]) == (1, {"drop": 1}, {"drop": 1})
    assert wardline(place, "replay", "control:A", "--yes").stdout.splitlines()[-1] == "1 message taken again."
    place.delivered(2)
    assert states(place) == {"A": "translated", "A again": "translated"}
    again = wardline(place, "resend", "control:A", "--yes")
    assert again.stdout.splitlines()[-1] == "2 deliveries sent again."
    with History(f"sqlite:///{place.directory}/data/wardline.db") as history:
        original = min(history.find(limit=10), key=lambda row: row.id)
        until(lambda: [row.state for row in history.deliveries(original.id)] == ["delivered"] * 2, "not sent again")
        assert len({row.identity for row in history.deliveries(original.id)}) == 1


def test_what_is_parked_is_cancelled_with_name_and_reason(place: Place) -> None:
    send(place, "A")
    wardline(place, "cancel", "control:A", "--yes", "--why", "test patient")
    shown = wardline(place, "show", "--json", json.loads(wardline(place, "search", "--json").stdout)[0]["id"]).stdout
    assert '"state": "filtered"' in shown
    assert ": test patient" in shown


def test_without_an_engine_the_store_is_acted_on_and_counts_at_the_next_start(place: Place) -> None:
    send(place, "A", "B")
    assert place.engine.stop() == 0
    mended(place)
    assert wardline(place, "release", "state:parked", "--yes").stdout.splitlines()[-1] == "2 messages released."
    place.start()
    place.delivered(2)


def test_an_interrupted_job_goes_on_where_it_stood(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.operations import jobs

    monkeypatch.setattr(jobs, "STEP", 1)
    send(place, "A", "B", "C")
    mended(place)
    wardline(place, "reload")
    asked: list[str] = []
    did = jobs.Jobs.did

    def failing(self: jobs.Jobs, job: jobs.Job, *what: int) -> None:
        asked.append(job.name)
        if len(asked) == 2:
            raise KeyboardInterrupt  # done, and nobody noted it
        did(self, job, *what)

    monkeypatch.setattr(jobs.Jobs, "did", failing)
    stopped = wardline(place, "release", "state:parked", "--yes")
    assert stopped.exit_code == 1
    done = wardline(place, "release", "--continue", asked[0])
    assert done.stdout.splitlines()[-1] == "3 messages released."
    place.delivered(3)
    again = CliRunner().invoke(cli, ["release", "--site", str(place.directory), "--continue", asked[0]])
    assert "is done: there is nothing to go on with" in str(again.exception)


def test_a_row_that_is_added_lets_all_that_waited_for_it_go_on_in_order(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "mappings" / "codes").mkdir()
    table = tmp_path / "mappings" / "codes" / "ward.csv"
    table.write_text("code,text\nW9,West\n")
    (tmp_path / "mappings" / "to-json.yaml").write_text(
        "mapping: to-json\nfrom: hl7v2\nto: json\nset:\n  control: =MSH-10\n  ward: =PV1-3.1 | code('ward')\n"
    )
    file = tmp_path / "channels" / "adt.yaml"
    file.write_text(file.read_text().replace("    to: drop\n", "    mapping: to-json\n    to: drop\n"))
    with place.engine:
        place.start()
        send(place, "A", "B", "C")
        assert set(states(place).values()) == {"parked"}
        said = wardline(place, "codes", "add", "ward", "code=W1", "text=Ward One")
        assert "3 messages" in said.stdout, said.stdout
        assert wardline(place, "reload").exit_code == 0
        drops = [json.loads(content) for content in place.delivered(3)]
        assert [drop["control"] for drop in drops] == ["A", "B", "C"], "file names sort by id, and ids follow the order"
        assert {drop["ward"] for drop in drops} == {"Ward One"}
        # and a row that is added while no engine runs counts at the next start
        send(place, "D")
        with Wire(place.port) as wire:
            assert b"MSA|AA|E" in wire.ask((MESSAGE % b"E").replace(b"W1^101", b"W2^101"))
        until(lambda: states(place).get("E") == "parked", "E was not parked")
        assert place.engine.stop() == 0
        table.write_text(table.read_text() + "W2,Ward Two\n")
        place.start()
        place.delivered(5)
