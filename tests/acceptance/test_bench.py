"""`wardline bench` runs and its figures are consistent. How large they are is not for tests to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.testing.bench import ROWS, _problems, aims


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from engine.cli import main; main()", "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def test_a_short_run_delivers_what_it_acknowledges(tmp_path: Path) -> None:
    done = bench("--json", "--seconds", "0.3", "--rows", "4,lane,http", "--out", tmp_path / "bench.json", "--directory", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "bench.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["4", "lane", "http"]
    for row in report["rows"]:
        assert row["problems"] == []
        assert row["acked"] == row["delivered"] > 0
        assert row["delivered_per_second"] > 0
        assert 0 < row["ack_ms"]["p50"] <= row["ack_ms"]["p99"]
        assert row["cpu_us_per_message"] > 0
        assert 0 < row["rss_mb"] <= row["peak_rss_mb"]
    assert report["start"]["first_ack_seconds"] > 0
    assert report["disk"]["per_second"] > 0
    assert report["echo"]["acked_per_second"] > 0
    assert report["machine"]["cores"] >= 1
    assert list(tmp_path.iterdir()) == [tmp_path / "bench.json"]


def test_an_unknown_row_is_told_with_those_there_are() -> None:
    done = bench("--rows", "4,fast")
    assert done.returncode == 2
    assert "'fast' is no row; there are 1, 4, 16, 64, 16x10, lane, http" in done.stderr


LOAD = {"acked": 10, "refused": 0, "uncorrelated": 0, "unanswered": 0, "broken_connections": 0, "examples": []}
ARRIVED = {"distinct": 10, "duplicates": 0}


@pytest.mark.parametrize(
    ("load", "arrived", "problems"),
    [
        ({}, {}, []),
        ({}, {"distinct": 9}, ["10 were acknowledged, 9 were delivered"]),
        ({}, {"duplicates": 2}, ["2 were delivered more than once"]),
        ({"refused": 3, "examples": ["a", "b", "c"]}, {}, ["3 were refused", "e.g. a", "e.g. b"]),
        ({"unanswered": 1, "broken_connections": 1}, {}, ["1 were not answered", "1 connections broke"]),
    ],
)
def test_a_row_does_not_count_unless_everything_arrived_once(
    load: dict[str, object], arrived: dict[str, object], problems: list[str]
) -> None:
    assert _problems({**LOAD, **load}, {**ARRIVED, **arrived}) == problems


def test_aims_are_said_for_the_rows_that_were_measured() -> None:
    row = {"name": "16", "delivered_per_second": 4100.0, "ack_ms": {"p99": 15.5}}
    report = {"rows": [row], "start": {"first_ack_seconds": 1.0}}
    assert [(aim["value"], aim["reached"]) for aim in aims(report)] == [(4100.0, True), (15.5, False), (1.0, True)]
    assert {"16", "16x10"} <= ROWS.keys()
