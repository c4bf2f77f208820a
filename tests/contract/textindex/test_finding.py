"""What is found, and what is not: the same on both databases."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

import pytest

from engine.errors import StoreError
from engine.model import MessageState, Outgoing
from engine.textindex import Interrupted, NoIndex, NotWords, Phrase, open_index
from tests.contract.store.helpers import START, outgoing
from tests.contract.textindex.helpers import Indexed

HL7 = "MSH|^~\\&|EHR|WLGH|||20260101||ADT^A01|{n}|P|2.5.1\rPID|1||{mrn}^^^WLGH^MR||{name}\r"


def hl7(n: int, mrn: str = "M1", name: str = "Doe^Jane") -> bytes:
    return HL7.format(n=n, mrn=mrn, name=name).encode()


def entity(content: bytes, *lanes: str) -> Outgoing:
    return outgoing(content, *lanes, kind="charge/v1")


async def test_every_stage_is_found_and_told_apart(site: Indexed) -> None:
    one = await site.record(outgoing(b"<journal>posted</journal>"), entity(b'{"amount":"12.50"}', "b"), content=hl7(1, "A-77"))
    for delivery in await site.due():
        await site.deliver(delivery, b"MSA|AA|thanked")
    two = await site.take(hl7(2, "B-78"))
    site.index()
    assert site.find("WLGH") == [two.message_id, one.message_id]
    for text, stage in (("a-77", "in"), ("12.50", "canonical"), ("posted", "out"), ("12.50", "out"), ("thanked", "answer")):
        assert site.find(text, stage=stage) == site.find(text) == [one.message_id]
    for text, stage in (("a-77", "out"), ("12.50", "in"), ("posted", "canonical"), ("thanked", "in"), ("posted", "answer")):
        assert site.find(text, stage=stage) == []
    with closing(open_index(site.url)) as index:
        assert index.find([Phrase("A-77", "in"), Phrase("THANKED", "answer")], 0, 9) == [one.message_id]
        assert index.indexed_up_to() == (two.message_id, START)


async def test_phrases_beginnings_and_joined_words(site: Indexed) -> None:
    doe = await site.take(hl7(1, "4711-B", "Dœ^Jane^Ann"))
    smith = await site.take(hl7(2, "4711-C", "Smith^Émilie^Jane"))
    site.index()
    for text in ("JANE^ANN", "jane, ann", "4711-b", "jan* ann", "4711 B WLGH"):
        assert site.find(text) == [doe.message_id], text
    for text in ("Smith Emilie", "SMI*", "émil*", "smith emi*", "4711-C*"):
        assert site.find(text) == [smith.message_id], text
    for text in ("4711", "47*", "jane", "4711-*", "a01"):
        assert site.find(text) == [smith.message_id, doe.message_id], text
    for text in ("ann jane", "smith jane", "mith", "4711-", "711-b"):
        assert site.find(text) == ([] if text != "4711-" else [smith.message_id, doe.message_id]), text
    assert site.find("jane", "smith") == [smith.message_id]


async def test_newest_first_page_by_page_through_volumes(site: Indexed) -> None:
    ids = [(await site.take(hl7(n, f"M{n % 2}"))).message_id for n in range(40)][::-1]
    site.index()
    assert len(site.volumes()) == 7
    site.settle_down()
    assert site.find("wlgh", limit=100) == ids
    assert site.find("wlgh", limit=7) == ids[:7]
    assert site.find("wlgh", below=ids[6], limit=7) == ids[7:14]
    assert site.find("m1", limit=3, below=ids[10]) == [one for n, one in enumerate(ids) if n > 10 and n % 2 == 0][:3]
    assert site.find("wlgh", below=ids[-1]) == []


async def test_what_has_no_text_of_its_own(site: Indexed) -> None:
    """A duplicate is its original; a rejected one was received all the same."""
    first = await site.take(hl7(1), key=b"k")
    again = await site.take(hl7(1), key=b"k")
    assert again.duplicate
    rejected = await site.take(b"rejected text", state=MessageState.REJECTED, reason="PID-3")
    empty = await site.take(b"")
    site.index()
    assert site.find("wlgh") == [first.message_id]
    assert site.find("rejected") == [rejected.message_id]
    with closing(open_index(site.url)) as index:
        assert index.indexed_up_to()[0] == empty.message_id


HOSTILE = [
    '"', "'", '" OR "1', "NEAR(a b)", "* AND", "{in} : x", "^x", "a\0b", "\\", "') ; DROP TABLE search_meta; --", "a:*", "!a & b | c",
    "<-> a", "%s %b ?", "\ud800", "$$", "x'; SELECT 1", "AND", "NOT", "a NOT b", "in : x", "-x", "+a", "\N{FULLWIDTH QUOTATION MARK}",
]  # fmt: skip


async def test_nothing_in_a_message_or_a_phrase_is_a_language(site: Indexed) -> None:
    taken = [await site.take(b"zebra " + text.encode("utf-8", "replace") + b" zebra") for text in HOSTILE]
    site.index()
    ids = [one.message_id for one in taken]
    assert site.find("zebra", limit=100) == ids[::-1]
    for text in HOSTILE:
        try:
            found = site.find(text, limit=100)
        except NotWords:
            continue
        assert set(found) <= set(ids)
    assert site.find("DROP TABLE search_meta") == [ids[9]]
    assert site.find("NEAR(a b)") == [ids[3]]
    assert site.find("a NOT b") == [ids[19]]
    assert site.find("zebra", limit=100) == ids[::-1]


async def test_huge_and_binary_bodies_do_not_hurt(site: Indexed) -> None:
    lump = b"QUJD" * 2_000_000
    pdf = await site.take(b"MSH|^~\\&|A\rOBX|1|ED|||^PDF^^Base64^" + lump + b"|early\r")
    noise = await site.take(bytes(range(256)) * 8000)
    many = await site.take(b" ".join(b"w%06d" % n for n in range(60_000)))
    long = await site.record(outgoing(b"p" * 3_000_000 + b" end"), content=b"beginning " + b"q" * 3_000_000)
    site.index()
    assert site.find("base64") == [pdf.message_id]
    assert site.find("w000123") == [many.message_id]
    assert site.find("w059999") == []
    assert site.find("beginning") == [long.message_id]
    assert site.find("abcdefghijklmnopqrstuvwxyz") in ([noise.message_id], [])


async def test_no_index(site: Indexed, kind: str) -> None:
    with pytest.raises(NoIndex, match="wardline index"):
        open_index(site.url)
    site.index()
    with closing(open_index(site.url)) as index:
        assert index.indexed_up_to() == (0, 0)
        assert index.find([Phrase("x")], 0, 5) == []
        site.database.wipe()
        with pytest.raises(NoIndex):
            index.find([Phrase("x")], 0, 5)


async def test_an_index_that_was_made_anew_is_read_anew(site: Indexed) -> None:
    await site.take(hl7(1))
    site.index()
    with closing(open_index(site.url)) as index:
        (found,) = index.find([Phrase("wlgh")], 0, 5)
        site.indexer.make_anew()
        assert index.find([Phrase("wlgh")], 0, 5) == []
        site.index()
        assert index.find([Phrase("wlgh")], 0, 5) == [found]


async def test_a_search_can_be_broken_off(site: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(12):
        await site.take(hl7(n))
    site.index()
    with closing(open_index(site.url)) as index:
        index.interrupt()  # none is under way
        assert len(index.find([Phrase("wlgh")], 0, 50)) == 12
        inner: Any = index.search  # type: ignore[attr-defined]

        def interrupted(*asked: Any) -> list[int]:
            thread = threading.Thread(target=index.interrupt)
            thread.start()
            thread.join()
            found: list[int] = inner(*asked)
            return found

        monkeypatch.setattr(index, "search", interrupted)
        with pytest.raises(Interrupted, match="stopped"):
            index.find([Phrase("wlgh")], 0, 50)
        monkeypatch.undo()
        assert len(index.find([Phrase("wlgh")], 0, 50)) == 12
        monkeypatch.setattr("engine.textindex.reading.SECONDS", -1.0)
        with pytest.raises(Interrupted, match="more than"):
            index.find([Phrase("wlgh")], 0, 50)


def test_no_store(tmp_path: Any) -> None:
    with pytest.raises((NoIndex, StoreError)):
        open_index(f"sqlite:///{tmp_path}/nothing.db")
