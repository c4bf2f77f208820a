"""Each setting changes the sentence that speaks of it, and no sentence says more than is so."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.promise import promise
from tests.unit.config.sites import CHANNEL, DESTINATIONS, channel, read

TO = "destinations:\n  patients:\n    directory: {{path: out}}\n{}"


def said(directory: Path, *lines: str, destination: str = "") -> str:
    reading = read(directory, {CHANNEL: channel(*lines), DESTINATIONS: TO.format(destination)})
    assert reading.site is not None, reading.problems
    return promise(reading.site.channels[0], reading.site)


def test_what_holds_for_every_channel(tmp_path: Path) -> None:
    text = said(tmp_path)
    assert "positive answer once the message is on disk, never before" in text
    assert "sent again with the same identity: what arrives at least once is acted on once by a receiver that tells" in text


@pytest.mark.parametrize(
    ("lines", "destination", "with_it", "without_it"),
    [
        (["unique_by: [=MSH-10]"], "", "(the same =MSH-10 and the same content)", "=MSH-3, =MSH-4 and =MSH-10"),
        (["order_by: =PID-3.1"], "", "Messages with the same =PID-3.1 reach", "one after another, in the order in which"),
        (["accept: [=MSH-9.1 == 'ADT']"], "", "What fails its condition is refused", ""),
        ([], "    retry: {refusals: 3}\n", "parks it when there have been 3 refusals", "parks it at once"),
        ([], "    retry: {give_up_after: 2h}\n", "for at most 2h", "until it is delivered"),
        ([], "    rate: 5/s\n", "at most 5/s", ""),
        (["ack: processed"], "", "when the deliveries of all routes have ended, and after 30s in any case", "never before"),
        (["unique_within: 48h"], "", "A message sent again within 2d (the same", "A message sent again (the same"),
    ],
)
def test_what_follows_from_a_setting(tmp_path: Path, lines: list[str], destination: str, with_it: str, without_it: str) -> None:
    plain, changed = said(tmp_path / "plain"), said(tmp_path / "changed", *lines, destination=destination)
    assert with_it in changed
    assert with_it not in plain
    assert not without_it or (without_it in plain and without_it not in changed)
