"""`wardline index`, as people and `wardline run` start it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import EXIT_BUSY, EXIT_STORAGE
from engine.testing.processes import copy_site
from engine.textindex.sqlite import index_path
from tests.contract.textindex.helpers import Indexed

pytestmark = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)


@pytest.fixture
def place(site: Indexed, tmp_path: Path) -> Path:
    return copy_site(tmp_path / "site", store=site.url)


def command(place: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "engine.cli", "index", "--site", str(place), *options]


def run(place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(place, *options), capture_output=True, text=True, timeout=60, check=False)


def test_once(site: Indexed, place: Path, spin: object) -> None:
    taken = spin(site.take(b"some text"))  # type: ignore[operator]
    assert run(place, "--once").returncode == 0
    assert site.find("some text") == [taken.message_id]
    index_path(site.url).unlink()
    assert run(place, "--once", "--rebuild").returncode == 0
    assert site.find("some text") == [taken.message_id]
    assert index_path(site.url).stat().st_mode & 0o077 == 0


def test_another_one_is_refused(site: Indexed, place: Path) -> None:
    site.begin()
    done = run(place, "--once")
    assert done.returncode == EXIT_BUSY
    assert "another indexer is at work" in done.stderr


def test_without_a_store(place: Path, tmp_path: Path) -> None:
    empty = copy_site(tmp_path / "empty", store=f"sqlite:///{tmp_path}/nothing.db")
    done = run(empty, "--once")
    assert done.returncode == EXIT_STORAGE
    assert "there is no store" in done.stderr


@pytest.mark.parametrize("how", ["input ends", signal.SIGTERM, signal.SIGINT], ids=str)
def test_it_ends_at_once(site: Indexed, place: Path, how: object) -> None:
    with subprocess.Popen(command(place, "--companion"), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        while not (path := index_path(site.url)).exists() or path.stat().st_size == 0:
            assert process.poll() is None
        if isinstance(how, signal.Signals):
            process.send_signal(how)
        else:
            process.stdin.close()
        assert process.wait(30) == 0
