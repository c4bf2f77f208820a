"""Comparing configurations over stored messages: what is told, and what is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli.compare import command
from engine.model import MessageState, Outgoing
from engine.store.search import Query
from engine.testing.compare import Comparison, Group, grouped
from engine.testing.comparing import compared, configuration
from engine.testing.differences import Difference, between
from tests.console import Opened, opened

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

SAMPLE = "dft_p03_two_charges.hl7"


def edited(console: Opened, directory: Path, file: str, change: Callable[[str], str]) -> Path:
    """The site's files in another directory, one of them changed."""
    for name in ("conf", "channels", "mappings"):
        shutil.copytree(console.directory / name, directory / name)
    path = directory / file
    before = path.read_text("utf-8")
    path.write_text(change(before), "utf-8")
    assert path.read_text("utf-8") != before
    return directory


def run(console: Opened, directory: Path) -> Comparison:
    return compared(console.url, configuration(directory, console.directory), Query(until=console.runtime.now()))


def found(comparison: Comparison) -> dict[tuple[str, str, str], int]:
    return {(group.what, group.route, group.field): one.messages for group, one in comparison.groups.items()}


def test_the_same_configuration_gives_the_same(tmp_path: Path) -> None:
    with opened(tmp_path / "site") as console:
        for path in sorted((console.directory / "samples/hl7v2").glob("*.hl7")):
            if "test_patient" not in path.name and (
                channel := {"dft": "charges", "oru": "results", "adt": "adt"}.get(path.name[:3])
            ):
                console.sample(channel, path.name)
        comparison = run(console, console.directory)
    assert comparison.counts["identical"] > 20
    assert not comparison.different
    assert comparison.groups == {}


def test_a_changed_field_is_told_by_route_and_path_and_without_values(tmp_path: Path) -> None:
    with opened(tmp_path / "site") as console:
        message = console.sample("charges", SAMPLE)
        directory = edited(
            console,
            tmp_path / "new",
            "mappings/dft-to-charge.yaml",
            lambda text: text.replace("=first(FT1-8, FT1-7.2, FT1-25.2)", "=first(FT1-8, FT1-7.2, FT1-25.2) | upper"),
        )
        comparison = run(console, directory)
        text = json.dumps(comparison.data())
    assert comparison.counts == {"changed": 1}
    assert ("changed", "billing", "payload.description") in found(comparison)
    assert comparison.groups[Group("changed", "charges", "billing", "payload.description", "changed")].examples == [message]
    assert "Chest" not in text
    assert "CHEST" not in text


def test_what_would_park_is_grouped_by_its_reason(tmp_path: Path) -> None:
    with opened(tmp_path / "site") as console:
        console.sample("charges", SAMPLE)
        console.sample("charges", "dft_p03_credit.hl7")
        directory = edited(
            console,
            tmp_path / "new",
            "mappings/dft-to-charge.yaml",
            lambda text: text.replace("=first(FT1-8, FT1-7.2, FT1-25.2)", "=first(FT1-8, FT1-7.2, FT1-25.2) | date"),
        )
        comparison = run(console, directory)
    assert comparison.counts == {"failing": 2}
    assert all(group.field.startswith("dft-to-charge charge.description: FT1") for group in comparison.groups)
    assert all("'…' is not a date" in group.field and "yaml" not in group.field for group in comparison.groups)


def test_what_would_be_refused_and_what_would_be_let_in(tmp_path: Path) -> None:
    with opened(tmp_path / "site") as console:
        admitted = console.sample("adt", "adt_a01_inpatient.hl7")
        content = (console.directory / "samples/hl7v2" / SAMPLE).read_bytes()
        refused = console.send("charges", content, state=MessageState.REJECTED, reason="not wanted")
        directory = edited(
            console,
            tmp_path / "new",
            "channels/adt.yaml",
            lambda text: text.replace("accept:", "accept:\n  - =MSH-9.1 == 'SIU'", 1),
        )
        comparison = run(console, directory)
    assert comparison.counts == {"rejected": 1, "accepted": 1}
    assert {one.what: found.examples for one, found in comparison.groups.items()} == {
        "rejected": [admitted],
        "accepted": [refused],
    }


def test_a_channel_that_is_not_there_any_more(tmp_path: Path) -> None:
    """A channel that is gone fails all that came through it."""
    with opened(tmp_path / "site") as console:
        console.sample("charges", SAMPLE)
        directory = edited(
            console,
            tmp_path / "new",
            "channels/charges.yaml",
            lambda text: text.replace("channel: charges", "channel: charges2", 1),
        )
        (directory / "channels/charges.yaml").rename(directory / "channels/charges2.yaml")
        comparison = run(console, directory)
    assert comparison.counts == {"failing": 1}
    ((group, _),) = comparison.groups.items()
    assert group.field == "the channel is not in this configuration"


def test_the_command_ends_with_one_where_anything_is_different(tmp_path: Path) -> None:
    with opened(tmp_path / "site") as console:
        console.sample("charges", SAMPLE)
        directory = edited(
            console,
            tmp_path / "new",
            "mappings/dft-to-charge.yaml",
            lambda text: text.replace("=first(FT1-8, FT1-7.2, FT1-25.2)", "=first(FT1-8, FT1-7.2, FT1-25.2) | upper"),
        )
        site = str(console.directory)
        same = CliRunner().invoke(command, ["--site", site, "--with", site, "--json"])
        other = CliRunner().invoke(command, ["--site", site, "--with", str(directory)])
        nothing = CliRunner().invoke(command, ["--site", site, "--with", site, "--since", "1h", "--until", "30m"])
    assert same.exit_code == 0
    assert json.loads(same.stdout)["counts"] == {"identical": 1}
    assert other.exit_code == 1
    assert "payload.description" in other.stdout
    assert "1 messages: 1 changed" in other.stdout
    assert nothing.exit_code == 0
    assert "nothing to compare" in nothing.stdout


def outgoing(route: str, content: bytes = b"{}", **about: str) -> Outgoing:
    return Outgoing(route, "there", content, "application/json", "1-1")._replace(**about)


def test_differences_of_routes_results_and_order() -> None:
    assert between([outgoing("a")], [outgoing("a")]) == []
    assert between([outgoing("a")], [outgoing("a"), outgoing("b")]) == [Difference("b", "(route)", "added")]
    assert between([outgoing("a"), outgoing("a")], [outgoing("a")]) == [Difference("a", "(results)", "gone")]
    assert between([outgoing("a"), outgoing("b")], [outgoing("b"), outgoing("a")]) == [
        Difference("", "(order of routes)", "changed")
    ]
    assert between([outgoing("a")], [outgoing("a", destination="elsewhere")]) == [Difference("a", "(destination)", "changed")]


def test_differences_of_lists_count_once_for_all_their_items() -> None:
    was, now = b'{"lines":[{"n":1},{"n":2}]}', b'{"lines":[{"n":3},{"n":4},{"n":5}],"x":"y"}'
    assert between([outgoing("a", was)], [outgoing("a", now)]) == [
        Difference("a", "lines[*].n", "added"),
        Difference("a", "lines[*].n", "changed"),
        Difference("a", "x", "added"),
    ]


def test_a_content_that_only_is_written_otherwise_is_told_as_that() -> None:
    found = between([outgoing("a", b'{"a":1,"b":2}')], [outgoing("a", b'{"b":2, "a":1}')])
    assert found == [Difference("a", "(order, or how it is written)", "changed")]


def test_reasons_are_grouped_without_values_places_and_lines() -> None:
    reason = "m charge.date: FT1[2]-4 '20261303' is not a date (month 13) (mappings/m.yaml:26:17)"
    assert grouped(reason) == "m charge.date: FT1-4 '…' is not a date (month 13)"
