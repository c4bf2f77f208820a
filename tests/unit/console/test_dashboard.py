"""The dashboard: what a line says, what stands first, who sees what, and what a live page is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from lxml import html

from engine.console.board import AT_REST, Watching, board, groups
from engine.console.home import SiteView
from engine.console.lines import BAD, FINE, NOTED, WARN, channel_lines, destination_lines, urgent_first
from engine.console.pulse import Figures, Picture, Pulse, pulse
from engine.console.rendering import Rendering
from engine.contracts import Channel, Counted, Route
from engine.model import SECOND
from engine.operations.alone import done
from engine.store.figures import Backlog, Held, Queue, Stands
from tests.console import Opened, opened

NOW = 1_790_000_000_000_000
QUIET = Figures(NOW, {}, {}, Held({}, {}, 0), {}, {})


def made(name: str, within: float = 0.0, owner: str = "", criticality: str = "normal", to: str = "ehr") -> Channel:
    return Channel(
        name, "", "mllp", None, cast(Any, None), (Route("out", to),), deliver_within=within, owner=owner, criticality=criticality
    )


def view(*channels: Channel) -> SiteView:
    aims = sorted({route.destination for channel in channels for route in channel.routes})
    users = {name: frozenset(one.name for one in channels if one.routes[0].destination == name) for name in aims}
    site = SimpleNamespace(destinations=[SimpleNamespace(name=name) for name in aims])
    return SiteView(
        cast(Any, SimpleNamespace(site=site)), {one.name: one for one in channels}, tuple(one.name for one in channels), users, ()
    )


def channel_row(state: str = "running", why: str = "", **counts: int) -> dict[str, Any]:
    return {
        **{"state": state, "why": why, "since": NOW, "version": "v1", "address": "127.0.0.1:1", "connections": 2},
        **{"last_received_at": NOW, "acknowledgement": [0.001, 0.02], "counts": counts},
    }  # fmt: skip


def destination_row(state: str = "running", why: str = "", delivery: float = 0.0, **attempts: int) -> dict[str, Any]:
    return {
        **{
            "state": state,
            "why": why,
            "since": NOW,
            "in_hand": 0,
            "last_delivered_at": NOW,
            "last_error": "",
            "last_error_at": 0,
        },
        **{"attempt": [0.001, 0.02], "delivery": [delivery, delivery] if delivery else [], "attempts": attempts},
        "ended": {"delivered": attempts.get("delivered", 0)},
    }


def picture(channels: dict[str, Any], destinations: dict[str, Any], figures: Figures = QUIET, **rates: float) -> Picture:
    engine = {
        "channels": channels,
        "destinations": destinations,
        "started_at": NOW,
        "accepting": True,
        "release": "1",
        "version": "v1",
    }
    return Picture(NOW, engine, "", figures, "", {("channel", name): rate for name, rate in rates.items()})


# ── lines ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("oldest", "slowest", "said", "urgency"), [
    (0, 0.0, "kept", FINE),
    (10, 0.0, "kept", FINE),
    (16, 0.0, "at risk", WARN),
    (31, 0.0, "broken", BAD),
    (0, 45.0, "broken", BAD),
])  # fmt: skip
def test_a_promise_is_kept_by_what_waits_and_by_what_came_to_its_end(
    oldest: int, slowest: float, said: str, urgency: int
) -> None:
    queues = {"ehr": Queue(1, 1, 0, {"adt": NOW - oldest * SECOND})} if oldest else {}
    now = picture(
        {"adt": channel_row()}, {"ehr": destination_row(delivery=slowest)}, Figures(NOW, queues, {}, QUIET.held, {}, {})
    )
    (line,) = channel_lines(now, view(made("adt", within=30)))
    assert (line.promise, line.urgency) == (said, urgency)


def test_what_was_not_translated_counts_as_waiting_and_no_promise_is_no_promise() -> None:
    figures = Figures(NOW, {}, {"adt": Backlog(7, NOW - 60 * SECOND)}, QUIET.held, {}, {})
    now = picture({"adt": channel_row(), "lab": channel_row()}, {}, figures)
    adt, lab = channel_lines(now, view(made("adt", within=30), made("lab")))
    assert (adt.untranslated, adt.oldest, adt.promise) == (7, NOW - 60 * SECOND, "broken")
    assert (lab.promise, lab.urgency) == ("", FINE)


def test_the_most_urgent_stand_first_and_among_equals_the_most_critical() -> None:
    rows = {
        "calm": channel_row(), "high": channel_row(), "stopped": channel_row("stopped", "ann"), "failed": channel_row("failed", "port"),
        "parks": channel_row(),
    }  # fmt: skip
    figures = Figures(NOW, {}, {}, Held({"parks": 3}, {}, 0), {}, {})
    sites = view(*(made(name, criticality="high" if name == "high" else "normal") for name in rows))
    lines = urgent_first(channel_lines(picture(rows, {}, figures), sites))
    assert [(line.name, line.urgency) for line in lines] == [
        ("failed", BAD), ("parks", WARN), ("stopped", NOTED), ("high", FINE), ("calm", FINE),
    ]  # fmt: skip


def test_without_an_engine_lines_say_so_and_what_was_steered_stands() -> None:
    figures = Figures(NOW, {"ehr": Queue(4, 2, 1, {"adt": NOW})}, {}, QUIET.held, {"lab": Stands("stopped", "by ann", 5)}, {})
    away = Picture(NOW, None, "no engine runs", figures, "", {})
    adt, lab = channel_lines(away, view(made("adt"), made("lab")))
    assert [(one.state, one.why, one.urgency) for one in (adt, lab)] == [
        ("away", "no engine runs", BAD),
        ("stopped", "by ann", NOTED),
    ]
    (ehr,) = destination_lines(away, view(made("adt"), made("lab")))
    assert (ehr.state, ehr.waiting, ehr.blocked) == ("away", 4, 1)


def test_attempts_that_were_neither_delivered_nor_refused_were_tried_again() -> None:
    now = picture({}, {"ehr": destination_row(delivered=10, refused=2, busy=3, unknown=1)})
    (line,) = destination_lines(now, view(made("adt")))
    assert (line.delivered, line.refused, line.retried) == (10, 2, 4)


def test_groups_keep_the_order_of_urgency() -> None:
    rows = {name: channel_row() for name in ("a", "b", "c")} | {"d": channel_row("failed")}
    owners = {"a": "lab", "b": "", "c": "lab", "d": "it"}
    lines = urgent_first(channel_lines(picture(rows, {}), view(*(made(name, owner=owner) for name, owner in owners.items()))))
    assert [(group.word, [line.name for line in group.lines]) for group in groups(lines, "owner")] == [
        ("it", ["d"]), ("lab", ["a", "c"]), ("no owner", ["b"]),
    ]  # fmt: skip
    assert [group.word for group in groups([], "")] == [""]


# ── one person's board ─────────────────────────────────────────────────────────────────────────────────────────────


def home(*channels: Channel) -> Any:
    return SimpleNamespace(site=lambda: view(*channels))


def test_everybody_sees_only_what_they_may() -> None:
    where = home(made("adt", to="ehr"), made("lab", to="lis"), made("both", to="lis"))
    rows = {name: channel_row() for name in ("adt", "lab", "both")}
    figures = Figures(NOW, {"lis": Queue(5, 1, 0, {})}, {}, Held({"adt": 2, "lab": 1}, {}, 0), {}, {})
    now = picture(rows, {"ehr": destination_row(), "lis": destination_row()}, figures, adt=3.0, lab=4.0)
    shown = board(now, where, lambda name: name == "lab")
    assert [line.name for line in shown.channels] == ["lab"]
    assert shown.destinations == []  # "both" delivers there too, and what waits there would tell of it
    assert (shown.sums.parked, shown.sums.received_per_minute, shown.sums.waiting) == (1, 4.0, 0)
    shown = board(now, where, lambda name: name in ("lab", "both"))
    assert ([line.name for line in shown.destinations], shown.sums.waiting) == (["lis"], 5)
    assert [line.name for line in board(now, where, lambda name: True, "b").channels] == ["lab", "both"]


def test_of_many_destinations_those_at_rest_are_folded_away() -> None:
    channels = [made(f"c{n}", to=f"d{n}") for n in range(AT_REST + 5)]
    figures = Figures(NOW, {"d3": Queue(1, 1, 0, {})}, {}, QUIET.held, {}, {})
    rows = {f"d{n}": destination_row("open" if n == 7 else "running") for n in range(AT_REST + 5)}
    now = picture({}, rows, figures)
    shown = board(now, home(*channels), lambda name: True, everything=False)
    assert ([line.name for line in shown.destinations], shown.folded) == (["d7", "d3"], AT_REST + 3)
    assert board(now, home(*channels), lambda name: True, everything=True).folded == 0


class Page:
    """A live page: elements by id, replaced as the browser does it."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self.sizes: list[int] = []

    def show(self, now: Any) -> dict[str, str]:
        news = self._watching.news(now)
        if news is None:
            return {}
        self.sizes.append(len(news))
        found = html.fragments_fromstring(news)
        return {part.get("data-for") or part.get("id"): part.text_content() for part in found}


def test_a_live_page_gets_whole_tables_only_where_their_order_changes() -> None:
    channels = [made(f"c{n}") for n in range(5)]
    page = Page(Watching(home(*channels), Rendering("UTC", {}), lambda name: name != "c4", "", "", True))
    rows = {f"c{n}": channel_row() for n in range(5)}
    first = page.show(picture(rows, {"ehr": destination_row()}))
    assert set(first) == {"pulse", "as-of", "channels-body", "destinations-body"}
    assert "c3" in first["channels-body"]
    assert "c4" not in first["channels-body"]
    assert set(page.show(picture(rows, {"ehr": destination_row()}))) == {"pulse", "as-of"}, "nothing has changed"
    second = page.show(picture(rows | {"c2": channel_row(rejected=9)}, {"ehr": destination_row()}))
    assert set(second) == {"pulse", "as-of", "channels-c2"}
    third = page.show(picture(rows | {"c2": channel_row("failed", "port")}, {"ehr": destination_row()}))
    assert third["channels-body"].index("c2") < third["channels-body"].index("c0")
    assert page.show(RuntimeError("the database is away")) == {}


def test_what_others_wrote_is_escaped_on_a_live_page() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    page = Watching(home(made("adt", owner=hostile)), Rendering("UTC", {}), lambda name: True, "", "owner", True)
    row = destination_row("held", hostile)
    news = (
        page.news(
            picture({"adt": channel_row("stopped", hostile)}, {"ehr": {**row, "last_error": hostile, "last_error_at": NOW}})
        )
        or ""
    )
    assert "<img" not in news
    assert news.count("&lt;img") >= 4


# ── rates ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rates_are_of_the_last_minute_and_begin_anew_with_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("engine.console.pulse.time.monotonic", lambda: clock[0])
    looking = Pulse(cast(Any, None))

    def look(received: int, started: int = 1) -> Any:
        rows = {"adt": channel_row(received=received)}
        return looking._rates({"channels": rows, "destinations": {}, "started_at": started})

    assert look(1000) == {}
    clock[0] += 2
    assert look(1010) == {}
    clock[0] += 8
    assert look(1050)["channel", "adt"] == pytest.approx(300)
    for _ in range(60):
        clock[0] += 2
        look(1050)
    assert look(1050)["channel", "adt"] == 0
    assert look(5, started=2) == {}
    assert looking._rates(None) == {}


# ── pages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Opened]:
    with opened(tmp_path) as made_:
        yield made_


def test_the_page_says_that_the_engine_is_away_and_what_waits_all_the_same(console: Opened) -> None:
    console.sample("results", "oru_r01_chemistry.hl7")
    page = console.as_("operator").get("/")
    assert page.status_code == 200
    text = html.fromstring(page.text).text_content()
    assert "away" in text
    assert "results" in text
    body = html.fromstring(page.text)
    assert len(body.xpath("//tbody[@id='channels-body']/tr")) == len(console.site.channels)


def test_a_channel_s_right_is_a_channel_s_line(console: Opened) -> None:
    client = console.as_("operator", channels="charges")
    found = client.get("/api/v1/channels").json()
    assert [line["name"] for line in found] == ["charges"]
    assert {line["name"] for line in client.get("/api/v1/destinations").json()} == set(found[0]["destinations"])
    assert client.get("/channels/adt").status_code == 404
    assert client.get("/channels/charges").status_code == 200


def test_steering_takes_the_right_a_reason_and_an_engine(console: Opened) -> None:
    operator, viewer = console.as_("operator"), console.as_("viewer")
    assert viewer.post("/channels/adt/stop", {"why": "x"}).status_code == 403
    assert operator.post("/channels/adt/stop", {"why": ""}).status_code == 422
    assert operator.post("/channels/adt/stop", {"why": "x"}).status_code == 503
    assert 'name="why"' in operator.get("/channels/adt").text
    assert 'name="why"' not in viewer.get("/channels/adt").text
    assert operator.http.post("/channels/adt/stop", data={"why": "x"}).status_code == 403, "without the session's token"


def test_trends_say_what_was_counted(console: Opened) -> None:
    now = console.runtime.now()
    hour = 3600 * SECOND
    for back, count in ((0, 3), (1, 4), (30, 5)):
        done(
            console.store.tally(
                now - back * hour, [Counted("channel", "adt", "received", count), Counted("channel", "charges", "received", 1)]
            )
        )
    done(
        console.store.tally(
            now, [Counted("channel", "adt", "acknowledged", 4), Counted("channel", "adt", "acknowledgement time", 2 * SECOND)]
        )
    )
    everything, some = console.as_("operator"), console.as_("viewer", channels="charges")
    day = everything.get("/api/v1/trends", params={"name": "adt", "span": "day"}).json()
    assert day["total"]["counts"][0] == 7
    assert day["total"]["means"] == [0.5]
    assert (len(day["points"]), len(day["rows"])) == (24, 24)
    month = everything.get("/api/v1/trends", params={"span": "month"}).json()
    assert (month["total"]["counts"][0], len(month["points"])) == (15, 720)
    assert sum(row["counts"][0] for row in month["rows"]) == 15
    assert 30 <= len(month["rows"]) <= 31
    assert some.get("/api/v1/trends", params={"span": "month"}).json()["total"]["counts"][0] == 3
    assert some.get("/api/v1/trends", params={"name": "adt"}).status_code == 404
    for span in ("hour", "day", "month"):
        page = everything.get("/trends", params={"span": span, "noun": "destination"})
        assert page.status_code == 200
        assert "The whole" in page.text


def test_one_look_serves_everybody_and_a_store_that_cannot_be_read_is_said(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = pulse(console.home)
    assert looking is pulse(console.home)
    assert looking.picture() is looking.picture()
    console.sample("results", "oru_r01_chemistry.hl7")
    looking.hurry()
    seen = looking.picture()
    assert sum(queue.waiting for queue in seen.figures.queues.values()) > 0
    monkeypatch.setattr(console.home, "store", f"sqlite:///{console.directory}/none.db")
    monkeypatch.setattr(console.home, "_histories", [])
    looking.hurry()
    blind = looking.picture()
    assert blind.blind
    assert blind.figures is seen.figures
