"""`tests:` of a channel file: what is given, and what must become of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.config.report import Report
from engine.strictyaml import Map, Seq, Text
from engine.text import did_you_mean, listed

KEYS: Final = ("name", "given", "expect", "filtered", "rejected", "parks")
_ENDS: Final = KEYS[2:]  # exactly one of them stands in a test


class ChannelTest(NamedTuple):
    """One test of a channel. Of `expect`, `filtered`, `rejected` and `parks` exactly one is used."""

    name: str  # for people: what was given, or which one of the file
    given: Text  # a file's path from the site's directory, or the content itself
    file: Path | None  # where `given` names a file
    expect: Map | None  # route → its results, each with the fields that must have these values
    filtered: Text | None  # part of the reason
    rejected: Text | None  # part of the reason
    parks: Text | None  # part of the error
    at: Map  # where it stands


def channel_tests(value: Any, routes: Sequence[str], report: Report) -> list[ChannelTest]:
    """The tests that `value` lists, without those that are wrong, which has been noted."""
    entries = enumerate(value, 1) if isinstance(value, Seq) else ()
    read = [_test(entry, number, routes, report) for number, entry in entries if isinstance(entry, Map)]
    return [test for test in read if test is not None]


def _test(entry: Map, number: int, routes: Sequence[str], report: Report) -> ChannelTest | None:
    unknown = [key for key in entry if key not in KEYS]
    for key in unknown:
        report.error(key, f"unknown key '{key}'.{did_you_mean(key, KEYS) or f' A test has {listed(KEYS)}.'}")
    ends = [key for key in entry if key in _ENDS]
    if len(ends) != 1:
        again = ends[1] if ends else entry
        report.error(again, f"a test says one thing that must come of it: {listed(_ENDS, 'or')}.")
        return None
    given = entry.get("given")
    if not isinstance(given, Text) or not given:
        report.error(entry if given is None else given, "'given' takes a file, samples/…, or the content itself as a block (|).")
        return None
    file = None if given.style in ("|", ">") or "\n" in given else report.directory / str(given)
    if file is not None and not file.is_file():
        near = did_you_mean(file.name, [path.name for path in file.parent.glob("*")])
        report.error(given, f"there is no file {given}.{near}")
        return None
    end = entry[ends[0]]
    if unknown or not (_expected(end, routes, report) if ends[0] == "expect" else _reason(ends[0], end, report)):
        return None
    said: dict[str, Any] = {key: end if key == ends[0] else None for key in _ENDS}
    name = str(entry.get("name") or (given if file else f"test {number}"))
    return ChannelTest(name, given, file, at=entry, **said)


def _expected(value: Any, routes: Sequence[str], report: Report) -> bool:
    if not isinstance(value, Map):
        report.error(value, "'expect' takes routes, each with a list of its results: {billing: [{field: value}]}.")
        return False
    wrong = [key for key in value if key not in routes]
    for key in wrong:
        report.error(key, f"there is no route '{key}'.{did_you_mean(key, routes) or f' Known: {listed(routes)}.'}")
    return not wrong


def _reason(key: str, value: Any, report: Report) -> bool:
    if isinstance(value, Text):
        return True
    report.error(value, f"'{key}' takes part of the reason, as text.")
    return False
