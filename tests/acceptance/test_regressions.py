"""Faults that other engines had, by their names, one test each: a real engine, a real store, and the simulator as the peer.

Mirth Connect's are issues of nextgenhealthcare/connect; the others name their project.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from engine.testing.faults import GARBAGE
from tests.acceptance.simulated import Place, Receiver, message

Make = Callable[..., Place]
Play = Callable[..., Receiver]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Make]:
    """Makes the test's site; its engine ends with the test."""
    with ExitStack() as stack:

        def make(*receivers: str, **options: str) -> Place:
            made = Place(tmp_path, *(receivers or ("lab",)), **options)
            stack.enter_context(made.engine)
            return made

        yield make


@pytest.fixture
def play() -> Iterator[Play]:
    """Opens one of the site's receivers, with its faults."""
    with ExitStack() as stack:

        def opened(site: Place, *faults: str, name: str = "lab") -> Receiver:
            return stack.enter_context(site.receiver(name, *faults))

        yield opened


def test_mirth_1441_a_late_acknowledgement_is_not_credited_to_the_next_message(place: Make, play: Play) -> None:
    site = place()
    lab = play(site, "late:700ms@1", "ae:101@3")
    site.start()
    assert site.send(message("M1"), message("M2")) == ["AA", "AA"]
    first, second = site.await_end(2)
    assert lab.taken() == ["M1", "M1", "M2"]
    assert (first.state, first.attempts, first.in_doubt) == ("delivered", 2, 1)
    assert (second.state, second.in_doubt) == ("parked", 0)  # it was refused; a late AA would have made it delivered
    assert lab.stop()["mllp"]["connections"] >= 2  # the first was given up with its late answer


def test_mirth_2070_a_second_answer_is_not_credited_to_the_next_message(place: Make, play: Play) -> None:
    site = place()
    lab = play(site, "twice@1", "ae:101@2")
    site.start()
    site.send(message("M1"), message("M2"))
    assert [delivery.state for delivery in site.await_end(2)] == ["delivered", "parked"]
    assert lab.taken() == ["M1", "M2"]


def test_mirth_2986_nothing_but_a_matching_positive_answer_counts_as_sent(place: Make, play: Play) -> None:
    """Garbage of every kind, an answer to another message, half an answer, none: each is in doubt and sent again."""
    site = place()
    lies = [*(f"garbage:{kind}" for kind in GARBAGE), "wrong-id", "half", "silent", "drop", "unread"]
    lab = play(site, *(f"{lie}@{2 * n + 1}" for n, lie in enumerate(lies)))
    site.start()
    names = [f"M{n:02d}" for n in range(len(lies))]
    site.send(*map(message, names))
    deliveries = site.await_end(len(lies))
    for lie, delivery in zip(lies, deliveries, strict=True):
        assert (delivery.state, delivery.attempts, delivery.in_doubt) == ("delivered", 2, 1), lie
    unread = names.pop()
    assert lab.taken() == [name for name in names for _ in range(2)] + [unread]


def test_mirth_1314_a_receiver_that_does_not_answer_is_not_flooded(place: Make, play: Play) -> None:
    """Eight lanes wait. What is told during the silence is one probe at a time, always the same bytes under the same name."""
    site = place(options="ack_timeout: 300ms, connections: 4", order_by="=PID-3.1")
    lab = play(site, "silent@1-12")
    site.start()
    names = [f"M{n}" for n in range(8)]
    site.send(*(message(name, patient=name) for name in names))
    deliveries = site.await_end(8)
    assert all(delivery.state == "delivered" for delivery in deliveries)
    taken, instants = lab.taken(), lab.instants()
    assert sorted(set(taken)) == names
    assert len(taken) == 8 + 12  # every repeat answers a silence
    assert sum(delivery.in_doubt for delivery in deliveries) == 12
    probes = instants[7:13]  # four went out together; a few more until three in a row had failed
    assert all(after - before > 0.29 for before, after in pairwise(probes)), instants


def test_mirth_3133_a_backlog_is_recovered_in_its_order(place: Make, play: Play) -> None:
    """And Mirth 1682, the message after the thousandth that was lost: 1,200 are waiting when the engine is killed."""
    site = place()
    site.start()
    names = [f"M{n:04d}" for n in range(1200)]
    for start in range(0, 1200, 60):
        assert set(site.send(*map(message, names[start : start + 60]))) == {"AA"}
    site.engine.kill()
    lab = play(site)
    site.start()
    assert lab.await_taken(1200) == names


def test_mirth_3366_what_was_under_way_goes_first_and_what_comes_new_goes_last(place: Make, play: Play) -> None:
    site = place(options="ack_timeout: 30s")
    lab = play(site, "silent@1")
    site.start()
    site.send(message("M1"), message("M2"), message("M3"))
    lab.await_taken(1)
    site.engine.kill()
    site.start()
    site.send(message("M4"))
    deliveries = site.await_end(4)
    assert lab.taken() == ["M1", "M1", "M2", "M3", "M4"]
    assert deliveries[0].in_doubt == 1


def test_mirth_3089_a_backlog_is_not_loaded_at_the_start(place: Make, play: Play) -> None:
    """300 MB wait; the engine that finds them grows by what it has in hand, not by what waits."""
    site = place()
    site.start()
    before = site.engine.usage().rss_mb
    for n in range(0, 1200, 10):
        site.send(*(message(f"M{n + k:04d}", filler=250_000) for k in range(10)))
    site.await_routed(1200)
    site.engine.kill()
    lab = play(site)
    site.start()
    names = lab.await_taken(1200)
    assert names == sorted(names)
    assert site.engine.usage().peak_rss_mb < before + 150


def test_a_recovered_message_is_not_routed_again(place: Make, play: Play) -> None:
    """It goes where it was routed when it was translated, once, also where the channel says something else by now."""
    site = place("lab", "archive")
    site.start()
    site.send(message("M1"))
    site.await_routed(1)
    site.engine.kill()
    site.route_to("archive")
    lab, archive = play(site), play(site, name="archive")
    site.start()
    site.send(message("M2"))
    site.await_end(2)
    assert (lab.taken(), archive.taken()) == (["M1"], ["M2"])


def test_oban_603_a_slow_delivery_is_not_taken_for_dead_while_it_lives(place: Make, play: Play) -> None:
    site = place(options="ack_timeout: 20s")
    lab = play(site, "delay:3s@1")
    site.start()
    site.send(message("M1"), message("M2"))
    first, _ = site.await_end(2)
    assert lab.taken() == ["M1", "M2"]
    assert (first.attempts, first.in_doubt) == (1, 0)


def test_camel_24484_a_refused_message_does_not_use_up_its_key(place: Make, play: Play) -> None:
    """Mended and sent again under the same MSH-10, it is taken."""
    site = place()
    site.more = "accept:\n  - =PV1-2 == 'I'"
    site.route_to("lab")
    lab = play(site)
    site.start()
    assert site.send(message("M1").replace(b"PV1|1|I", b"PV1|1|"), message("M1"), message("M1")) == ["AR", "AA", "AA"]
    site.await_end(1)
    assert lab.taken() == ["M1"]


def test_another_program_that_opens_and_closes_the_database_takes_nothing_away(place: Make, play: Play) -> None:
    """Whoever closes a SQLite database last removes its log: the engine must be known to have it open."""
    site = place()
    site.start()
    with closing(sqlite3.connect(site.directory / "data" / "wardline.db")) as other:
        other.execute("UPDATE meta SET node = node")
        other.rollback()
    assert site.send(message("M1")) == ["AA"]
    site.engine.kill()
    lab = play(site)
    site.start()
    assert lab.await_taken(1) == ["M1"]


def test_mirth_3323_a_failed_statement_does_not_end_the_work(place: Make, play: Play) -> None:
    """The database is locked, for longer than the engine waits for it, when an answer is to be recorded."""
    site = place(options="ack_timeout: 20s")
    lab = play(site, "delay:500ms@1")
    site.start()
    site.send(message("M1"))
    lab.await_taken(1)
    with locked(site.directory / "data" / "wardline.db"):
        assert site.send(message("M2")) == ["AR"]  # not stored, and said so, after a while
    assert site.send(message("M2"), message("M3")) == ["AA", "AA"]
    site.await_end(3)
    assert lab.taken() == ["M1", "M2", "M3"]


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else can write to it."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def test_awa_388_one_bad_message_does_not_stop_the_recovery_of_the_others(place: Make, play: Play) -> None:
    """Six were acknowledged and not yet translated when the engine was killed; one of them cannot be."""
    site = place()
    with open(site.directory / "channels" / "feed.yaml", "a") as channel:
        channel.write("    when: =(PID-7 | date) != '19000101'\n")
    lab = play(site)
    site.start()
    keepers = [int(pid) for pid in Path(f"/proc/{site.engine.pid}/task/{site.engine.pid}/children").read_text().split()]
    contents = [message(f"M{n}") for n in range(6)]
    contents[3] = contents[3].replace(b"||TESTER^TINA", b"||TESTER^TINA||no date")
    for pid in keepers:
        os.kill(pid, signal.SIGSTOP)
    assert set(site.send(*contents)) == {"AA"}
    site.engine.kill()
    for pid in keepers:
        os.kill(pid, signal.SIGCONT)  # it finds its engine gone
    site.start()
    site.await_end(5)
    assert lab.taken() == ["M0", "M1", "M2", "M4", "M5"]
    assert [stored.state for stored in site.view().messages].count("parked") == 1


def test_i17_what_is_not_as_it_was_stored_is_never_delivered(place: Make, play: Play) -> None:
    """A byte of a waiting message has changed on the disk: the engine ends and says which."""
    site = place()
    site.start()
    site.send(*(message(f"M{n}") for n in range(3)))
    site.await_routed(3)
    site.engine.kill()
    with closing(sqlite3.connect(site.directory / "data" / "wardline.db", isolation_level=None)) as connection:
        ((owner,),) = connection.execute("SELECT id FROM message WHERE control_id = 'M1'")
        connection.execute("UPDATE content SET content = ? WHERE owner = ?", (message("M1", patient="4712"), owner))
    lab = play(site)
    site.engine.start()
    assert site.engine.ended() == 74
    assert "is not what was stored" in site.engine.tail()
    assert set(lab.taken()) <= {"M0"}


def test_a_batch_is_stored_to_its_tail_before_it_is_answered(place: Make, play: Play) -> None:
    """Killed as soon as it has answered: every message of the batch is there, and in its order."""
    site = place()
    site.start()
    names = [f"M{n:03d}" for n in range(200)]
    batch = b"FHS|^~\\&|EHR|GENERAL\rBHS|^~\\&|EHR|GENERAL\r" + b"".join(map(message, names)) + b"BTS|200\rFTS|1\r"
    assert site.send(batch) == ["AA"]
    site.engine.kill()
    lab = play(site)
    site.start()
    assert lab.await_taken(200) == names
