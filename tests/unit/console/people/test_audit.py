"""The audit trail: durable, complete, and impossible to change unnoticed."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.console.people import Actor
from engine.console.people.anchor import Anchor, Mark, parse_mark
from engine.console.people.audit import GENESIS, Entry, digest
from engine.console.people.trail import Verdict, Wanted, entries, verify, words
from engine.errors import StoreError, StoreFull
from tests.unit.console.people.conftest import World

ROWS = 30


def fill(world: World, rows: int = ROWS) -> None:
    with world.people.audit.recording() as recording:
        for number in range(rows):
            recording.note(Actor("ann", "session 1"), "view message", f"80000000{number:02d}", "ok", {"number": number})


def verdict(world: World) -> Verdict:
    return verify(world.people.database)


def tamper(world: World, *statements: str) -> None:
    """As whoever has the file and no regard for us."""
    connection = sqlite3.connect(world.site / ".wardline" / "console.db")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def rows(world: World) -> list[Entry]:
    connection = sqlite3.connect(world.site / ".wardline" / "console.db")
    found = [Entry._make(row) for row in connection.execute("SELECT * FROM audit ORDER BY seq")]
    connection.close()
    return found


def rewrite(world: World, found: list[Entry]) -> None:
    connection = sqlite3.connect(world.site / ".wardline" / "console.db")
    connection.execute("PRAGMA synchronous = OFF")
    with connection:
        connection.execute("DELETE FROM audit")
        connection.executemany("INSERT INTO audit VALUES (?,?,?,?,?,?,?,?,?,?)", found)
    connection.close()


def chained(found: list[Entry]) -> list[Entry]:
    """With hashes made anew, as by somebody who knows how."""
    made: list[Entry] = []
    for number, one in enumerate(found, 1):
        entry = one._replace(seq=number, prev=made[-1].hash if made else GENESIS)
        made.append(entry._replace(hash=digest(entry)))
    return made


# ── a sound one ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_empty_trail_is_sound(world: World) -> None:
    found = verdict(world)
    assert (found.sound, found.rows) == (True, 0)


def test_a_trail_is_sound_and_says_what_was_done(world: World) -> None:
    fill(world)
    found = verdict(world)
    assert (found.sound, found.rows, found.broken) == (True, ROWS, 0)
    assert found.head == found.anchor
    assert found.head.seq == ROWS
    last = entries(world.people.database, limit=1)[0]
    assert last[1:8] == (world.now, "ann", "session 1", "view message", "8000000029", "ok", '{"number":29}')


def test_a_trail_goes_on_over_restarts_and_between_processes(world: World) -> None:
    fill(world, 3)
    other = world.open()
    other.audit.write("root", "local", "list people")
    world.people.audit.write("ann", "session 1", "logout")
    assert [entry.seq for entry in world.trail()] == [1, 2, 3, 4, 5]
    assert verdict(world).sound


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.text(st.characters(), max_size=300), min_size=4, max_size=4),
    st.dictionaries(st.text(st.characters()), st.text(st.characters())),
)
def test_whatever_is_written_can_be_verified(world: World, texts: list[str], details: dict[str, str]) -> None:
    world.people.audit.write(texts[0], texts[1], "search", texts[2], texts[3], details)
    assert verdict(world).sound


def test_details_have_a_bound(world: World) -> None:
    world.people.audit.write("ann", "session 1", "search", details={"ids": ["8000000000"] * 2000})
    assert "left out" in world.trail()[0].details


def test_many_threads_share_commits_and_nothing_is_lost(world: World) -> None:
    written: list[int] = []

    def work(name: str) -> None:
        for number in range(20):
            written.append(world.people.audit.write(name, "token", "view message", str(number)))

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(written) == list(range(1, 161))
    assert verdict(world).rows == 160
    assert verdict(world).sound


def test_rows_are_found(world: World) -> None:
    for _ in range(5):
        world.later(1000)
        fill(world, 1)
    world.people.audit.write("bob", "session 2", "search", "mrn", "denied")
    database = world.people.database
    assert [entry.object for entry in entries(database, Wanted(who="bob"))] == ["mrn"]
    assert len(entries(database, Wanted(what="view*"))) == 5
    assert len(entries(database, Wanted(what="view_"))) == 0
    assert [entry.seq for entry in entries(database, before=4, limit=2)] == [3, 2]
    assert [entry.seq for entry in entries(database, Wanted(since=world.now, outcome="ok"))] == [5]
    assert entries(database, Wanted(until=world.now - 10_000)) == []
    assert words(database) == ["search", "view message"]


# ── one that somebody touched ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("column", ["at", "who", "via", "what", "object", "outcome", "details", "prev", "hash"])
@pytest.mark.parametrize("seq", [1, 15, ROWS])
def test_s45_a_changed_row_is_found(world: World, column: str, seq: int) -> None:
    fill(world)
    tamper(world, f"UPDATE audit SET {column} = {column} || '1' WHERE seq = {seq}")
    found = verdict(world)
    assert not found.sound
    assert found.broken == seq


@pytest.mark.parametrize("seq", [1, 15, ROWS])
def test_s45_a_deleted_row_is_found(world: World, seq: int) -> None:
    fill(world)
    tamper(world, f"DELETE FROM audit WHERE seq = {seq}")
    found = verdict(world)
    assert not found.sound
    assert found.broken == (seq + 1 if seq < ROWS else ROWS)


def test_s45_a_deleted_row_whose_gap_was_closed_is_found(world: World) -> None:
    fill(world)
    tamper(
        world,
        "DELETE FROM audit WHERE seq = 15",
        "UPDATE audit SET seq = -seq WHERE seq > 15",
        "UPDATE audit SET seq = -seq - 1 WHERE seq < 0",
    )
    assert verdict(world).broken == 15


def test_s45_an_inserted_row_is_found(world: World) -> None:
    fill(world)
    found = rows(world)
    for at in (0, 15, ROWS):
        forged = found[3]._replace(who="mallory")
        put = [*found[:at], forged, *found[at:]]
        rewrite(world, [entry._replace(seq=number) for number, entry in enumerate(put, 1)])
        assert verdict(world).broken == at + 1


def test_s45_a_row_added_at_the_end_is_found_and_stays_visible(world: World) -> None:
    fill(world)
    found = rows(world)
    rewrite(world, chained([*found, found[0]._replace(who="mallory")]))
    assert verdict(world).broken == ROWS + 1
    assert "somebody added them" in verdict(world).text
    world.people.audit.write("ann", "session 1", "search")
    said = verdict(world)
    assert said.sound  # as after a crash between commit and anchor, which looks the same
    assert said.remarks == (ROWS + 2,)
    assert "longer than its anchor" in {entry.outcome for entry in world.trail("audit")}


def test_s45_swapped_rows_are_found(world: World) -> None:
    fill(world)
    found = rows(world)
    found[9], found[10] = found[10]._replace(seq=10), found[9]._replace(seq=11)
    rewrite(world, found)
    assert verdict(world).broken == 10


@pytest.mark.parametrize("left", [0, 1, ROWS - 1])
def test_s45_a_truncated_trail_is_found_also_when_it_went_on(world: World, left: int) -> None:
    fill(world)
    tamper(world, f"DELETE FROM audit WHERE seq > {left}")
    found = verdict(world)
    assert (found.sound, found.broken) == (False, left + 1)
    assert "taken away" in found.text
    fill(world, 5)
    again = verdict(world)
    assert not again.sound
    assert "gone" in again.text
    assert [entry.outcome for entry in world.trail("audit")] == ["end was taken away"]


@pytest.mark.parametrize("first", [1, 15, ROWS])
def test_s45_a_tail_made_anew_is_found_also_when_it_went_on(world: World, first: int) -> None:
    fill(world)
    found = rows(world)
    rewrite(world, chained([*found[: first - 1], *(entry._replace(who="bob") for entry in found[first - 1 :])]))
    said = verdict(world)
    assert not said.sound
    assert "made anew" in said.text
    fill(world, 3)
    again = verdict(world)
    assert (again.sound, again.broken) == (False, ROWS + 1)


def test_s45_a_trail_made_anew_with_its_anchor_is_found_by_the_logs_anchor(world: World) -> None:
    fill(world)
    told = world.people.audit.head()
    fill(world, 5)
    found = chained([entry._replace(who="bob") for entry in rows(world)])
    rewrite(world, found)
    Anchor(world.site / ".wardline").write(Mark(found[-1].seq, found[-1].hash), world.now)
    assert verdict(world).sound  # by itself it cannot tell
    said = verify(world.people.database, told=parse_mark(str(told)))
    assert (said.sound, said.broken) == (False, ROWS)
    assert verify(world.people.database, told=Mark(99, "0" * 64)).broken == ROWS + 6


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"seq": "x", "hash": 1}', b"\xff\xfe"])
def test_s45_without_its_anchor_a_trail_is_not_called_sound(world: World, content: bytes | None) -> None:
    fill(world)
    path = world.site / ".wardline" / "audit-anchor"
    path.unlink() if content is None else path.write_bytes(content)
    assert "missing" in verdict(world).text
    assert not verdict(world).sound
    fill(world, 2)  # goes on, and says so for ever
    assert (verdict(world).sound, verdict(world).broken) == (False, ROWS + 1)


def test_s45_everything_taken_away_is_found(world: World) -> None:
    fill(world)
    world.people.close()
    world.opened.clear()
    (world.site / ".wardline" / "console.db").unlink()
    world.people = world.open()
    assert verdict(world).broken == 1
    world.people.audit.write("mallory", "local", "search")
    assert not verdict(world).sound


def test_s45_a_thousand_random_edits_are_found(world: World) -> None:
    fill(world)
    whole, chance = rows(world), random.Random(45)

    def changed(entry: Entry) -> Entry:
        column = chance.randrange(10)
        value = entry[column]
        if isinstance(value, int):
            return Entry._make([*entry[:column], value ^ (1 << chance.randrange(40)), *entry[column + 1 :]])
        at = chance.randrange(len(value) + 1)
        letter = chr(chance.choice([0x30, 0x41, 0x61, 0x20, 0x7F, 0x1F600]) + chance.randrange(10))
        other = value[:at] + letter + value[at + chance.randrange(2) :]
        return Entry._make([*entry[:column], other if other != value else value + "x", *entry[column + 1 :]])

    def one(found: list[Entry]) -> list[Entry]:
        at, to = chance.sample(range(len(found)), 2)
        edits: list[Callable[[], list[Entry]]] = [
            lambda: [*found[:at], changed(found[at]), *found[at + 1 :]],
            lambda: found[:at] + found[at + 1 :],
            lambda: [*found[:at], found[to]._replace(seq=-1 - at), *found[at:]],
            lambda: [found[to if n == at else at if n == to else n]._replace(seq=n + 1) for n in range(len(found))],
            lambda: found[: min(at, to)],
            lambda: chained([*found[:at], changed(found[at])._replace(who="bob"), *found[at + 1 :]]),
        ]
        return chance.choice(edits)()

    missed = []
    for number in range(1000):
        edited = one(whole)
        try:
            rewrite(world, edited)
        except sqlite3.IntegrityError:  # two rows of one sequence: not even that can be written
            continue
        if verdict(world).sound:
            missed.append(number)
    assert missed == []
    rewrite(world, whole)
    assert verdict(world).sound


def test_verifying_can_begin_after_a_break_that_is_known(world: World) -> None:
    fill(world)
    tamper(world, "UPDATE audit SET who = 'bob' WHERE seq = 10")
    assert not verify(world.people.database, first=10).sound
    assert verify(world.people.database, first=11).rows == ROWS - 10
    assert verify(world.people.database, first=11).sound
    tamper(world, "DELETE FROM audit WHERE seq = 11")
    assert verify(world.people.database, first=11).broken == 12


# ── what goes wrong ────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_written_is_said_to_everybody_who_waits(world: World) -> None:
    fill(world, 1)
    tamper(world, "CREATE TRIGGER stop BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StoreError):
        world.people.audit.write("ann", "session 1", "search")
    tamper(world, "DROP TRIGGER stop")
    assert world.people.audit.write("ann", "session 1", "search") == 2


def test_a_full_disk_stops_what_was_to_be_recorded(world: World) -> None:
    with world.people.database.locked(), world.people.database.transaction() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def fill_it() -> None:
        for number in range(3000):
            world.people.audit.write("ann", "session 1", "view message", "x" * 200, "ok", {"number": number, "pad": "y" * 200})

    with pytest.raises(StoreFull, match="Make room"):
        fill_it()
    assert verdict(world).sound


def test_an_anchor_that_cannot_be_written_is_no_success_and_the_next_row_tells(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world, 3)

    def broken(*about: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(StoreError, match="audit-anchor"):
        world.people.audit.write("ann", "session 1", "search")
    monkeypatch.undo()
    assert verdict(world).broken == 4
    fill(world, 1)
    assert verdict(world).sound
    assert len(verdict(world).remarks) == 1


KILLED = """
import itertools, sys, time
from pathlib import Path
from engine.console.people import People
people = People(Path(sys.argv[1]), lambda: time.time_ns() // 1000)
for number in itertools.count():
    seq = people.audit.write("ann", "session 1", "view message", str(number))
    sys.stdout.write(f"{seq}\\n")
    sys.stdout.flush()
"""


def test_what_was_answered_is_there_after_kill_9(world: World, tmp_path: Path) -> None:
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]
        )
        assert process.stdout is not None
        answered = [int(process.stdout.readline()) for _ in range(25)]
        process.kill()
        answered += [int(line) for line in process.stdout.read().splitlines() if line]
        process.wait()
        process.stdout.close()
        assert rows(world)[-1].seq >= answered[-1]
        world.people.audit.write("ann", "session 1", "search")  # whatever was between commit and anchor is told of
        assert verdict(world).sound
