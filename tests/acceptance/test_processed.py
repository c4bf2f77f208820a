"""`ack: processed` and `reply`: the sender hears what became of its message, on a real engine with a real receiver."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.connectors.mllp.framing import Deframer, frame
from tests.acceptance.place import MESSAGE, Place
from tests.acceptance.test_reload import Wire, until


class Payer:
    """Answers each message as it is told to, in a thread of its own."""

    def __init__(self) -> None:
        self.code = b"AA"
        self.silent = False
        self.heard: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                wire, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(wire,), daemon=True).start()

    def _answer(self, wire: socket.socket) -> None:
        deframer = Deframer(1 << 20)
        with wire:
            while data := wire.recv(65536):
                for content in deframer.receive(data):
                    assert isinstance(content, bytes)
                    self.heard.append(content)
                    if not self.silent:
                        control = content.split(b"|")[9]
                        head = b"MSH|^~\\&|PAYER|P|WARDLINE|W|20261101||RSP^K11^RSP_K11|R" + control + b"|P|2.5.1\r"
                        wire.sendall(frame(head + b"MSA|" + self.code + b"|" + control + b"\rQAK|1|OK\r"))


@pytest.fixture
def payer() -> Iterator[Payer]:
    made = Payer()
    yield made
    made.close()


def place_with(directory: Path, payer: Payer, more: str) -> Place:
    place = Place(directory)
    (directory / "conf" / "destinations.yaml").write_text(
        f"destinations:\n  payer:\n    mllp: {{connect: '127.0.0.1:{payer.port}', ack_timeout: 20s}}\n"
    )
    (directory / "channels" / "adt.yaml").write_text(
        f"channel: adt\nsource:\n  mllp: {{listen: '127.0.0.1:{place.port}'}}\nformat: hl7v2\norder_by: =PID-3.1\n"
        f"index:\n  mrn: =PID-3.1\n{more}routes:\n  payer:\n    to: payer\n"
    )
    return place


def test_the_answer_waits_for_the_delivery_and_a_resend_hears_the_same_bytes(tmp_path: Path, payer: Payer) -> None:
    place = place_with(tmp_path, payer, "ack: {processed: payer, wait: 20s}\n")
    with place.engine:
        place.start()
        with Wire(place.port) as wire:
            first = wire.ask(MESSAGE % b"FIRST")
            assert b"MSA|AA|FIRST" in first
            assert len(payer.heard) == 1, "it was answered before it was delivered"
            assert wire.ask(MESSAGE % b"FIRST") == first
            payer.code = b"AE"
            refused = wire.ask(MESSAGE % b"SECOND")
            assert b"MSA|AE|SECOND|payer: " in refused
            assert wire.ask(MESSAGE % b"SECOND") == refused
        assert len(payer.heard) == 2, "a re-send was delivered again"
        assert place.engine.stop() == 0


def test_when_the_time_is_up_the_message_is_stored_and_a_resend_hears_the_rest(tmp_path: Path, payer: Payer) -> None:
    payer.silent = True
    place = place_with(tmp_path, payer, "ack: {processed: payer, wait: 500ms}\n")
    with place.engine:
        place.start()
        with Wire(place.port) as wire:
            assert b"MSA|AE|LATE|stored, and not processed in time: ask again" in wire.ask(MESSAGE % b"LATE")
            until(lambda: len(payer.heard) == 1, "it was not delivered")


def test_after_a_kill_what_was_owed_is_asked_for_again_and_delivered_once_answered(tmp_path: Path, payer: Payer) -> None:
    payer.silent = True
    place = place_with(tmp_path, payer, "ack: {processed: payer, wait: 60s}\n")
    with place.engine:
        place.start()
        with socket.create_connection(("127.0.0.1", place.port)) as wire:
            wire.sendall(frame(MESSAGE % b"OWED"))
            until(lambda: len(payer.heard) == 1, "it was not delivered")
            place.engine.kill()
        payer.silent = False
        place.start()
        with Wire(place.port) as again:
            assert b"MSA|AA|OWED" in again.ask(MESSAGE % b"OWED")
        assert len(set(payer.heard)) == 1


def test_a_destinations_reply_answers_the_sender(tmp_path: Path, payer: Payer) -> None:
    place = place_with(tmp_path, payer, "reply: {from: payer, within: 20s, set: {MSA-3: =PID-5.1}}\n")
    with place.engine:
        place.start()
        with Wire(place.port) as wire:
            answer = wire.ask(MESSAGE % b"QUERY")
    assert b"RSP^K11^RSP_K11" in answer
    assert b"\rMSA|AA|QUERY|TESTER\r" in answer
    assert b"QAK|1|OK" in answer


def test_a_second_signal_ends_it_at_once_and_what_was_on_the_wire_goes_again(tmp_path: Path, payer: Payer) -> None:
    payer.silent = True
    place = place_with(tmp_path, payer, "")
    with place.engine:
        place.start()
        with Wire(place.port) as wire:
            assert b"MSA|AA|" in wire.ask(MESSAGE % b"SENDING")
        until(lambda: len(payer.heard) == 1, "it was not delivered")
        os.kill(place.engine.pid, signal.SIGTERM)
        until(lambda: '"stopping"' in place.engine.tail(), "it does not stop")
        os.kill(place.engine.pid, signal.SIGTERM)
        assert place.engine.ended(5) == 1
        assert "by a second signal" in place.engine.tail()
        payer.silent = False
        place.start()
        until(lambda: len(payer.heard) == 2, "it was not sent again")
    assert payer.heard[0] == payer.heard[1]


def test_an_answer_behind_another_one_on_its_connection_holds_up_nobody_else(tmp_path: Path, payer: Payer) -> None:
    """Replies leave a connection in the order of the messages: the second one waits, and its channel goes on."""
    payer.silent = True
    place = place_with(tmp_path, payer, "ack: {processed: [payer, drop], wait: 60s}\n")
    file = tmp_path / "conf" / "destinations.yaml"
    file.write_text(file.read_text() + "  drop:\n    directory: {path: out, name: '{identity}.hl7'}\n")
    file = tmp_path / "channels" / "adt.yaml"
    routes = "  payer:\n    to: payer\n    when: =MSH-10 == 'SLOW'\n  drop:\n    to: drop\n    when: =MSH-10 != 'SLOW'\n"
    file.write_text(
        file.read_text().replace("order_by: =PID-3.1", "order_by: =MSH-10").replace("  payer:\n    to: payer\n", routes)
    )
    with place.engine:
        place.start()
        with socket.create_connection(("127.0.0.1", place.port), timeout=20) as both, Wire(place.port) as other:
            both.sendall(frame(MESSAGE % b"SLOW") + frame(MESSAGE % b"FAST"))
            until(lambda: len(payer.heard) == 1, "it was not delivered")
            place.delivered(1)
            assert b"MSA|AA|OTHER" in other.ask(MESSAGE % b"OTHER")
            place.engine.kill()  # the payer would be waited for


def test_a_route_that_is_not_there_is_named(tmp_path: Path, payer: Payer) -> None:
    from engine.config import load_site
    from engine.errors import ConfigurationError

    for wrong in ("ack: {processed: player}\n", "reply: {from: player}\n"):
        (tmp_path / wrong[:3]).mkdir()
        place = place_with(tmp_path / wrong[:3], payer, wrong)
        with pytest.raises(ConfigurationError, match=r"there is no route 'player' in this channel\. Did you mean 'payer'"):
            load_site(place.directory)


def test_a_route_waits_until_the_one_before_it_has_ended(tmp_path: Path, payer: Payer) -> None:
    place = place_with(tmp_path, payer, "")
    with open(tmp_path / "channels" / "adt.yaml", "a") as file:
        file.write("  drop:\n    to: {directory: {path: out, name: '{identity}.hl7'}}\n    after: payer\n")
    payer.silent = True
    with place.engine:
        place.start()
        with Wire(place.port) as wire:
            assert b"MSA|AA|GATED" in wire.ask(MESSAGE % b"GATED")
            assert b"MSA|AA|OTHER" in wire.ask((MESSAGE % b"OTHER").replace(b"4711", b"4712"))
        until(lambda: len(payer.heard) == 1, "nothing was delivered")
        assert not (tmp_path / "out").exists(), "it did not wait"
        place.engine.kill()
        payer.silent = False
        place.start()
        assert sorted(place.delivered(2)) == sorted([MESSAGE % b"GATED", (MESSAGE % b"OTHER").replace(b"4711", b"4712")])
