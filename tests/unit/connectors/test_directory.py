"""Files appear whole and for good, or not at all; what the file system says becomes the right outcome."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.connectors.directory import DropOptions, deposit
from engine.connectors.directory.deposit import deposit as put
from engine.connectors.directory.deposit import usable
from engine.connectors.directory.destination import DirectoryDestination, file_name
from engine.model import Busy, Delivered, Misconfigured, Refused, Unknown
from engine.testing.world import World, delivery


def test_a_file_is_put_there_and_nothing_else(tmp_path: Path) -> None:
    assert put(str(tmp_path / "out"), "a.json", b"{}") == Delivered()
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.json"]
    assert (tmp_path / "out" / "a.json").read_bytes() == b"{}"
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) & ~0o750 == 0
    assert stat.S_IMODE((tmp_path / "out" / "a.json").stat().st_mode) & ~0o640 == 0


def test_again_is_delivered_and_changes_nothing(tmp_path: Path) -> None:
    put(str(tmp_path), "a", b"same")
    before = (tmp_path / "a").stat().st_ino
    assert put(str(tmp_path), "a", b"same") == Delivered()
    assert (tmp_path / "a").stat().st_ino == before


@pytest.mark.parametrize("there", [b"other", b"sam", b"same and more", b""])
def test_other_content_under_the_name_is_refused_and_kept(tmp_path: Path, there: bytes) -> None:
    (tmp_path / "a").write_bytes(there)
    assert put(str(tmp_path), "a", b"same") == Refused("a is already there with other content")
    assert (tmp_path / "a").read_bytes() == there


def test_what_is_no_file_is_refused_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"same")
    out = tmp_path / "out"
    out.mkdir()
    (out / "link").symlink_to(outside)
    (out / "directory").mkdir()
    os.mkfifo(out / "pipe")
    for name in ("link", "directory", "pipe"):
        assert put(str(out), name, b"same") == Refused(f"{name} is already there and is no file")


def test_an_unfinished_file_of_a_crash_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".a.tmp").write_bytes(b"half of something longer than the content")
    assert put(str(tmp_path), "a", b"whole") == Delivered()
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a", b"whole")]


def test_only_the_last_directory_is_made(tmp_path: Path) -> None:
    assert type(put(str(tmp_path / "not" / "there"), "a", b"")) is Misconfigured
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").write_bytes(b"")
    assert type(put(str(tmp_path / "file"), "a", b"")) is Misconfigured


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, Busy), (errno.EDQUOT, Busy), (errno.EACCES, Misconfigured), (errno.EROFS, Misconfigured),
        (errno.EPERM, Misconfigured), (errno.EIO, Unknown), (errno.ESTALE, Unknown),
    ],
)  # fmt: skip
@pytest.mark.parametrize("call", ["open", "fsync", "rename"])
def test_what_the_file_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type, call: str) -> None:
    def fails(*args: Any, **kw: Any) -> Any:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(deposit.os, call, fails)
        outcome = put(str(tmp_path), "a", b"content")
    assert type(outcome) is kind
    assert os.strerror(number) in outcome.reason  # type: ignore[union-attr]
    if call != "fsync":
        assert not (tmp_path / "a").exists()
    assert put(str(tmp_path), "a", b"content") == Delivered()


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    assert type(put(str(tmp_path), "a" * 300, b"")) is Refused


def test_everything_is_on_disk_before_it_is_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(file: int) -> None:
        steps.append("fsync directory" if stat.S_ISDIR(os.fstat(file).st_mode) else "fsync file")
        fsync(file)

    def renamed(*args: Any, **kw: Any) -> None:
        steps.append("rename")
        rename(*args, **kw)

    monkeypatch.setattr(deposit.os, "fsync", synced)
    monkeypatch.setattr(deposit.os, "rename", renamed)
    put(str(tmp_path), "a", b"content")
    assert steps == ["fsync file", "rename", "fsync directory"]
    steps.clear()
    put(str(tmp_path), "a", b"content")  # perhaps from before a crash that came too early for the last step
    assert steps == ["fsync file", "fsync directory"]


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for name in ("a", "a", "d", "a" * 300):
        put(str(tmp_path), name, b"x")
        put(str(tmp_path), name, b"y")
    assert len(os.listdir("/proc/self/fd")) == before


def test_usable(tmp_path: Path) -> None:
    assert usable(str(tmp_path / "new")) == ""
    assert "No such file" in usable(str(tmp_path / "not" / "there"))


def test_the_name() -> None:
    one = delivery(b"", 7)
    everything = "{identity} {message_id} {delivery_id} {channel} {route} {date}.json"
    assert file_name(everything, one) == "8000000000-7 8000000000 7 charges billing 2026-09-21.json"
    assert file_name("{{{identity}}}", one) == "{8000000000-7}"


@given(st.text())
def test_no_value_can_leave_the_directory(value: str) -> None:
    one = delivery(b"")._replace(identity=value, channel=value, route=value)
    name = file_name("x-{identity}{channel}{route}", one)
    assert "/" not in name
    assert "\0" not in name
    assert name.isascii()


async def test_a_name_of_dots_is_refused(tmp_path: Path) -> None:
    for identity in ("", ".", "..", ".hidden", "../../etc/passwd"):
        destination = DirectoryDestination(DropOptions(path=str(tmp_path)), World().runtime, "ledger")
        outcome = await destination.send(delivery(b"x")._replace(identity=identity))
        assert type(outcome) is Refused
    assert os.listdir(tmp_path) == []
