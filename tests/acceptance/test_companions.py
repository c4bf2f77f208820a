"""The console and the indexer beside a real engine: they cost it nothing when they die, and end with it however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.testing.processes import free_port
from tests.acceptance.place import MESSAGE, Place

WITHIN = 120.0  # seconds, on a machine that has much else to do


def until(what: Callable[[], Any], why: str) -> Any:
    end = time.monotonic() + WITHIN
    while not (found := what()):
        assert time.monotonic() < end, why
        time.sleep(0.02)
    return found


def command_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def beside(site: Path) -> dict[str, int]:
    """The companions of a site's engine, whoever their parent is: process by name."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and "--companion" in (words := command_of(int(entry.name))) and str(site) in words:
            found[words[words.index("engine.cli") + 1]] = int(entry.name)
    return found


def open_files(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(link))
        except OSError:  # closed meanwhile
            continue
    return found


class Accompanied(Place):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.console = free_port()
        settings = directory / "conf" / "engine.yaml"
        settings.write_text(settings.read_text() + f"console: {{listen: 127.0.0.1:{self.console}}}\n")

    def start(self) -> None:
        super().start()
        self.engine.await_port(("127.0.0.1", self.console), WITHIN)
        until(lambda: len(beside(self.directory)) == 2, "not both are there")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Accompanied]:
    made = Accompanied(tmp_path)
    with made.engine:
        yield made


def test_they_inherit_nothing_die_without_the_engine_s_notice_and_end_with_it(place: Accompanied) -> None:
    place.start()
    pid, before = place.engine.pid, beside(place.directory)
    listening = {f"socket:[{line.split()[9]}]" for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    owned = {one for one in open_files(pid) if one in listening or one.endswith(".lock")}
    assert len(owned) >= 3, "sources, monitor and the store's lock: what would outlive the engine that has them"
    for companion in before.values():
        assert not owned & set(open_files(companion))
        os.kill(companion, signal.SIGKILL)
    place.exchange(MESSAGE % b"A1")
    place.delivered(1)
    until(lambda: len(set(beside(place.directory).values()) - set(before.values())) == 2, "they do not come back")
    place.engine.await_port(("127.0.0.1", place.console), WITHIN)
    assert place.engine.pid == pid
    assert "the console was ended by signal 9; it is started again in" in place.engine.tail(10_000)
    assert place.engine.stop() == 0
    assert beside(place.directory) == {}


def test_they_end_with_the_engine_that_is_killed(place: Accompanied) -> None:
    place.start()
    place.engine.kill()
    until(lambda: not beside(place.directory), "a companion lives on without its engine")


ENGINE = """
import sys
from pathlib import Path
from engine.cli.serve import serve
from engine.config import load_site

async def accompany(engine, runtime):
    heavy = {"starlette", "uvicorn", "jinja2.ext", "argon2", "joserfc", "alembic", "multiprocessing.forkserver"}
    print(*sorted(name for name in sys.modules if name in heavy or name.startswith(("engine.console", "engine.textindex"))))

sys.exit(serve(load_site(Path(sys.argv[1])), level="error", accompany=accompany))
"""


def test_the_engine_itself_knows_nothing_of_them(place: Accompanied) -> None:
    """It would be larger and start later, and what the console is made of would be in reach of what comes over the wire."""
    child = [sys.executable, "-c", ENGINE, str(place.directory)]
    ran = subprocess.run(child, capture_output=True, text=True, timeout=WITHIN, check=False)
    assert (ran.returncode, ran.stdout) == (0, "\n"), ran.stderr
