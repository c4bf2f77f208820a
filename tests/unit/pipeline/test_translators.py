"""Translators as real processes: answers in order, and what a process takes with it is parked alone."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import gatherResults

from engine.model import Heading, Message, MessageState, Outgoing, ParkReason, Translation
from engine.pipeline import keeper, parcels, translators
from engine.pipeline.keeper import hatch
from engine.pipeline.translators import DEATHS, Inline, NotLoaded, Processes
from engine.testing.world import turn
from tests.conftest import reactor

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

TEXT = st.text(max_size=12)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
OUTGOING = st.builds(
    Outgoing, TEXT, TEXT, st.binary(max_size=40), TEXT, TEXT, st.lists(TEXT, min_size=1, max_size=3).map(tuple), TEXT, TEXT, TEXT
)
NUMBER = st.integers(0, 2**53)
TRANSLATION = st.builds(
    Translation, NUMBER, TEXT, st.sampled_from(MessageState), TEXT, TEXT,
    st.lists(OUTGOING, max_size=3).map(tuple), PAIRS, PAIRS, TEXT,
)  # fmt: skip
HEADING = st.builds(Heading, TEXT, TEXT, TEXT, TEXT, TEXT)
MESSAGE = st.builds(Message, NUMBER, st.just("adt"), st.binary(max_size=40), HEADING, TEXT, NUMBER, NUMBER, NUMBER)


@given(st.lists(MESSAGE, max_size=4))
def test_messages_travel_unchanged(messages: list[Message]) -> None:
    assert parcels.read_messages(parcels.of_messages("v1", "adt", messages)) == ("v1", "adt", messages)


@given(st.lists(TRANSLATION, max_size=4))
def test_translations_travel_unchanged(translations: list[Translation]) -> None:
    assert parcels.read_translations(parcels.of_translations(translations)) == translations


def message(number: int, content: bytes = b"fine") -> Message:
    return Message(number, "adt", content, Heading("ADT^A01", str(number), "EHR|GENERAL"), "peer", 1)


class Work:
    """Does what the content says: be fine, end the process, or never end. It knows `v1`, and can load every version but `bad`."""

    def __init__(self) -> None:
        self.known = {"v1"}

    def load(self, version: str, keep: Iterable[str]) -> None:
        if version == "bad":
            raise LookupError("the files have changed again since they were checked")
        self.known = {version, *keep}

    def __call__(self, version: str, channel: str, messages: Sequence[Message]) -> list[Translation]:
        if version not in self.known:
            raise KeyError(version)
        return done(version, channel, messages)


def done(version: str, channel: str, messages: Sequence[Message]) -> list[Translation]:
    found = []
    for one in messages:
        if one.content == b"deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if one.content == b"endless":
            time.sleep(3600)
        if one.content == b"greedy":
            _ = bytearray(8 << 30)
        if one.content == b"who":
            found.append(Translation(one.id, channel, MessageState.FILTERED, str(os.getpid())))
            continue
        product = Outgoing("out", "drop", one.content * 2, "text/plain", f"{one.id}-1")
        reason = "\ud800" if one.content == b"half a character" else ""
        found.append(Translation(one.id, channel, MessageState.TRANSLATED, reason, outgoings=(product,), config=version))
    return found


class Pool(Processes):
    """One translator; what was told of a lost keeper is in `told`."""

    def __init__(self) -> None:
        self.told: list[Exception] = []
        super().__init__(reactor, [hatch(Work())], self.told.append)


@pytest.fixture
def pool():
    made = Pool()
    yield made
    made.stop()


async def process_of(pool: Pool, version: str = "v1") -> int:
    """The process that translates just now, as it says itself."""
    (said,) = await pool.translate(version, "adt", [message(999, b"who")])
    return int(said.reason)


async def test_batches_are_answered_in_order(pool: Pool) -> None:
    batches = [[message(n) for n in range(first, first + 5)] for first in (1, 6, 11)]
    answers = await gatherResults([pool.translate("v1", "adt", batch) for batch in batches])
    assert answers == [Inline(Work()).translate("v1", "adt", batch).result for batch in batches]


async def test_a_message_that_kills_its_process_is_parked_alone_and_its_neighbours_go_on(pool: Pool) -> None:
    batch = [message(1), message(2, b"deadly"), message(3)]
    first, poison, last = await pool.translate("v1", "adt", batch)
    assert [one.state for one in (first, poison, last)] == [
        MessageState.TRANSLATED, MessageState.PARKED, MessageState.TRANSLATED,
    ]  # fmt: skip
    assert (poison.message_id, poison.park_reason) == (2, ParkReason.POISON)
    assert poison.reason == f"translating it ended the process {DEATHS} times: signal 9"
    (after,) = await pool.translate("v1", "adt", [message(4)])
    assert after.state is MessageState.TRANSLATED


async def test_a_message_that_never_ends_is_stopped_and_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LIMIT", 0.2)  # the forked processes have it too
    pool = Pool()
    (stuck,) = await pool.translate("v1", "adt", [message(2, b"endless")])
    assert (stuck.state, stuck.park_reason) == (MessageState.PARKED, ParkReason.POISON)
    assert "no end after 0.2 s" in stuck.reason
    pool.stop()


async def test_a_process_that_is_killed_between_batches_costs_nothing(pool: Pool) -> None:
    for number in range(1, 30, 3):
        os.kill(await process_of(pool), signal.SIGKILL)
        batches = [[message(number)], [message(number + 1), message(number + 2)]]
        answers = await gatherResults([pool.translate("v1", "adt", batch) for batch in batches])
        assert [[one.message_id for one in answer] for answer in answers] == [[number], [number + 1, number + 2]]


async def test_a_process_that_is_killed_while_it_answers_costs_nothing(pool: Pool) -> None:
    """Answers larger than any socket's buffer, so that a kill finds them half written."""
    for number in range(6):
        process = await process_of(pool)
        batch = [message(10 * number + n, b"x" * 3_000_000) for n in range(1, 4)]
        answer = pool.translate("v1", "adt", batch)
        reactor.callLater(0.002 * number, os.kill, process, signal.SIGKILL)
        assert [one.message_id for one in await answer] == [one.id for one in batch]


async def test_what_cannot_be_sent_back_parks_alone(pool: Pool) -> None:
    fine, odd = await pool.translate("v1", "adt", [message(1), message(2, b"half a character")])
    assert fine.state is MessageState.TRANSLATED
    assert (odd.state, odd.park_reason) == (MessageState.PARKED, ParkReason.POISON)


async def test_without_its_keeper_nothing_is_guessed_and_the_engine_is_told() -> None:
    ours, theirs = socket.socketpair()
    told: list[Exception] = []
    pool = Processes(reactor, [ours], told.append)
    waiting = pool.translate("v1", "adt", [message(1)])
    theirs.close()
    for answer in (waiting, None):
        with pytest.raises(translators.TranslatorsLost):
            await (answer or pool.translate("v1", "adt", [message(2)]))
    assert [type(one) for one in told] == [translators.TranslatorsLost]
    pool.stop()


async def test_translators_end_with_their_engine() -> None:
    pool = Pool()
    process = await process_of(pool)
    pool.stop()
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        await turn()
    raise AssertionError(f"process {process} outlived its engine")


# ── another version of the site ────────────────────────────────────────────────────────────────────────────────────


async def test_a_version_is_loaded_while_the_old_one_works_and_both_translate(pool: Pool) -> None:
    before = await process_of(pool)
    slow = [pool.translate("v1", "adt", [message(n, b"x" * 1_000_000)]) for n in range(1, 4)]
    await pool.load("v2", ["v1"])
    old, new = await pool.translate("v1", "adt", [message(7)]), await pool.translate("v2", "adt", [message(8)])
    assert (old[0].config, new[0].config) == ("v1", "v2")
    assert [one[0].message_id for one in [await answer for answer in slow]] == [1, 2, 3]
    assert await process_of(pool) != before


async def test_a_version_that_nobody_keeps_is_forgotten(pool: Pool) -> None:
    await pool.load("v2", [])
    (lost,) = await pool.translate("v1", "adt", [message(1)])
    assert (lost.state, lost.reason) == (MessageState.PARKED, "KeyError while translating")


async def test_what_still_waits_for_a_process_keeps_its_version(pool: Pool) -> None:
    """Two changes in a row, while more was asked than had been translated."""
    asked = [pool.translate("v1", "adt", [message(n, b"x" * 1_000_000)]) for n in range(1, 9)]
    deadly = pool.translate("v1", "adt", [message(9, b"deadly"), message(10)])
    await pool.load("v2", ["v1"])
    await pool.load("v3", ["v2"])
    assert [(await answer)[0].config for answer in asked] == ["v1"] * 8
    assert [one.config for one in await deadly][1:] == ["v1"]
    await pool.load("v4", [])
    (forgotten,) = await pool.translate("v1", "adt", [message(11)])
    assert forgotten.reason == "KeyError while translating"


async def test_whoever_waits_for_a_version_hears_that_the_engine_stops() -> None:
    pool = Pool()
    loading = pool.load("v2", ["v1"])
    pool.stop()
    with pytest.raises(NotLoaded, match="the engine is stopping"):
        await loading
    with pytest.raises(NotLoaded, match="the engine is stopping"):
        await pool.load("v3", [])


async def test_what_cannot_be_loaded_changes_nothing(pool: Pool) -> None:
    with pytest.raises(NotLoaded, match="changed again"):
        await pool.load("bad", ["v1"])
    (fine,) = await pool.translate("v1", "adt", [message(1)])
    assert fine.config == "v1"
    with pytest.raises(NotLoaded, match="changed again"):
        await Inline(Work()).load("bad", [])


async def test_after_a_death_the_next_process_knows_what_was_loaded(pool: Pool) -> None:
    await pool.load("v2", ["v1"])
    (poison,) = await pool.translate("v2", "adt", [message(1, b"deadly")])
    assert poison.park_reason == ParkReason.POISON
    (after,) = await pool.translate("v2", "adt", [message(2)])
    assert after.config == "v2"


async def test_a_message_that_wants_all_memory_parks_alone(pool: Pool) -> None:
    fine, greedy = await pool.translate("v1", "adt", [message(1), message(2, b"greedy")])
    assert fine.state is MessageState.TRANSLATED
    assert (greedy.state, greedy.reason) == (MessageState.PARKED, "MemoryError while translating")
