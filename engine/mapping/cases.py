"""`tests:` beside a mapping: what is given, and what is expected of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.mapping.report import Report
from engine.strictyaml import Map, Seq, Text
from engine.text import did_you_mean, listed

KEYS: Final = ("name", "given", "expect", "parks", "expect_error", "action")


class Case(NamedTuple):
    """One test of a mapping. Exactly one of `expect` and `parks` is used."""

    name: str  # for people: what was given, and which one of the file
    given: Text  # a file's path from the site's directory, or the content itself
    file: Path | None  # where `given` names a file
    expect: Seq | None  # one entry for each result
    parks: Text | None  # part of the error text
    action: Text | None  # of every result
    at: Any  # where it stands


def read_cases(lines: Map, site: Path, report: Report) -> list[Case]:
    given = lines.get("tests")
    if given is None or given == "":
        return []
    if not isinstance(given, Seq):
        report.error(given, "tests is a list: each begins with '- given: samples/…'.")
        return []
    cases = [_case(entry, number, site, report) for number, entry in enumerate(given, 1)]
    return [case for case in cases if case is not None]


def _case(entry: Any, number: int, site: Path, report: Report) -> Case | None:
    if not isinstance(entry, Map):
        report.error(entry, "a test has given: and expect:.")
        return None
    for key in entry:
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or f" Expected {listed(KEYS, 'or')}."
            report.error(key, f"'{key}' is not a key of a test.{hint}")
    text, parks = entry.get("given"), entry.get("parks", entry.get("expect_error"))
    expect = entry.get("expect")
    if not isinstance(text, Text) or not text:
        report.error(entry, "given is missing: a file, samples/hl7v2/…, or the content itself.")
        return None
    if (expect is None) == (parks is None):
        report.error(entry, "a test has either expect: [{field: value}] or parks: part of the error.")
        return None
    if isinstance(expect, Map):
        expect = _one(expect)
    if expect is not None and not isinstance(expect, Seq):
        report.error(expect, "expect is a list with one entry for each result: [{field: value}].")
        return None
    file = None if _inline(text) else site / str(text)
    if file is not None and not file.is_file():
        near = did_you_mean(file.name, [path.name for path in file.parent.glob("*")] if file.parent.is_dir() else [])
        report.error(text, f"there is no file {text}.{near}")
        return None
    name = str(entry.get("name") or (text if file else f"test {number}"))
    return Case(name, text, file, expect, parks, entry.get("action"), entry)


def _one(expect: Map) -> Seq:
    result = Seq([expect])
    result.mark, result.flow = expect.mark, False
    return result


def _inline(text: Text) -> bool:
    """Content stands in a block (|), or begins as messages do."""
    return text.style in ("|", ">") or "\n" in text or "\r" in text or text.startswith(("MSH|", "{", "[", "<", "ISA*"))
