"""Every HL7 v2 file of the shared collection, sent to a running engine: each frame that wants an answer gets one, nothing
crashes, what is stored is byte for byte what was sent, and what is delivered is that with the standard's line ends."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from sqlalchemy import func, select

from engine.errors import ContentError
from engine.formats.hl7v2 import Hl7v2Options
from engine.registry import formats
from engine.store import schema
from engine.testing.files import Item, items
from engine.testing.processes import EngineProcess, free_port
from tests.campaign.stored import message_contents, opened, store_view

ANY_ENDS = formats()["hl7v2"].build(Hl7v2Options(segment_ends="any"))
STORE = "sqlite:///data/wardline.db"
ENGINE = f"organization: General Hospital\nenvironment: test\ntimezone: America/New_York\nstore: {STORE}\n"
CHANNEL = """\
channel: everything
about: Takes whatever comes and passes it on unchanged.
owner: Tests
source:
  mllp: {{listen: "127.0.0.1:{port}"}}
format:
  hl7v2: {{segment_ends: any}}
routes:
  files:
    to: files
"""
DESTINATIONS = 'destinations:\n  files:\n    directory: {path: out, name: "{message_id}.hl7"}\n'


def make_site(directory: Path, port: int) -> Path:
    for name, text in {
        "conf/engine.yaml": ENGINE, "conf/destinations.yaml": DESTINATIONS, "channels/everything.yaml": CHANNEL.format(port=port),
    }.items():  # fmt: skip
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def send(data: Path, port: int) -> dict[str, object]:
    command = [sys.executable, "-c", "from engine.cli import main; main()", "send", str(data), "--to", f"mllp://127.0.0.1:{port}"]
    done = subprocess.run([*command, "--allow-refusals", "--json"], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    return report


def settle(site: Path, engine: EngineProcess) -> None:
    """Return when everything that was stored has reached its end."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        engine.check()
        view = store_view(site, STORE)
        states = {message.state for message in view.messages} | {delivery.state for delivery in view.deliveries}
        if not states & {"received", "waiting", "sending"}:
            return
        time.sleep(0.05)
    raise AssertionError(f"still {states}:\n{engine.tail()}")


def test_every_shared_message_is_answered_stored_and_delivered_as_it_was_sent(shared_data: Path, tmp_path: Path) -> None:
    sent = [found for found in items([shared_data]) if isinstance(found, Item)]
    wants = Counter(item.answer for item in sent)
    port = free_port()
    site = make_site(tmp_path / "site", port)
    with EngineProcess(site, {}) as engine:
        engine.start()
        engine.await_port(("127.0.0.1", port))
        report = send(shared_data, port)
        settle(site, engine)
        assert engine.stop() == 0, engine.tail()
    assert report["messages"] == len(sent) >= 550
    assert (report["no_answer"], report["not_sent"]) == (0, 0)
    answers = report["answers"]
    assert isinstance(answers, dict)
    assert sum(answers.values()) >= wants["always"]
    assert sum(answers.values()) <= wants["always"] + wants["maybe"]  # an acknowledgement is never acknowledged
    assert set(answers) <= {"AA", "AE", "AR", "CA", "CE", "CR"}
    assert "Traceback" not in engine.log.read_text()

    with opened(site, STORE) as connection:
        stored = Counter(message_contents(connection).values())
        rows = connection.execute(
            select(func.count()).select_from(schema.message).where(schema.message.c.part_of.is_(None))
        ).scalar_one()
    parts = {part for item in sent for part in _parts(item.content)}
    assert stored.keys() == {item.content for item in sent} | parts
    assert rows == len(sent)  # some files hold the same message: those are recorded as re-sends, without a body
    view = store_view(site, STORE)
    assert {delivery.state for delivery in view.deliveries} == {"delivered"}
    delivered = Counter(path.read_bytes() for path in (site / "out").iterdir())
    assert delivered.keys() <= {ANY_ENDS.render(ANY_ENDS.parse(content)) for content in stored if _readable(content)}
    assert delivered.total() == len(view.deliveries) >= 350


def _parts(content: bytes) -> list[bytes]:
    try:
        return ANY_ENDS.split(content)
    except ContentError:
        return []


def _readable(content: bytes) -> bool:
    try:
        ANY_ENDS.parse(content)
    except ContentError:
        return False
    return True
