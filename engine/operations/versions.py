"""The configurations that ran here: `.wardline/versions/`, so that the one before is one command away.

Every version that an engine takes up is copied, and noted in `journal.jsonl` with time and person. Nothing here is read by
the engine itself: what runs is what the site's files say.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from engine.contracts import Site
from engine.errors import EXIT_FAILED, WardlineError
from engine.ids import version_of

DIRECTORY = ".wardline/versions"
JOURNAL = "journal.jsonl"
KEPT = 50  # versions; older ones go
UNDONE = "undone"  # the files as they were before somebody went back


class NoVersion(WardlineError):
    """There is no such version here to go back to."""

    exit_code = EXIT_FAILED


class Entry(NamedTuple):
    """One time that a version was taken up."""

    version: str
    at: int  # microseconds since 1970
    who: str
    what: str  # `started`, `reloaded`, `deployed adt`


class Versions:
    """Those of the site in `directory`."""

    def __init__(self, directory: str | Path) -> None:
        self._site = Path(directory)
        self._place = self._site / DIRECTORY

    def note(self, site: Site, entry: Entry) -> None:
        """Copy the files of `site` unless that version is here already, and note `entry`. Files that have changed since
        the site was read are not that version any more: then only the note is made."""
        for place in (self._place.parent, self._place):
            place.mkdir(mode=0o700, exist_ok=True)
        kept = self._place / site.version
        if not kept.exists() and (contents := self._contents(site)) is not None:
            made = self._place / f"{site.version}.tmp"
            shutil.rmtree(made, ignore_errors=True)
            for name, content in contents.items():
                _write(made / name, content)
            made.rename(kept)
        with open(os.open(self._place / JOURNAL, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "a+b") as journal:
            journal.write(_torn(journal) + orjson.dumps(entry._asdict()) + b"\n")
            journal.flush()
            os.fsync(journal.fileno())
        self._forget()

    def changed(self, site: Site, folder: str) -> list[str]:
        """The names of the files of `folder` in which `site` differs from the version that was taken up last."""
        before = next((entry.version for entry in self.entries()), "")
        kept = self._place / before / folder
        if not before or before == site.version:
            return []
        was = {f"{folder}/{path.name}": path.read_bytes() for path in kept.glob("*") if path.is_file()}
        names = [name for name in site.files if name.startswith(f"{folder}/")]
        return [name for name in names if was.get(name) != (self._site / name).read_bytes()]

    def entries(self) -> list[Entry]:
        """Newest first. A line that was not written to its end tells nothing."""
        try:
            lines = (self._place / JOURNAL).read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [entry for line in reversed(lines) if (entry := _entry(line)) is not None]

    def before(self, version: str) -> str:
        """The version that was taken up before `version`. Raises NoVersion."""
        found = False
        for entry in self.entries():
            if found and entry.version != version and (self._place / entry.version).is_dir():
                return entry.version
            found = found or entry.version == version
        raise NoVersion(f"no configuration before {version} is kept here")

    def put_back(self, version: str, current: Iterable[str]) -> list[str]:
        """Make the site's files those of `version`; `current` are the names of its files now, which are set aside as
        version `undone`. The names of the files that changed. Raises NoVersion."""
        kept = self._place / version
        if not kept.is_dir() or version not in (UNDONE, *(entry.version for entry in self.entries())):
            raise NoVersion(f"configuration {version} is not kept here: 'wardline versions' lists those that are")
        wanted = {path.relative_to(kept).as_posix(): path.read_bytes() for path in kept.rglob("*") if path.is_file()}
        if version not in (UNDONE, version_of(wanted)):
            raise NoVersion(f"what is kept of configuration {version} in {kept} is not what ran: nothing was put back")
        now = {name: (self._site / name).read_bytes() for name in current if (self._site / name).is_file()}
        undone = self._place / UNDONE
        shutil.rmtree(undone, ignore_errors=True)
        for name, content in now.items():
            _write(undone / name, content)
        changed = sorted(name for name in wanted.keys() | now.keys() if wanted.get(name) != now.get(name))
        for name in changed:
            if name in wanted:
                _write(self._site / name, wanted[name])
            else:
                (self._site / name).unlink()
        return changed

    def _contents(self, site: Site) -> dict[str, bytes] | None:
        try:
            contents = {name: (self._site / name).read_bytes() for name in site.files}
        except OSError:
            return None
        return contents if version_of(contents) == site.version else None

    def _forget(self) -> None:
        """Versions that the newest entries do not name."""
        recent = list(dict.fromkeys(entry.version for entry in self.entries()))[:KEPT]
        for path in self._place.iterdir():
            if path.is_dir() and path.name not in recent and path.name != UNDONE:
                shutil.rmtree(path, ignore_errors=True)


def _entry(line: bytes) -> Entry | None:
    try:
        return Entry(**orjson.loads(line))
    except (ValueError, TypeError):
        return None


def _torn(journal: BinaryIO) -> bytes:
    """What goes before the next line, where the last one was not written to its end."""
    if not (end := journal.seek(0, os.SEEK_END)):
        return b""
    journal.seek(end - 1)
    return b"" if journal.read(1) == b"\n" else b"\n"


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        shutil.copymode(path, temporary)
    temporary.replace(path)


def as_data(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    return [entry._asdict() for entry in entries]
