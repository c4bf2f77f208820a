"""What a dashboard asks: it says what is so, and costs what waits, never what the store holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from engine.contracts import Counted
from engine.model import GATE, ChannelState, Close, DeliveryState, Heading, MessageState, Refused, Settlement
from engine.store.figures import Backlog, Figures, Queue
from engine.store.history import History
from engine.store.sqlite import path_of
from engine.store.tally import HOUR, KEPT, MINUTE, bucket
from engine.store.words import PARKED, RECEIVED
from tests.contract.store.helpers import START, Site, admission, number, outgoing, translation

SECOND = 1_000_000


def ask(site: Site, which: str) -> Any:
    with History(site.url) as history:
        return getattr(history, which)()


# ── queues ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_queues_say_how_much_waits_where_and_since_when(site: Site) -> None:
    assert ask(site, "queues") == {}
    await site.record(outgoing("a1", "a"), outgoing("b1", "b"), channel="adt")
    site.now += SECOND
    await site.record(outgoing("a2", "a"), outgoing("x", "a", destination="lis"), channel="adt")
    await site.record(outgoing("c1", "a"), channel="lab")
    assert ask(site, "queues") == {
        "erp": Queue(4, 3, 0, {"adt": START, "lab": START + SECOND}),
        "lis": Queue(1, 1, 0, {"adt": START + SECOND}),
    }
    begun = await site.due()
    assert ask(site, "queues")["erp"].waiting == 4, "what is under way still waits"
    for one in begun:
        await site.deliver(one)
    assert ask(site, "queues") == {"lis": Queue(1, 1, 0, {"adt": START + SECOND})}


async def test_one_that_stands_in_several_lanes_is_one(site: Site) -> None:
    await site.record(outgoing("a", "a"))
    await site.record(outgoing("merge", "a", "b"))
    await site.record(outgoing("b", "b"))
    assert ask(site, "queues") == {"erp": Queue(3, 2, 1, {"adt": START})}
    await site.drain()
    assert ask(site, "queues") == {}


async def test_gates_are_nobody_s_queue(site: Site) -> None:
    gate = f"{GATE}1"
    await site.record(outgoing("first", "a", gate, destination="lis"), outgoing("second", "a", gate))
    assert ask(site, "queues") == {"erp": Queue(1, 1, 1, {"adt": START}), "lis": Queue(1, 1, 0, {"adt": START})}
    assert ask(site, "counts").lanes == {"erp": 1, "lis": 1}


# ── backlog and what waits for people ──────────────────────────────────────────────────────────────────────────────


async def test_a_backlog_is_what_was_received_and_not_translated(site: Site) -> None:
    await site.take(b"1")
    site.now += SECOND
    await site.take(b"2")
    translated = await site.take(b"3", channel="lab")
    await site.store.translated([translation(translated.message_id, channel="lab")])
    assert ask(site, "backlog") == {"adt": Backlog(2, START)}
    assert not await site.store.settled("adt")
    assert await site.store.settled("lab")
    assert await site.store.settled("never seen")


async def test_what_is_parked_is_counted_by_whose_it_is(site: Site) -> None:
    for n in range(3):
        taken = await site.take(b"%d" % n)
        parked = translation(
            taken.message_id,
            state=MessageState.PARKED,
            park_reason="unknown_code",
            unknown=(("units", "X" if n else "Y", "PV1-3"),),
        )
        await site.store.translated([parked])
    await site.record(outgoing("refused", "a"), channel="lab")
    (one,) = await site.due()
    await site.settle(Settlement(one, Refused("AE"), Close(DeliveryState.PARKED, "AE"), site.now, site.now))
    held = ask(site, "parked")
    assert (held.messages, held.deliveries, held.codes) == ({"adt": 3}, {"erp": 1}, 2)
    assert await site.store.settled("lab"), "what is parked waits for people"


PLANS = {
    "lanes": "SEARCH lane USING INTEGER PRIMARY KEY (rowid>?)",
    "places": "SEARCH place USING PRIMARY KEY (lane>? AND lane<?)",
    "backlog": "SEARCH message USING INDEX message_received (channel=?)",
    "parked messages": "SEARCH message USING INDEX message_unusual (state=?)",
    "parked deliveries": "SEARCH undelivered USING PRIMARY KEY (state=?)",
    "codes": "SEARCH waits_for USING PRIMARY KEY (code=?)",
}
SMALL = ("SCAN destination", "SCAN channel", "SCAN unknown_code", "SCAN crossing")


@pytest.mark.parametrize("which", [*PLANS, "crossings"])
def test_a_figure_walks_only_over_what_it_counts(tmp_path: Path, spin: Any, which: str) -> None:
    site = Site(f"sqlite:///{tmp_path}/store.db", threaded=False)
    site.open()
    spin(site.close())
    with History(site.url) as history:
        text, values = history._reader.compiled(history.figure(which))
    steps = [row[3] for row in sqlite3.connect(path_of(site.url)).execute(f"EXPLAIN QUERY PLAN {text}", values)]
    assert PLANS.get(which, steps[0]) in steps, steps
    assert all(one.startswith(SMALL) for one in steps if one.startswith("SCAN")), steps
    assert RECEIVED != PARKED


# ── tallies ────────────────────────────────────────────────────────────────────────────────────────────────────────


def tallies(site: Site, *about: Any) -> list[tuple[int, str, int]]:
    with History(site.url) as history:
        return [(one.at, one.what, one.amount) for one in history.tallies(*about)]


async def test_what_is_counted_adds_up_in_its_minute_and_its_hour(site: Site) -> None:
    hour = bucket(START, HOUR)
    later = hour + 7 * MINUTE * SECOND
    await site.store.tally(hour + 5, [Counted("channel", "adt", "received", 3), Counted("destination", "adt", "parked", 1)])
    await site.store.tally(hour + 9, [Counted("channel", "adt", "received", 4), Counted("channel", "lab", "received", 5)])
    await site.store.tally(later, [Counted("channel", "adt", "received", 10), Counted("channel", "adt", "rejected", 1)])
    end = hour + HOUR * SECOND
    assert tallies(site, "channel", "adt", MINUTE, hour, end) == [
        (hour, "received", 7),
        (later, "received", 10),
        (later, "rejected", 1),
    ]
    assert tallies(site, "channel", "adt", HOUR, hour, end) == [(hour, "received", 17), (hour, "rejected", 1)]
    assert tallies(site, "channel", "", HOUR, hour, end) == [(hour, "received", 22), (hour, "rejected", 1)]
    assert tallies(site, "destination", "adt", HOUR, hour, end) == [(hour, "parked", 1)]
    assert tallies(site, "channel", "nobody", HOUR, hour, end) == []
    assert tallies(site, "channel", "adt", MINUTE, hour + 1, later) == [(later, "received", 10), (later, "rejected", 1)]
    await site.reopen()
    await site.store.tally(later, [Counted("channel", "adt", "received", 1)])
    assert tallies(site, "channel", "adt", HOUR, hour, end) == [(hour, "received", 18), (hour, "rejected", 1)]


async def test_buckets_are_kept_as_long_as_is_said(site: Site) -> None:
    for back in (KEPT[HOUR] + HOUR, KEPT[MINUTE] + 2 * MINUTE, 2 * MINUTE, 0):
        await site.store.tally(START - back * SECOND, [Counted("channel", "adt", "received", 1)])
    assert number(site, f"SELECT count(*) FROM tally WHERE width = {MINUTE}") == 2
    assert number(site, f"SELECT sum(count) FROM tally WHERE width = {HOUR}") == 3


async def test_a_tally_of_one_channel_reads_no_other_s_rows(site: Site, kind: str) -> None:
    if not kind.startswith("sqlite"):
        return
    await site.store.tally(START, [Counted("channel", "adt", "received", 1)])
    with History(site.url) as history:
        statement = history.tally_statement("channel", "adt", HOUR, START - 30 * 24 * HOUR * SECOND, START)
        text, values = history._reader.compiled(statement)
    steps = [row[3] for row in sqlite3.connect(path_of(site.url)).execute(f"EXPLAIN QUERY PLAN {text}", values)]
    assert steps[0] == "SEARCH tally USING PRIMARY KEY (width=? AND at=? AND noun=? AND owner=?)"
    assert not any("TEMP" in one for one in steps)


async def test_counting_does_not_disturb_what_is_counted(site: Site) -> None:
    """It shares a commit with messages, and a name it brings is known to them."""
    answers = [site.store.tally(START, [Counted("channel", "new", "received", 1)]), site.store.take(admission(channel="new"))]
    for answer in answers:
        await answer
    with History(site.url) as history:
        assert history.names()[0] == ["new"]
        assert isinstance(history, Figures)


# ── how channels stand ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_how_a_channel_stands_is_found_at_the_next_opening(site: Site) -> None:
    await site.take(b"1")
    site.now += SECOND
    await site.store.steer_channel("adt", ChannelState.STOPPED, "stopped by ann")
    await site.store.steer_channel("lab", ChannelState.DRAINING, "drained by bob")
    await site.store.steer_channel("pas", ChannelState.STOPPED, "x")
    await site.store.steer_channel("pas", ChannelState.RUNNING, "started by bob")
    await site.reopen()
    assert set(site.found.channels) == {
        ("adt", ChannelState.STOPPED, "stopped by ann", site.now),
        ("lab", ChannelState.DRAINING, "drained by bob", site.now),
    }
    assert ask(site, "counts").channels["pas"] == ("running", "started by bob")


async def test_what_is_submitted_as_a_copy_belongs_to_its_original(site: Site) -> None:
    original = await site.take(b"1")
    copy = await site.store.take(admission(b"2", heading=Heading("ADT^A01", "C2", "x"), replay_of=original.message_id))
    with History(site.url) as history:
        assert [row.id for row in history.replays(original.message_id)] == [copy.message_id]
        assert [row.replay_of for row in history.replays(original.message_id)] == [original.message_id]
