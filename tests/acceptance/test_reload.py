"""Another configuration while messages flow: `reload`, `deploy`, `rollback`, SIGHUP and the file watch, on a real engine."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli import cli
from engine.connectors.mllp.framing import Deframer, frame
from engine.errors import WardlineError
from engine.store.history import History
from engine.testing.processes import free_port
from tests.acceptance.place import MESSAGE, Place


class Wire:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._deframer = Deframer(1 << 20)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def ask(self, content: bytes) -> bytes:
        self._socket.sendall(frame(content))
        while True:
            data = self._socket.recv(65536)
            assert data, "the engine closed the connection"
            for answer in self._deframer.receive(data):
                assert isinstance(answer, bytes)
                return answer


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    with made.engine:
        made.start()
        until((tmp_path / ".wardline" / "versions" / "journal.jsonl").exists, "its version was not kept")
        yield made


def wardline(place: Place, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [arguments[0], "--site", str(place.directory), *arguments[1:]])


def refused(place: Place, *arguments: str) -> WardlineError:
    error = wardline(place, *arguments).exception
    assert isinstance(error, WardlineError), error
    return error


def channel(place: Place, name: str, port: int, more: str = "", mllp: str = "") -> None:
    (place.directory / "channels" / f"{name}.yaml").write_text(
        f"channel: {name}\nsource:\n  mllp: {{listen: '127.0.0.1:{port}'{mllp}}}\nformat: hl7v2\n"
        f"order_by: =PID-3.1\nindex:\n  mrn: =PID-3.1\nroutes:\n  drop:\n    to: drop\n{more}"
    )


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def stored(place: Place) -> dict[str, tuple[str, str, str]]:
    """By control id: channel, state, version of the configuration that translated it."""
    with History(f"sqlite:///{place.directory}/data/wardline.db") as history:
        rows = history.find(limit=100)
        return {row.control_id: (row.channel, row.state, (history.message(row.id) or exit()).config) for row in rows}


def test_a_channel_is_added_and_another_changed_while_its_connection_stays(place: Place) -> None:
    other = free_port()
    with Wire(place.port) as wire:
        assert b"MSA|AA|BEFORE" in wire.ask(MESSAGE % b"BEFORE")
        place.delivered(1)
        channel(place, "more", other)
        channel(place, "adt", place.port, "accept:\n  - =MSH-9.2 == 'A08'\n")
        said = wardline(place, "reload")
        assert (said.exit_code, "channel more is new" in said.output) == (0, True)
        assert b"MSA|AR|AFTER" in wire.ask(MESSAGE % b"AFTER")
    with Wire(other) as wire:
        assert b"MSA|AA|OTHER" in wire.ask(MESSAGE % b"OTHER")
    place.delivered(2)
    found = stored(place)
    assert [found[one][:2] for one in ("BEFORE", "AFTER", "OTHER")] == [
        ("adt", "translated"), ("adt", "rejected"), ("more", "translated"),
    ]  # fmt: skip
    assert found["BEFORE"][2] != found["OTHER"][2]
    assert f"version {found['OTHER'][2]}" in said.output
    assert place.engine.stop() == 0


def test_an_invalid_set_never_replaces_a_running_one_and_every_error_is_told(place: Place) -> None:
    channel(place, "good", free_port())
    channel(place, "bad", free_port(), "skip: nothing\n")
    channel(place, "worse", free_port(), "colour: red\n")
    error = refused(place, "reload")
    assert error.exit_code == 78
    assert [line.partition(":")[0] for line in str(error).splitlines()] == ["channels/bad.yaml", "channels/worse.yaml"]
    with Wire(place.port) as wire:
        assert b"MSA|AA|STILL" in wire.ask(MESSAGE % b"STILL")
    status = wardline(place, "versions", "--json")
    assert [entry["what"] for entry in json.loads(status.output)] == ["started"]
    assert "not reloaded" in place.engine.tail()


def test_an_address_that_cannot_be_had_rolls_everything_back(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = free_port()
        channel(place, "afirst", first)
        channel(place, "adt", place.port, mllp=", max_frame: 1MB")  # its address would be opened anew
        channel(place, "zlast", taken.getsockname()[1])
        error = refused(place, "reload")
    assert (error.exit_code, "an address cannot be had" in str(error)) == (78, True)
    assert not accepts(first)
    with Wire(place.port) as wire:
        assert b"MSA|AA|BACK" in wire.ask(MESSAGE % b"BACK")
    place.delivered(1)
    (place.directory / "channels" / "zlast.yaml").unlink()
    assert wardline(place, "reload").exit_code == 0
    assert accepts(first)


def test_what_takes_a_restart_says_so(place: Place) -> None:
    settings = place.directory / "conf" / "engine.yaml"
    settings.write_text(settings.read_text().replace("data/wardline.db", "data/other.db"))
    assert "'store' has changed, which takes a restart" in str(refused(place, "reload"))


def test_one_channel_is_deployed_and_the_others_stay(place: Place) -> None:
    other = free_port()
    channel(place, "more", other)
    channel(place, "adt", place.port, "accept:\n  - =MSH-9.2 == 'A08'\n")
    assert wardline(place, "deploy", "more").exit_code == 0
    with Wire(place.port) as wire:
        assert b"MSA|AA|OLDRULE" in wire.ask(MESSAGE % b"OLDRULE")
    with Wire(other) as wire:
        assert b"MSA|AA|NEW" in wire.ask(MESSAGE % b"NEW")
    place.delivered(2)
    found = stored(place)
    assert found["OLDRULE"][2] != found["NEW"][2]
    assert wardline(place, "deploy", "adt").exit_code == 0
    with Wire(place.port) as wire:
        assert b"MSA|AR|NEWRULE" in wire.ask(MESSAGE % b"NEWRULE")
    assert "there is no channel 'mor'. Did you mean 'more'?" in str(refused(place, "deploy", "mor"))


def test_rollback_puts_the_files_back_and_takes_them_up(place: Place) -> None:
    before = (place.directory / "channels" / "adt.yaml").read_text()
    channel(place, "adt", place.port, "accept:\n  - =MSH-9.2 == 'A08'\n")
    channel(place, "more", free_port())
    assert wardline(place, "reload").exit_code == 0
    said = wardline(place, "rollback")
    assert said.exit_code == 0, said.exception
    assert said.output.splitlines()[:2] == ["put back  channels/adt.yaml", "put back  channels/more.yaml"]
    assert (place.directory / "channels" / "adt.yaml").read_text() == before
    assert not (place.directory / "channels" / "more.yaml").exists()
    assert (place.directory / ".wardline" / "versions" / "undone" / "channels" / "more.yaml").exists()
    with Wire(place.port) as wire:
        assert b"MSA|AA|BACK" in wire.ask(MESSAGE % b"BACK")
    entries = json.loads(wardline(place, "versions", "--json").output)
    assert [entry["what"] for entry in entries] == ["reloaded", "reloaded", "started"]
    assert entries[0]["version"] == entries[2]["version"] != entries[1]["version"]


def test_rollback_is_for_files_that_are_broken(place: Place) -> None:
    good = {path: path.read_bytes() for path in place.directory.glob("c*/*.yaml")}
    channel(place, "more", free_port())
    assert wardline(place, "reload").exit_code == 0
    for path in good:
        path.write_bytes(b"\xff{ what: [\n")
    (place.directory / "channels" / "stray.yaml").write_text("")
    assert refused(place, "reload").exit_code == 78
    assert "configuration .. is not kept here" in str(refused(place, "rollback", ".."))
    said = wardline(place, "rollback")
    assert (said.exit_code, "channel more is gone" in said.output) == (0, True), said.exception
    assert {path: path.read_bytes() for path in place.directory.glob("c*/*.yaml")} == good


def test_a_journal_that_a_power_loss_tore_keeps_no_engine_from_starting(place: Place) -> None:
    until(lambda: wardline(place, "versions", "--json").output.count("started") == 1, "it was not noted")
    assert place.engine.stop() == 0
    journal = place.directory / ".wardline" / "versions" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"version":"0011')
    place.start()
    until(lambda: wardline(place, "versions", "--json").output.count("started") == 2, "it was not noted")


def test_a_channel_moves_to_another_host_of_its_port(place: Place) -> None:
    file = place.directory / "channels" / "adt.yaml"
    file.write_text(file.read_text().replace("127.0.0.1", "0.0.0.0"))
    said = wardline(place, "reload")
    assert said.exit_code == 0, said.exception
    with Wire(place.port) as wire:
        assert b"MSA|AA|THERE" in wire.ask(MESSAGE % b"THERE")
    place.delivered(1)


def test_a_storm_of_signals_loses_no_change_and_no_message(place: Place) -> None:
    until(lambda: '"started"' in place.engine.tail(), "it did not start")
    ports = [free_port() for _ in range(3)]
    with Wire(place.port) as wire:
        for number, port in enumerate(ports):
            channel(place, f"more{number}", port)
            for n in range(20):
                os.kill(place.engine.pid, signal.SIGHUP)
                assert b"MSA|AA|" in wire.ask(MESSAGE % b"S%d-%d" % (number, n))
    until(lambda: all(map(accepts, ports)), "a change was lost")
    place.delivered(60)
    assert place.engine.stop() == 0


def test_sighup_reloads(place: Place) -> None:
    other = free_port()
    channel(place, "more", other)
    until(lambda: '"started"' in place.engine.tail(), "it did not start")
    os.kill(place.engine.pid, signal.SIGHUP)
    until(lambda: accepts(other), "SIGHUP changed nothing")


def test_a_watched_site_takes_up_what_is_right_and_says_what_is_not(tmp_path: Path) -> None:
    place = Place(tmp_path)
    settings = tmp_path / "conf" / "engine.yaml"
    settings.write_text(settings.read_text() + "watch: true\n")
    with place.engine:
        place.start()
        until(lambda: '"started"' in place.engine.tail(), "it did not start")
        good, half = free_port(), free_port()
        channel(place, "half", half, "skip: {")  # an editor in the middle of it
        until(lambda: "not reloaded" in place.engine.tail(), "nobody said what is wrong")
        channel(place, "half", half)
        channel(place, "good", good)
        until(lambda: accepts(good) and accepts(half), "the change was not taken up")
        with Wire(place.port) as wire:
            assert b"MSA|AA|FINE" in wire.ask(MESSAGE % b"FINE")


def test_channels_that_share_an_address_take_what_they_pick(place: Place) -> None:
    channel(place, "updates", place.port, "picks: =MSH-9.2 == 'A08'\n")
    assert wardline(place, "reload").exit_code == 0
    update = (MESSAGE % b"UPDATE").replace(b"ADT^A01^", b"ADT^A08^")
    with Wire(place.port) as wire:
        assert b"MSA|AA|UPDATE" in wire.ask(update)
        assert b"MSA|AA|ADMIT" in wire.ask(MESSAGE % b"ADMIT")
    found = stored(place)
    assert (found["UPDATE"][0], found["ADMIT"][0]) == ("updates", "adt")
    channel(place, "others", place.port)
    assert "is taken" in str(refused(place, "reload"))


def test_a_destination_is_exchanged_and_what_waits_for_it_goes_to_the_new_one(place: Place) -> None:
    (place.directory / "conf" / "destinations.yaml").write_text(
        "destinations:\n  drop:\n    directory: {path: elsewhere, name: '{identity}.hl7'}\n"
    )
    assert wardline(place, "pause", "drop", "--why", "moving house").output == "drop is paused: what comes for it waits\n"
    with Wire(place.port) as wire:
        assert b"MSA|AA|WAITS" in wire.ask(MESSAGE % b"WAITS")
    said = wardline(place, "reload")
    assert "destination drop is changed" in said.output
    assert wardline(place, "resume", "drop").output == "drop runs\n"
    until(lambda: len(list((place.directory / "elsewhere").glob("*.hl7"))) == 1, "nothing came")
    assert not (place.directory / "out").exists()


def test_without_an_engine_commands_say_so(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert "no engine runs on" in str(refused(place, "reload"))
    assert wardline(place, "pause", "drop").output == "no engine runs here: drop will be paused at its next start\n"
    assert "there is no destination 'dropp'. Did you mean 'drop'?" in str(refused(place, "pause", "dropp"))


def test_a_pause_outlives_a_restart(place: Place) -> None:
    assert wardline(place, "pause", "drop").exit_code == 0
    assert place.engine.stop() == 0
    place.start()
    with Wire(place.port) as wire:
        assert b"MSA|AA|WAITS" in wire.ask(MESSAGE % b"WAITS")
    until(lambda: stored(place)["WAITS"][1] == "translated", "it was not translated")
    assert '"state":"paused"' in place.engine.tail()
    assert not (place.directory / "out").exists()
    assert wardline(place, "resume", "drop").exit_code == 0
    place.delivered(1)


def test_status_says_what_runs_and_what_waits(place: Place) -> None:
    wardline(place, "pause", "drop", "--why", "moving house")
    with Wire(place.port) as wire:
        assert b"MSA|AA|WAITS" in wire.ask(MESSAGE % b"WAITS")
    until(lambda: stored(place)["WAITS"][1] == "translated", "it was not translated")
    facts = json.loads(wardline(place, "status", "--json").stdout)
    assert (facts["running"], facts["channels"]["adt"]["translated"]) == (True, 1)
    drop = facts["destinations"]["drop"]
    assert (drop["state"], drop["waiting"], "moving house" in drop["why"]) == ("paused", 1, True)
    shown = wardline(place, "status").stdout
    assert f"An engine runs, process {place.engine.pid}, configuration {facts['channels']['adt']['version']}." in shown
    assert place.engine.stop() == 0
    assert wardline(place, "status").stdout.startswith("No engine runs here; this is what its store holds.")
