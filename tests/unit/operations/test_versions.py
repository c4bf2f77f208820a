"""The configurations that ran: kept whole, found again, put back; whatever a power loss or a typing hand did meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.contracts import Site
from engine.ids import version_of
from engine.model import Verb
from engine.operations.jobs import Jobs
from engine.operations.plans import Plan
from engine.operations.versions import JOURNAL, Entry, NoVersion, Versions

FIRST = {"conf/engine.yaml": b"one", "channels/adt.yaml": b"adt", "mappings/codes/sex.csv": b"code\n"}
SECOND = {"conf/engine.yaml": b"two", "channels/lab.yaml": b"lab", "mappings/codes/sex.csv": b"code\nM\n"}


class Place:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.versions = Versions(directory)

    def write(self, files: dict[str, bytes]) -> Site:
        for path in self.directory.glob("*/**/*"):
            if path.is_file() and ".wardline" not in path.parts:
                path.unlink()
        for name, content in files.items():
            (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (self.directory / name).write_bytes(content)
        version = version_of(files)
        return Site(str(self.directory), "", "", "", "", "", (), (), version, files=tuple(sorted(files)))

    def note(self, files: dict[str, bytes], what: str = "reloaded") -> str:
        site = self.write(files)
        self.versions.note(site, Entry(site.version, 1, "ann", what))
        return site.version

    def files(self) -> dict[str, bytes]:
        found = {}
        for folder in ("conf", "channels", "mappings"):
            found |= {
                path.relative_to(self.directory).as_posix(): path.read_bytes()
                for path in (self.directory / folder).rglob("*")
                if path.is_file()
            }
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_version_is_put_back_whole_and_the_other_is_set_aside(place: Place) -> None:
    first, second = place.note(FIRST), place.note(SECOND)
    assert place.versions.before(second) == first
    changed = place.versions.put_back(first, SECOND)
    assert changed == ["channels/adt.yaml", "channels/lab.yaml", "conf/engine.yaml", "mappings/codes/sex.csv"]
    assert place.files() == FIRST
    place.versions.put_back("undone", FIRST)
    assert place.files() == SECOND


@pytest.mark.parametrize("torn", [b'{"version":"abc', b"\0\0\0\0", b'{"version":1}\n', b"[]\n"])
def test_a_line_that_was_not_written_to_its_end_costs_that_line(place: Place, torn: bytes) -> None:
    first = place.note(FIRST)
    with open(place.directory / ".wardline" / "versions" / JOURNAL, "ab") as journal:
        journal.write(torn)
    assert [entry.version for entry in place.versions.entries()] == [first]
    second = place.note(SECOND)
    assert [entry.version for entry in place.versions.entries()] == [second, first]
    assert place.versions.changed(place.write(FIRST), "mappings/codes") == ["mappings/codes/sex.csv"]


@pytest.mark.parametrize("version", [".", "..", "../..", "", "/etc", "nosuch", "journal.jsonl"])
def test_only_what_ran_here_is_put_back(place: Place, version: str) -> None:
    place.note(FIRST)
    with pytest.raises(NoVersion, match="is not kept here"):
        place.versions.put_back(version, FIRST)
    assert place.files() == FIRST


def test_what_is_kept_and_not_whole_is_not_put_back(place: Place) -> None:
    first = place.note(FIRST)
    place.note(SECOND)
    (place.directory / ".wardline" / "versions" / first / "channels" / "adt.yaml").unlink()
    with pytest.raises(NoVersion, match="is not what ran"):
        place.versions.put_back(first, SECOND)
    assert place.files() == SECOND


def test_nobody_else_may_look_in(place: Place) -> None:
    place.note(FIRST)
    other = place.directory / "other"
    other.mkdir()
    Jobs(other, lambda: 1).keep(Plan(Verb.CANCEL, (1,), (), {}, {}, {}, 0, 0, (), {}, 1.0), "ann")
    for directory in (place.directory / ".wardline", other / ".wardline"):
        assert [path.stat().st_mode & 0o777 for path in (directory, *directory.iterdir())] == [0o700, 0o700]
