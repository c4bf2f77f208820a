"""The page of one message: what it says, to whom, and what it does with the worst content there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import html

from engine.console.people.trail import Wanted, entries
from engine.ids import format_id
from engine.model import Delivered, MessageState, Refused, Verb
from engine.store.schema import CHUNK
from engine.views.lines import LINES
from tests.console import SAMPLES, Opened, opened

EVIL = (
    b'MSH|^~\\&|<script>alert(1)</script>|"><img src=x onerror=alert(1)>|W|G|20260302||ADT^A01^ADT_A01|EVIL1|P|2.5.1\r'
    b"PID|1||X\xe2\x80\xae1^^^G^MR||<b>bold</b>^\x1b[31mred\xc2\xa0^' onmouseover='alert(1)||19800203|F\r"
    b"ZZZ|{{7*7}}|${7*7}|</style>|javascript:alert(1)\r"
)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened(tmp_path_factory.mktemp("message")) as made:
        yield made


@pytest.fixture(scope="module")
def operator(console: Opened) -> Any:
    return console.as_("operator")


@pytest.fixture(scope="module")
def charge(console: Opened) -> int:
    """A charge whose journal was delivered."""
    number = console.sample("charges", "dft_p03_two_charges.hl7")
    console.deliver("erp-ledger", Delivered(b'{"ok": true}'))
    console.deliver("billing-api", Refused("422: the account is closed", b'{"error": "closed"}'))
    return number


def said(text: str) -> str:
    return " ".join(html.fromstring(text).text_content().split())


def test_a_parked_message_says_why_where_and_what_to_do(console: Opened, operator: Any) -> None:
    number = console.sample("charges", "dft_p03_missing_department.hl7")
    page = operator.get(f"/messages/{format_id(number)}")
    assert page.status_code == 200
    text = said(page.text)
    assert "FT1[2]-13.1 is required and was not sent" in text
    assert "What to do: Correct the mapping and release it" in text
    links = html.fromstring(page.text).xpath("//a[contains(@class, 'place')]/@href")
    assert any(link.startswith("/site/files/mappings/dft-to-charge.yaml#L") for link in links)
    (place,) = {link for link in links if "at=" in link}
    assert operator.get(place).status_code == 200
    shown = operator.fragment(f"/messages/{format_id(number)}/stage/in", params={"at": "FT1[2]-13.1"})
    assert "FT1[2]-13.1 is empty: nothing was sent there." in shown.text
    (line,) = html.fromstring(shown.text).xpath("//li[contains(@class, 'line') and contains(@class, 'fault')]")
    assert line.text_content().startswith("FT1[2]")
    verbs = html.fromstring(page.text).xpath("//a[starts-with(@href, '/plans/new')]/@href")
    assert [re.search(r"verb=(\w+)", verb)[1] for verb in verbs] == ["release", "cancel"]  # type: ignore[index]


def test_the_whole_way_and_every_stage(console: Opened, operator: Any, charge: int) -> None:
    here = f"/messages/{format_id(charge)}"
    page = html.fromstring(operator.get(here).text)
    steps = [" ".join(step.text_content().split()) for step in page.xpath("//ol[@class='timeline']//p[@class='title']")]
    assert [step.partition(": ")[2] for step in steps][:3] == ["Received content", "Acknowledged", "Translated"]
    assert any("Parked for billing-api" in step for step in steps)
    stages = console.token("operator").get(f"/api/v1/messages/{format_id(charge)}").json()["stages"]
    assert {stage["title"].partition(" ")[0] for stage in stages} == {"As", "charge/v1", "journal/v1", "answer"}
    for stage in stages:
        for mode in ("", "fields", "text", "hex"):
            shown = operator.fragment(f"{here}/stage/{stage['key']}", params={"mode": mode})
            assert shown.status_code == 200, stage
            assert "It is shown as text" not in shown.text
    first = html.fromstring(operator.get(here).text).xpath("//div[@id='stage']/@hx-get")[0]
    assert "/stage/answer-" in first  # what parked it comes first


def test_the_exact_bytes_as_a_file_that_no_browser_opens(console: Opened, operator: Any, charge: int) -> None:
    here = f"/messages/{format_id(charge)}/raw"
    answer = operator.get(here)
    assert answer.content == (SAMPLES / "dft_p03_two_charges.hl7").read_bytes()
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == f'attachment; filename="{format_id(charge)}-in.hl7"'
    assert (
        answer.headers["content-security-policy"] == "sandbox"
        or "default-src 'none'" in answer.headers["content-security-policy"]
    )
    stages = console.token("operator").get(f"/api/v1/messages/{format_id(charge)}").json()["stages"]
    (reply, *_) = (stage["key"] for stage in stages if stage["key"].startswith("answer-"))
    assert operator.get(here, params={"stage": reply}).content in (b'{"ok": true}', b'{"error": "closed"}')
    assert operator.get(here, params={"stage": "../../etc"}).status_code == 404


def test_whoever_may_not_read_sees_the_way_and_no_content(console: Opened, charge: int) -> None:
    viewer = console.as_("viewer")
    here = f"/messages/{format_id(charge)}"
    page = viewer.get(here)
    assert page.status_code == 200
    assert "Its way" in page.text
    assert "break the glass" in page.text
    assert "Featherstonehaugh" not in page.text
    assert not html.fromstring(page.text).xpath("//a[starts-with(@href, '/plans/new')]")
    for path in ("/stage/in", "/raw", "/diff"):
        assert viewer.get(here + path).status_code == 403
    siblings = viewer.fragment(f"{here}/siblings")
    assert siblings.status_code == 200
    assert "Featherstonehaugh" not in siblings.text
    elsewhere = console.as_("operator", channels="lab*")
    assert elsewhere.get(here).status_code == 404


def test_bodies_are_audited_and_named_by_message_and_stage_only(console: Opened, charge: int) -> None:
    auditor = console.as_("operator", name="reader-of-bodies")
    auditor.fragment(f"/messages/{format_id(charge)}/stage/in", params={"at": "PID-5.1"})
    auditor.get(f"/messages/{format_id(charge)}/raw")
    auditor.get(f"/messages/{format_id(charge)}/diff", params={"old": "in", "new": "in"})
    rows = entries(console.people.database, Wanted(who="reader-of-bodies"))
    mine = [row for row in rows if row.object == format_id(charge)]
    assert {row.what for row in mine} >= {"read body", "download body", "compare bodies"}
    assert "Featherstonehaugh" not in repr(mine)


def test_hostile_content_is_text_everywhere(console: Opened, operator: Any) -> None:
    reason = "PID-3: <script>alert(2)</script> '\u202ex' (mappings/<b>.yaml:1:1)"
    number = console.send("adt", EVIL, state=MessageState.REJECTED, reason=reason)
    here = f"/messages/{format_id(number)}"
    for path in (
        "",
        "/stage/in",
        "/stage/in?mode=fields",
        "/stage/in?mode=text",
        "/stage/in?mode=hex",
        "/diff?old=in",
        "/siblings",
    ):
        for text in (operator.get(here + path).text, operator.fragment(here + path).text):
            page = html.fromstring(text)
            assert "alert(1)" not in "".join(page.xpath("//script//text()"))
            assert not page.xpath("//*[@onerror or @onmouseover or @style]"), path
            assert not page.xpath("//main//img | //main//b[text()='bold']"), path
            assert "\u202e" not in text
            assert "\x1b" not in text
            assert "49" not in {node.strip() for node in page.xpath("//ol//text()")}
    shown = operator.fragment(f"{here}/stage/in").text
    assert "right-to-left override" in shown
    assert "{{7*7}}" in shown


def test_the_api_gives_the_same_and_survives_what_is_no_text(console: Opened) -> None:
    api = console.token("analyst")
    number = console.send("adt", EVIL.replace(b"EVIL1", b"EVIL2") + b"\xff\xfe junk\r", state=MessageState.REJECTED, reason="x")
    answer = api.get(f"/api/v1/messages/{format_id(number)}/stages/in")
    assert answer.status_code == 200
    told = answer.json()
    assert told["kind"] == "hl7v2"
    pieces = [piece for line in told["items"] for piece in line["pieces"]]
    assert {"PID-5.1", "ZZZ-1"} <= {piece["path"] for piece in pieces}
    text = api.get(f"/api/v1/messages/{format_id(number)}/stages/in", params={"mode": "text"})
    assert "\\udcff" in text.text
    for path in ("", "/siblings", "/diff?old=in&new=in"):
        assert api.get(f"/api/v1/messages/{format_id(number)}{path}").status_code == 200
    assert api.get(f"/api/v1/messages/{format_id(number)}/diff?old=nothing").status_code == 422
    assert api.get(f"/api/v1/messages/{format_id(number)}/stages/nothing").status_code == 404
    assert api.get("/api/v1/messages/0000000001").status_code == 404


def test_what_differs_from_the_message_before_of_the_same_key(console: Opened, operator: Any) -> None:
    first = (SAMPLES / "oru_r01_chemistry.hl7").read_bytes()
    control = re.search(rb"\|ORU\^R01[^|]*\|([^|]+)\|", first)
    assert control is not None
    one = console.send("results", first)
    two = console.send("results", first.replace(control[1], b"NEXT1").replace(b"141|mmol", b"151|mmol"))
    told = console.token("analyst").get(f"/api/v1/messages/{format_id(two)}/diff").json()
    assert told["before"] == format_id(one)
    changes = {change["path"]: (change["old"], change["new"]) for change in told["changes"]}
    assert changes["MSH-10"] == (control[1].decode(), "NEXT1")
    assert ("141", "151") in changes.values()
    assert len(changes) == 2
    page = operator.fragment(f"/messages/{format_id(two)}/diff")
    assert "Message Control ID" in page.text
    assert told["by"] == "field"


def test_a_large_body_comes_in_pieces(console: Opened, operator: Any) -> None:
    header = b"MSH|^~\\&|LAB|NORTHLAB|W|G|20260306||ORU^R01|BIG1|P|2.5.1\rPID|1||777^^^G^MR\rOBR|1||F1^L|UC^x^L\r"
    content = header + b"".join(b"OBX|%d|TX|CULT^Culture^L|1|%s||||||F\r" % (n, b"text " * 10) for n in range(40_000))
    assert len(content) > 2 * CHUNK
    number = console.send("results", content, state=MessageState.REJECTED, reason="too many")
    here = f"/messages/{format_id(number)}"
    page = operator.fragment(f"{here}/stage/in")
    assert len(page.text) < 150_000
    assert "bytes are shown" in page.text
    (more,) = html.fromstring(page.text).xpath("//li[@class='next']/a/@hx-get")
    following = operator.fragment(more)
    labels = html.fromstring(f"<ol>{following.text}</ol>").xpath("//span[@class='label']/text()")
    assert 10 < len(labels) <= LINES
    assert labels[0].startswith("OBX[")
    assert "<nav" not in following.text  # the lines alone
    tail = operator.fragment(f"{here}/stage/in", params={"mode": "hex", "start": len(content) - 20})
    assert "7c 46 0d" in tail.text  # |F and the end of the segment
    with operator.http.stream("GET", f"{here}/raw") as answer:
        assert sum(map(len, answer.iter_bytes())) == len(content)


def test_hostile_bodies_make_no_heavy_page(console: Opened, operator: Any) -> None:
    for n, junk in enumerate((b"<" * 200_000, b"\x00" * 200_000, b"^" * 200_000, b"~&" * 100_000, b'"' * 200_000)):
        content = (
            b"MSH|^~\\&|A|B|C|D|20260302||ADT^A01|HEAVY%d|P|2.5.1\rPID|1||" % n
            + junk
            + b"\rZZZ|"
            + b"\rZZZ|".join([junk[:500]] * 50)
        )
        number = console.send("adt", content, state=MessageState.REJECTED, reason="x")
        for mode in ("", "fields", "text", "hex"):
            answer = operator.fragment(f"/messages/{format_id(number)}/stage/in", params={"mode": mode})
            assert answer.status_code == 200
            assert len(answer.text) < 120_000, (n, mode)


def test_replays_and_duplicates_lead_to_one_another(console: Opened, operator: Any) -> None:
    number = console.sample("adt", "adt_a08_late.hl7")
    console.sample("adt", "adt_a08_late.hl7")
    console.act(Verb.REPLAY, messages=(number,))
    console.retranslate()
    told = console.token("operator").get(f"/api/v1/messages/{format_id(number)}").json()
    assert [len(told[name]) for name in ("replays", "duplicates")] == [1, 1]
    again = console.token("operator").get(f"/api/v1/messages/{told['duplicates'][0]['id']}").json()
    assert again["original"] == format_id(number)
    copy = operator.fragment(f"/messages/{told['duplicates'][0]['id']}/stage/in")
    assert "As received, kept with its original" in copy.text
    assert "ADT^A08" in said(copy.text)


def test_no_content_is_read_for_the_page_itself(
    console: Opened, operator: Any, charge: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.store.history import History

    def never(*about: Any) -> Any:
        raise AssertionError("content was read")

    monkeypatch.setattr(History, "_content", never)
    monkeypatch.setattr(History, "piece", never)
    assert operator.get(f"/messages/{format_id(charge)}").status_code == 200


def test_the_script_makes_no_markup_of_data() -> None:
    script = (Path(__file__).resolve().parents[3] / "engine" / "console" / "static" / "message.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", script)
