"""After the engine has died: what was under way is in doubt and goes again, first and in order."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.store import keys
from engine.store.history import History, Query
from engine.store.recovery import LATEST, WHY
from tests.contract.store.helpers import START, Site, contents, delivered, number, outgoing, retried, translation, withdrawn


async def test_i4_what_was_under_way_is_in_doubt_and_goes_first_in_order(site: Site) -> None:
    for n in range(5):
        await site.record(outgoing(f"{n}", "a"))
    await site.record(outgoing("b", "b"))
    begun = await site.due(window=3)
    assert contents(begun) == [b"0", b"1", b"2", b"b"]
    await site.deliver(begun[0])
    site.now += 77
    await site.reopen()
    assert site.found[:2] == (3, 0)
    again = await site.due()
    assert contents(again) == [b"1", b"2", b"3", b"4", b"b"]
    assert [(one.attempts, one.in_doubt) for one in again] == [(2, True), (2, True), (1, False), (1, False), (2, True)]
    assert [one.identity for one in again] == [one.identity for one in [*begun[1:3], *again[2:4], begun[3]]]
    with History(site.url) as history:
        attempt, under_way = history.attempts(again[0].id)
        assert attempt == (again[0].id, 1, 1, START, START + 77, "unknown", True, WHY, b"", 0)
        assert (under_way.n, under_way.epoch, under_way.ended_at) == (2, 2, 0)


async def test_opening_again_and_again_adds_nothing(site: Site) -> None:
    await site.record(outgoing("0", "a"), outgoing("1", "b"))
    (first,) = await site.due(room=1)
    await site.reopen()
    assert site.found.in_doubt == 1
    for _ in range(3):
        await site.reopen()
        assert site.found.in_doubt == 0
    with History(site.url) as history:
        assert [row.n for row in history.attempts(first.id)] == [1]
    assert await site.drain() == [b"0", b"1"]


async def test_a_withdrawn_attempt_is_not_in_doubt(site: Site) -> None:
    await site.record(outgoing("0", "a"), outgoing("1", "a"))
    one, two = await site.due()
    await site.settle(retried(one, START), withdrawn(two))
    await site.reopen()
    assert site.found.in_doubt == 0
    one, two = await site.due()
    assert [(one.attempts, one.in_doubt), (two.attempts, two.in_doubt)] == [(2, True), (1, False)]


async def test_a_due_time_from_a_clock_that_stood_wrong_is_cut(site: Site) -> None:
    await site.record(outgoing("0", "a"))
    (one,) = await site.due()
    await site.settle(retried(one, START + 100 * LATEST))
    assert await site.store.next_due("erp") == START + 100 * LATEST
    await site.reopen()
    assert await site.store.next_due("erp") == START + LATEST


async def test_a_backlog_is_counted_and_kept(site: Site) -> None:
    for n in range(3):
        await site.take(b"%d" % n)
    await site.record(outgoing("0"))
    await site.reopen()
    assert site.found[:2] == (0, 3)
    assert len(await site.store.untranslated("adt", 0, 10)) == 3


async def test_keys_gathered_and_not_yet_gathered_are_found_after_a_restart(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "GATHER", 10)
    for n in range(25):
        await site.record(outgoing(f"{n}", f"{n}"), content=b"%d" % n, keys=(("mrn", f"{n % 5}"), ("visit", f"{n}")))
    for _ in range(2):
        with History(site.url) as history:
            assert len(history.find(Query(keys=(("mrn", "3"),)))) == 5
            assert len(history.find(Query(keys=(("mrn", "3"), ("visit", "8"))))) == 1
            assert len(history.find(Query(control_id="C1"))) == 25
            assert history.find(Query(keys=(("mrn", "3"), ("visit", "9")))) == []
        await site.reopen()
    assert number(site, "SELECT count(*) FROM run") >= 2
    twice = "SELECT count(*) FROM (SELECT 1 FROM business_key GROUP BY key, message_id HAVING count(*) > 1) k"
    assert number(site, twice) == 0
    assert number(site, "SELECT count(*) FROM business_key") >= 50


def long_text(end: str, length: int = 9000) -> str:
    """Text that no compression makes short, equal to every other of its length but for its end."""
    draw = random.Random(7)
    return "".join(chr(draw.randrange(0x4E00, 0x9FFF)) for _ in range(length - len(end))) + end


async def test_keys_too_long_for_an_index_are_gathered_and_found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "GATHER", 1000)
    texts = [long_text("a"), long_text("b"), long_text("", 513), long_text("", 512), long_text("", 511)]
    for n, one in enumerate(texts):
        taken = await site.take(b"%d" % n, control_id=one)
        await site.store.translated([translation(taken.message_id, keys=(("mrn", one), ("visit", "V")))])
    for gathered in (0, 1):
        assert number(site, "SELECT count(*) FROM run") == gathered
        with History(site.url) as history:
            for n, one in enumerate(texts):
                (row,) = history.find(Query(control_id=one))
                assert (history.message(row.id).content, row.control_id) == (b"%d" % n, one)  # type: ignore[union-attr]
                assert [each.id for each in history.find(Query(keys=(("mrn", one),)))] == [row.id]
                assert history.keys(row.id) == [("mrn", one), ("visit", "V")]
            assert history.find(Query(control_id=long_text("c"))) == history.find(Query(keys=(("mrn", long_text("c")),))) == []
        monkeypatch.setattr(keys, "GATHER", 1)
        await site.reopen()
        await site.store.take_due("nobody", 1, 1)  # any commit: gathering comes after it
        await site.reopen()


async def test_a_nul_in_a_key_is_replaced_and_stops_no_gathering(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "GATHER", 1000)
    taken = await site.take(control_id="C\0D")
    await site.store.translated([translation(taken.message_id, keys=(("mrn", "4\x00711"),))])
    for gathered in (0, 1):
        assert number(site, "SELECT count(*) FROM run") == gathered
        with History(site.url) as history:
            for nul in "\0", "\N{REPLACEMENT CHARACTER}":
                (row,) = history.find(Query(control_id=f"C{nul}D", keys=(("mrn", f"4{nul}711"),)))
                assert row.control_id == "C\N{REPLACEMENT CHARACTER}D"
                assert history.keys(row.id) == [("mrn", "4\N{REPLACEMENT CHARACTER}711")]
        monkeypatch.setattr(keys, "GATHER", 1)
        await site.reopen()
        await site.store.take_due("nobody", 1, 1)
        await site.reopen()


KILLED = """
import os, random, sys, threading
from engine import reactor as engine_reactor
reactor = engine_reactor.install()
from twisted.internet.defer import ensureDeferred
from engine.contracts import Runtime
from engine.store import open_store
from tests.contract.store.helpers import admission, delivered, outgoing, translation

store, found = open_store(sys.argv[1], Runtime(reactor, None, lambda _: None, lambda: 1_767_000_000_000_000, random.Random(1)), print)

def told(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def caller(name):
    n = 0
    while True:
        n += 1
        content = f"{name}-{n}".encode()
        taken = await store.take(admission(content, content))
        told("took", taken.message_id, content.decode())

async def translator():
    after = 0
    while True:
        messages = await store.untranslated("adt", after, 50)
        if messages:
            after = messages[-1].id
            products = [translation(m.id, outgoing(m.content, m.content.partition(b"-")[0].decode())) for m in messages]
            await store.translated(products)
        else:
            await store.take_due("nobody", 1, 1)

async def deliverer():
    while True:
        for one in await store.take_due("erp", 20, 4):
            told("sent", one.id, one.attempts, one.content.decode())
            await store.attempted([delivered(one)])
            told("done", one.id, one.content.decode())

reactor.callWhenRunning(lambda: [ensureDeferred(one) for one in [translator(), deliverer(), *(caller(f"p{n}") for n in range(4))]])
reactor.run()
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"], indirect=True)
def test_i1_i4_i6_killed_in_the_middle_of_everything(kind: str, url: str, spin: Any) -> None:
    """A real process, really killed; what it told us before must be true afterwards."""
    took: dict[str, int] = {}
    sent: list[tuple[int, int, str]] = []
    done: set[str] = set()
    for _ in range(3):
        program = subprocess.Popen(
            [sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
        )
        assert program.stdout is not None
        for lines, line in enumerate(program.stdout, 1):
            word, *facts = line.split()
            if word == "took":
                took[facts[1]] = int(facts[0])
            elif word == "sent":
                assert facts[2] not in done, "sent again although its end was on disk"
                sent.append((int(facts[0]), int(facts[1]), facts[2]))
            else:
                done.add(facts[1])
            if lines == 300:
                os.kill(program.pid, signal.SIGKILL)
        program.wait()
        program.stdout.close()
    site = Site(url, threaded=False)
    site.open()
    with History(url) as history:
        for content, number in took.items():
            assert history.message(number).content == content.encode()  # type: ignore[union-attr]
        again = {content for _, attempts, content in sent if attempts > 1}
        for number, attempts, content in sent:
            if attempts > 1:
                assert history.attempts(number)[0].in_doubt, content
    while messages := spin(site.store.untranslated("adt", 0, 100)):
        spin(
            site.store.translated(
                [translation(m.id, outgoing(m.content, m.content.partition(b"-")[0].decode())) for m in messages]
            )
        )
    while begun := spin(site.due()):
        for one in begun:
            sent.append((one.id, one.attempts, one.content.decode()))
            spin(site.settle(delivered(one)))
    assert set(took) <= {content for _, _, content in sent}
    with History(url) as history:
        for number in took.values():
            assert [(row.state, row.attempts > 0) for row in history.deliveries(number)] == [("delivered", True)]
    for person in ("p0", "p1", "p2", "p3"):
        firsts = list(dict.fromkeys(number for number, _, content in sent if content.startswith(person)))
        assert firsts == sorted(firsts)
    assert len(again) <= 3 * 20
    spin(site.close())
