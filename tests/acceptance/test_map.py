"""`wardline map` and `wardline test` as an analyst uses them, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest

DFT = """\
MSH|^~\\&|EHR|GENERAL|WL|WL|20260103101500||DFT^P03^DFT_P03|M2|P|2.5.1
PID|1||100^^^GENERAL^MR||Worthing^Ann
FT1|1|T1||20260102||CG|XR|||2|100&USD||RAD-1
FT1|2|T2||20260102||CG|XR|||1|20&USD||LAB-1
IN1|1|PLAN
PR1|1||99999^Late^CPT
"""

MAPPING = """\
mapping: charges
from: hl7v2
to: charge/v1
for_each: FT1
set:
  transaction_id: =FT1-2
  patient: {mrn: =PID-3.1}
  service_date: =FT1-4 | date
  quantity: =FT1-10 | decimal
  extended_amount: {amount: =FT1-11 | decimal, currency: =FT1-11.1.2}
  department: =FT1-13.1 | required
  description: =FT1-7 | code('texts')
tests:
  - given: samples/dft.hl7
    expect: [{transaction_id: T1, department: RAD-1}, {transaction_id: T2}]
"""

COMMAND = (sys.executable, "-u", "-c", "import sys; from engine.cli import main; main(sys.argv[1:])")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, text in {
        "mappings/charges.yaml": MAPPING,
        "mappings/codes/texts.csv": "code,text\nXR,Chest X-ray\n",
        "samples/dft.hl7": DFT.replace("\n", "\r"),
        "conf/engine.yaml": "organization: General Hospital\ntimezone: America/New_York\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, newline="")
    return tmp_path


def wardline(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_bytes()
    assert old.encode() in text
    path.write_bytes(text.replace(old.encode(), new.encode()))


def test_a_mapping_is_tried_on_a_message(site: Path) -> None:
    done = wardline("map", "charges", site / "samples/dft.hl7", "--site", site)
    assert done.returncode == 0, done.stderr
    assert "1/2  charge/v1  create" in done.stdout
    assert '"description": "Chest X-ray"' in done.stdout
    assert '"amount": "100.00"' in done.stdout


def test_json_for_scripts(site: Path) -> None:
    done = wardline("map", "mappings/charges.yaml", site / "samples/dft.hl7", "--site", site, "--json")
    results = json.loads(done.stdout)["results"]
    assert [result["content"]["payload"]["transaction_id"] for result in results] == ["T1", "T2"]
    assert {result["kind"] for result in results} == {"charge/v1"}


def test_what_would_park_is_told_with_its_place(site: Path) -> None:
    change(site / "samples/dft.hl7", "LAB-1", "")
    done = wardline("map", "charges", site / "samples/dft.hl7", "--site", site)
    assert done.returncode == 1
    assert (
        "would park  charges charge.department: FT1[2]-13.1 is required and was not sent (mappings/charges.yaml:11:15)"
        in done.stderr
    )
    told = json.loads(wardline("map", "charges", site / "samples/dft.hl7", "--site", site, "--json").stdout)
    assert told["place"] == "FT1[2]-13.1"


def test_a_path_that_never_finds_what_the_message_has_elsewhere_is_noted(site: Path) -> None:
    change(site / "mappings/charges.yaml", "  quantity", "  procedure: =PR1-3 | coded\n  quantity")
    done = wardline("map", "charges", site / "samples/dft.hl7", "--site", site)
    assert "Note: PR1-3 inside for_each FT1 is that turn's own" in done.stdout
    assert "owns: [PR1]" in done.stdout


def test_mistakes_in_the_mapping_are_told_with_their_line(site: Path) -> None:
    change(site / "mappings/charges.yaml", "| date", "| dete")
    done = wardline("map", "charges", site / "samples/dft.hl7", "--site", site)
    assert done.returncode == 78
    assert "mappings/charges.yaml:8:26  there is no filter 'dete'. Did you mean 'date'?" in done.stderr
    done = wardline("map", "chargess", site / "samples/dft.hl7", "--site", site)
    assert done.returncode == 78
    assert "Did you mean 'charges'?" in done.stderr


def test_control_characters_of_a_message_do_not_reach_the_terminal(site: Path) -> None:
    change(site / "mappings/charges.yaml", "to: charge/v1\nfor_each: FT1", "to: hl7v2")
    text = (site / "mappings/charges.yaml").read_text()
    (site / "mappings/charges.yaml").write_text(text[: text.index("set:")] + "set: {MSH-3: W}\n")
    change(site / "samples/dft.hl7", "Worthing", "Wor\x1b[2Jthing")
    done = wardline("map", "charges", site / "samples/dft.hl7", "--site", site)
    assert "\x1b[2J" not in done.stdout
    assert "\\x1b[2J" in done.stdout


def test_tests_pass_and_fail_with_a_diff(site: Path) -> None:
    done = wardline("test", "--site", site)
    assert (done.returncode, done.stdout.splitlines()[-1].split(",")[:2]) == (0, ["1 test", " 0 failed"])
    assert "✓ charges  samples/dft.hl7" in done.stdout
    change(site / "mappings/charges.yaml", "department: RAD-1}", "department: RAD-2, quantity: '3'}")
    done = wardline("test", "charges", "--site", site)
    assert done.returncode == 1
    assert "✗ charges  samples/dft.hl7" in done.stdout
    for line in ("mappings/charges.yaml:14", "[1].department", "- RAD-2", "+ RAD-1", "[1].quantity", "- 3", "+ 2"):
        assert line in done.stdout
    facts = json.loads(wardline("test", "--site", site, "--json").stdout)
    assert (facts["passed"], facts["failed"]) == (0, 1)
    assert facts["tests"][0]["differences"][0] == {"path": "[1].department", "expected": "RAD-2", "actual": "RAD-1"}


def test_tests_of_a_mapping_that_cannot_be_read(site: Path) -> None:
    (site / "mappings/other.yaml").write_text("mapping: other\nfrom: hl7v2\nto: json\nset: {a: =PID-5 | uper}\n")
    done = wardline("test", "--site", site)
    assert done.returncode == 78
    assert "✓ charges" in done.stdout
    assert "mappings/other.yaml:4:" in done.stderr
    done = wardline("test", "nothing", "--site", site)
    assert done.returncode == 2


class Watching:
    """`wardline map --watch` under way; its lines as they come."""

    def __init__(self, site: Path) -> None:
        arguments = ["map", "charges", str(site / "samples/dft.hl7"), "--site", str(site), "--watch"]
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self.lines: Queue[str | None] = Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def until(self, text: str) -> str:
        """The next line that holds `text`."""
        while (line := self.lines.get(timeout=30)) is not None:
            if text in line:
                return line
        raise AssertionError(f"ended before {text!r}")

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


@pytest.fixture
def watching(site: Path) -> Iterator[Watching]:
    watching = Watching(site)
    yield watching
    if watching.process.poll() is None:
        watching.process.kill()
        watching.process.wait(10)
    watching.reader.join(10)
    if watching.process.stdout is not None:
        watching.process.stdout.close()


def test_watch_repeats_on_every_save_and_ends_cleanly(site: Path, watching: Watching) -> None:
    watching.until('"description": "Chest X-ray"')
    change(site / "mappings/codes/texts.csv", "Chest X-ray", "X-ray of the chest")
    watching.until('"description": "X-ray of the chest"')
    change(site / "mappings/charges.yaml", "| required", "| requird")
    assert "Did you mean 'required'?" in watching.until("there is no filter")
    change(site / "mappings/charges.yaml", "| requird", "| lower | required")
    watching.until('"department": "lab-1"')
    change(site / "samples/dft.hl7", "LAB-1", "LAB-9")
    watching.until('"department": "lab-9"')
    assert watching.end() == 0
