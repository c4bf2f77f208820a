"""Comparing from the console: a job of its own, on the channels that one may try, without a body anywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from engine.operations.versions import Entry, Versions
from tests.console import Client, Opened, opened

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
WITHIN = 60.0  # seconds: a bound, not a measure


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened(tmp_path_factory.mktemp("compare")) as made:
        made.sample("charges", "dft_p03_two_charges.hl7")
        made.sample("adt", "adt_a01_inpatient.hl7")
        Versions(made.directory).note(made.site, Entry(made.site.version, made.runtime.now(), "", "started"))
        path = made.directory / "mappings/dft-to-charge.yaml"
        path.write_text(path.read_text().replace("=first(FT1-8, FT1-7.2, FT1-25.2)", "=first(FT1-8, FT1-7.2, FT1-25.2) | upper"))
        yield made


def finished(console: Opened, client: Client, **fields: str) -> dict[str, Any]:
    """Begin a comparison as a person would, and wait for its end."""
    begun = client.post("/compare", {"with": "now", **fields})
    assert begun.status_code == 303, begun.text
    where = begun.headers["location"]
    until = time.monotonic() + WITHIN
    while time.monotonic() < until:
        page = client.fragment(where).text
        if "every 1s" not in page:
            return {"page": page, "where": where}
        time.sleep(0.1)
    raise AssertionError("the comparison does not end")


def test_the_files_now_against_what_was_made(console: Opened) -> None:
    found = finished(console, console.as_("analyst"))
    assert "payload.description" in found["page"]
    assert "Chest" not in found["page"]
    assert "CHEST" not in found["page"]
    assert "<strong>1</strong> ✓ identical" in found["page"]


def test_a_version_that_ran_makes_what_it_made(console: Opened) -> None:
    found = finished(console, console.as_("analyst"), **{"with": console.site.version})
    assert "Everything is identical" in found["page"]


def test_only_the_channels_that_one_may_try_are_compared_and_seen(console: Opened) -> None:
    some, everywhere = console.as_("analyst", channels="adt"), console.as_("analyst")
    found = finished(console, some)
    assert "Everything is identical" in found["page"]
    assert "<strong>1</strong> messages" in found["page"]
    whole = finished(console, everywhere)
    assert some.get(whole["where"]).status_code == 404
    assert everywhere.get(found["where"]).status_code == 200
    assert some.post("/compare", {"with": "now", "channel": "charges"}).status_code == 404
    assert console.as_("operator").get("/compare").status_code == 403


def test_a_comparison_can_be_cancelled_and_is_listed(console: Opened) -> None:
    client = console.as_("analyst")
    where = client.post("/compare", {"with": "now"}).headers["location"]
    client.post(f"{where}/cancel")
    page = client.get(where).text
    assert "cancelled" in page or "done" in page
    assert where in client.get("/compare").text


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"with": "../.."}, 404),
        ({"with": "000000000000"}, 404),
        ({"with": "now", "since": "9y"}, 422),
        ({"with": "now", "dir": "/"}, 422),
    ],
)
def test_no_path_and_no_other_time_span_is_taken(console: Opened, fields: dict[str, str], status: int) -> None:
    assert console.as_("analyst").post("/compare", fields).status_code == status


def test_files_with_errors_are_said_and_nothing_else_happens(console: Opened) -> None:
    path = console.directory / "channels/adt.yaml"
    good = path.read_text()
    try:
        path.write_text(good.replace("to: mpi", "to: mpii", 1))
        found = finished(console, console.as_("analyst"))
    finally:
        path.write_text(good)
    assert "This configuration has errors" in found["page"]
    assert "mpii" in found["page"]
