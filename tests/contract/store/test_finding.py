"""What a query finds, on both databases: lists, negation, flags, reasons; pages in both directions; and when time is up."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import text

from engine.ids import format_id
from engine.model import Close, DeliveryState, Heading, MessageState, Refused, Settlement, Verb
from engine.query import Found, QueryError, completions, every, find, parse
from engine.query.lines import as_csv, as_jsonl, lines
from engine.store import keys, reading, search, walk
from engine.store.history import History, Query
from engine.store.reading import SearchStopped, TookTooLong
from tests.contract.store.helpers import START, Site, admission, outgoing, retried, translation

HOUR = 3_600_000_000
COUNT = 60


@pytest.fixture
def filled(site: Site, spin: Any, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Sixty messages an hour apart, C0 to C59; one of each kind of fate among them, and stretches of seven."""
    monkeypatch.setattr(keys, "GATHER", 7)
    monkeypatch.setattr(walk, "FIRST", 1)
    spin(_fill(site))
    return site


async def _fill(site: Site) -> None:
    numbers = {}
    for n in range(COUNT):
        site.now = START + n * HOUR
        channel, kind = "oru" if n % 4 == 0 else "adt", ("ADT^A01", "ADT^A08", "DFT^P03")[n % 3]
        other: dict[str, Any] = {}
        if n in (5, 25):
            other = {"state": MessageState.REJECTED, "reason": "PID-3 is required"}
        elif n in (6, 26):
            other = {"state": MessageState.FILTERED, "reason": "test patient: MSH-11 is 'T'"}
        taken = await site.take(b"%d" % n, b"%d" % n, channel=channel, heading=Heading(kind, f"C{n}", "A|B"), **other)
        numbers[n] = taken.message_id
        if other or n >= COUNT - 2:
            continue
        found = {"keys": (("mrn", str(n % 5)), ("order", f"O{n}")), "channel": channel}
        if n in (7, 27):
            facts = {"state": MessageState.PARKED, "park_reason": "unknown_code", "reason": "FT1-13: '100%_X' has no row"}
            await site.store.translated([translation(taken.message_id, **found, **facts)])
        else:
            product = outgoing(f"{n}", f"{n}", destination="erp" if n % 3 else "crm")
            await site.store.translated([translation(taken.message_id, product, **found)])
    due = {one.message_id: one for name in ("erp", "crm") for one in await site.due(name, 100)}
    for n in (10, 30):
        one = due[numbers[n]]
        refused = Refused("AE: no such account")
        await site.settle(Settlement(one, refused, Close(DeliveryState.PARKED, refused.reason), START, START))
    for n in (11, 12, 13, 31):
        await site.deliver(due[numbers[n]])
    await site.settle(retried(due[numbers[14]], START))
    (again,) = [one for one in await site.due("erp", 100) if one.message_id == numbers[14]]
    await site.deliver(again)
    await site.act(Verb.REPLAY, messages=[numbers[12]])
    await site.act(Verb.RESEND, deliveries=[due[numbers[13]].id])
    part = admission(b"part", channel="adt", control_id="P1", part_of=1)
    await site.store.take(
        admission(
            b"whole", channel="adt", control_id="B1", state=MessageState.TRANSLATED, parts=(part, part._replace(digest=b"x" * 32))
        )
    )
    await site.take(b"3", b"3", channel="adt", heading=Heading("ADT^A01", "C3", "A|B"))


def look(site: Site, query: str, limit: int = 100, **other: Any) -> Found:
    with History(site.url) as history:
        return find(history, parse(query, START + COUNT * HOUR, names=["mrn", "order"]), limit, **other)


def found(site: Site, query: str, **other: Any) -> list[str]:
    return [row.control_id for row in look(site, query, **other).rows]


def c(*numbers: int) -> list[str]:
    return [f"C{n}" for n in numbers]


QUERIES = [
    ("state:rejected", c(25, 5)),
    ("state:filtered", c(26, 6)),
    ("state:rejected,filtered", c(26, 25, 6, 5)),
    ("state:parked", c(30, 27, 10, 7)),
    ("state:parked,rejected", c(30, 27, 25, 10, 7, 5)),
    ("state:parked channel:oru", []),
    ("state:parked type:ADT^A01", c(30, 27)),
    ("state:parked,filtered -type:ADT^A01", c(26, 10, 7)),
    ("state:delivered", c(31, 14, 13, 12, 11)),
    ("state:waiting destination:erp until:" + "2025-12-29T15:00Z", c(4, 2, 1)),
    ("state:delivered,parked destination:erp", c(31, 14, 13, 11, 10)),
    ("state:duplicate", c(3)),
    ("state:received", ["P1", "P1", "C12", "C59", "C58"]),
    ("-state:translated,received,duplicate state:parked,rejected,filtered", c(27, 26, 25, 7, 6, 5)),
    ("state:translated -state:waiting,parked,delivered,sending", ["B1"]),
    ("is:duplicate", c(3)),
    ("is:in-doubt", c(14)),
    ("is:replayed", c(12)),
    ("is:replay", c(12)),
    ("is:replay is:replayed", []),
    ("is:replay,replayed state:received", c(12)),
    ("is:resent", c(13)),
    ("is:batch", ["B1"]),
    ("-is:in-doubt,resent state:delivered", c(31, 12, 11)),
    ('error:"no such account"', c(30, 10)),
    ("error:NO error:SUCH error:account", c(30, 10)),
    ("error:100%_x", c(27, 7)),
    ("error:100__x", []),
    ("error:required,patient", c(26, 25, 6, 5)),
    ("error:answer", c(14)),
    ("-error:required state:rejected,parked", c(30, 27, 10, 7)),
    ("mrn:2,3 order:O2,O3,O7,O9", c(7, 3, 2)),
    ("mrn:2,3 -order:O2 until:2025-12-29T15:00Z", c(3)),
    ("-mrn:0,1,2,3,4 state:received", ["P1", "P1", "C12", "C59", "C58"]),
    ("control:C1,C50,C59", c(59, 50, 1)),
    ("-control:C59,C12 state:received", ["P1", "P1", "C58"]),
    ("type:ADT state:parked,rejected", c(30, 27, 25, 10, 7)),
    ("type:AD", []),
    ("destination:crm,erp state:parked", c(30, 10)),
    ("-destination:erp state:parked", c(30, 27, 7)),
    ("-channel:adt type:DFT", c(56, 44, 32, 20, 8)),
]


def test_queries(filled: Site) -> None:
    with History(filled.url) as history:
        for query, expected in QUERIES:
            asked = parse(query, START, names=["mrn", "order"])
            rows = find(history, asked, 100).rows
            assert sorted(row.control_id for row in rows) == sorted(expected), query
            assert [row.id for row in rows] == sorted((row.id for row in rows), reverse=True)
            pages = [find(history, asked, 3)]
            while before := pages[-1].older:
                pages.append(find(history, asked, 3, before))
            assert [row for page in pages for row in page.rows] == rows, query
            page, back = pages[-1], [pages[-1].rows]
            while page.newer:
                page = find(history, asked, 3, after=page.newer)
                back.append(page.rows)
            assert [row for page_rows in reversed(back) for row in page_rows] == rows, query
        assert len(find(history, parse("", START), 100).rows) == COUNT + 5


def test_an_id_finds_its_message_whatever_else_is_asked(filled: Site) -> None:
    (row,) = look(filled, "control:C9").rows
    (other,) = look(filled, "control:C8").rows
    assert found(filled, format_id(row.id)) == found(filled, f"{format_id(row.id)}-1 channel:adt") == ["C9"]
    assert found(filled, f"id:{format_id(row.id)},{format_id(other.id)}") == ["C9", "C8"]
    assert found(filled, f"id:{format_id(row.id)} channel:oru") == []


def test_a_long_list_is_looked_up_stretch_by_stretch(filled: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LONG", 5)
    many = ",".join(f"O{n}" for n in range(0, 200, 2))
    assert found(filled, f"order:{many}") == [f"C{n}" for n in range(56, -1, -2) if n not in (6, 26)]
    assert found(filled, f"order:{many} channel:oru", limit=3) == ["C56", "C52", "C48"]
    controls = ",".join(f"C{n}" for n in range(100))
    assert len(found(filled, f"control:{controls}")) == COUNT + 2
    newest = look(filled, f"order:{many}", 4)
    assert [row.control_id for row in look(filled, f"order:{many}", 4, before=newest.older).rows] == ["C48", "C46", "C44", "C42"]


def test_keys_that_came_late_are_found_with_a_long_list(site: Site, spin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in a later run than their message."""
    monkeypatch.setattr(keys, "GATHER", 4)
    monkeypatch.setattr(walk, "FIRST", 1)
    monkeypatch.setattr(search, "LONG", 1)

    async def fill() -> None:
        late = await site.take(b"late", control_id="late")
        for n in range(12):
            await site.record(content=b"%d" % n, keys=(("mrn", "1"),))
        await site.store.translated([translation(late.message_id, keys=(("mrn", "2"),))])
        for n in range(12):
            await site.record(content=b"x%d" % n, keys=(("mrn", "3"),))

    spin(fill())
    assert found(site, "mrn:2,9") == ["late"]
    assert len(found(site, "mrn:1,2,3,4")) == 25


def test_waiting_deliveries_are_the_same_by_their_lanes_and_on_the_way_back(
    filled: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = found(filled, "state:waiting")
    monkeypatch.setattr(search, "FEW", 3)
    assert found(filled, "state:waiting") == few
    assert len(few) > 3


def test_only_what_one_may_see(filled: Site) -> None:
    assert set(found(filled, "state:parked,rejected", visible=["oru"])) == set()
    assert found(filled, "mrn:1", visible=["oru"]) == c(56, 36, 16)
    assert found(filled, "", visible=[]) == []
    with pytest.raises(QueryError) as told:
        look(filled, "channel:adt", visible=["oru"])
    assert "Seen so far: oru" in str(told.value)
    with History(filled.url) as history:
        assert [one.text for one in completions(history, "channel:", visible=["oru"])] == ["channel:oru"]


def test_names_that_the_store_has_never_seen(filled: Site) -> None:
    for query, taught in (
        ("channel:adt,orru", "channel:orru: no message has had this channel. Did you mean 'oru'?"),
        ("-destination:epr", "destination:epr: no message has had this destination. Did you mean 'erp'?"),
    ):
        with pytest.raises(QueryError) as told:
            look(filled, query)
        assert str(told.value).startswith(taught)
    assert found(filled, "channel:new", configured=["new"]) == []


def test_an_empty_store_knows_no_names_and_finds_nothing(site: Site) -> None:
    assert found(site, "channel:adt -destination:erp state:parked mrn:1,2") == []


# ── when time is up ────────────────────────────────────────────────────────────────────────────────────────────────


class Slow:
    """A reader whose statements are cut from the n-th on."""

    def __init__(self, reader: Any, good: int) -> None:
        self.reader, self.good = reader, good
        self.dialect = reader.dialect

    def select(self, statement: Any, seconds: float = 10.0) -> Any:
        rows = self.reader.select(statement, seconds)
        if str(statement).startswith("SELECT message.id, message.channel"):
            self.good -= 1
            if self.good < 0:
                raise TookTooLong("too long")
        return rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)


def test_a_walk_whose_time_is_up_says_how_far_it_came(filled: Site) -> None:
    with History(filled.url) as history:
        asked = parse("error:required", START)
        reader = history._reader
        history._reader = Slow(reader, 2)
        one = find(history, asked, 10)
        assert one.rows == []
        assert START < one.reached_at < START + COUNT * HOUR
        history._reader = reader
        rest = find(history, asked, 10, one.older)
        assert ([row.control_id for row in rest.rows], rest.older, rest.reached_at) == (["C25", "C5"], 0, 0)
        history._reader = Slow(reader, 0)
        with pytest.raises(TookTooLong):
            find(history, asked, 10)


def test_of_several_walks_the_slowest_says_how_far(filled: Site) -> None:
    """`state:parked` is two walks: what one of them found beyond the other's end is not shown yet, and not lost."""
    with History(filled.url) as history:
        asked = parse("state:parked", START)
        whole = [row.id for row in find(history, asked, 10).rows]
        reader = history._reader
        for good in range(2, 30):
            history._reader = Slow(reader, good)
            try:
                page = find(history, asked, 10)
            except TookTooLong:
                continue
            seen = [row.id for row in page.rows]
            history._reader = reader
            while page.older:
                page = find(history, asked, 10, page.older)
                seen += [row.id for row in page.rows]
            assert seen == whole


def test_a_search_that_was_called_off_ends_and_so_do_later_ones(filled: Site) -> None:
    with History(filled.url) as history:
        stopped: list[int] = []
        history.interrupts.append(lambda: stopped.append(1))
        history.interrupt()
        assert stopped == [1]
        with pytest.raises(SearchStopped):
            find(history, parse("", START))


def test_a_search_under_way_is_called_off_from_another_thread(filled: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_STEPS", 1000)
    with History(filled.url) as history:
        name = "m0"
        tables = ", ".join(f"message m{n}" for n in range(9))
        endless: Any = text(f"SELECT count(*) FROM {tables} WHERE {name}.id < 0 OR m8.size > m7.size + m1.id % 7")
        timer = threading.Timer(0.2, history.interrupt)
        timer.start()
        try:
            with pytest.raises(SearchStopped):
                history._reader.select(endless)
        finally:
            timer.join()


# ── what lines and files say ───────────────────────────────────────────────────────────────────────────────────────


def test_lines_tell_keys_deliveries_and_why(filled: Site) -> None:
    with History(filled.url) as history:
        by_id = {line.row.control_id: line for line in lines(history, look(filled, "control:C7,C10,C13,C14,C15").rows)}
    assert by_id["C10"].keys == [("mrn", "0"), ("order", "O10")]
    assert [(one.destination, one.state, one.in_doubt, one.reason) for one in by_id["C10"].deliveries] == [
        ("erp", "parked", False, "AE: no such account")
    ]
    assert by_id["C10"].reason == "AE: no such account"
    assert by_id["C7"].reason.startswith("FT1-13")
    assert by_id["C13"].summary() == {"delivered": 1, "waiting": 1}
    assert by_id["C14"].deliveries[0].in_doubt
    assert by_id["C15"].summary() == {"sending": 1}


def test_files_hold_everything_and_no_formula(filled: Site, spin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", '"quoted", with\r\nlines')
    for n, value in enumerate(evil):
        heading = Heading("ADT^A01", value, "A|B")
        spin(filled.record(content=b"evil %d" % n, keys=(("mrn", value),)))
        spin(filled.take(b"e%d" % n, heading=heading))
    with History(filled.url) as history:
        rows = b"".join(as_csv(history, every(history, parse("", START)))).decode()
        import csv
        import io

        table = list(csv.DictReader(io.StringIO(rows)))
        assert len(table) == COUNT + 5 + 2 * len(evil)
        cells = {cell for row in table for cell in row.values()}
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        assert {f"'{value}" for value in evil[:5]} | {evil[5]} <= cells
        import orjson

        objects = [
            orjson.loads(line) for line in b"".join(as_jsonl(history, every(history, parse("state:parked", START)))).splitlines()
        ]
        assert [one["control_id"] for one in objects] == c(30, 27, 10, 7)
        assert objects[0]["keys"] == [["mrn", "0"], ["order", "O30"]]
        monkeypatch.setattr("engine.query.lines.MOST", 2)
        short = [
            orjson.loads(line) for line in b"".join(as_jsonl(history, every(history, parse("state:parked", START)))).splitlines()
        ]
        assert [one.get("control_id") for one in short] == ["C30", "C27", None]
        assert "more than 2 messages" in short[2]["incomplete"]
        history.interrupt()
        broken = b"".join(as_csv(history, every(history, parse("", START)))).decode()
        assert '"incomplete","the search was called off"' in broken


def test_completions(filled: Site) -> None:
    with History(filled.url) as history:

        def offered(beginning: str) -> list[str]:
            return [one.text for one in completions(history, beginning, ["account"])]

        assert offered("st") == ["state:"]
        assert offered("-st") == ["-state:"]
        assert {"mrn:", "order:", "account:", "text:", "text.in:", "state:"} <= set(offered(""))
        assert "-text:" not in offered("-")
        assert offered("channel:") == ["channel:adt", "channel:oru"]
        assert offered("channel:adt,o") == ["channel:adt,oru"]
        assert offered("-destination:") == ["-destination:crm", "-destination:erp"]
        assert offered("state:re") == ["state:received", "state:rejected"]
        assert offered("state:d") == ["state:duplicate", "state:delivered"]
        assert offered("type:a0") == ["type:ADT^A01", "type:ADT^A08"]
        assert offered("is:re") == ["is:replayed", "is:replay", "is:resent"]
        assert offered("mrn:1") == offered("nonsense:") == []


def test_a_query_of_the_store_is_no_wider_for_an_unknown_word(filled: Site) -> None:
    with History(filled.url) as history:
        for query in (Query(channel="never"), Query(state="odd"), Query(destination="never"), Query(keys=(("never", "1"),))):
            assert history.page(query).rows == []
            assert len(history.page(Query(without=(query,)), 100).rows) == COUNT + 5
