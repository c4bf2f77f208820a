"""`wardline inspect` as people run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.cli import cli

ADT = b"MSH|^~\\&|EHR|HOSP|LAB|WARD|20260101||ADT^A01^ADT_A01|M1|P|2.5.1\rEVN||20260101\rPID|1||7^^^H^MR~8||DOE^[red]JANE\x1b[31m\rPV1|1|I\r"
TWO = ADT + ADT.replace(b"|M1|", b"|M2|")


def run(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(cli, ["inspect", *arguments], input=stdin)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "adt.hl7"
    path.write_bytes(ADT)
    return path


def test_a_message_is_shown_with_names_and_paths(file: Path) -> None:
    result = run(str(file))
    assert result.exit_code == 0
    for text in ("hl7v2", "ADT^A01", "PID-3[1].1", "ID Number", "Patient Identification", "DOE", "[red]JANE"):
        assert text in result.output
    assert "\x1b[31m" not in result.output  # a message does not speak to the terminal
    assert r"\x1b" in result.output


def test_standard_input_and_json() -> None:
    result = run("-", "--json", stdin=ADT)
    data: Any = json.loads(result.output)
    assert (data["format"], data["messages"], data["size"]) == ("hl7v2", 1, len(ADT))
    assert data["heading"] == {
        "kind": "ADT^A01",
        "control_id": "M1",
        "sender": "EHR|HOSP",
        "version": "2.5.1",
        "processing_id": "P",
    }
    assert [node["path"] for node in data["nodes"]] == ["MSH", "EVN", "PID", "PV1"]
    assert data["problems"][0]["place"] == "PID"  # the control character


def test_paths(file: Path) -> None:
    result = run(str(file), "--path", "PID-3[*].1", "--path", "PID-3.4", "--path", "NK1-2")
    assert [line.split() for line in result.output.splitlines()[1:]] == [
        ["PID-3[*].1", "7"], ["PID-3[*].1", "8"], ["PID-3.4", "PID-3.4", "H"], ["NK1-2", "NK1-2", "(empty)"],
    ]  # fmt: skip
    data: Any = json.loads(run(str(file), "--json", "--path", "PID-3[*].1", "--path", "PID-8").output)
    assert data["paths"] == {"PID-3[*].1": ["7", "8"], "PID-8": ""}
    wrong = run(str(file), "--path", "pid-3-1")
    assert wrong.exit_code == 2
    assert "PID-3.1" in wrong.output


def test_render_gives_the_same_bytes(tmp_path: Path) -> None:
    content = b"\x0bMSH|^~\\&|A|B\nPID|\xff\xfe\r\n\x1c\r"
    path = tmp_path / "odd.hl7"
    path.write_bytes(content)
    command = [sys.executable, "-c", "from engine.cli import main; main()", "inspect", "--render", str(path)]
    done = subprocess.run(command, capture_output=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout == content
    path.write_bytes(TWO)
    done = subprocess.run([*command, "--message", "2"], capture_output=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout == ADT.replace(b"|M1|", b"|M2|")


def test_several_messages(tmp_path: Path) -> None:
    path = tmp_path / "batch.hl7"
    path.write_bytes(b"FHS|^~\\&|A\rBHS|^~\\&|A\r" + TWO + b"BTS|2\rFTS|1\r")
    assert "message 1 of 2" in run(str(path)).output
    second: Any = json.loads(run(str(path), "--message", "2", "--json").output)
    assert (second["messages"], second["message"], second["heading"]["control_id"]) == (2, 2, "M2")
    assert run(str(path), "--message", "3").exit_code == 2


def test_problems_and_strict(tmp_path: Path) -> None:
    path = tmp_path / "bad.hl7"
    path.write_bytes(b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01^ADT_A01||P|2.5\rEVN||20260101\rPID|||||DOE\rPV1||I\r")
    lenient = run(str(path))
    assert lenient.exit_code == 0
    assert "MSH-10" in lenient.output
    assert "control id is missing" in lenient.output
    strict = run(str(path), "--strict")
    assert strict.exit_code == 1
    assert "PID-3" in strict.output
    clean = tmp_path / "clean.hl7"
    clean.write_bytes(b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01^ADT_A01|1|P|2.5\rEVN||20260101\rPID|||1||DOE\rPV1||I\r")
    assert run(str(clean), "--strict").exit_code == 0


def test_a_profile(tmp_path: Path, file: Path) -> None:
    profile = tmp_path / "feed.yaml"
    profile.write_text("rules:\n  PID-8: {required: true}\n")
    told = run(str(file), "--profile", str(profile))
    assert told.exit_code == 1
    assert "PID-8" in told.output
    assert "is required and missing" in told.output
    profile.write_text("rules:\n  PV1-2: {values: [I]}\n")
    assert [one["place"] for one in json.loads(run(str(file), "--profile", str(profile), "--json").output)["problems"]] == ["PID"]
    profile.write_text("rules:\n  PV1-2: {valeus: [I]}\n")
    assert "feed.yaml:2:11  unknown key 'valeus'. Did you mean 'values'?" in str(
        run(str(file), "--profile", str(profile)).exception
    )


def test_what_is_in_no_known_format_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_bytes(b"<ClinicalDocument/>")
    done = subprocess.run(
        [sys.executable, "-c", "from engine.cli import main; main()", "inspect", str(path)],
        capture_output=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 1
    assert b"begins with `<`, looks like XML" in done.stderr
    assert b"Traceback" not in done.stderr
    assert run(str(path), "--format", "raw").exit_code == 0
    near = run(str(path), "--format", "hl7")
    assert near.exit_code == 2
    assert "hl7v2" in near.output


def test_every_real_message_is_shown(shared_data: Path) -> None:
    shown = 0
    for path in sorted(each for each in shared_data.rglob("*") if each.suffix.lower() == ".hl7")[::15]:
        result = run(str(path), "--json")
        if result.exit_code == 0:
            assert json.loads(result.output)["nodes"]
            shown += 1
        else:
            assert "no format known" in str(result.exception)
    assert shown > 20
