"""`wardline check` as people and scripts use it: a process of its own on a directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli.check import excerpt
from tests.unit.config.sites import CHANNEL, DESTINATIONS, channel, make


def wardline(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], "COLUMNS": "200", **(environ or {})}
    script = "import sys; from engine.cli import main; main(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, env=variables, check=False, timeout=60,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip


def test_a_good_site_is_all_fine(tmp_path: Path) -> None:
    done = wardline("check", "--strict", "--site", str(make(tmp_path)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "1 channel, 1 destination, 1 mapping, 1 code table: all fine"


def test_errors_show_line_and_caret(tmp_path: Path) -> None:
    site = make(tmp_path, {CHANNEL: channel("on_prk: continue", "owner: {name: =first(a, b)}")})
    done = wardline("check", "--site", str(site))
    assert done.returncode == 1
    assert (
        done.stdout
        == """\
channels/adt.yaml
  8:1     error  unknown key 'on_prk'. Did you mean 'on_park'?
          on_prk: continue
          ^
  9:15    error  a comma ended this value inside { }. Quote it or give it its own line.
          owner: {name: =first(a, b)}
                        ^

1 channel, 1 destination, 1 mapping, 1 code table: 2 errors
"""
    )


def test_errors_of_all_files_at_once(tmp_path: Path) -> None:
    site = make(tmp_path, {CHANNEL: channel("on_prk: continue"), DESTINATIONS: "destinations:\n  patient: {directory: {}}\n"})
    done = wardline("check", "--site", str(site))
    assert done.returncode == 1
    assert (
        done.stdout
        == """\
channels/adt.yaml
  7:43    error  there is no destination 'patients'. Did you mean 'patient'?
          patients: {mapping: adt-to-patient, to: patients}
                                                  ^
  8:1     error  unknown key 'on_prk'. Did you mean 'on_park'?
          on_prk: continue
          ^

conf/destinations.yaml
  2:3     warning  no route goes to 'patient'.
          patient: {directory: {}}
          ^
  2:24    error  'path' is missing here.
          patient: {directory: {}}
                               ^

1 channel, 1 destination, 1 mapping, 1 code table: 3 errors and 1 warning
"""
    )


def test_strict_makes_warnings_errors(tmp_path: Path) -> None:
    site = make(tmp_path, {CHANNEL: channel(without="index")})
    lenient, strict = wardline("check", "--site", str(site)), wardline("check", "--site", str(site), "--strict")
    assert (lenient.returncode, strict.returncode) == (0, 1)
    assert "without 'index' nobody finds a message by patient or account" in lenient.stdout
    assert lenient.stdout.endswith(": 1 warning\n")


def test_json_has_the_same_facts(tmp_path: Path) -> None:
    done = wardline("check", "--json", "--site", str(make(tmp_path, {CHANNEL: channel("on_prk: continue")})))
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "ok": False,
        "version": "",
        "counts": {"channels": 1, "destinations": 1, "mappings": 1, "code_tables": 1},
        "problems": [
            {
                "file": CHANNEL,
                "line": 8,
                "column": 1,
                "severity": "error",
                "text": "unknown key 'on_prk'. Did you mean 'on_park'?",
            }
        ],
        "destinations": {},
        "promises": {},
    }
    fine = json.loads(wardline("check", "--json", "--site", str(make(tmp_path))).stdout)
    assert (fine["ok"], len(fine["version"]), fine["problems"]) == (True, 12, [])
    assert fine["promises"]["adt"].startswith("The sender gets its positive answer once")


def test_connect_asks_every_destination(tmp_path: Path) -> None:
    """One that is there, and one where nothing listens: both are asked, and nothing is delivered."""
    destinations = (
        "destinations:\n  patients: {directory: {path: out}}\n  lab: {mllp: {connect: 127.0.0.1:1, connect_timeout: 5s}}\n"
    )
    routes = "routes: {a: {to: patients}, b: {mapping: adt-to-patient, to: lab}}"
    text = channel(routes, without="routes").replace("  patients: {mapping: adt-to-patient, to: patients}\n", "")
    site = make(tmp_path, {DESTINATIONS: destinations, CHANNEL: text})
    done = wardline("check", "--connect", "--site", str(site))
    lines = done.stdout.splitlines()[-3:]
    assert done.returncode == 1
    assert lines[0] == "answers  patients"
    assert lines[1].startswith("unreachable  lab")
    assert lines[2] == "1 channel, 2 destinations, 1 mapping, 1 code table: 1 unreachable destination"
    assert not list((tmp_path / "out").glob("*.json"))
    facts = json.loads(wardline("check", "--connect", "--json", "--site", str(site)).stdout)
    assert facts["destinations"]["patients"] == {"answers": True, "fault": ""}
    assert facts["destinations"]["lab"]["fault"]


def test_it_says_what_each_channel_promises(tmp_path: Path) -> None:
    done = wardline("check", "--site", str(make(tmp_path)))
    said = " ".join(done.stdout.split())
    assert "The sender gets its positive answer once the message is on disk, never before." in said
    assert "What fails its condition is refused and kept as rejected." in said
    assert "(the same =MSH-3, =MSH-4 and =MSH-10 and the same content) gets the first answer again" in said
    assert "Messages with the same =first(PID-3[.5='MR'].1, PID-3.1) reach each destination one after another" in said
    assert "goes through adt-to-patient to patients: tried again after 1s, then at growing intervals of at most 5m" in said


def test_a_directory_that_is_no_site(tmp_path: Path) -> None:
    done = wardline("check", "--site", str(tmp_path))
    assert done.returncode == 1
    assert "is missing: this directory is no site. 'wardline init DIR' makes one." in done.stdout
    assert wardline("check", "--site", str(tmp_path / "nowhere")).returncode == 2


def test_run_ends_with_78_on_a_wrong_site(tmp_path: Path) -> None:
    done = wardline("run", "--site", str(make(tmp_path, {CHANNEL: channel("on_prk: continue")})))
    assert done.returncode == 78
    assert done.stderr == "channels/adt.yaml:8:1  unknown key 'on_prk'. Did you mean 'on_park'?\n"


@pytest.mark.parametrize(("line", "column", "expected"), [
    ("    to: x", 9, ["to: x", "    ^"]),
    ("\tto: x", 1, ["\tto: x".replace("\t", " "), "^"]),
    ("李: x", 4, ["李: x", "    ^"]),  # a wide letter takes two columns
    ("a: \x1b[31m", 4, ["a: \\x1b[31m", "   ^"]),
    ("x" * 300 + "!" + "y" * 300, 301, ["…" + "x" * 73 + "!" + "y" * 36, " " * 74 + "^"]),
    ("", 1, []),
])  # fmt: skip
def test_excerpt(line: str, column: int, expected: list[str]) -> None:
    assert list(excerpt([line], 1, column)) == expected


def test_excerpt_outside_the_file() -> None:
    assert list(excerpt(["a"], 0, 0)) == list(excerpt(["a"], 2, 1)) == []
