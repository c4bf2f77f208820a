"""The search page: finding, in the channels that one may see; lists, forms, saved searches, and files of a result."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from engine.console.saved import MOST, Searches
from engine.ids import format_id
from engine.model import Delivered, MessageState, Refused
from engine.textindex.service import Service
from tests.console import Client, Opened, opened

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened(tmp_path_factory.mktemp("search")) as made:
        made.sample("adt", "adt_a01_inpatient.hl7")
        made.sample("charges", "dft_p03_pharmacy.hl7")
        made.sample("charges", "dft_p03_unknown_department.hl7")
        made.sample("charges", "dft_p03_pharmacy.hl7")
        made.deliver("mpi", Refused(f"422: {HOSTILE}"), 1)
        made.deliver("billing-api", Delivered(b"{}"))
        stray = (b"MSH|^~\\&|EHR|G|W|G|20261101||SIU^S12|=%s|P|2.5\r" % HOSTILE.encode()) + b"PID|1||1^^^G^MR\r"
        made.send("adt", stray, state=MessageState.REJECTED, reason="no SIU is taken here")
        yield made


@pytest.fixture(scope="module")
def admin(console: Opened) -> Client:
    return console.as_("admin", name="root")


def said(page: Any) -> str:
    text = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page.text, flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def found(client: Client, query: str, **about: Any) -> list[str]:
    """Ids, as the page shows them."""
    page = client.get("/messages", params={"q": query, **about})
    assert page.status_code == 200, said(page)
    return re.findall(r'class="id" href="/messages/(\w+)"', page.text)


def api(client: Client, query: str, **about: Any) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/messages", params={"q": query, **about})
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["messages"]
    return rows


def query_of(answer: Any) -> str:
    assert answer.status_code == 303, said(answer)
    where = urlsplit(answer.headers["location"])
    assert where.path == "/messages"
    return parse_qs(where.query).get("q", [""])[0]


def test_page_and_api_find_the_same(admin: Client) -> None:
    for query in (
        "",
        "channel:charges",
        "state:parked,rejected",
        "is:duplicate",
        "error:SIU",
        "-channel:charges",
        "state:delivered",
    ):
        rows = api(admin, query)
        assert found(admin, query) == [row["id"] for row in rows]
        assert rows
    (parked,) = api(admin, "state:parked channel:charges")
    assert parked["state"] == "parked"
    assert parked["park_reason"] == "unknown_code"
    assert {"account", "mrn"} <= {key["name"] for key in parked["keys"]}
    (delivered,) = api(admin, "channel:charges state:delivered", limit=1)
    assert {tally["state"] for tally in delivered["deliveries"]} >= {"delivered"}


def test_one_sees_only_the_channels_that_one_may_see(console: Opened, admin: Client) -> None:
    viewer = console.as_("viewer", channels="adt")
    everything, theirs = api(admin, ""), api(viewer, "")
    assert {row["channel"] for row in everything} == {"adt", "charges"}
    assert [row["id"] for row in theirs] == [row["id"] for row in everything if row["channel"] == "adt"]
    hidden = next(row for row in everything if row["channel"] == "charges")
    assert found(viewer, hidden["id"]) == found(viewer, f'control:"{hidden["control_id"]}"') == []
    page = viewer.get("/messages", params={"q": "channel:charges"})
    assert "Seen so far: adt" in said(page)
    assert "<option>charges" not in page.text
    offered = viewer.get("/api/v1/messages/complete", params={"begun": "channel:"}).json()
    assert [one["text"] for one in offered] == ["channel:adt"]
    rows = list(csv.DictReader(io.StringIO(viewer.get("/messages/export").text)))
    assert {row["channel"] for row in rows} == {"adt"}
    assert {row["keys"] for row in rows} == {""}  # they name patients
    assert [row["keys"] for row in theirs] == [[] for _ in theirs]
    reader = console.as_("analyst", channels="adt")
    assert any(row["keys"] for row in api(reader, ""))
    assert "mrn:" in reader.get("/messages/export").text


def test_what_messages_hold_is_shown_and_never_markup(admin: Client) -> None:
    page = admin.get("/messages")
    assert HOSTILE not in page.text
    assert html.escape(HOSTILE) in page.text
    page = admin.get("/messages", params={"q": f'"{HOSTILE}" channel:"{HOSTILE}"'})
    assert HOSTILE not in page.text


def test_a_wrong_query_is_told_in_its_place(admin: Client) -> None:
    page = admin.get("/messages", params={"q": "stat:parked"})
    assert page.status_code == 200
    assert "Did you mean 'state'?" in said(page)
    assert 'aria-invalid="true"' in page.text
    assert 'value="stat:parked"' in page.text
    part = admin.fragment("/messages", params={"q": "stat:parked"})
    assert "<html" not in part.text
    assert "Did you mean 'state'?" in said(part)
    answer = admin.get("/api/v1/messages", params={"q": "stat:parked"})
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["field"] == "q"


def test_empty_results_teach(admin: Client) -> None:
    assert "leave out since:" in said(admin.get("/messages", params={"q": "mrn:nobody since:1h"}))
    unknown = format_id(1 << 48)
    assert f"write text:{unknown}" in said(admin.get("/messages", params={"q": unknown}))


def test_pages_go_there_and_back(admin: Client) -> None:
    everything = found(admin, "")
    first = admin.get("/messages", params={"limit": 2})
    older = re.findall(r'rel="next"[^>]*href="([^"]+)"', first.text)
    seen = [re.findall(r'class="id" href="/messages/(\w+)"', first.text)]
    page = first
    while older:
        page = admin.get(html.unescape(older[0]))
        seen.append(re.findall(r'class="id" href="/messages/(\w+)"', page.text))
        older = re.findall(r'rel="next"[^>]*href="([^"]+)"', page.text)
    assert [one for ids in seen for one in ids] == everything
    newer = re.findall(r'rel="prev"[^>]*href="([^"]+)"', page.text)
    back = admin.get(html.unescape(newer[0]))
    assert re.findall(r'class="id" href="/messages/(\w+)"', back.text) == seen[-2]


def test_a_form_writes_the_query(admin: Client) -> None:
    def written(**fields: str) -> str:
        return query_of(admin.get("/messages/form", params=fields))

    assert written(q="mrn:1 state:parked since:2h", channel="charges", since="24h") == "mrn:1 channel:charges since:24h"
    assert written(q="-state:parked chest", state="parked,rejected") == "-state:parked chest state:parked,rejected"
    assert written(q="", error="unknown code", key="mrn", value="Doe, Jane") == 'error:"unknown code" mrn:"Doe, Jane"'
    assert written(q="", until="nonsense words") == 'until:"nonsense words"'
    assert written(q='"broken', channel="adt") == '"broken'
    assert written(**{"q": "", "is": "in-doubt"}) == "is:in-doubt"


def test_a_list_is_pasted(admin: Client) -> None:
    query = query_of(admin.post("/messages/list", {"key": "mrn", "values": "1\r\n2\r\n\r\n3, 4", "q": "channel:adt"}))
    assert query == "mrn:1,2,3,4 channel:adt"
    thousand = "\n".join(f"ACCOUNT-{n:020}" for n in range(1000))
    query = query_of(admin.post("/messages/list", {"key": "account", "values": thousand}))
    assert query.count(",") == 999
    assert admin.get("/messages", params={"q": query}).status_code == 200
    for values, taught in ((thousand + "\nx", "1,001 values"), ("\n", "one value to a line")):
        refused = admin.post("/messages/list", {"key": "account", "values": values})
        assert (refused.status_code, taught in said(refused)) == (422, True)
    assert admin.post("/messages/list", {"key": "nonsense", "values": "1"}).status_code == 422


def test_a_result_as_a_file(console: Opened, admin: Client) -> None:
    answer = admin.get("/messages/export", params={"q": "state:rejected"})
    assert answer.headers["content-disposition"] == 'attachment; filename="messages.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["control_id"] == f"'={HOSTILE}"
    lines = admin.get("/messages/export", params={"q": "", "format": "jsonl"}).text.splitlines()
    assert [orjson.loads(line)["id"] for line in lines] == found(admin, "")
    assert admin.get("/messages/export", params={"q": "stat:parked"}).status_code == 422
    assert admin.get("/messages/export", params={"q": "", "format": "xlsx"}).status_code == 422
    trail = admin.get("/audit").text
    assert "export" in trail
    assert "state:rejected" in html.unescape(trail)


def test_searches_are_kept_for_oneself_or_for_all(console: Opened, admin: Client) -> None:
    ann, bob = console.as_("viewer", name="ann"), console.as_("viewer", name="bob")
    assert query_of(ann.post("/messages/saved", {"name": "mine", "q": "state:parked"})) == "state:parked"
    ann.post("/messages/saved", {"name": "ours", "q": "state:rejected", "shared": "true"})
    ann.post("/messages/saved", {"name": "mine", "q": "state:waiting"})
    names = [(one["name"], one["query"]) for one in ann.get("/api/v1/messages/saved").json()]
    assert names == [("mine", "state:waiting"), ("ours", "state:rejected")]
    (shared,) = bob.get("/api/v1/messages/saved").json()
    assert (shared["name"], shared["owner"]) == ("ours", "ann")
    assert "ours" in said(bob.get("/messages"))
    assert "mine" not in said(bob.get("/messages"))
    assert bob.post(f"/messages/saved/{shared['key']}/forget").status_code == 404
    assert admin.post(f"/messages/saved/{shared['key']}/forget").status_code == 303
    assert bob.get("/api/v1/messages/saved").json() == []
    assert ann.post("/messages/saved", {"name": "wrong", "q": "stat:x"}).status_code == 422
    assert ann.post("/messages/saved", {"name": "", "q": "state:parked"}).status_code == 422


def test_a_person_keeps_so_many_searches(console: Opened) -> None:
    now = iter(range(10_000))
    searches = Searches(console.directory / "elsewhere", lambda: next(now))
    (console.directory / "elsewhere").mkdir()
    for n in range(MOST + 5):
        searches.keep("cid", f"{n:03}", "", False)
    assert [one.name for one in searches.of("cid")] == [f"{n:03}" for n in range(5, MOST + 5)]
    (console.directory / "elsewhere" / ".wardline" / "searches.json").write_text("{nonsense")
    assert searches.of("cid") == []
    searches.keep("cid", "again", "", False)
    assert [one.name for one in searches.of("cid")] == ["again"]


def test_words_are_looked_for_by_those_who_may_read(console: Opened, admin: Client) -> None:
    viewer = console.as_("viewer")
    assert "may not read contents" in said(viewer.get("/messages", params={"q": "pain"}))
    assert viewer.get("/messages/export", params={"q": "text:pain"}).status_code == 422
    assert "wardline index" in said(admin.get("/messages", params={"q": "pain"}))
    Service(console.url, lambda text: None).run(once=True)
    everything = found(admin, "featherstonehaugh")
    (adt,) = found(admin, "Featherstonehaugh channel:adt")
    assert set(everything) > {adt}
    reader = console.as_("analyst", channels="adt")
    assert found(reader, "featherstonehaugh") == [adt]
    assert "may not read contents" in said(viewer.get("/messages", params={"q": "featherstonehaugh"}))
    page = said(admin.get("/messages", params={"q": "nowhere-to-be-found"}))
    assert "Nothing is found" in page
    assert "Text is indexed up to 20" in page
    assert "no letter and no digit" in said(admin.get("/messages", params={"q": '"^^^"'}))


def test_a_reader_that_was_called_off_serves_nobody_else(console: Opened) -> None:
    one = console.home.history()
    console.home.give_back(one)
    assert console.home.history() is one
    one.interrupt()
    console.home.give_back(one)
    other = console.home.history()
    assert other is not one
    assert other.find(limit=1)
    console.home.give_back(other)
