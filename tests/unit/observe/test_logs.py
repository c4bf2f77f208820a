from __future__ import annotations

import gc
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from engine import events as e
from engine.events import LEVELS, Event
from engine.ids import format_id
from engine.observe import Bus, Logs
from engine.observe.logs import event_name, level_of, place_of, withheld

CANARY = "QZCANARY7"


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def logged(*told: Event, level: str = "debug") -> list[dict[str, Any]]:
    stream, bus = io.StringIO(), Bus()
    bus.subscribe(Logs(level, stream, pretty=False))
    for event in told:
        bus.emit(event)
    return lines(stream)


@pytest.fixture
def taken_over() -> Iterator[tuple[Logs, io.StringIO]]:
    stream = io.StringIO()
    logs = Logs("info", stream, pretty=False)
    give_back = logs.take_over()
    yield logs, stream
    give_back()


def test_one_json_line_an_event_with_the_id_people_type() -> None:
    (line,) = logged(e.Parked("charges", 1 << 48, "mapping", "charge FT1-13.1: is required (FT1[2])"))
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "parked",
        "channel": "charges",
        "message_id": format_id(1 << 48),
        "park_reason": "mapping",
        "place": "charge FT1-13.1",
    }


def test_normal_operation_says_nothing_above_debug() -> None:
    usual = [
        e.Received("adt", 1, 300),
        e.Acknowledged("adt", 1, True, 0.01),
        e.Duplicate("adt", 1),
        e.Filtered("adt", 1, "test patient"),
        e.Translated("adt", 1, 1),
        e.Attempted("erp", 1, 1, "delivered", 1, 0.1, ""),
        e.DeliveryEnded("erp", 1, 1, "delivered", "", 0.2),
        e.Committed(3, 0.001),
    ]
    assert logged(*usual, level="info") == []
    assert [line["level"] for line in logged(*usual)] == ["debug"] * len(usual)


def test_levels_are_those_of_the_events_and_failures_are_errors() -> None:
    assert level_of(e.KeyReuse("adt", 1)) == LEVELS[e.KeyReuse] == "warning"
    assert level_of(e.EngineChanged("started", "")) == "info"
    assert level_of(e.EngineChanged("failed", "disk")) == level_of(e.ChannelChanged("adt", "failed", "")) == "error"
    assert level_of(e.DestinationChanged("erp", "running", "")) == "info"
    quiet = logged(e.EngineChanged("started", ""), e.EngineChanged("failed", "disk"), level="warning")
    assert [line["state"] for line in quiet] == ["failed"]


def test_i15_values_that_reasons_quote_are_withheld() -> None:
    told = [
        e.Parked("adt", 1, "unknown_code", f"FT1-13.1: '{CANARY}' has no row in 'department'"),
        e.Parked("adt", 1, "mapping", f'PID-5: "O\'{CANARY}" is no date'),
        e.Parked("adt", 1, "mapping", f"PID-5: 'O'{CANARY}' is no date"),
        e.Rejected("adt", 1, f"MSH-9: ‘{CANARY}’ is not accepted"),
        e.Rejected("adt", 1, f"MSH-9: unfinished '{CANARY}\n{CANARY}"),
        e.Attempted("erp", 1, 1, "refused", 1, 0.1, f"AE: patient {CANARY} is unknown"),
        e.Attempted("erp", 1, 1, "unknown", 1, 0.1, f"500: {CANARY}"),
        e.DeliveryEnded("erp", 1, 1, "parked", f"AE: patient {CANARY} is unknown", 0.2),
    ]
    written = logged(*told)
    assert len(written) == len(told)
    assert CANARY not in json.dumps(written)
    assert withheld(f"'{CANARY}' is unknown") == "'…' is unknown"


@pytest.mark.parametrize(
    ("reason", "place"),
    [
        (
            f"charge FT1-13.1: codes/dep.csv has no row for {CANARY} (6 rows), from FT1-13.1 (mappings/charge.yaml:12:15)",
            "charge FT1-13.1 (mappings/charge.yaml:12:15)",
        ),
        ("ward PV1-3.1: PV1-3.1 is required at PV1[1]-3", "ward PV1-3.1"),
        (f"MSH-9: this channel does not accept it: {CANARY}", "MSH-9"),
        (f"PID-3[.5='MR'].1: {CANARY}", "PID-3[.5='…'].1"),
        ("test patient: =MSH-11 == 'T'", "test patient"),
        (f"is no date {CANARY}", ""),
        (f"{CANARY * 50}: long", ""),
        ("KeyError while translating", ""),
    ],
)
def test_i15_of_reasons_about_content_only_the_place_is_logged(reason: str, place: str) -> None:
    assert place_of(reason) == place
    (line,) = logged(e.Parked("adt", 1, "mapping", reason))
    assert line.get("place", "") == place
    assert "reason" not in line


def test_what_the_engine_says_of_itself_is_whole() -> None:
    (line,) = logged(e.EngineChanged("fault", "KeyError at engine/app.py:120"))
    assert (line["level"], line["reason"]) == ("error", "KeyError at engine/app.py:120")
    assert logged(e.EngineChanged("failed", "'data' is full"))[0]["reason"] == "'data' is full"


def test_reasons_of_ours_about_a_peer_are_kept() -> None:
    (line,) = logged(e.Attempted("erp", 1, 1, "unreached", 1, 0.1, "10.0.0.1:443: connection refused"))
    assert line["reason"] == "10.0.0.1:443: connection refused"


@pytest.mark.parametrize("pretty", [False, True])
def test_i14_content_cannot_make_log_lines_or_terminal_escapes(pretty: bool) -> None:
    stream, bus = io.StringIO(), Bus()
    bus.subscribe(Logs("debug", stream, pretty=pretty))
    hostile = '\r\n{"level":"error"}\x1b[2J\x9b31m\u202e\u2028\x7f\ud800'
    bus.emit(e.FrameRefused("adt", "10.0.0.1:4000" + hostile, "garbage", 7))
    written = stream.getvalue()
    assert len(written.splitlines()) == 1
    assert written.rstrip("\n").isprintable()


def test_long_fields_are_cut() -> None:
    (line,) = logged(e.Unavailable("adt", "x" * 10_000))
    assert len(line["reason"]) == 500


def test_pretty_lines_are_for_people() -> None:
    stream = io.StringIO()
    Logs("info", stream, pretty=True)(e.Listening("adt", "127.0.0.1:2575"))
    assert "listening" in stream.getvalue()
    assert "address=127.0.0.1:2575" in stream.getvalue()


def test_event_names() -> None:
    assert [event_name(kind) for kind in (e.KeyReuse, e.Received, e.DeliveryEnded)] == ["key_reuse", "received", "delivery_ended"]


# ── what else speaks in the process ────────────────────────────────────────────────────────────────────────────────


def test_an_unhandled_error_in_a_deferred_is_an_error_line_without_its_text(
    taken_over: tuple[Logs, io.StringIO], unhandled_errors: list[Any]
) -> None:
    deferred: Deferred[None] = Deferred()
    deferred.addCallback(lambda _: int(f"'{CANARY}'"))
    deferred.callback(None)
    del deferred
    gc.collect()
    (line,) = lines(taken_over[1])
    assert (line["level"], line["event"], line["error"]) == ("error", "exception", "ValueError")
    assert any("test_logs.py" in place for place in line["where"])
    assert CANARY not in json.dumps(line)
    assert len(unhandled_errors) == 1  # conftest sees it too: such an error fails a test that does not expect it
    unhandled_errors.clear()


def test_twisted_and_logging_come_out_in_the_same_form(taken_over: tuple[Logs, io.StringIO]) -> None:
    Logger("somewhere").warn("odd: {what}", what="a\nb")
    Logger("somewhere").info("chatter")
    logging.getLogger("library").warning("look at '%s'", CANARY)
    logging.getLogger("library").info("chatter")
    told = [(line["event"], line["level"], line["source"], line["text"]) for line in lines(taken_over[1])]
    assert told == [("told", "warning", "somewhere", r"odd: a\nb"), ("told", "warning", "library", "look at '…'")]


def test_exceptions_of_the_process_threads_and_libraries(taken_over: tuple[Logs, io.StringIO]) -> None:
    def fail() -> None:
        raise KeyError(CANARY)

    try:
        fail()
    except KeyError:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        logging.getLogger("library").exception("it broke: %s", CANARY)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    told = lines(taken_over[1])
    assert [(line["level"], line["error"]) for line in told] == [("error", "KeyError")] * 3
    assert all(line["where"][-1].endswith(" fail") for line in told)
    assert CANARY not in json.dumps(told)


def test_everything_is_given_back() -> None:
    before = sys.excepthook, threading.excepthook, sys.unraisablehook, list(logging.getLogger().handlers)
    stream = io.StringIO()
    Logs("debug", stream, pretty=False).take_over()()
    logging.getLogger("library").error("after")
    Logger("somewhere").error("after")
    assert stream.getvalue() == ""
    assert before == (sys.excepthook, threading.excepthook, sys.unraisablehook, list(logging.getLogger().handlers))
