"""The site's files as people see them: findings at their lines, versions, differences, the map; never a secret."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html

from engine.config import load_site
from engine.console.flowmap import ROW, TALL, draw
from engine.console.sitefiles import outline, shown
from engine.operations.versions import Entry, Versions
from tests.console import Opened, copy_site, opened

WARNS = "channels/adt.yaml"


def spoilt(directory: Path) -> Path:
    """A site with a warning, and an error."""
    copy_site(directory)
    path = directory / WARNS
    path.write_text(path.read_text().replace("index:", "index: {}\nnot_a_key: 1\nzzz:", 1))
    return directory


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened(tmp_path_factory.mktemp("site")) as made:
        versions = Versions(made.directory)
        versions.note(made.site, Entry(made.site.version, made.runtime.now(), "", "started"))
        path = made.directory / "mappings/oru-to-lis.yaml"
        path.write_text(path.read_text().replace("MSH-5: LIS", "MSH-5: LAB"))
        newer = load_site(made.directory)
        versions.note(newer, Entry(newer.version, made.runtime.now(), "ann", "reloaded"))
        made.newer = newer.version  # type: ignore[attr-defined]
        path.write_text(path.read_text().replace("MSH-5: LAB", "MSH-5: LABO"))
        yield made


# ── files ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_shown_line_by_line_as_it_is(console: Opened) -> None:
    page = html.fromstring(console.as_("viewer").get("/site/files/channels/charges.yaml").text)
    lines = (console.directory / "channels/charges.yaml").read_text().splitlines()
    assert [one.text_content() for one in page.xpath("//pre[@class='file']/span[@class='l']")] == [
        f"{n}{line}\n" for n, line in enumerate(lines, 1)
    ]
    assert "What this channel promises" in page.text_content()


def test_findings_stand_at_their_lines(console: Opened) -> None:
    path = console.directory / "channels/results.yaml"
    good = path.read_text()
    try:
        path.write_text(good.replace("to: warehouse", "to: warehous"))
        console.home._looked = 0.0
        told = console.token("viewer").get("/api/v1/site/file?name=channels/results.yaml").json()
        (line,) = [one for one in told["lines"] if one["findings"]]
        assert "to: warehous" in line["text"]
        assert "there is no destination 'warehous'" in line["findings"][0]["text"]
        overview = console.as_("viewer").get("/site").text
        assert "there is no destination &#39;warehous&#39;" in overview
        assert "Laboratory Integration" in overview  # what can be read of it is shown all the same
    finally:
        path.write_text(good)
        console.home._looked = 0.0


def test_whoever_sees_some_channels_sees_their_files_and_no_others(console: Opened) -> None:
    client = console.as_("viewer", channels="adt")
    page = client.get("/site").text
    assert "channels/adt.yaml" in page
    assert "charges" not in page
    assert "destinations.yaml" not in page
    for name, status in {
        "channels/adt.yaml": 200,
        "mappings/adt-to-patient.yaml": 200,
        "channels/charges.yaml": 404,
        "mappings/dft-to-charge.yaml": 404,
        "mappings/codes/gl.csv": 404,
        "conf/engine.yaml": 404,
    }.items():
        assert client.get(f"/site/files/{name}").status_code == status, name
    assert client.get("/site/versions").status_code == 403
    assert client.get("/site/diff").status_code == 403


@pytest.mark.parametrize(
    "name", ["../etc/passwd", "conf/../../x", "data/wardline.db", "samples/hl7v2/adt_a01_inpatient.hl7", "conf/x.yaml"]
)
def test_other_files_are_not_there(console: Opened, name: str) -> None:
    assert console.as_("admin").get("/api/v1/site/file", params={"name": name}).status_code in (401, 404)
    assert console.token("admin").get("/api/v1/site/file", params={"name": name}).status_code == 404


def test_a_long_file_comes_in_pages(console: Opened) -> None:
    path = console.directory / "mappings/codes/long.csv"
    path.write_text("code,meaning\n" + "".join(f"c{n},m{n}\n" for n in range(1200)))
    try:
        client = console.as_("viewer")
        first = html.fromstring(client.get("/site/files/mappings/codes/long.csv").text)
        assert len(first.xpath("//span[@class='l']")) == 500
        (later,) = first.xpath("//nav[@class='pages']/a[@data-key='n']/@href")
        assert "c499,m499" in client.get(later).text
    finally:
        path.unlink()


# ── secrets ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "there", "gone"),
    [
        ("auth: {bearer: secret://env/T}", "secret://env/T", ""),
        ("auth: {bearer: abc123}", "bearer: ***", "abc123"),
        ("store: postgresql://me:pa55@host/db", "postgresql://***@host/db", "pa55"),
        ('password: "pa55 word"', "password: ***", "pa55"),
        ("password: pa55 # the old one", "password: ***", "pa55"),
        ("url: ${URL:-http://u:p@h/x}", "***@h/x", "u:p"),
        ("api_key: ${KEY}", "${KEY}", ""),
        ("token:\n  nested: fine", "nested: fine", ""),
    ],
)
def test_a_secret_that_somebody_wrote_down_is_not_shown(text: str, there: str, gone: str) -> None:
    found = shown("conf/destinations.yaml", text)
    assert there in found
    assert not gone or gone not in found


@given(st.text(max_size=60))
def test_hiding_secrets_changes_no_line_but_theirs(text: str) -> None:
    assert shown("mappings/x.yaml", text) == text
    assert shown("conf/x.yaml", text).count("\n") == text.count("\n")


# ── versions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_versions_that_ran_are_listed_with_who_and_what(console: Opened) -> None:
    told = console.token("viewer").get("/api/v1/site/versions").json()
    assert [(one["what"], one["who"], one["kept"]) for one in told["versions"]] == [
        ("reloaded", "ann", True),
        ("started", "", True),
    ]
    assert console.as_("viewer").get("/site/versions").status_code == 200


def test_any_two_versions_and_the_files_now_can_be_held_against_one_another(console: Opened) -> None:
    client, newer = console.token("viewer"), console.newer  # type: ignore[attr-defined]
    both = client.get("/api/v1/site/diff", params={"before": console.site.version, "after": newer}).json()
    assert [(one["file"], one["change"]) for one in both["files"]] == [("mappings/oru-to-lis.yaml", "changed")]
    assert "-  MSH-5: LIS" in both["files"][0]["lines"]
    assert "+  MSH-5: LAB" in both["files"][0]["lines"]
    now = client.get("/api/v1/site/diff", params={"before": newer}).json()
    assert "+  MSH-5: LABO" in now["files"][0]["lines"]
    same = client.get("/api/v1/site/diff", params={"before": "now", "after": "now"}).json()
    assert same["files"] == []


@pytest.mark.parametrize("version", ["000000000000", "../../etc", "undone", "."])
def test_a_version_that_is_not_kept_is_not_there(console: Opened, version: str) -> None:
    assert console.token("viewer").get("/api/v1/site/diff", params={"before": version}).status_code == 404


# ── the map ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_route_is_a_line_from_its_channel_to_its_destination(console: Opened) -> None:
    page = html.fromstring(console.as_("viewer").get("/map").text)
    routes = sum(len(channel.routes) for channel in console.site.channels)
    ways = page.xpath("//path/@data-way")
    assert len(ways) == routes
    assert {box for way in ways for box in way.split()} == set(page.xpath("//a[contains(@class, 'node')]/@id"))
    assert page.xpath("//svg//*[@style]") == []


def test_the_map_says_the_same_as_a_table_and_shows_what_was_asked_for(console: Opened) -> None:
    client = console.as_("analyst")
    table = html.fromstring(client.get("/map?table=1").text).xpath("//tbody/tr")
    assert len(table) == sum(len(channel.routes) for channel in console.site.channels)
    some = html.fromstring(client.get("/map?table=1&show=ledger").text).xpath("//tbody/tr")
    assert [row.xpath("string(td[3])") for row in some] == ["ledger"]
    assert "Nothing has this in its name" in client.get("/map?show=zzz").text


def test_the_map_of_somebody_has_only_their_channels(console: Opened) -> None:
    told = console.token("viewer", channels="adt").get("/api/v1/map").json()
    assert {one["channel"] for one in told["flows"]} == {"adt"}
    assert "charges" not in str(told)


def test_boxes_of_one_column_never_overlap(console: Opened) -> None:
    picture = draw(console.site.channels * 20, console.site.destinations, {("channel", "adt"): "stopped"})
    for kind in TALL:
        tops = sorted(node.y for node in picture.nodes if node.kind == kind)
        assert all(below - above >= TALL[kind] for above, below in itertools.pairwise(tops))
    assert picture.height >= max(node.y + node.height for node in picture.nodes)
    assert TALL["route"] < ROW
    assert {way.state for way in picture.ways} == {"stopped", ""}


def test_a_broken_channel_file_is_outlined_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    spoilt(tmp_path)
    told = outline(tmp_path, WARNS)
    assert (told.name, told.owner, told.source) == ("adt", "Patient Access Integration", "mllp")
    assert ("patient", ("adt-to-patient",), "mpi") in told.routes
    (tmp_path / "channels/empty.yaml").write_text("")
    assert outline(tmp_path, "channels/empty.yaml").routes == ()
