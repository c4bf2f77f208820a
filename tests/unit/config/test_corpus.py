"""B117 to B130 of the list of bad input: hostile and broken site files, each with what must be said of it."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.config import read_site
from engine.config.environment import Environment, NotHere
from tests.unit.config.sites import CHANNEL, DESTINATIONS, ENGINE, MAPPING, MINIMAL, make, read, told

CORPUS = Path(__file__).resolve().parents[2] / "corpus" / "config"
CASES: list[dict[str, Any]] = yaml.load((CORPUS / "expected.yaml").read_text("utf-8"), Loader=yaml.BaseLoader)


@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_a_file_of_the_corpus(tmp_path: Path, case: dict[str, Any]) -> None:
    site = make(tmp_path)
    for place, name in {case["as"]: case["file"], **case.get("with", {})}.items():
        (site / place).write_bytes((CORPUS / name).read_bytes())
    began = time.process_time()
    reading = read_site(site, {})
    assert time.process_time() - began < 1
    found = told(reading)
    expected = case.get("says", [])
    assert found[: len(expected)] == expected
    assert len(found) == int(case.get("problems", len(expected)))
    errors = [problem for problem in reading.problems if problem.severity == "error"]
    assert (reading.site is None) == bool(errors)
    assert not Path("/tmp/CANARY").exists()


def test_every_file_of_the_corpus_is_tried() -> None:
    used = {case["file"] for case in CASES} | {name for case in CASES for name in case.get("with", {}).values()}
    assert {path.name for path in CORPUS.iterdir()} == used | {"expected.yaml"}
    assert {case["file"][:4] for case in CASES} >= {f"B{number}" for number in range(117, 129)}


# ── what no file in a repository can be ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("place", [ENGINE, DESTINATIONS, CHANNEL, MAPPING])
def test_b121_fifty_megabytes(tmp_path: Path, place: str) -> None:
    site = make(tmp_path)
    (site / place).write_bytes(b"organization: x\n" + b"a: b\n" * (10 << 20))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    reading = read_site(site, {})
    assert f"{place}  is larger than 1 MiB. Split it into several files." in told(reading)
    assert reading.site is None
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB


@pytest.mark.parametrize("place", [ENGINE, DESTINATIONS, CHANNEL, MAPPING, "mappings/codes/sex.csv"])
@pytest.mark.parametrize("kind", ["pipe", "directory", "device", "nowhere"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, place: str, kind: str) -> None:
    site = make(tmp_path)
    path = site / place
    path.unlink()
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to("nothing-here")
    reading = read_site(site, {})
    assert reading.site is None
    assert any(problem.file == (CHANNEL if place == DESTINATIONS else place) for problem in reading.problems)


def test_b128_a_file_that_ends_anywhere_is_read_or_refused_and_never_half_believed(tmp_path: Path) -> None:
    """Each beginning of a channel file: refused with a place in it, or a channel of whole lines."""
    site = make(tmp_path)
    for length in range(len(MINIMAL)):
        (site / CHANNEL).write_text(MINIMAL[:length])
        reading = read_site(site, {})
        if reading.site is None:
            assert any(problem.file == CHANNEL and problem.severity == "error" for problem in reading.problems), length
        else:
            assert MINIMAL[length:] in ("\n", "")
    assert reading.site is not None


# ── secrets ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("mode", "said"), [
    (0o666, "everybody may write the secret's file"), (0o602, "everybody may write the secret's file"),
    (0o600, ""), (0o400, ""), (0o440, ""), (0o444, ""),  # what orchestrators mount is read-only and often readable by all
])  # fmt: skip
def test_b129_a_secret_that_everybody_may_write_is_refused(tmp_path: Path, mode: int, said: str) -> None:
    secret = tmp_path / "token"
    secret.write_text("canary-token\n")
    secret.chmod(mode)
    environment = Environment({})
    if not said:
        assert environment.secret(f"secret://file{secret}") == "canary-token"
        return
    with pytest.raises(ValueError, match=said) as caught:
        environment.secret(f"secret://file{secret}")
    assert "canary" not in str(caught.value)


def test_b129_a_link_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    secret, link = tmp_path / "token", tmp_path / "link"
    secret.write_text("canary-token")
    secret.chmod(0o666)
    link.symlink_to(secret)
    with pytest.raises(ValueError, match="everybody may write"):
        Environment({}).secret(f"secret://file{link}")
    secret.chmod(0o600)
    assert Environment({}).secret(f"secret://file{link}") == "canary-token"
    secret.unlink()
    with pytest.raises(NotHere, match="cannot be read"):
        Environment({}).secret(f"secret://file{link}")


def test_b129_a_pipe_or_a_device_is_no_secret(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(ValueError, match=r"no regular file|cannot be read"):
            Environment({}).secret(f"secret://file{path}")


def test_b127_the_reference_is_named_and_never_the_value(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("canary-token")
    secret.chmod(0o666)
    auth = f"{{bearer: 'secret://file{secret}'}}"
    text = f"destinations:\n  patients:\n    http: {{url: 'https://x.example.org/', auth: {auth}}}\n"
    (problem,) = told(read(tmp_path / "site", {DESTINATIONS: text}))
    assert str(secret) in problem
    assert "canary" not in problem


# ── many files ─────────────────────────────────────────────────────────────────────────────────────────────────────


def many(count: int) -> dict[str, str | None]:
    made = {
        f"channels/c{number}.yaml": MINIMAL.replace("adt\n", f"c{number}\n", 1).replace("6660", str(10_000 + number))
        for number in range(count)
    }
    return {**made, CHANNEL: None}


def test_b130_one_wrong_channel_of_500_and_none_is_taken(tmp_path: Path) -> None:
    files = many(500)
    wrong = files["channels/c250.yaml"]
    assert wrong is not None
    files["channels/c250.yaml"] = wrong.replace("index:", "indx:").replace("to: patients", "to: patient")
    reading = read(tmp_path, files)
    assert reading.site is None
    assert told(reading) == [
        "channels/c250.yaml:5:1  unknown key 'indx'. Did you mean 'index'?",
        "channels/c250.yaml:7:43  there is no destination 'patient'. Did you mean 'patients'?",
    ]


def test_b130_every_wrong_channel_is_named(tmp_path: Path) -> None:
    files = {name: text.replace("format: hl7v2", "format: hl7v3") if text else text for name, text in many(500).items()}
    reading = read(tmp_path, files)
    assert reading.site is None
    assert {problem.file for problem in reading.problems if problem.severity == "error"} == {
        f"channels/c{n}.yaml" for n in range(500)
    }


# ── circles ────────────────────────────────────────────────────────────────────────────────────────────────────────


def passing(name: str, port: int, to: str) -> str:
    return (
        f"channel: {name}\nsource:\n  mllp: {{listen: '0.0.0.0:{port}'}}\nformat: hl7v2\nindex: {{mrn: =PID-3.1}}\n"
        f"routes:\n  on: {{to: {{mllp: {{connect: '{to}'}}}}}}\n"
    )


@pytest.mark.parametrize(("ways", "circle"), [
    ({"a": (7001, "127.0.0.1:7001")}, "a → a"),
    ({"a": (7001, "localhost:7002"), "b": (7002, "127.0.0.2:7001")}, "a → b → a"),
    ({"a": (7001, "[::1]:7002"), "b": (7002, "localhost:7003"), "c": (7003, "localhost:7001")}, "a → b → c → a"),
    ({"a": (7001, "localhost:7002"), "b": (7002, "localhost:7003"), "c": (7003, "localhost:7002")}, "b → c → b"),
    ({"a": (7001, "localhost:7002"), "b": (7002, "localhost:7003"), "c": (7003, "localhost:7004")}, ""),
    ({"a": (7001, "elsewhere.example.org:7001")}, ""),
])  # fmt: skip
def test_b124_channels_that_deliver_in_a_circle_are_refused(
    tmp_path: Path, ways: dict[str, tuple[int, str]], circle: str
) -> None:
    files: dict[str, str | None] = {f"channels/{name}.yaml": passing(name, port, to) for name, (port, to) in ways.items()}
    reading = read(tmp_path, {**files, CHANNEL: None})
    errors = [problem.text for problem in reading.problems if problem.severity == "error"]
    assert errors == ([f"messages would go round and never end: {circle}. Send them somewhere else."] if circle else [])


def test_b124_many_channels_that_all_know_one_another_are_read_soon(tmp_path: Path) -> None:
    routes = "".join(f"  r{n}: {{to: {{mllp: {{connect: 'localhost:{7000 + n}'}}}}}}\n" for n in range(40))
    files: dict[str, str | None] = {
        f"channels/c{n}.yaml": passing(f"c{n}", 7000 + n, "elsewhere.example.org:1") + routes for n in range(40)
    }
    began = time.process_time()
    assert read(tmp_path, {**files, CHANNEL: None}).site is None
    assert time.process_time() - began < 30
