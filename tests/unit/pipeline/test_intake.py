"""Batches and application acknowledgements over a real store; and the list of bad input, as far as content goes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from engine import events
from engine.config.site import load_site
from engine.contracts import Channel, Facts, Route, Runtime
from engine.errors import ContentError, StoreFull
from engine.ids import format_id
from engine.model import Arrival, MessageState, Outgoing, Receipt, Translation, Verdict
from engine.pipeline.intake import Intake
from engine.pipeline.translate import translate
from engine.registry import formats
from engine.store import open_store
from engine.store.history import History
from engine.testing.files import read_acknowledgement
from tests.corpus.entries import HERE, Entry, entries

START = 1_790_000_000_000_000


class Rule:
    """An expression, in Python: reads a path, or compares it."""

    def __init__(self, path: str, *allowed: str) -> None:
        self.text = f"={path}" + (f" in {list(allowed)}" if allowed else "")
        self._path, self._allowed = path, allowed

    def __call__(self, document: Any, facts: Any) -> Any:
        value = document[self._path]
        return value in self._allowed if self._allowed else value


class Failing:
    """A mapping that cannot make its field."""

    name = "failing"

    def apply(self, document: Any, facts: Any) -> Any:
        raise ContentError("is required", "PID-3", "101")


class Desk:
    """Intake of one channel, its store, and translation when asked for."""

    def __init__(self, directory: Path) -> None:
        self.events: list[events.Event] = []
        self.clock = Clock()
        now = lambda: START + int(self.clock.seconds()) * 1_000_000  # noqa: E731
        runtime = Runtime(self.clock, None, self.events.append, now, random.Random(7))  # type: ignore[arg-type]
        self.url = f"sqlite:///{directory / 'store.db'}"
        self.store, _ = open_store(self.url, runtime, self.events.append, threaded=False)  # type: ignore[arg-type]
        self.runtime = runtime
        self.woken = 0
        self.of(channel())

    def of(self, one: Channel) -> Desk:
        self.channel = one
        self.intake = Intake(one, Facts(channel=one.name), self.store, self.runtime, self._wake)
        return self

    def _wake(self) -> None:
        self.woken += 1

    def receive(self, content: bytes) -> Receipt:
        given: list[Receipt] = []

        async def reply(receipt: Receipt) -> bool:
            given.append(receipt)
            return True

        assert ensureDeferred(self.intake(Arrival(content, "peer:1"), reply)).called
        (receipt,) = given
        return receipt

    def translated(self) -> list[Translation]:
        """What becomes of everything that was received, recorded."""
        waiting: list[Any] = []
        self.store.untranslated(self.channel.name, 0, 1000).addCallback(waiting.extend)
        done = [translate(self.channel, message, Facts(channel=self.channel.name), "v1") for message in waiting]
        recorded: list[None] = []
        self.store.translated(done).addCallback(recorded.append)
        assert recorded == [None]
        return done

    def rows(self) -> list[Any]:
        return sorted(History(self.url).find(), key=lambda row: row.id)

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]


def channel(**more: Any) -> Channel:
    given = {"accept": (Rule("MSH-9.1", "DFT"),), "skip": (("test", Rule("MSH-11", "T")),), "unique_by": (Rule("MSH-10"),)}
    routes = (Route("out", "erp"),)
    return Channel("charges", "", "memory", None, formats()["hl7v2"].build(), **{"routes": routes, **given, **more})  # type: ignore[arg-type]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.store.close()


def one(control: str, kind: str = "DFT^P03", processing: str = "P", more: str = "") -> bytes:
    return rf"MSH|^~\&|EHR|HOSP|W|G|2026||{kind}|{control}|{processing}|2.5.1{more}".encode() + b"\rPID|1||7\r"


def batch(*messages: bytes) -> bytes:
    return b"BHS|^~\\&|EHR|HOSP|W|G|||||B1\r" + b"".join(messages) + b"BTS|%d\r" % len(messages)


def codes(receipt: Receipt) -> list[bytes]:
    return [line.split(b"|")[1] for line in (receipt.reply or b"").split(b"\r") if line.startswith(b"MSA")]


# ── batches ──


def test_a_batch_is_one_arrival_and_a_message_for_each_of_its_own(desk: Desk) -> None:
    content = batch(one("1"), one("2", processing="T"), one("3", kind="ADT^A01"), one("4"))
    receipt = desk.receive(content)
    assert receipt.verdict is Verdict.ACCEPTED
    assert codes(receipt) == [b"AA", b"AA", b"AR", b"AA"]
    whole, *parts = desk.rows()
    assert (whole.state, whole.reason) == ("translated", "a batch of 4, each a message of its own")
    assert [(row.state, row.control_id, row.part_of) for row in parts] == [
        ("received", "1", whole.id), ("filtered", "2", whole.id), ("rejected", "3", whole.id), ("received", "4", whole.id),
    ]  # fmt: skip
    assert desk.woken == 1
    assert [len(desk.told(kind)) for kind in (events.Received, events.Filtered, events.Rejected)] == [2, 1, 1]
    assert [done.outgoings[0].content for done in desk.translated()] == [one("1"), one("4")]
    facts = History(desk.url).message(whole.id)
    assert facts is not None
    assert facts.content == content


def test_a_batch_that_comes_again_gets_the_same_bytes_and_goes_nowhere_twice(desk: Desk) -> None:
    content = batch(one("1"), one("2"))
    first = desk.receive(content)
    desk.clock.advance(3600)
    assert desk.receive(content).reply == first.reply
    assert [row.state for row in desk.rows()] == ["translated", "received", "received", "duplicate"]


def test_a_message_that_came_alone_is_known_in_a_batch(desk: Desk) -> None:
    alone = desk.receive(one("1")).reply or b""
    desk.clock.advance(3600)
    receipt = desk.receive(one("1") + one("2"))
    assert (receipt.reply or b"").startswith(alone)
    assert [row.state for row in desk.rows()] == ["received", "translated", "duplicate", "received"]


def test_a_batch_with_a_refused_message_is_judged_anew_when_it_comes_again(desk: Desk) -> None:
    content = batch(one("1"), one("2", kind="ADT^A01"))
    assert codes(desk.receive(content)) == [b"AA", b"AR"]
    desk.of(channel(accept=()))
    assert codes(desk.receive(content)) == [b"AA", b"AA"]
    assert [row.state for row in desk.rows()] == ["translated", "received", "rejected", "translated", "duplicate", "received"]


def test_a_batch_of_nothing_but_refused_messages_is_refused(desk: Desk) -> None:
    receipt = desk.receive(batch(one("1", kind="ADT^A01")))
    assert (receipt.verdict, codes(receipt), desk.woken) == (Verdict.REFUSED, [b"AR"], 0)


def test_a_batch_that_is_not_whole_is_refused_and_nothing_of_it_taken(desk: Desk) -> None:
    receipt = desk.receive(batch(one("1"), one("2")).replace(b"BTS|2", b"BTS|3"))
    assert (receipt.verdict, receipt.place) == (Verdict.REFUSED, "BTS-1")
    assert b"MSA|AE|B1|" in (receipt.reply or b"")
    assert [row.state for row in desk.rows()] == ["rejected"]


def test_a_batch_that_cannot_be_stored_is_refused_message_by_message(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: Deferred[Any] = Deferred()
    failed.errback(StoreFull("no room"))
    monkeypatch.setattr(desk.store, "take", lambda admission: failed)
    assert codes(desk.receive(batch(one("1"), one("2")))) == [b"AR", b"AR"]
    assert desk.rows() == []


# ── rules that change ──


def test_what_was_accepted_once_gets_its_answer_again_whatever_the_rules_say_today(desk: Desk) -> None:
    first = desk.receive(one("1"))
    desk.of(channel(accept=(Rule("MSH-9.1", "ADT"),)))
    assert desk.receive(one("1")).reply == first.reply
    other = desk.receive(one("1") + b"NTE|1\r")  # the same key, and another message: refused, and nobody is alarmed
    assert other.verdict is Verdict.REFUSED
    assert desk.told(events.KeyReuse) == []


@pytest.mark.parametrize(
    ("path", "place", "code"),
    [("MSH-9.1", "MSH-9.1", "200"), ("MSH-9.2", "MSH-9.2", "201"), ("MSH-11", "MSH-11", "202"), ("MSH-12.1", "MSH-12.1", "203"), ("PID-3.1", "PID-3.1", "200")],
)  # fmt: skip
def test_a_rule_that_refuses_says_where_it_looks(desk: Desk, path: str, place: str, code: str) -> None:
    receipt = desk.of(channel(accept=(Rule(path, "never"),))).receive(one("1"))
    assert (receipt.place, receipt.code, codes(receipt)) == (place, code, [b"AR"])


# ── the application acknowledgement ──


def answers(done: Translation) -> list[Outgoing]:
    return [outgoing for outgoing in done.outgoings if outgoing.destination == "acks"]


def test_the_sender_hears_later_through_a_destination_what_became_of_its_message(desk: Desk) -> None:
    desk.of(channel(answers_to="acks"))
    receipt = desk.receive(one("1", more="|||AL|AL"))
    assert codes(receipt) == [b"CA"]
    (done,) = desk.translated()
    (answer,) = answers(done)
    identity = f"{format_id(receipt.message_id)}-A"
    assert (answer.identity, answer.content_type, len(done.outgoings)) == (identity, "application/hl7-v2", 2)
    assert f"|{identity}|P|2.5.1|||AL|NE\rMSA|AA|1\r".encode() in answer.content
    assert {row.destination: row.state for row in History(desk.url).deliveries(receipt.message_id)} == {
        "erp": "waiting",
        "acks": "waiting",
    }


def test_where_it_parks_the_answer_alone_goes_out(desk: Desk) -> None:
    desk.of(channel(answers_to="acks", routes=(Route("out", "erp", Failing()),)))  # type: ignore[arg-type]
    receipt = desk.receive(one("1", more="|||NE|AL"))
    assert receipt.reply is None  # the connection says nothing: the answer follows
    (done,) = desk.translated()
    assert (done.state, [each.identity for each in done.outgoings]) == (
        MessageState.PARKED,
        [f"{format_id(receipt.message_id)}-E"],
    )
    assert b"\rMSA|AE|1|PID-3: is required\rERR||PID^1^3|101^" in done.outgoings[0].content
    (row,) = desk.rows()
    assert row.state == "parked"
    assert [(each.destination, each.state) for each in History(desk.url).deliveries(row.id)] == [("acks", "waiting")]


def test_where_no_route_is_taken_the_answer_is_positive(desk: Desk) -> None:
    desk.of(channel(answers_to="acks", routes=(Route("out", "erp", None, Rule("PID-3", "never")),)))  # type: ignore[arg-type]
    desk.receive(one("1", more="||||AL"))
    (done,) = desk.translated()
    assert (done.state, b"MSA|AA|1" in done.outgoings[0].content) == (MessageState.FILTERED, True)
    assert [row.state for row in desk.rows()] == ["filtered"]


@pytest.mark.parametrize("more", ["", "|||AL|NE", "|||AL|ER", "|||AL"])
def test_nobody_is_answered_who_did_not_ask(desk: Desk, more: str) -> None:
    desk.of(channel(answers_to="acks")).receive(one("1", more=more))
    assert answers(desk.translated()[0]) == []


def test_what_never_gets_so_far_is_answered_at_once(desk: Desk) -> None:
    desk.of(channel(answers_to="acks"))
    assert codes(desk.receive(one("1", kind="ADT^A01", more="|||NE|AL"))) == [b"AR"]
    assert codes(desk.receive(one("2", processing="T", more="|||NE|AL"))) == [b"AA"]
    assert desk.translated() == []


def test_a_re_send_is_answered_as_the_first_time(desk: Desk) -> None:
    desk.of(channel(answers_to="acks"))
    content = one("1", more="|||AL|AL")
    first = desk.receive(content)
    desk.translated()
    assert desk.receive(content).reply == first.reply
    assert desk.translated() == []


# ── the list of bad input ──

BAD = [entry for entry in entries() if "B027" <= entry.id <= "B058" and all(isinstance(step, dict) and set(step) <= {"frame", "answers"} for step in entry.send)]  # fmt: skip


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Channel]:
    names = [path.stem for path in (HERE / "site" / "channels").glob("*.yaml")]
    environ = {name.upper(): "127.0.0.1:0" for name in names}
    files = tmp_path_factory.mktemp("files")
    for name in ("CERTIFICATE", "KEY"):
        environ[name] = str(files / name)
    return {one.name: one for one in load_site(HERE / "site", environ).channels}


@pytest.mark.parametrize("entry", BAD, ids=[entry.title for entry in BAD])
def test_bad_content(desk: Desk, channels: dict[str, Channel], entry: Entry) -> None:
    """The same entries are played over real sockets in tests/acceptance/test_corpus.py."""
    desk.of(channels[entry.to])
    replies = [desk.receive(entry.bytes_of(step["frame"])).reply for step in entry.send if "frame" in step]
    said = [read_acknowledgement(reply) for reply in replies if reply is not None]
    expected = entry.answers()
    assert [(one.code, one.control_id.decode("latin-1")) for one in said] == [
        (code, one.control_id.decode("latin-1") if named is None else named)
        for (code, named), one in zip(expected, said, strict=True)
    ]
    for text in entry.expect.contains:
        assert entry.bytes_of(text) in b"\n".join(filter(None, replies))
    for text in entry.expect.lacks:
        assert entry.bytes_of(text) not in b"\n".join(filter(None, replies))
    desk.translated()
    if entry.expect.states is not None:
        assert [row.state for row in desk.rows()] == entry.expect.states
