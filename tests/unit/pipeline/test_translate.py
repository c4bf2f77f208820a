"""The keys of a message: `index` and `order_by` worked out at once, or one by one where one of them fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import registry
from engine.contracts import Channel, Facts, Route
from engine.ids import format_id
from engine.mapping import Library
from engine.model import Heading, Message, MessageState, ParkReason, Translation
from engine.pipeline import translate as module
from engine.pipeline.translate import translate

CONTENT = b"MSH|^~\\&|EHR|G|||2026||ADT^A01|7|P|2.5.1\rPID|1||4711^^^G^MR~99^^^S^SS||DOE&X^JANE||20261399\r"
MESSAGE = Message(281474976710657, "adt", CONTENT, Heading("ADT^A01", "7", "EHR|G"), "p", 5)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    (tmp_path / "mappings").mkdir()
    return Library.load(tmp_path, registry.formats(), registry.entities())


def translated(library: Library, index: dict[str, str], *order_by: str) -> Translation:
    form = library.formats["hl7v2"]
    channel = Channel(
        "adt", "", "memory", None, form, (Route("out", "ehr"),),
        order_by=tuple(library.expression(text, form) for text in order_by),
        index=tuple((name, library.expression(text, form)) for name, text in index.items()),
    )  # fmt: skip
    return translate(channel, MESSAGE, Facts(channel="adt"), "v")


INDEX = {"mrn": "=PID-3[.5='MR'].1", "all": "=PID-3[*].1", "name": "=PID-5", "none": "=PID-19", "site": "G"}


def test_keys_together_are_what_they_are_one_by_one(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    together = translated(library, INDEX, "=PID-5.2", "=PID-3[*].1")
    assert together.keys == (("mrn", "4711"), ("all", "4711"), ("all", "99"), ("name", "DOE"), ("site", "G"))
    assert together.outgoings[0].order_keys == ("JANE", "4711", "99")

    def alone(*_: Any) -> None:
        return None

    monkeypatch.setattr(module, "_at_once", alone)
    assert translated(library, INDEX, "=PID-5.2", "=PID-3[*].1") == together


def test_a_key_that_cannot_be_read_hides_no_other(library: Library) -> None:
    made = translated(library, {"born": "=PID-7 | date | text", **INDEX}, "=PID-3.1")
    assert made.state is MessageState.TRANSLATED
    assert ("mrn", "4711") in made.keys
    assert "born" not in dict(made.keys)


def test_an_order_key_that_cannot_be_read_parks_with_the_keys_that_can(library: Library) -> None:
    made = translated(library, {"born": "=PID-7 | date", **INDEX}, "=PID-7 | date")
    assert (made.state, made.park_reason) == (MessageState.PARKED, ParkReason.MAPPING)
    assert made.reason == "=PID-7 | date: PID-7 '20261399' is not a date (month 13)"
    assert ("mrn", "4711") in made.keys


def test_without_rules_there_is_the_one_lane(library: Library) -> None:
    made = translated(library, {})
    assert (made.keys, made.outgoings[0].order_keys) == ((), ("",))


def test_what_a_message_may_know_is_all_there() -> None:
    given = Facts(*[f"{name} of the site" for name in Facts._fields])  # type: ignore[arg-type]
    facts = module._facts(given, MESSAGE)
    assert facts == given._replace(message_id=format_id(MESSAGE.id), received_at=5, heading=MESSAGE.heading)
    assert module._on_route(facts, "out", 3) == facts._replace(route="out", first_ordinal=3)
