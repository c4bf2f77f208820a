"""A message's way as steps and what to do now, told from what a store holds: a real one, in every state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.ids import format_id
from engine.model import (
    GATE,
    Close,
    Delivered,
    DeliveryState,
    DestinationState,
    Hold,
    MessageState,
    Refused,
    Retry,
    Settlement,
    Unknown,
    Verb,
)
from engine.store.history import History
from engine.views import way as way_module
from engine.views.advice import Advice, advice
from engine.views.siblings import previous, siblings
from engine.views.stages import content_of, find, stages
from engine.views.timeline import Step, timeline
from engine.views.way import Way, way_of
from tests.contract.store.helpers import START, Site, outgoing, translation

MAPPING = "dft-to-charge charge.department: FT1[2]-13.1 is required (mappings/dft-to-charge.yaml:53:15)"
SECOND = 1_000_000


@pytest.fixture
def site(tmp_path: Path, spin: Any) -> Iterator[Site]:
    made = Site(f"sqlite:///{tmp_path}/store.db", threaded=False)
    made.open()
    yield made
    spin(made.close())


def seen(site: Site, number: int) -> Way:
    with History(site.url) as history:
        found = way_of(history, number)
    assert found is not None
    return found


def steps(site: Site, number: int) -> list[Step]:
    return timeline(seen(site, number))


def titles(site: Site, number: int) -> list[str]:
    return [step.title for step in steps(site, number)]


def advised(site: Site, number: int) -> Advice:
    return advice(seen(site, number))


def test_there_is_no_such_message(site: Site) -> None:
    with History(site.url) as history:
        assert way_of(history, 5) is None


async def test_the_whole_way_of_a_delivered_message(site: Site) -> None:
    taken = await site.take()
    site.now = START + SECOND
    await site.store.translated(
        [translation(taken.message_id, outgoing("{}", "A"), not_taken=(("merge", "=MSH-9.2 == 'A40' is not true"),))]
    )
    (one,) = await site.due()
    await site.settle(Settlement(one, Unknown("no answer in 30 s"), Retry(0), START + 2 * SECOND, START + 32 * SECOND))
    (one,) = await site.due()
    await site.settle(Settlement(one, Delivered(b"AA"), Close(DeliveryState.DELIVERED), START + 40 * SECOND, START + 41 * SECOND))
    found = steps(site, taken.message_id)
    assert [(step.title, step.state) for step in found] == [
        ("Received", "received"),
        ("Acknowledged", "accepted"),
        ("Translated", "translated"),
        ("Route merge not taken", "filtered"),
        ("Queued for erp", "waiting"),
        ("Attempt 1 at erp: unknown", "in doubt"),
        ("Delivered to erp", "delivered"),
    ]
    doubt, done = found[-2:]
    assert (doubt.why, doubt.text) == ("no answer in 30 s", "it may have arrived")
    assert (doubt.until - doubt.at, done.since, done.stage) == (30 * SECOND, 38 * SECOND, f"answer-{format_id(one.id)}-2")
    assert "order key A" in found[4].text
    said = advised(site, taken.message_id)
    assert (said.state, said.headline, said.verbs) == ("delivered", "Delivered to erp.", ("resend", "replay"))


async def test_rejected_filtered_and_received(site: Site) -> None:
    rejected = await site.take(state=MessageState.REJECTED, reason="PID-3: the patient id is missing")
    filtered = await site.take(b"2", state=MessageState.FILTERED, reason="test patients: PV1-3 == 'TEST'")
    received = await site.take(b"3")
    nobody = await site.record(
        content=b"4", state=MessageState.FILTERED, reason="no route was taken: a: no", not_taken=(("a", "no"),)
    )
    assert titles(site, rejected.message_id) == ["Received", "Rejected", "Answered no"]
    assert titles(site, filtered.message_id) == ["Received", "Filtered", "Acknowledged"]
    assert titles(site, received.message_id) == ["Received", "Acknowledged", "Waits to be translated"]
    assert titles(site, nobody.message_id) == ["Received", "Acknowledged", "Filtered", "Route a not taken"]
    late = timeline(seen(site, received.message_id), answered_late=True)
    assert [step.title for step in late][1] == "Stored"  # what its sender heard, nobody knows from here
    assert [advised(site, one.message_id).state for one in (rejected, filtered, received, nobody)] == [
        "rejected", "filtered", "received", "filtered"
    ]  # fmt: skip
    said = advised(site, rejected.message_id)
    assert (said.place, said.why) == ("PID-3", "PID-3: the patient id is missing")


async def test_a_re_send_leads_to_its_original_and_back(site: Site) -> None:
    first = await site.take(b"x", b"key")
    site.now += SECOND
    await site.take(b"x", b"key")
    (again,) = seen(site, first.message_id).duplicates
    assert [(step.title, step.message) for step in steps(site, first.message_id)][-2:] == [
        ("Came again", again.id),
        ("Waits to be translated", 0),
    ]
    found = steps(site, again.id)
    assert [(step.title, step.message) for step in found][1:] == [("Known already", first.message_id), ("Acknowledged", 0)]
    assert advised(site, again.id).state == "duplicate"
    with History(site.url) as history:
        (stage,) = stages(seen(site, again.id))
        assert content_of(history, stage) == b"x"


async def test_parked_for_its_mapping_and_for_a_code(site: Site) -> None:
    parked = await site.record(state=MessageState.PARKED, reason=MAPPING, park_reason="mapping")
    said = advised(site, parked.message_id)
    assert (said.file, said.line, said.place, said.verbs) == (
        "mappings/dft-to-charge.yaml",
        53,
        "FT1[2]-13.1",
        ("release", "cancel"),
    )
    assert titles(site, parked.message_id)[-1] == "Parked"
    code = await site.record(
        content=b"2",
        state=MessageState.PARKED,
        reason="no row",
        park_reason="unknown_code",
        unknown=(("departments", "ZZ", "FT1-13.1"),),
    )
    said = advised(site, code.message_id)
    assert (said.code, said.headline) == (
        ("departments", "ZZ"),
        "A code is missing. Nothing of it went out, and nothing is lost.",
    )
    assert steps(site, code.message_id)[-1].text == "departments has no row for 'ZZ'"
    await site.act(Verb.CANCEL, messages=[code.message_id], why="test patient")
    assert titles(site, code.message_id)[-2:] == ["Parked", "Cancelled"]
    assert advised(site, code.message_id).state == "cancelled"
    assert advised(site, code.message_id).why == "cancelled by ann: test patient"


async def test_a_delivery_that_was_refused_released_and_sent_again(site: Site) -> None:
    taken = await site.record(outgoing())
    (one,) = await site.due()
    await site.settle(Settlement(one, Refused("422", b"no account"), Close(DeliveryState.PARKED, "422"), START, START + SECOND))
    said = advised(site, taken.message_id)
    assert (said.state, said.why, said.destination, said.verbs[0]) == ("parked", "422", "erp", "release")
    assert titles(site, taken.message_id)[-2:] == ["Attempt 1 at erp: refused", "Parked for erp"]
    stage = find(stages(seen(site, taken.message_id)), f"answer-{format_id(one.id)}-1")
    assert stage is not None
    with History(site.url) as history:
        assert content_of(history, stage) == b"no account"
        assert content_of(history, stage, 3, 4) == b"acco"
    site.now += 2 * SECOND
    await site.act(Verb.RELEASE, deliveries=[one.id])
    assert titles(site, taken.message_id)[-2:] == ["Released for erp", "Waits for erp"]
    await site.drain()
    await site.act(Verb.RESEND, deliveries=[one.id])
    await site.act(Verb.REPLAY, messages=[taken.message_id])
    assert {"Sent again to erp", "Replayed"} <= set(titles(site, taken.message_id))
    replay = seen(site, taken.message_id).replays[0]
    assert titles(site, replay.id)[:1] == ["Taken once more, as a replay of"]
    assert "Acknowledged" not in titles(site, replay.id)  # nobody waits for an answer


async def test_why_it_waits(site: Site) -> None:
    gate = f"{GATE}0000000001 first second"
    await site.record(outgoing("1", "K"), content=b"1")
    second = await site.record(outgoing("2", "K"), content=b"2")
    gated = await site.record(outgoing("3", "L", gate), outgoing("4", "M", gate), content=b"3")
    assert "1 before it in its lane of order key K; the first is of message" in advised(site, second.message_id).why
    assert any("waits until route first of this message has ended" in step.text for step in steps(site, gated.message_id))
    begun = await site.due(room=1)
    assert advised(site, begun[0].message_id).state == "sending"
    assert titles(site, begun[0].message_id)[-1] == "Attempt 1 at erp"
    await site.settle(Settlement(begun[0], Unknown("reset"), Retry(START + 60 * SECOND), START, START))
    said = advised(site, begun[0].message_id)
    assert (
        said.headline
        == "Not delivered to erp yet, after 1 attempt. An earlier attempt may have arrived; it has the same identity."
    )
    last = steps(site, begun[0].message_id)[-1]
    assert (last.title, last.at) == ("Next attempt at erp", START + 60 * SECOND)
    await site.store.steer("erp", DestinationState.PAUSED, "by ann: moving house")
    said = advised(site, second.message_id)
    assert (said.headline, said.why, said.destination) == ("Waits, because erp is paused.", "by ann: moving house", "erp")


async def test_held_expired_and_cancelled(site: Site) -> None:
    held = await site.record(outgoing(destination="a"), content=b"1")
    (one,) = await site.due("a")
    await site.settle(Settlement(one, Refused("401"), Hold("401: token"), START, START))
    assert advised(site, held.message_id).headline == "Waits, because a is held."
    gone = await site.record(outgoing(destination="b"), content=b"2")
    (one,) = await site.due("b")
    await site.settle(Settlement(one, Unknown("x"), Close(DeliveryState.EXPIRED, "gave up after 1 d: x"), START, START))
    assert (advised(site, gone.message_id).state, advised(site, gone.message_id).verbs[0]) == ("expired", "resend")
    ended = await site.record(outgoing(destination="c"), content=b"3")
    await site.act(Verb.CANCEL, deliveries=[site.deliveries(ended.message_id)[0].id], why="test")
    assert advised(site, ended.message_id).why == "cancelled by ann: test"
    assert titles(site, ended.message_id)[-1] == "Cancelled for c"


async def test_many_attempts_are_told_in_short(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way_module, "ATTEMPTS", 2)
    taken = await site.record(outgoing())
    for _ in range(5):
        (one,) = await site.due()
        await site.settle(Settlement(one, Unknown("x"), Retry(0), START, START))
    assert "3 earlier attempts at erp" in titles(site, taken.message_id)


async def test_a_batch_and_its_parts(site: Site) -> None:
    from tests.contract.store.helpers import admission

    parts = tuple(admission(b"part %d" % n, received_at=START) for n in range(3))
    whole = admission(b"batch", state=MessageState.TRANSLATED, reason="a batch of 3", parts=parts, received_at=START)
    taken = await site.store.take(whole)
    first = taken.parts[0].message_id
    assert titles(site, first)[0] == "Came in a batch"
    assert steps(site, first)[0].message == taken.message_id


async def test_siblings_and_the_message_before(site: Site) -> None:
    def keys(n: int) -> tuple[tuple[str, str], ...]:
        return (("mrn", "7"), ("visit", f"V{n % 2}"))

    ids = [(await site.record(outgoing(), content=b"%d" % n, keys=keys(n))).message_id for n in range(12)]
    other = await site.record(outgoing(), content=b"other", keys=(("mrn", "8"),))
    with History(site.url) as history:
        own = history.keys(ids[5])
        by_mrn, by_visit = siblings(history, ids[5], own)
        assert [row.id for row in by_mrn.rows] == [number for number in reversed(ids) if number != ids[5]][:8]
        assert (by_mrn.more, by_visit.more) == (True, False)
        assert [row.id for row in by_visit.rows] == [ids[n] for n in (11, 9, 7, 3, 1)]
        row = seen(site, ids[5]).facts.row
        before = previous(history, row, own)
        assert before is not None
        assert before.id == ids[3]  # the one that shares every key, rather than a nearer one that shares some
        assert previous(history, seen(site, other.message_id).facts.row, history.keys(other.message_id)) is None
        assert previous(history, row, []) is None
